//! `docker run -it` in a real pseudo-terminal.

use crate::{daemon, with_each_runtime};

#[test]
fn a_shell_in_a_terminal_knows_its_size_and_follows_it() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let args = ["run", "-it", "--rm", "busybox", "sh"];
        let mut pty = docker.pty(&args, 30, 100);
        pty.expect("# ");
        pty.write("tty\n");
        pty.expect("/dev/pts/0");
        // The CLI sends the first size right after the start: it may come after the prompt.
        pty.write("while [ \"$(stty size)\" != '30 100' ]; do sleep 0.05; done; echo si''zed\n");
        pty.expect("sized");
        pty.resize(50, 132);
        pty.write("while [ \"$(stty size)\" != '50 132' ]; do sleep 0.05; done; echo res''ized\n");
        pty.expect("resized");
        pty.write("exit 11\n");
        assert_eq!(pty.wait().0, 11);
    });
}

#[test]
fn ctrl_p_ctrl_q_detaches_and_attach_comes_back() {
    let d = daemon("runc");
    let docker = d.docker();
    let args = ["run", "-it", "--name", "term", "busybox", "sh"];
    let mut pty = docker.pty(&args, 24, 80);
    pty.expect("# ");
    pty.write("X=kept\n");
    pty.expect("# ");
    pty.write([0x10, 0x11]);
    let (code, shown) = pty.wait();
    assert_eq!(code, 0, "{shown}");
    let state = ["inspect", "-f", "{{.State.Status}}", "term"];
    assert_eq!(docker.run(&state).expect(0).trimmed(), "running");
    let mut pty = docker.pty(&["attach", "term"], 24, 80);
    pty.write("echo $X-still\n");
    pty.expect("kept-still");
    pty.write("exit 3\n");
    assert_eq!(pty.wait().0, 3);
    d.finish();
}

#[test]
fn ctrl_c_reaches_the_process() {
    let d = daemon("runc");
    let docker = d.docker();
    let script = "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.05; done";
    let mut pty = docker.pty(
        &["run", "-it", "--rm", "busybox", "sh", "-c", script],
        24,
        80,
    );
    pty.expect("ready");
    pty.write([3]);
    pty.expect("interrupted");
    assert_eq!(pty.wait().0, 7);
    d.finish();
}
