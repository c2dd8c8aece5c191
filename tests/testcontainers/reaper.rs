//! A stand-in for testcontainers' Ryuk, whose image is out of reach here: the same protocol on port 8080,
//! the same calls on the daemon's socket. Built by the test as a static program, std alone.
//!
//! A client says which labels are its own (`label=KEY=VALUE`), a line each, and is answered `ACK`. When the
//! last client is gone and none has come for `RYUK_RECONNECTION_TIMEOUT`, everything with those labels is
//! removed, and the program ends.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

const SOCKET: &str = "/var/run/docker.sock";
/// Before the first client.
const FIRST: Duration = Duration::from_secs(60);

enum Said {
    Came,
    Label(String),
    Gone,
}

fn main() {
    assert!(ask("GET", "/_ping").starts_with("HTTP/1.1 200 "), "no daemon");
    let listener = TcpListener::bind("0.0.0.0:8080").expect("the port is free");
    println!("Started!");
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || serve(client, &tell));
        }
    });
    for label in wait(&told) {
        prune(&label);
    }
}

fn serve(client: TcpStream, tell: &Sender<Said>) {
    let _ = tell.send(Said::Came);
    let mut answer = client.try_clone().expect("a descriptor");
    for line in BufReader::new(client).lines().map_while(Result::ok) {
        if let Some(label) = line.trim().strip_prefix("label=") {
            let _ = tell.send(Said::Label(label.to_owned()));
            let _ = answer.write_all(b"ACK\n");
        }
    }
    let _ = tell.send(Said::Gone);
}

/// The labels, once all clients have gone for good.
fn wait(told: &Receiver<Said>) -> BTreeSet<String> {
    let set = std::env::var("RYUK_RECONNECTION_TIMEOUT").unwrap_or_default();
    let seconds = set.trim_end_matches('s').parse().unwrap_or(10);
    let (mut labels, mut clients, mut patience) = (BTreeSet::new(), 0, FIRST);
    loop {
        let next = match clients {
            0 => told.recv_timeout(patience),
            _ => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(Said::Came) => clients += 1,
            Ok(Said::Label(label)) => drop(labels.insert(label)),
            Ok(Said::Gone) => clients -= 1,
            Err(_) => return labels,
        }
        patience = Duration::from_secs(seconds);
    }
}

/// Containers, networks and volumes, in Ryuk's order.
fn prune(label: &str) {
    let filters = format!("%7B%22label%22%3A%5B%22{label}%22%5D%7D");
    for (list, key, remove, query) in [
        ("/containers/json?all=1&", "Id", "/containers/", "?force=1&v=1"),
        ("/networks?", "Id", "/networks/", ""),
        ("/volumes?", "Name", "/volumes/", "?force=1"),
    ] {
        let found = ask("GET", &format!("{list}filters={filters}"));
        assert!(found.starts_with("HTTP/1.1 200 "), "{found}");
        for id in words(&found, &format!("\"{key}\":\"")) {
            let removed = ask("DELETE", &format!("{remove}{id}{query}"));
            println!("{remove}{id}: {}", removed.lines().next().unwrap_or_default());
        }
    }
}

/// What stands behind `key`, up to the next quote.
fn words<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(key).skip(1).filter_map(|rest| rest.split('"').next())
}

fn ask(method: &str, path: &str) -> String {
    let mut stream = UnixStream::connect(SOCKET).expect("the daemon's socket is mounted");
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        .expect("it is read");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}
