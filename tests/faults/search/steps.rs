//! The daemon dies while one of its programs has not begun, or has done its work and not said so: at
//! each call of conmon and of the runtime that a container's life takes. The program goes on without
//! it, before or after the next daemon has taken everything back.

use serde_json::json;
use testkit::{Daemon, Fakes, census, until};

use super::truth;
use crate::options;

const NAME: &str = "loud";

/// A call that is held, and the request on which it is made.
struct Step {
    held: &'static str,
    method: &'static str,
    path: &'static str,
}

const fn step(held: &'static str, method: &'static str, path: &'static str) -> Step {
    Step { held, method, path }
}

const START: &str = "/containers/loud/start";
const UNPAUSE: &str = "/containers/loud/unpause";
const REMOVE: &str = "/containers/loud?force=1";

/// Each call, before and after what it does.
const STEPS: [Step; 14] = [
    step("conmon create hold", "POST", START),
    step("runc create hold", "POST", START),
    step("runc create hold-after", "POST", START),
    step("runc start hold", "POST", START),
    step("runc start hold-after", "POST", START),
    step("conmon exec hold", "POST", "exec"),
    step("runc exec hold", "POST", "exec"),
    step("runc exec hold-after", "POST", "exec"),
    step("runc pause hold", "POST", "/containers/loud/pause"),
    step("runc pause hold-after", "POST", "/containers/loud/pause"),
    step("runc resume hold", "POST", UNPAUSE),
    step("runc resume hold-after", "POST", UNPAUSE),
    step("runc delete hold", "DELETE", REMOVE),
    step("runc delete hold-after", "DELETE", REMOVE),
];

/// The request's path; that of an exec has an id in it.
fn path_of(d: &Daemon, step: &Step) -> String {
    if step.path != "exec" {
        return step.path.to_owned();
    }
    let made = d.http.post_json(
        &format!("/containers/{NAME}/exec"),
        &json!({"Cmd": ["sleep", "0.2"]}),
    );
    let made = made.expect(201).json();
    format!("/exec/{}/start", made["Id"].as_str().expect("an id"))
}

/// A container that is shown paused is frozen, and no other is.
fn expect_frozen_as_shown(d: &Daemon) {
    let shown = d.http.get(&format!("/containers/{NAME}/json"));
    if shown.status == 404 {
        return;
    }
    let state = &shown.json()["State"];
    let pid = state["Pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok());
    if let Some(frozen) = pid.filter(|pid| *pid > 0).and_then(census::is_frozen) {
        assert_eq!(state["Status"] == "paused", frozen, "{state}");
    }
}

fn die_at(d: &mut Daemon, fakes: &Fakes, step: &Step, goes_on_first: bool) {
    d.create(NAME, json!({"Cmd": ["sleep", "1000"]}));
    if step.path != START {
        d.start_container(NAME);
    }
    if step.path == UNPAUSE {
        d.http
            .post(&format!("/containers/{NAME}/pause"))
            .expect(204);
    }
    let path = path_of(d, step);
    let before = fakes.held();
    fakes.behave(step.held);
    let request = {
        let (http, method) = (d.http.clone(), step.method);
        let body = if step.path == "exec" {
            r#"{"Detach":true}"#
        } else {
            ""
        };
        std::thread::spawn(move || http.attempt(method, &path, "application/json", body.as_bytes()))
    };
    fakes.wait_held(before + 1);
    d.kill9();
    assert!(
        request.join().expect("no panic").is_none(),
        "nobody answers"
    );
    if goes_on_first {
        fakes.let_go();
        d.restart();
    } else {
        // Whoever is held delays no daemon.
        d.spawn();
        until("it answers", || d.http.answers());
        fakes.let_go();
        d.wait_ready();
    }
    truth::check_state(d, false);
    expect_frozen_as_shown(d);
    let gone = d.http.delete(&format!("/containers/{NAME}?force=1&v=1"));
    assert!(matches!(gone.status, 204 | 404 | 409), "{}", gone.text());
    until("its name is free", || {
        d.http.get(&format!("/containers/{NAME}/json")).status == 404
    });
    assert_eq!(d.run(NAME, json!({"Cmd": ["sh", "-c", "exit 3"]})).code, 3);
    d.http.delete(&format!("/containers/{NAME}")).expect(204);
    d.expect_nothing_left();
}

#[test]
fn killed_at_each_call_of_a_program() {
    let fakes = Fakes::new();
    let mut d = Daemon::start(options().fakes(&fakes));
    for step in &STEPS {
        for goes_on_first in [true, false] {
            eprintln!("{}, it goes on first: {goes_on_first}", step.held);
            die_at(&mut d, &fakes, step, goes_on_first);
        }
    }
    d.finish();
}
