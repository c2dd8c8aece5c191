//! Seccomp profiles of the client's own, and the other security options that a process can see.

use serde_json::{Value, json};
use testkit::Daemon;

use crate::{daemon, options};

/// A profile that lets everything through but these calls.
#[expect(
    clippy::needless_pass_by_value,
    reason = "every caller makes one for this"
)]
fn without(calls: &[&str], more: Value) -> String {
    let mut rule = json!({"names": calls, "action": "SCMP_ACT_ERRNO", "errnoRet": 13});
    for (key, value) in more.as_object().expect("an object") {
        rule[key] = value.clone();
    }
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    format!("seccomp={profile}")
}

/// What chmod says in such a container.
fn chmod(d: &Daemon, option: &str, privileged: bool) -> String {
    let script = "touch /t; chmod 700 /t 2>&1; grep ^Seccomp: /proc/self/status";
    let host = json!({"SecurityOpt": [option], "Privileged": privileged});
    let body = json!({"Cmd": ["sh", "-c", script], "HostConfig": host});
    let out = d.run("", body);
    let options = d.inspect(&out.id)["HostConfig"]["SecurityOpt"].clone();
    assert_eq!(options[0], option, "as it was sent");
    out.output.stdout.replace("Seccomp:\t", "")
}

fn a_profile_is_the_containers(runtime: &str) {
    let d = Daemon::start(options().runtime(runtime));
    let refused = "chmod: /t: Permission denied\n2\n";
    let calls = ["chmod", "fchmodat", "fchmodat2"];
    let plain = without(&calls, json!({}));
    assert_eq!(chmod(&d, &plain, false), refused);
    assert_eq!(chmod(&d, &plain, true), refused, "privileged, too");
    // Rules hold for kernels, machines and capabilities.
    let for_some = |more| chmod(&d, &without(&calls, more), false);
    assert_eq!(for_some(json!({"includes": {"minKernel": "99.0"}})), "2\n");
    assert_eq!(
        for_some(json!({"includes": {"minKernel": "3.10"}})),
        refused
    );
    assert_eq!(
        for_some(json!({"excludes": {"caps": ["CAP_CHOWN"]}})),
        "2\n"
    );
    assert_eq!(
        for_some(json!({"excludes": {"caps": ["CAP_SYS_ADMIN"]}})),
        refused
    );
    assert_eq!(for_some(json!({"includes": {"arches": ["none"]}})), "2\n");
    // No profile, and ours.
    assert_eq!(chmod(&d, "seccomp=unconfined", false), "0\n");
    assert_eq!(chmod(&d, "seccomp={}", false), "0\n");
    assert_eq!(chmod(&d, "seccomp=builtin", false), "2\n");
    assert_eq!(chmod(&d, "seccomp=builtin", true), "2\n");
    assert_eq!(chmod(&d, "no-new-privileges=false", true), "0\n");
    d.finish();
}

#[test]
fn a_profile_of_the_clients_own_counts_under_runc() {
    a_profile_is_the_containers("runc");
}

#[test]
fn a_profile_of_the_clients_own_counts_under_crun() {
    a_profile_is_the_containers("crun");
}

#[test]
fn a_profile_outlives_the_daemon() {
    let mut d = daemon();
    let option = without(&["chmod", "fchmodat", "fchmodat2"], json!({}));
    let script = "touch /t; chmod 700 /t 2>&1";
    let body = json!({"Cmd": ["sh", "-c", script], "HostConfig": {"SecurityOpt": [option]}});
    let id = d.create("it", body);
    d.kill9();
    d.spawn();
    d.wait_ready();
    d.start_container(&id);
    d.wait(&id);
    assert_eq!(d.logs(&id).stdout, "chmod: /t: Permission denied\n");
    d.finish();
}

#[test]
fn what_is_no_profile_makes_no_container() {
    let d = daemon();
    let both = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
                      "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]});
    let huge = format!("{{\"defaultAction\": \"{}\"}}", "x".repeat(1 << 20));
    for (option, words) in [
        ("seccomp={".to_owned(), "Decoding seccomp profile failed: "),
        ("seccomp=[]".to_owned(), "Decoding seccomp profile failed: "),
        (
            "seccomp=default.json".to_owned(),
            "Decoding seccomp profile failed: ",
        ),
        (
            format!("seccomp={both}"),
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either \
             'architectures' or 'archMap'",
        ),
        (format!("seccomp={huge}"), "the seccomp profile has "),
        ("x".to_owned(), "invalid --security-opt 1: \"x\""),
        (
            "no-new-privileges=x".to_owned(),
            "invalid --security-opt 2: \"no-new-privileges=x\"",
        ),
        (
            "writable-cgroups=x".to_owned(),
            "invalid --security-opt 2: \"writable-cgroups=x\"",
        ),
    ] {
        let host = json!({"SecurityOpt": [option]});
        let body = json!({"Image": testkit::BUSYBOX, "HostConfig": host});
        let said = d.http.post_json("/containers/create", &body).error(400);
        assert!(said.starts_with(words), "{words}: {said}");
        assert!(said.len() < 1000, "{} bytes", said.len());
    }
    let all = d.http.get("/containers/json?all=1").expect(200).json();
    assert_eq!(all, json!([]), "nothing was made");
    d.finish();
}

#[test]
fn cgroups_can_be_written_to_where_that_is_asked_for() {
    let d = daemon();
    let script = "d=/sys/fs/cgroup; test -d $d/pids && d=$d/pids; mkdir $d/mine 2>&1 && rmdir $d/mine && echo made";
    let run = |options: &[&str], privileged: bool| {
        let host = json!({"SecurityOpt": options, "Privileged": privileged,
                          "CgroupnsMode": "private"});
        let body = json!({"Cmd": ["sh", "-c", script], "HostConfig": host});
        d.run("", body).output.stdout
    };
    assert!(run(&[], false).contains("Read-only file system"));
    assert_eq!(run(&["writable-cgroups"], false), "made\n");
    assert_eq!(run(&["writable-cgroups=true"], false), "made\n");
    assert_eq!(run(&[], true), "made\n");
    assert!(run(&["writable-cgroups=false"], true).contains("Read-only file system"));
    d.finish();
}
