//! Whose an exec session is: user, groups, directory, environment.

use serde_json::json;
use testkit::demux;

use super::{attached, create, host, run};
use crate::daemon;

#[test]
fn user_directory_and_environment_are_the_sessions_own() {
    let d = daemon();
    host(&d);
    let script = "id -u; id -g; pwd; echo $OWN$NEW; echo $HOME; grep CapBnd /proc/self/status";
    let mut body = attached(&["sh", "-c", script]);
    body["User"] = json!("1234:56");
    body["WorkingDir"] = json!("/bin");
    body["Env"] = json!(["NEW=2"]);
    let id = create(&d, body.clone());
    let out = demux(&run(&d, &id)).stdout;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..5], ["1234", "56", "/bin", "12", "/"]);
    assert!(lines[5].ends_with("a80425fb"), "{}", lines[5]);
    // Nothing of it is in the next one.
    let out = demux(&run(&d, &create(&d, attached(&["sh", "-c", script])))).stdout;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..4], ["0", "0", "/", "1"]);
    let mut body = attached(&["sh", "-c", "grep CapBnd /proc/self/status"]);
    body["Privileged"] = json!(true);
    let out = demux(&run(&d, &create(&d, body))).stdout;
    assert!(!out.contains("a80425fb"), "{out}");
    d.finish();
}

/// Docker's for execs: the user's groups of /etc/group and the container's further ones, HOME of
/// /etc/passwd. What is to be run may hold secrets, and is in no file once it runs.
#[test]
fn groups_home_and_umask_are_the_users_and_nothing_is_left_to_read() {
    let d = daemon();
    let body = json!({"Cmd": ["sleep", "1000"], "HostConfig": {"GroupAdd": ["777"]}});
    d.run_detached("host", body);
    let script = "id -u; id -G; echo $HOME; umask";
    let mut body = attached(&["sh", "-c", script]);
    body["User"] = json!("app");
    body["Env"] = json!(["SECRET=1"]);
    let id = create(&d, body);
    let out = demux(&run(&d, &id)).stdout;
    let lines: Vec<&str> = out.lines().collect();
    let mut groups: Vec<&str> = lines[1].split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["1000", "2000", "777"], "{out}");
    assert_eq!(
        [lines[0], lines[2], lines[3]],
        ["1000", "/home/app", "0022"]
    );
    let waits = create(&d, attached(&["sleep", "1000"]));
    let path = format!("/exec/{waits}/start");
    d.http
        .post_json(&path, &json!({"Detach": true}))
        .expect(200);
    let dir = d.root().join("run/execs").join(&waits);
    assert!(dir.exists() && !dir.join("process.json").exists());
    d.finish();
}
