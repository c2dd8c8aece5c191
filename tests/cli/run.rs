//! `docker run` and what follows it in a day's work.

use testkit::until;

use crate::{daemon, with_each_runtime};

#[test]
fn run_rm_echoes() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let out = docker
            .run(&["run", "--rm", "busybox", "echo", "hi"])
            .expect(0);
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("hi\n", ""));
        let out = docker.run(&["ps", "-aq"]).expect(0);
        assert_eq!(out.stdout, "");
    });
}

#[test]
fn stdin_goes_in_and_comes_out() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let out = docker
            .run_with(&["run", "-i", "--rm", "busybox", "cat"], b"x\n")
            .expect(0);
        assert_eq!(out.stdout, "x\n");
        let big = b"0123456789abcdef".repeat(256 << 10 >> 4);
        let out = docker
            .run_with(&["run", "-i", "--rm", "busybox", "wc", "-c"], &big)
            .expect(0);
        assert_eq!(out.trimmed(), big.len().to_string());
        // Without -i nothing goes in.
        let out = docker
            .run_with(&["run", "--rm", "busybox", "cat"], b"x\n")
            .expect(0);
        assert_eq!(out.stdout, "");
    });
}

/// Everyday pipes: `docker run x tar c | tar x`.
#[test]
fn a_burst_of_output_arrives_whole() {
    let d = daemon("runc");
    let docker = d.docker();
    let script = "dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' x; echo end";
    for _ in 0..3 {
        let out = docker
            .run(&["run", "--rm", "busybox", "sh", "-c", script])
            .expect(0);
        assert_eq!(out.stderr, "");
        assert_eq!(out.stdout.len(), (64 << 20) + 4);
        assert!(out.stdout.ends_with("xend\n"));
    }
    d.finish();
}

#[test]
fn detached_ps_logs_stop_wait_rm() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let script = "echo one; echo two >&2; trap 'exit 6' TERM; while :; do sleep 0.05; done";
        let out = docker
            .run(&["run", "-d", "--name", "day", "busybox", "sh", "-c", script])
            .expect(0);
        let id = out.trimmed().to_owned();
        assert_eq!(id.len(), 64);
        let out = docker
            .run(&["ps", "--format", "{{.ID}} {{.Names}} {{.State}}"])
            .expect(0);
        assert_eq!(out.trimmed(), format!("{} day running", &id[..12]));
        until("both lines are logged", || {
            let out = docker.run(&["logs", "day"]).expect(0);
            (out.stdout.as_str(), out.stderr.as_str()) == ("one\n", "two\n")
        });
        let follower = docker
            .command(&["logs", "-f", "day"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("docker runs");
        docker.run(&["stop", "-t", "10", "day"]).expect(0);
        let followed = follower
            .wait_with_output()
            .expect("it ends with the container");
        assert!(followed.status.success());
        assert_eq!(followed.stdout, b"one\n");
        let out = docker.run(&["wait", "day"]).expect(0);
        assert_eq!(out.trimmed(), "6");
        let format = "{{.State.Status}} {{.State.ExitCode}} {{.HostConfig.NetworkMode}}";
        let out = docker.run(&["inspect", "-f", format, "day"]).expect(0);
        assert_eq!(out.trimmed(), "exited 6 bridge");
        docker.run(&["rm", "day"]).expect(0);
        let out = docker.run(&["container", "inspect", "day"]).expect(1);
        assert!(out.stderr.contains("No such"), "{}", out.stderr);
    });
}

#[test]
fn create_start_attach_rename_restart_pause_top() {
    let d = daemon("runc");
    let docker = d.docker();
    docker
        .run(&["create", "--name", "aa", "-i", "busybox", "sh"])
        .expect(0);
    docker.run(&["start", "aa"]).expect(0);
    docker.run(&["rename", "aa", "bb"]).expect(0);
    docker.run(&["pause", "bb"]).expect(0);
    docker.run(&["unpause", "bb"]).expect(0);
    let out = docker.run(&["top", "bb"]).expect(0);
    assert!(out.stdout.contains("sh"), "{}", out.stdout);
    docker.run(&["restart", "-t", "0", "bb"]).expect(0);
    let out = docker
        .run_with(&["attach", "bb"], b"echo attached; exit 5\n")
        .expect(5);
    assert_eq!(out.stdout, "attached\n");
    let out = docker.run(&["container", "prune", "-f"]).expect(0);
    assert!(
        out.stdout.contains("Total reclaimed space"),
        "{}",
        out.stdout
    );
    d.finish();
}

#[test]
fn flags_of_every_day() {
    let d = daemon("runc");
    let docker = d.docker();
    let run = |flags: &[&str], script: &str| {
        let mut args = vec!["run", "--rm"];
        args.extend(flags);
        args.extend(["busybox", "sh", "-c", script]);
        docker.run(&args).expect(0).trimmed().to_owned()
    };
    assert_eq!(run(&["-e", "A=1", "-w", "/tmp"], "echo $A $PWD"), "1 /tmp");
    assert_eq!(
        run(&["-u", "app", "-h", "box"], "id -un; hostname"),
        "app\nbox"
    );
    assert_eq!(run(&["--network", "none"], "ls /sys/class/net"), "lo");
    assert_eq!(
        run(&["--read-only"], "touch /x 2>/dev/null || echo no"),
        "no"
    );
    assert_eq!(
        run(
            &["--memory", "32m", "--cpus", "0.5", "--pids-limit", "20"],
            "echo ok"
        ),
        "ok"
    );
    assert_eq!(
        run(&["-v", "v1:/data"], "echo kept > /data/f; cat /data/f"),
        "kept"
    );
    assert_eq!(run(&["-v", "v1:/data:ro"], "cat /data/f"), "kept");
    assert_eq!(
        run(
            &["--tmpfs", "/t:size=1m"],
            "df -k /t | tail -n1 | awk '{print $2}'"
        ),
        "1024"
    );
    assert_eq!(
        run(
            &["--cap-drop", "ALL"],
            "grep CapEff /proc/self/status | cut -f2"
        ),
        "0000000000000000"
    );
    assert_eq!(run(&["--ulimit", "nofile=64:64"], "ulimit -n"), "64");
    assert_eq!(
        run(
            &["--label", "a=b", "--add-host", "db:10.1.2.3"],
            "grep -c 10.1.2.3 /etc/hosts"
        ),
        "1"
    );
    let out = docker.run(&["volume", "ls", "-q"]).expect(0);
    assert_eq!(out.trimmed(), "v1");
    docker.run(&["volume", "rm", "v1"]).expect(0);
    d.finish();
}

/// The CLI tries one kind of object after the other, and goes on only after a 404.
#[test]
fn inspect_of_what_is_nothing_says_so() {
    let d = daemon("runc");
    let out = d.docker().run(&["inspect", "nosuch"]);
    assert_eq!((out.code, out.stdout.trim()), (1, "[]"));
    assert!(
        out.stderr.contains("no such object: nosuch")
            || out.stderr.contains("No such object: nosuch"),
        "{}",
        out.stderr
    );
    d.finish();
}
