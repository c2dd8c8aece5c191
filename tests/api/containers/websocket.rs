//! `attach/ws`: a container's streams over a WebSocket, with a client that is not ours.

use std::os::unix::net::UnixStream;

use serde_json::json;
use testkit::Daemon;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::daemon;

fn open(d: &Daemon, path: &str) -> WebSocket<UnixStream> {
    let stream = d.http.connect().expect("the daemon listens");
    let url = format!("ws://d{path}");
    let (socket, head) = tungstenite::client(url, stream).expect("a handshake");
    assert_eq!(head.status(), 101);
    socket
}

/// All output, and how it closed.
fn read_to_end(socket: &mut WebSocket<UnixStream>) -> (String, Option<CloseCode>) {
    let mut text = Vec::new();
    loop {
        match socket.read().expect("a message") {
            Message::Binary(bytes) => text.extend_from_slice(&bytes),
            Message::Close(frame) => {
                let text = String::from_utf8(text).expect("text");
                return (text, frame.map(|f| f.code));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn output_comes_unframed_and_the_end_is_1000() {
    let d = daemon();
    let id = d.create(
        "it",
        json!({"Cmd": ["sh", "-c", "echo out; echo err >&2; exit 4"]}),
    );
    let mut socket = open(&d, "/containers/it/attach/ws?stream=1&stdout=1&stderr=1");
    d.start_container(&id);
    let (text, code) = read_to_end(&mut socket);
    // Two pipes of one process: which is read first is conmon's choice.
    assert!(text == "out\nerr\n" || text == "err\nout\n", "{text}");
    assert_eq!(code, Some(CloseCode::Normal));
    assert_eq!(d.wait(&id), 4);
    let mut again = open(&d, "/containers/it/attach/ws?logs=1&stdout=1");
    assert_eq!(read_to_end(&mut again).0, "out\n");
    d.finish();
}

#[test]
fn input_goes_to_stdin_and_a_close_is_its_end() {
    let d = daemon();
    let body = json!({"Cmd": ["cat"], "OpenStdin": true, "StdinOnce": true});
    let id = d.create("it", body);
    // Before 1.42 everything is attached.
    let mut socket = open(&d, "/v1.41/containers/it/attach/ws?stream=1");
    d.start_container(&id);
    socket.send(Message::text("one ")).expect("it reads");
    socket.send(Message::binary("two\n")).expect("it reads");
    let mut text = Vec::new();
    while !text.ends_with(b"two\n") {
        text.extend_from_slice(&socket.read().expect("a message").into_data());
    }
    assert_eq!(text, b"one two\n");
    socket.close(None).expect("it takes the close");
    assert!(
        matches!(socket.read(), Ok(Message::Close(_))),
        "and answers"
    );
    assert_eq!(d.wait(&id), 0);
    d.finish();
}

#[test]
fn what_is_no_handshake_is_refused() {
    let d = daemon();
    d.create("it", json!({"Cmd": ["true"]}));
    let path = "/containers/it/attach/ws?stream=1";
    d.http.get(path).expect_error(400, "not websocket protocol");
    let shake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    d.http
        .send("GET", path, &shake, b"")
        .expect_error(400, "missing or bad WebSocket Version");
    let mut whole = shake.to_vec();
    whole.push(("Sec-WebSocket-Version", "13"));
    let path = "/containers/nosuch/attach/ws?stdout=1";
    d.http
        .send("GET", path, &whole, b"")
        .expect_error(404, "No such container: nosuch");
    d.finish();
}
