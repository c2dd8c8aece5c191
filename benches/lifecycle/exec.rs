//! An exec from its start to its code, beside the floor: the same conmon and runtime by hand, in
//! the same running container.

use benchkit::{Floor, Shape, median, ms, timed};
use serde_json::json;
use testkit::Daemon;

use crate::PAIRS;

/// Prints how one exec compares.
pub(crate) fn execs(daemon: &Daemon, floor: &Floor) {
    exec(daemon, floor.model());
    by_hand(floor, 0);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..PAIRS {
        ours.push(timed(|| exec(daemon, floor.model())));
        theirs.push(timed(|| by_hand(floor, round)));
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!(
        "exec, sequential: {} (floor {}, over it {})",
        ms(ours),
        ms(theirs),
        ms(ours.saturating_sub(theirs))
    );
}

/// As the docker CLI does it: create, start attached, read to the end, inspect.
fn exec(daemon: &Daemon, container: &str) {
    let http = testkit::Client::new(daemon.http.socket());
    let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["true"]});
    let path = format!("/containers/{container}/exec");
    let made = http.post_json(&path, &body).expect(201).json();
    let id = made["Id"].as_str().expect("an id");
    let mut stream = http.hijack_json(&format!("/exec/{id}/start"), &json!({}), true);
    assert_eq!(stream.read_to_end(), b"");
    let inspect = http.get(&format!("/exec/{id}/json")).expect(200).json();
    assert_eq!(inspect["ExitCode"], 0);
}

/// One exec in the model, from its directory to its exit file.
fn by_hand(floor: &Floor, number: usize) {
    let exec = floor.exec(number, &Shape::new(&["true"]));
    exec.start();
    let mut buffer = vec![0; 64 << 10];
    while exec.attach().recv(&mut buffer) > 0 {}
    exec.end();
}
