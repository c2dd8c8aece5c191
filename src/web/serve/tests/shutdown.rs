//! The end: soon, whatever is open.

use super::*;

/// More than any of these needs, less than a hung one would take.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn idle_connections_close_at_once() {
    let mut server = Server::start(Options::default());
    let mut idle = server.connect().await;
    idle.ping().await;
    let mut silent = server.connect().await;
    silent.send("GET /_pi").await;
    let took = server.stop().await;
    assert!(took < SOON, "{took:?}");
    assert_eq!(idle.rest().await, "");
    assert!(!server.path.exists(), "the socket's file is gone");
    assert!(UnixStream::connect(&server.path).await.is_err());
}

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let mut server = Server::start(Options::default());
    let mut client = server.connect().await;
    client.send("GET /slow HTTP/1.1\r\nHost: d\r\n\r\n").await;
    // Sent is not received: a second request on a fresh connection comes after it.
    server.connect().await.ping().await;
    server.stop().await;
    assert!(client.rest().await.ends_with("slow"));
}

#[tokio::test]
async fn streams_hijacks_and_long_polls_are_cut() {
    let mut server = Server::start(Options::default());
    let mut open = Vec::new();
    for i in 0..100 {
        for path in ["/wait", "/events"] {
            let mut client = server.connect().await;
            client
                .send(format!("GET {path} HTTP/1.1\r\nHost: d\r\n\r\n"))
                .await;
            open.push(client);
        }
        server.polls(2 * (i + 1)).await;
        let mut client = server.connect().await;
        client
            .send("POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
            .await;
        client.head().await;
        open.push(client);
    }
    let took = server.stop().await;
    assert!(took < SOON, "{took:?}");
    server.polls(0).await;
    for mut client in open {
        client.rest().await;
    }
}
