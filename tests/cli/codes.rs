//! Exit codes of `docker run`, exactly as dockerd gives them, whichever runtime spoke.

use testkit::until;

use crate::with_each_runtime;

#[test]
fn codes_of_the_process_come_through() {
    with_each_runtime(|d| {
        let docker = d.docker();
        for code in [0, 1, 42, 125, 126, 127, 137, 143, 255] {
            let script = format!("exit {code}");
            docker
                .run(&["run", "--rm", "busybox", "sh", "-c", &script])
                .expect(code);
        }
        // pid 1 cannot kill itself; its child can be killed. The `exit` keeps the outer shell
        // from becoming the inner one.
        let script = "sh -c 'kill -KILL $$'; exit $?";
        docker
            .run(&["run", "--rm", "busybox", "sh", "-c", script])
            .expect(137);
    });
}

#[test]
fn failures_of_the_engine_are_125_126_and_127() {
    with_each_runtime(|d| {
        let docker = d.docker();
        for (args, code, words) in [
            (
                &["busybox", "/no/such/bin"][..],
                127,
                "no such file or directory",
            ),
            (
                &["busybox", "nosuchcmd"],
                127,
                "executable file not found in $PATH",
            ),
            (&["busybox", "/etc"], 126, ""),
            (&["busybox", "/etc/passwd"], 126, "permission denied"),
            (&["--no-such-flag", "busybox", "true"], 125, "unknown flag"),
            (&["--runtime", "nosuch", "busybox", "true"], 125, "nosuch"),
            (
                &["-u", "nosuch", "busybox", "true"],
                125,
                "unable to find user nosuch",
            ),
            (
                &["--network", "nosuch", "busybox", "true"],
                125,
                "network nosuch not found",
            ),
        ] {
            let mut all = vec!["run", "--rm"];
            all.extend(args);
            let out = docker.run(&all).expect(code);
            assert!(out.stderr.contains(words), "{all:?}: {}", out.stderr);
        }
        let all = docker.run(&["ps", "-aq"]).expect(0);
        assert_eq!(all.stdout, "", "--rm takes what never started, too");
    });
}

#[test]
fn signals_show_as_128_and_their_number() {
    with_each_runtime(|d| {
        let docker = d.docker();
        for (signal, code) in [("TERM", "143"), ("KILL", "137"), ("INT", "130")] {
            // In the host's pid namespace signals have their usual effect on the first process.
            docker
                .run(&[
                    "run", "-d", "--name", "sg", "--pid", "host", "busybox", "sleep", "1000",
                ])
                .expect(0);
            docker.run(&["kill", "-s", signal, "sg"]).expect(0);
            let out = docker.run(&["wait", "sg"]).expect(0);
            assert_eq!(out.trimmed(), code, "{signal}");
            docker.run(&["rm", "sg"]).expect(0);
        }
        docker
            .run(&["run", "-d", "--name", "tt", "busybox", "sleep", "1000"])
            .expect(0);
        docker.run(&["stop", "-t", "1", "tt"]).expect(0);
        let out = docker.run(&["wait", "tt"]).expect(0);
        assert_eq!(out.trimmed(), "137");
    });
}

/// The CLI in the foreground passes its own signals on.
#[test]
fn the_foreground_passes_signals_on() {
    let d = crate::daemon("runc");
    let docker = d.docker();
    let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let child = docker
        .command(&["run", "--rm", "--name", "fg", "busybox", "sh", "-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("docker runs");
    until("the trap is set", || {
        docker.run(&["logs", "fg"]).stdout == "ready\n"
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is our child");
    let out = child.wait_with_output().expect("it is our child");
    assert_eq!(out.status.code(), Some(9));
    assert_eq!(out.stdout, b"ready\ngot it\n");
    d.finish();
}
