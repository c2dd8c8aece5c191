//! Containers without cgroups of their own: what they can do, and what they cannot.

use serde_json::{Value, json};
use testkit::Daemon;

use crate::options;

fn body(cmd: &[&str], host: Value) -> Value {
    let mut host = host;
    host["Runtime"] = json!("crun");
    host["Privileged"] = json!(true);
    json!({"Cmd": cmd, "HostConfig": host, "Labels": {"moored.cgroups": "disabled"}})
}

fn without_cgroups() -> Daemon {
    Daemon::start(options().runtime("crun"))
}

#[test]
fn it_lives_among_the_daemons_processes_and_is_looked_after() {
    let d = without_cgroups();
    d.run_detached("beside", json!({"Cmd": ["sleep", "1000"]}));
    let steps = "sleep 1000 & trap 'exit 5' TERM; echo ready; wait";
    let id = d.run_detached("it", body(&["sh", "-c", steps], json!({})));
    testkit::until("it is ready", || d.logs("it").stdout == "ready\n");
    let cgroups = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let (init, conmon) = (d.init_pid("it"), d.conmon_pid(&id));
    assert_eq!(cgroups(init), cgroups(d.pid()), "it has none of its own");
    assert_eq!(cgroups(conmon), cgroups(d.pid()));

    // Its own processes, and not the others of the daemon's cgroup.
    let top = d.http.get("/containers/it/top").expect(200).json();
    assert_eq!(top["Processes"].as_array().unwrap().len(), 2, "{top}");
    let said = d
        .docker()
        .run(&["exec", "it", "echo", "said"])
        .expect(0)
        .stdout;
    assert_eq!(said, "said\n");
    for path in ["pause", "checkpoints"] {
        let path = format!("/containers/it/{path}");
        let said = d
            .http
            .post_json(&path, &json!({"CheckpointID": "one"}))
            .error(409);
        assert!(
            said.ends_with("has no cgroup, without which nothing can freeze it"),
            "{said}"
        );
    }
    for query in ["", "?stream=0", "?stream=0&one-shot=1"] {
        let said = d
            .http
            .get(&format!("/containers/it/stats{query}"))
            .error(409);
        assert!(
            said.ends_with("has no cgroup, without which nothing counts what it uses"),
            "{said}"
        );
    }
    let mut d = d;
    d.kill9();
    d.restart();
    assert_eq!(d.init_pid("it"), init);
    d.http.post("/containers/it/stop").expect(204);
    assert_eq!(d.inspect("it")["State"]["ExitCode"], 5);
    d.http.post("/containers/it/start").expect(204);
    d.http.post("/containers/it/kill").expect(204);
    d.wait("it");
    assert_eq!(d.status("beside"), "running");
    d.finish();
}

#[test]
fn what_needs_a_cgroup_is_refused() {
    let d = without_cgroups();
    for (host, says) in [
        (json!({"Memory": 64 << 20}), "it can have no limits"),
        (json!({"PidsLimit": 5}), "it can have no limits"),
        (json!({"CgroupParent": "/x"}), "no cgroup parent"),
        (json!({"PidMode": "host"}), "it is to have another's"),
    ] {
        let mut asked = body(&["true"], host);
        asked["Image"] = json!("busybox");
        let said = d.http.post_json("/containers/create", &asked).error(400);
        assert!(said.contains(says), "{said}");
    }
    let mut plain = body(&["true"], json!({}));
    plain["Image"] = json!("busybox");
    plain["HostConfig"]["Privileged"] = json!(false);
    let said = d.http.post_json("/containers/create", &plain).error(400);
    assert!(said.ends_with("so it must be privileged"), "{said}");
    let mut other = body(&["true"], json!({}));
    other["Image"] = json!("busybox");
    other["HostConfig"]["Runtime"] = json!("runc");
    let said = d.http.post_json("/containers/create", &other).error(400);
    assert_eq!(
        said,
        "the runtime runc cannot leave a container without cgroups: crun can"
    );
    other["Labels"]["moored.cgroups"] = json!("off");
    let said = d.http.post_json("/containers/create", &other).error(400);
    assert_eq!(
        said,
        "invalid label moored.cgroups=off: it must be disabled or enabled"
    );
    d.finish();
}
