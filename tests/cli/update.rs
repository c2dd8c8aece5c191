//! `docker update`, and what `docker info` and `docker version` show.

use serde_json::json;

use crate::{daemon, with_each_runtime};

#[test]
fn limits_change_by_flags() {
    with_each_runtime(|d| {
        let docker = d.docker();
        d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
        let done = docker.run(&[
            "update",
            "--memory=64m",
            "--memory-swap=128m",
            "--cpus=0.5",
            "--pids-limit=77",
            "--restart=on-failure:3",
            "it",
        ]);
        assert_eq!(done.expect(0).stdout, "it\n");
        let limits = testkit::KernelLimits::of(d.init_pid("it"));
        assert_eq!(
            (limits.memory, limits.memory_and_swap, limits.pids),
            (Some(64 << 20), Some(128 << 20), Some(77))
        );
        assert_eq!(limits.cpu_quota, Some(50_000));
        let format =
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
        let shown = docker
            .run(&["inspect", "-f", format, "it"])
            .expect(0)
            .stdout;
        assert_eq!(shown, "on-failure 3\n");
        let refused = docker
            .run(&["update", "--cpu-period=50000", "it"])
            .expect(1);
        let says =
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set";
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    });
}

#[test]
fn info_and_version_are_shown_whole() {
    let d = daemon("runc");
    let docker = d.docker();
    let info = docker.run(&["info"]).expect(0).stdout;
    for line in [
        "Storage Driver:",
        "Cgroup Version:",
        "Default Runtime: runc",
        "127.0.0.0/8",
    ] {
        assert!(info.contains(line), "{line}: {info}");
    }
    let version = docker.run(&["version"]).expect(0).stdout;
    for line in ["conmon:", "runc:", "Package:", "GitCommit:"] {
        assert!(version.contains(line), "{line}: {version}");
    }
    d.finish();
}
