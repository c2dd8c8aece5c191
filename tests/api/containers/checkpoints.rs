//! Checkpoints, as far as a host without CRIU shows them: what is refused changes nothing. What CRIU
//! does is tested in an emulated machine (`make vm`).

use serde_json::{Value, json};
use testkit::Daemon;

use crate::daemon;

fn checkpoints(d: &Daemon, name: &str) -> Value {
    let path = format!("/containers/{name}/checkpoints");
    d.http.get(&path).expect(200).json()
}

fn create(d: &Daemon, name: &str, body: &Value) -> testkit::Response {
    d.http
        .post_json(&format!("/containers/{name}/checkpoints"), body)
}

#[test]
fn what_cannot_be_checkpointed_is_refused_and_goes_on() {
    let d = daemon();
    d.http.get("/containers/nosuch/checkpoints").error(404);
    d.create("rests", json!({"Cmd": ["true"]}));
    let one = json!({"CheckpointID": "one", "Exit": true});
    let said = create(&d, "rests", &one).error(409);
    assert!(said.ends_with("is not running"), "{said}");
    let said = create(&d, "rests", &json!({"CheckpointID": "../one"})).error(400);
    assert!(said.starts_with("Invalid checkpoint ID (../one)"), "{said}");
    let elsewhere = json!({"CheckpointID": "one", "CheckpointDir": "/tmp"});
    create(&d, "rests", &elsewhere).error(501);

    let sleep = json!({"Cmd": ["sleep", "1000"]});
    d.run_detached("runs", sleep.clone());
    let pid = d.init_pid("runs");
    d.http.post("/containers/runs/pause").expect(204);
    let said = create(&d, "runs", &one).error(409);
    let words = "is paused, unpause the container before checkpoint";
    assert!(said.ends_with(words), "{said}");
    d.http.post("/containers/runs/unpause").expect(204);
    let said = d
        .http
        .post("/containers/runs/start?checkpoint=one")
        .error(409);
    assert!(
        said.ends_with("is running: stop it before it is restored"),
        "{said}"
    );

    let mut terminal = sleep;
    terminal["Tty"] = json!(true);
    d.run_detached("terminal", terminal);
    let said = create(&d, "terminal", &one).error(400);
    assert_eq!(said, "checkpoint not support on containers with tty");

    // No CRIU here, or none that works on this kernel: what is said names it, and nothing is left.
    let policy = json!({"Cmd": ["sleep", "1000"],
        "HostConfig": {"RestartPolicy": {"Name": "always"}}});
    d.run_detached("policy", policy);
    for name in ["runs", "policy"] {
        let answer = create(&d, name, &one);
        if answer.status != 201 {
            let said = answer.error(500);
            let words = format!("Cannot checkpoint container {name}: ");
            assert!(said.starts_with(&words), "{said}");
            assert!(said.to_lowercase().contains("criu"), "{said}");
            assert_eq!(checkpoints(&d, name), json!([]));
            assert_eq!(d.status(name), "running");
        }
    }
    if d.status("policy") == "running" {
        // That it was to end with a checkpoint is forgotten with the checkpoint.
        assert_eq!(d.init_pid("runs"), pid);
        let init = d.init_pid("policy");
        let init = rustix::process::Pid::from_raw(init.cast_signed()).expect("a pid");
        rustix::process::kill_process(init, rustix::process::Signal::KILL).expect("it runs");
        testkit::until("its policy starts it", || {
            d.inspect("policy")["RestartCount"] == 1 && d.status("policy") == "running"
        });
    }
    d.http
        .delete("/containers/runs/checkpoints/one?x=1")
        .error(404);
    let said = d
        .http
        .post("/containers/rests/start?checkpoint=one")
        .error(404);
    assert_eq!(said, "checkpoint one does not exist for container rests");
    assert_eq!(d.status("rests"), "created");
    d.finish();
}
