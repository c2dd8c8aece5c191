//! `docker exec`: output, input, codes, users and terminals, with both runtimes.

use testkit::Daemon;

use crate::with_each_runtime;

fn host(d: &Daemon) {
    let args = [
        "run", "-d", "--init", "--name", "host", "-e", "OWN=1", "busybox", "sleep", "1000",
    ];
    d.docker().run(&args).expect(0);
}

#[test]
fn codes_come_through() {
    with_each_runtime(|d| {
        host(d);
        let docker = d.docker();
        for code in [0, 1, 42, 125, 126, 127, 137, 255] {
            let script = format!("exit {code}");
            docker
                .run(&["exec", "host", "sh", "-c", &script])
                .expect(code);
        }
        for (args, code, words) in [
            (
                // dockerd has one code for whatever cannot be executed.
                &["host", "nosuchcmd"][..],
                126,
                "executable file not found in $PATH",
            ),
            (&["host", "/etc/passwd"], 126, "permission denied"),
            (&["-u", "nosuch", "host", "true"], 126, "nosuch"),
            (&["nosuch", "true"], 1, "No such container: nosuch"),
        ] {
            let mut all = vec!["exec"];
            all.extend(args);
            let out = docker.run(&all);
            let said = format!("{}{}", out.stdout, out.stderr);
            assert!(said.contains(words), "{all:?}: {said}");
            out.expect(code);
        }
    });
}

#[test]
fn the_flags_do_what_they_say() {
    with_each_runtime(|d| {
        host(d);
        let docker = d.docker();
        let says = |args: &[&str], expected: &str| {
            let mut all = vec!["exec"];
            all.extend(args);
            let out = docker.run(&all).expect(0);
            assert_eq!(out.stdout, expected, "{all:?}: {}", out.stderr);
        };
        says(&["host", "sh", "-c", "echo $OWN"], "1\n");
        says(&["-e", "A=b c", "host", "sh", "-c", "echo $A"], "b c\n");
        says(&["-w", "/etc", "host", "pwd"], "/etc\n");
        says(
            &["-u", "1000:2000", "host", "sh", "-c", "id -u; id -g"],
            "1000\n2000\n",
        );
        let caps = "grep CapEff /proc/self/status";
        let plain = docker.run(&["exec", "host", "sh", "-c", caps]).expect(0);
        assert_eq!(plain.trimmed(), "CapEff:\t00000000a80425fb");
        let all = docker.run(&["exec", "--privileged", "host", "sh", "-c", caps]);
        assert_ne!(all.expect(0).stdout, plain.stdout);
        let out = docker.run_with(&["exec", "-i", "host", "cat"], b"one\ntwo\n");
        assert_eq!(out.expect(0).stdout, "one\ntwo\n");
        docker
            .run(&["exec", "-d", "host", "touch", "/tmp/made"])
            .expect(0);
        let made = "until [ -e /tmp/made ]; do sleep 0.02; done";
        docker.run(&["exec", "host", "sh", "-c", made]).expect(0);
    });
}

#[test]
fn a_terminal_is_one() {
    with_each_runtime(|d| {
        host(d);
        let mut pty = d.docker().pty(&["exec", "-it", "host", "sh"], 31, 97);
        pty.expect("# ");
        pty.write("while [ \"$(stty size)\" != '31 97' ]; do sleep 0.05; done; echo si''zed\n");
        pty.expect("sized");
        pty.write("exit 9\n");
        assert_eq!(pty.wait().0, 9);
    });
}
