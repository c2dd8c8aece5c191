//! Descriptors that a client passes with a start, over the socket.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::json;
use testkit::Daemon;

use super::{attached, create, host};
use crate::daemon;

/// Sends a POST with `fds`, and reads what comes until the end.
fn post(d: &Daemon, path: &str, head: &str, body: &str, fds: &[BorrowedFd<'_>]) -> String {
    let mut stream = connect(d);
    send(
        &stream,
        path,
        &format!("{head}Connection: close\r\n"),
        body,
        fds,
    );
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn connect(d: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(d.root().join("moored.sock")).expect("a daemon");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a socket");
    stream
}

fn send(stream: &UnixStream, path: &str, head: &str, body: &str, fds: &[BorrowedFd<'_>]) {
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{head}\r\n{body}",
        body.len()
    );
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg(stream, &text, &mut control, SendFlags::empty()).expect("it is sent");
}

const PLAIN: &str = r#"{"Detach": false}"#;

#[test]
fn an_exec_reads_and_writes_what_its_client_passed() {
    let d = daemon();
    host(&d);
    let (input, output) = (d.root().join("in"), d.root().join("out"));
    std::fs::write(&input, "from the client").expect("ours");
    let (reads, writes) = (
        File::open(&input).expect("ours"),
        File::create(&output).expect("ours"),
    );
    let fds = [reads.as_fd(), writes.as_fd()];
    let script = "cat <&3; echo said >&4; echo -n ' and'; ls /proc/self/fd | tr '\\n' ' '";
    let id = create(&d, attached(&["sh", "-c", script]));
    let announced = "Moored-Descriptors: 2\r\n";
    let answer = post(&d, &format!("/exec/{id}/start"), announced, PLAIN, &fds);
    assert!(
        answer.contains("from the client") && answer.contains(" and"),
        "{answer}"
    );
    assert!(answer.contains("0 1 2 3 4 5 "), "{answer}");
    assert!(
        !answer.contains("6"),
        "only these, and the directory: {answer}"
    );
    assert_eq!(std::fs::read_to_string(&output).expect("ours"), "said\n");

    // A process that runs on has them.
    let (mut ours, theirs) = UnixStream::pair().expect("sockets");
    let echo = json!({"Cmd": ["sh", "-c", "cat <&3 >&3"]});
    let id = create(&d, echo);
    let path = format!("/exec/{id}/start");
    let answer = post(
        &d,
        &path,
        "Moored-Descriptors: 1\r\n",
        r#"{"Detach": true}"#,
        &[theirs.as_fd()],
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(theirs);
    ours.write_all(b"over the daemon's end").expect("it runs");
    let mut got = [0; 21];
    ours.read_exact(&mut got).expect("it echoes");
    assert_eq!(&got, b"over the daemon's end");
    // Its end is ours: no copy is left in the daemon, and conmon's end with the process.
    d.http
        .post(&format!("/moored/exec/{id}/kill?signal=KILL"))
        .expect(204);
    assert_eq!(ours.read(&mut got).expect("the end"), 0);
    d.finish();
}

#[test]
fn a_container_has_them_for_one_run() {
    for runtime in ["runc", "crun"] {
        let d = Daemon::start(crate::options().runtime(runtime));
        let (mut ours, theirs) = UnixStream::pair().expect("sockets");
        let script = "[ -e /proc/self/fd/3 ] && echo served >&3; echo done";
        let id = d.create("served", json!({"Cmd": ["sh", "-c", script]}));
        let path = format!("/containers/{id}/start");
        let answer = post(
            &d,
            &path,
            "Moored-Descriptors: 1\r\n",
            "",
            &[theirs.as_fd()],
        );
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        drop(theirs);
        assert_eq!(d.wait(&id), 0);
        let mut got = String::new();
        ours.read_to_string(&mut got).expect("and its end");
        assert_eq!(got, "served\n", "{runtime}");
        d.start_container(&id);
        d.wait(&id);
        assert_eq!(d.logs(&id).stdout, "done\ndone\n");
        d.finish();
    }
}

#[test]
fn what_was_not_announced_or_is_too_much_is_refused_and_closed() {
    let d = daemon();
    host(&d);
    let fds = || {
        let path = format!("/proc/{}/fd", d.pid());
        std::fs::read_dir(path).expect("it runs").count()
    };
    let id = create(
        &d,
        attached(&["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"]),
    );
    let path = format!("/exec/{id}/start");
    let null = File::open("/dev/null").expect("a device");
    let many = vec![null.as_fd(); 65];
    let before = fds();
    for (head, count, said) in [
        (
            "Moored-Descriptors: 2\r\n",
            1,
            "2 descriptors were announced and 1 were passed",
        ),
        (
            "Moored-Descriptors: 1\r\n",
            0,
            "1 descriptors were announced and 0 were passed",
        ),
        (
            "Moored-Descriptors: 0\r\n",
            1,
            "0 descriptors were announced and 1 were passed",
        ),
        (
            "Moored-Descriptors: 65\r\n",
            65,
            "it must be a number of at most 64",
        ),
        (
            "Moored-Descriptors: 64\r\n",
            65,
            "more descriptors were passed than the 64",
        ),
        (
            "Moored-Descriptors: x\r\n",
            0,
            "it must be a number of at most 64",
        ),
    ] {
        let answer = post(&d, &path, head, PLAIN, &many[..count]);
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains(said),
            "{head}{answer}"
        );
    }
    // They come with other requests as well, and are nobody's.
    let mut stream = connect(&d);
    for _ in 0..10 {
        send(&stream, "/containers/host/pause", "", "", &many[..20]);
        read_head(&mut stream);
        send(&stream, "/containers/host/unpause", "", "", &many[..20]);
        read_head(&mut stream);
    }
    // But for the connection's own.
    testkit::until(&format!("all are closed: {before}"), || fds() < before + 5);
    drop(stream);
    testkit::until("the connection's own, too", || fds() <= before);
    let answer = post(&d, &path, "", PLAIN, &many[..2]);
    assert!(answer.contains("0 1 2 3 "), "not announced: {answer}");
    d.finish();
}

fn read_head(stream: &mut UnixStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 204"),
        "{}",
        String::from_utf8_lossy(&head)
    );
}
