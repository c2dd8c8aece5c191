//! Plain requests: half-close, clients that go, heads that never end, too many, too much.

use super::*;

#[tokio::test]
async fn a_request_followed_by_a_half_close_is_answered() {
    let server = Server::start(Options::default());
    for path in ["/_ping", "/slow"] {
        let mut client = server.connect().await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: d\r\n\r\n"))
            .await;
        client.half_close().await;
        let all = client.rest().await;
        assert!(all.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {all:?}");
    }
}

#[tokio::test]
async fn the_handler_knows_its_peer() {
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    client
        .send("GET /who HTTP/1.1\r\nConnection: close\r\nHost: d\r\n\r\n")
        .await;
    let all = client.rest().await;
    assert!(
        all.contains(&format!("Some({})", std::process::id())),
        "{all}"
    );
}

#[tokio::test]
async fn a_long_poll_and_a_stream_end_with_their_client() {
    let mut server = Server::start(Options::default());
    for path in ["/wait", "/events"] {
        let mut client = server.connect().await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: d\r\n\r\n"))
            .await;
        server.polls(1).await;
        drop(client);
        server.polls(0).await;
    }
}

#[tokio::test]
async fn a_long_poll_survives_a_half_close() {
    let mut server = Server::start(Options::default());
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: d\r\n\r\n").await;
    client.half_close().await;
    server.polls(1).await;
    let closed = tokio::time::timeout(Duration::from_millis(100), client.0.read_u8()).await;
    assert!(closed.is_err(), "it was cut");
    assert_eq!(*server.polls.borrow(), 1);
}

#[tokio::test]
async fn a_request_is_begun_even_if_its_client_left_at_once() {
    // `/wait` counts itself when it begins. The counter of a watch channel may skip values, so
    // the count of changes is looked at, not the value.
    let mut server = Server::start(Options::default());
    for _ in 0..20 {
        server.polls.mark_unchanged();
        let mut client = server.connect().await;
        client.send("GET /wait HTTP/1.1\r\nHost: d\r\n\r\n").await;
        drop(client);
        in_time(server.polls.changed()).await.unwrap();
        server.polls(0).await;
    }
}

#[tokio::test]
async fn a_head_that_never_ends_times_out_and_so_does_an_idle_connection() {
    let server = Server::start(Options {
        head_timeout: Duration::from_millis(100),
        ..Options::default()
    });
    let mut never = server.connect().await;
    never.send("GET /_ping HTTP/1.1\r\nHost:").await;
    assert_eq!(never.rest().await, "");
    let mut idle = server.connect().await;
    idle.ping().await;
    assert_eq!(idle.rest().await, "");
}

#[tokio::test]
async fn a_thousand_idle_connections_leave_room_for_a_good_client() {
    raise_open_files();
    let server = Server::start(Options::default());
    let mut idle = Vec::new();
    for i in 0..1000 {
        let mut client = server.connect().await;
        if i % 2 == 0 {
            client.send("GET /_ping HTTP/1.1\r\n").await;
        }
        idle.push(client);
    }
    server.connect().await.ping().await;
    drop(idle);
    server.connect().await.ping().await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_one_to_end() {
    let server = Server::start(Options {
        connections_max: 2,
        ..Options::default()
    });
    let mut first = server.connect().await;
    first.ping().await;
    let mut second = server.connect().await;
    second.ping().await;
    let mut third = server.connect().await;
    third.send("GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").await;
    let early = tokio::time::timeout(Duration::from_millis(50), third.0.read_u8()).await;
    assert!(early.is_err(), "two are allowed");
    drop(first);
    assert!(third.head().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_huge_head_is_431_and_garbage_is_400() {
    let server = Server::start(Options::default());
    let huge = format!("GET /_ping HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET /_ping HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (request, status) in [
        (huge.as_str(), "431"),
        (many.as_str(), "431"),
        ("NONSENSE\r\n\r\n", "400"),
        ("GET / HTTP/9.9\r\n\r\n", "400"),
        ("\0\u{1}\u{2}\u{3}\r\n\r\n", "400"),
        ("GET /_ping HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400"),
    ] {
        let mut client = server.connect().await;
        // The server may answer and close before it has read everything.
        let _ = client.0.write_all(request.as_bytes()).await;
        let head = client.head().await;
        assert_eq!(head.split(' ').nth(1), Some(status), "{head}");
    }
    server.connect().await.ping().await;
}

#[tokio::test]
async fn a_panic_is_a_500_in_dockers_form_and_hurts_nobody_else() {
    let server = Server::start(Options::default());
    let mut other = server.connect().await;
    other.ping().await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: d\r\n\r\n").await;
    let head = client.head().await;
    assert!(
        head.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
        "{head}"
    );
    assert!(
        head.contains("Content-Type: application/json\r\n"),
        "{head}"
    );
    assert!(
        client
            .until("}")
            .await
            .starts_with("{\"message\":\"internal error")
    );
    client.until("\n").await;
    client.ping().await;
    other.ping().await;
}

#[tokio::test]
async fn an_answer_reaches_a_client_that_is_still_sending() {
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    let head = "POST /nowhere HTTP/1.1\r\nHost: d\r\nContent-Length: 8388608\r\n\r\n";
    client.send(head).await;
    let (mut read, mut write) = client.0.into_split();
    // Nobody wants the body; a server that closes under it would break the pipe here.
    let sender = tokio::spawn(async move { write.write_all(&vec![0; 8 << 20]).await });
    let mut got = String::new();
    in_time(read.read_to_string(&mut got)).await.unwrap();
    assert!(got.starts_with("HTTP/1.1 404 Not Found\r\n"), "{got}");
    in_time(sender).await.unwrap().unwrap();
}

/// A process usually may have 1,024 descriptors; each connection of a test takes three.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
