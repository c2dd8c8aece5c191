//! conmon and the runtime fail in each way they know, hang, or are not there: a clear message,
//! nothing half made, the container usable afterwards.

use serde_json::json;
use testkit::{Daemon, Fakes, until};

use crate::options;

#[test]
fn every_failure_of_a_start_is_told_and_undone() {
    let fakes = Fakes::new();
    let d = Daemon::start(options().fakes(&fakes));
    let id = d.create("it", json!({"Cmd": ["sh", "-c", "echo fine"]}));
    for (control, words) in [
        (
            "runc create fail no space left on device",
            "no space left on device",
        ),
        ("runc create silent", ""),
        ("runc create die", ""),
        ("runc create no-pid-file", ""),
        (
            "runc start fail cannot start a banana",
            "cannot start a banana",
        ),
        (
            "conmon create usage No such log driver nosuch",
            "No such log driver nosuch",
        ),
        ("conmon create eof", "without a word"),
        ("conmon create say {\"data\": -1}", ""),
        (
            "conmon create say {\"data\": -1, \"message\": \"the runtime's own words\"}",
            "the runtime's own words",
        ),
        ("conmon create say {\"data\": \"no number\"}", ""),
        ("conmon create say rubbish", ""),
    ] {
        fakes.behave(control);
        let answer = d.http.post("/containers/it/start");
        assert!(
            matches!(answer.status, 400 | 500),
            "{control}: {}",
            answer.text()
        );
        let status = answer.status;
        let said = answer.error(status);
        assert!(
            !said.is_empty() && said.contains(words),
            "{control}: {said}"
        );
        let state = &d.inspect("it")["State"];
        assert_eq!(state["Status"], "created", "{control}: {state}");
        assert_ne!(state["ExitCode"], 0, "{control}: {state}");
        assert_eq!(state["Error"], said.as_str(), "{control}");
        expect_only_the_container(&d, control);
    }
    fakes.behave("");
    d.start_container("it");
    assert_eq!(d.wait("it"), 0);
    assert_eq!(d.logs(&id).stdout, "fine\n");
    d.finish();
}

/// No process, mount or cgroup; the container itself is still there.
fn expect_only_the_container(d: &Daemon, what: &str) {
    until(
        &format!("{what} leaves no process, mount or cgroup"),
        || {
            d.leftovers()
                .iter()
                .all(|l| l.starts_with("directory ") || l.starts_with("file "))
        },
    );
}

/// One container's runtime hangs; the others, and all reads, do not notice. When the runtime is
/// killed the start fails and everything is clean.
#[test]
fn a_runtime_that_hangs_delays_nobody_else() {
    let fakes = Fakes::new();
    let d = Daemon::start(options().fakes(&fakes));
    d.create("stuck", json!({"Cmd": ["true"]}));
    fakes.behave("runc create hang");
    std::thread::scope(|scope| {
        let http = &d.http;
        let stuck = scope.spawn(move || http.post("/containers/stuck/start"));
        until("the runtime hangs", || {
            fakes
                .calls()
                .iter()
                .any(|c| c.starts_with("runc ") && c.contains(" create "))
        });
        fakes.behave("");
        assert_eq!(d.run("other", json!({"Cmd": ["true"]})).code, 0);
        d.http.get("/_ping").expect(200);
        d.http.get("/containers/json?all=1").expect(200);
        d.http.get("/containers/stuck/json").expect(200);
        for process in testkit::census::processes(&d.mark(), None, &[]) {
            if process.what.contains("/runc ")
                && process.what.contains(" create ")
                && !process.what.contains("conmon ")
            {
                let pid = i32::try_from(process.pid)
                    .ok()
                    .and_then(rustix::process::Pid::from_raw);
                let kill = rustix::process::Signal::KILL;
                let _ = rustix::process::kill_process(pid.expect("a pid"), kill);
            }
        }
        let answer = stuck.join().expect("it answers");
        assert!(matches!(answer.status, 400 | 500), "{}", answer.text());
    });
    expect_only_the_container(&d, "the hung runtime");
    d.start_container("stuck");
    assert_eq!(d.wait("stuck"), 0);
    d.finish();
}

/// A delete that fails after the exit must not lose the code, and is tried again.
#[test]
fn a_runtime_that_cannot_delete_does_not_lose_the_code() {
    let fakes = Fakes::new();
    let d = Daemon::start(options().fakes(&fakes));
    fakes.behave("runc delete fail device or resource busy");
    let out = d.run("it", json!({"Cmd": ["sh", "-c", "exit 6"]}));
    assert_eq!(out.code, 6);
    fakes.behave("");
    d.http.delete("/containers/it?force=1").expect(204);
    d.expect_nothing_left();
    d.finish();
}

#[test]
fn missing_programs_are_named_when_they_are_needed() {
    let missing = "[conmon]\npaths = [\"/nonexistent/conmon\"]\n\
                   [runtimes.runc]\npaths = [\"/nonexistent/runc\"]\n";
    let path = tempfile::tempdir().expect("an empty directory");
    let d = Daemon::start(options().config(missing).path(path.path()));
    let answer = d.http.post_json(
        "/containers/create?name=xx",
        &json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}),
    );
    let said = if answer.status == 201 {
        d.http.post("/containers/xx/start").text()
    } else {
        answer.text()
    };
    assert!(said.contains("conmon") || said.contains("runc"), "{said}");
    d.http.get("/info").expect(200);
    d.finish();
}

/// `moored check` looks the host over; where the tests run it is sound.
#[test]
fn check_looks_the_host_over() {
    let root = tempfile::tempdir().expect("a directory");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_moored"));
    for (flag, dir) in [
        ("--data-root", "data"),
        ("--run-root", "run"),
        ("--socket", "sock"),
    ] {
        command.arg(flag).arg(root.path().join(dir));
    }
    let output = command.arg("check").output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    for word in [
        "conmon", "runc", "crun", "pidfd", "openat2", "overlay", "cgroup",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}
