//! A model of one container's life, and the daemon held against it: random requests, and what
//! Docker answers to each in each state.
//!
//! The model knows no host: a state, a request, an answer, the next state. Every answer and every
//! state that is shown is compared.

use serde_json::{Value, json};
use testkit::{Client, until};

use super::seed::Random;
use super::truth;
use crate::daemon;

/// Where the container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    None,
    Created,
    Running,
    Paused,
    Exited,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Create,
    Start,
    Stop,
    Kill,
    Signal,
    Restart,
    Pause,
    Unpause,
    Exec,
    Rename,
    Remove,
    RemoveByForce,
    Wait,
    Top,
    Resize,
}

const ALL: [Request; 15] = [
    Request::Create,
    Request::Start,
    Request::Stop,
    Request::Kill,
    Request::Signal,
    Request::Restart,
    Request::Pause,
    Request::Unpause,
    Request::Exec,
    Request::Rename,
    Request::Remove,
    Request::RemoveByForce,
    Request::Wait,
    Request::Top,
    Request::Resize,
];

/// What Docker answers, and what is then.
fn step(state: State, request: Request) -> (u16, State) {
    use Request as R;
    use State as S;
    match (request, state) {
        (R::Create, S::None) => (201, S::Created),
        (R::Create, state) => (409, state),
        (_, S::None) => (404, S::None),
        (R::Start, S::Created | S::Exited) => (204, S::Running),
        (R::Start, S::Running) => (304, S::Running),
        (R::Start, S::Paused) => (409, S::Paused),
        (R::Stop, S::Running | S::Paused) => (204, S::Exited),
        (R::Stop, state) => (304, state),
        (R::Kill, S::Running | S::Paused) => (204, S::Exited),
        (R::Signal, S::Running | S::Paused) => (204, state),
        (R::Kill | R::Signal, state) => (409, state),
        (R::Restart, _) => (204, S::Running),
        (R::Pause, S::Running) => (204, S::Paused),
        (R::Pause, state) => (409, state),
        (R::Unpause, S::Paused) => (204, S::Running),
        (R::Unpause, state) => (409, state),
        (R::Exec, S::Running) => (201, S::Running),
        (R::Exec, state) => (409, state),
        (R::Rename, state) => (204, state),
        (R::Remove, S::Running | S::Paused) => (409, state),
        (R::Remove | R::RemoveByForce, _) => (204, S::None),
        // Of one that does not run; the others are not asked, for it would not end.
        (R::Wait, state) => (200, state),
        (R::Top, S::Running | S::Paused) => (200, state),
        (R::Top, state) => (409, state),
        (R::Resize, S::Running | S::Paused) => (200, state),
        (R::Resize, state) => (409, state),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::None => "gone",
        State::Created => "created",
        State::Running => "running",
        State::Paused => "paused",
        State::Exited => "exited",
    }
}

/// The container as clients call it now, and the name it gets next.
struct Named {
    now: &'static str,
    next: &'static str,
}

fn ask(http: &Client, name: &mut Named, request: Request) -> u16 {
    let path = |rest: &str| format!("/containers/{}{rest}", name.now);
    let post = |rest: &str| http.post(&path(rest)).status;
    match request {
        Request::Create => {
            let body = json!({
                "Image": "busybox", "Tty": true, "HostConfig": {"NetworkMode": "none"},
                "Cmd": ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.01; done"],
            });
            let path = format!("/containers/create?name={}", name.now);
            http.post_json(&path, &body).status
        }
        Request::Start => post("/start"),
        Request::Stop => post("/stop?t=1"),
        Request::Kill => post("/kill"),
        Request::Signal => post("/kill?signal=WINCH"),
        Request::Restart => post("/restart?t=0"),
        Request::Pause => post("/pause"),
        Request::Unpause => post("/unpause"),
        Request::Exec => {
            let body = json!({"Cmd": ["true"]});
            http.post_json(&path("/exec"), &body).status
        }
        Request::Rename => {
            let status = post(&format!("/rename?name={}", name.next));
            if status == 204 {
                std::mem::swap(&mut name.now, &mut name.next);
            }
            status
        }
        Request::Remove => http.delete(&path("")).status,
        Request::RemoveByForce => http.delete(&path("?force=1")).status,
        Request::Wait => post("/wait"),
        Request::Top => http.get(&path("/top")).status,
        Request::Resize => post("/resize?h=24&w=80"),
    }
}

fn shown(http: &Client, name: &Named) -> String {
    let answer = http.get(&format!("/containers/{}/json", name.now));
    match answer.status {
        404 => word(State::None).to_owned(),
        _ => answer.json()["State"]["Status"]
            .as_str()
            .expect("text")
            .to_owned(),
    }
}

#[test]
fn the_daemon_does_what_the_model_says() {
    let requests = match std::env::var_os("MOORED_SOAK") {
        Some(_) => 20_000,
        None => 400,
    };
    let mut d = daemon();
    let mut random = Random::seeded();
    let mut name = Named {
        now: "this",
        next: "that",
    };
    let mut state = State::None;
    let mut done = Vec::<Request>::new();
    for n in 0..requests {
        // Half of the time something that changes it.
        let request = match random.below(2) {
            0 => random.of(&ALL[..8]),
            _ => random.of(&ALL),
        };
        let never_ends =
            request == Request::Wait && matches!(state, State::Running | State::Paused);
        if never_ends {
            continue;
        }
        let (status, next) = step(state, request);
        let last = &done[done.len().saturating_sub(8)..];
        assert_eq!(
            ask(&d.http, &mut name, request),
            status,
            "{request:?} in {state:?} after {last:?}"
        );
        assert_eq!(
            shown(&d.http, &name),
            word(next),
            "after {request:?} in {state:?}, {last:?}"
        );
        done.push(request);
        state = next;
        // A death between two requests changes nothing.
        if n % 50 == 49 {
            d.kill9();
            d.restart();
            until("it is as it was", || shown(&d.http, &name) == word(state));
        }
    }
    truth::check(&d);
    let events = d.http.events("/moored/events?since=0&until=1").rest();
    assert_eq!(events, Vec::<Value>::new());
    d.finish();
}

#[test]
fn the_model_knows_every_request_in_every_state() {
    let states = [
        State::None,
        State::Created,
        State::Running,
        State::Paused,
        State::Exited,
    ];
    for state in states {
        for request in ALL {
            let (status, next) = step(state, request);
            // Only what succeeds changes anything.
            assert!(
                next == state || (200..300).contains(&status),
                "{request:?} in {state:?}"
            );
            // What was asked for is so, and need not be asked for again.
            if matches!(request, Request::Start | Request::Stop) && status == 204 {
                assert_eq!(step(next, request), (304, next), "{request:?} twice");
            }
        }
    }
}
