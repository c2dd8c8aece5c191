//! What the daemon cannot find out, it does not guess: a container that may run is never taken
//! for one that does not.

use serde_json::json;
use testkit::{Daemon, Fakes, until};

use crate::options;

/// The runtime cannot be asked about a start that was cut short, or says what nobody knows.
#[test]
fn a_container_that_may_run_is_removed_by_force_only_and_asked_about_again() {
    let limbo = r#"print {"ociVersion":"1.0.0","id":"it","pid":0,"status":"limbo"}"#;
    for (answer, told) in [("fail the disk is on fire", "fire"), (limbo, "limbo")] {
        may_run(answer, told);
    }
}

fn may_run(answer: &str, told: &str) {
    let fakes = Fakes::new();
    let mut d = Daemon::start(options().fakes(&fakes));
    let body = json!({"Cmd": ["sleep", "1000"]});
    let [first, second] = ["first", "second"].map(|name| d.create(name, body.clone()));
    // The runtime has started the process, and the daemon dies before it knows.
    fakes.behave("runc start hang-after");
    for id in [&first, &second] {
        let seen = fakes.calls().len();
        let (http, path) = (d.http.clone(), format!("/containers/{id}/start"));
        std::thread::spawn(move || {
            let _ = std::panic::catch_unwind(|| http.post(&path));
        });
        until("the start is under way", || {
            fakes.calls()[seen..].iter().any(|c| c == "done")
        });
    }
    d.kill9();
    fakes.behave(&format!("runc state {answer}"));
    d.restart();
    for id in [&first, &second] {
        let state = &d.inspect(id)["State"];
        assert_eq!(state["Status"], "dead", "{state}");
        assert!(
            state["Error"].as_str().is_some_and(|e| e.contains(told)),
            "{state}"
        );
        d.http.delete(&format!("/containers/{id}")).expect(409);
    }
    let pruned = d.http.post("/containers/prune").expect(200).json();
    assert!(
        pruned["ContainersDeleted"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{pruned}"
    );
    // Force takes it away, its process too.
    d.http
        .delete(&format!("/containers/{second}?force=1"))
        .expect(204);
    // As soon as the runtime can be asked, the other is known to run, and did all the while.
    fakes.behave("");
    d.wait_status(&first, "running");
    d.http
        .delete(&format!("/containers/{first}?force=1"))
        .expect(204);
    d.expect_nothing_left();
    d.finish();
}

/// A runtime that was taken out of the configuration still has its containers.
#[test]
fn a_container_of_an_unconfigured_runtime_stays_until_it_is_configured_again() {
    let runc = testkit::require("runc", "runc");
    let with = format!("[runtimes.mine]\npaths = [{runc:?}]\n");
    let mut d = Daemon::start(options().config(&with));
    let body = json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Runtime": "mine"}});
    let id = d.run_detached("theirs", body);
    let init = d.init_pid(&id);
    d.stop();
    d.reconfigure("");
    d.restart();
    assert_eq!(d.status(&id), "dead");
    d.http.delete(&format!("/containers/{id}")).expect(409);
    let said = d
        .http
        .delete(&format!("/containers/{id}?force=1"))
        .error(500);
    assert!(said.contains("runtime mine"), "{said}");
    assert!(std::fs::exists(format!("/proc/{init}")).expect("/proc is mounted"));
    d.stop();
    d.reconfigure(&with);
    // It was to be removed; now it can be.
    d.restart();
    until("it is removed", || {
        d.http.get(&format!("/containers/{id}/json")).status == 404
    });
    d.expect_nothing_left();
    d.finish();
}
