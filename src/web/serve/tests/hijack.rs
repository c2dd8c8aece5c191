//! Hijacks: the heads to the byte, both directions, half-close, early bytes.

use super::*;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n";
const HEAD_101: &str = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
const HEAD_200: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";

fn request(path: &str, rest: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: d\r\n{rest}")
}

#[tokio::test]
async fn an_upgrade_is_raw_both_ways_and_survives_the_clients_half_close() {
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    client.send(request("/echo", UPGRADE)).await;
    assert_eq!(client.head().await, HEAD_101);
    client.send("one").await;
    assert_eq!(client.until("one").await, "one");
    client.send("two").await;
    client.half_close().await;
    assert_eq!(client.rest().await, "twoeof");
}

#[tokio::test]
async fn without_upgrade_the_head_is_200_and_the_stream_is_raw_all_the_same() {
    let server = Server::start(Options::default());
    for head in [
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 0\r\nConnection: close\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(request("/echo", head)).await;
        assert_eq!(client.head().await, HEAD_200);
        client.send("one").await;
        assert_eq!(client.until("one").await, "one");
        client.half_close().await;
        assert_eq!(client.rest().await, "eof");
    }
}

#[tokio::test]
async fn bytes_sent_along_with_the_request_are_kept() {
    let server = Server::start(Options::default());
    for (rest, head) in [(UPGRADE, HEAD_101), ("Content-Length: 0\r\n\r\n", HEAD_200)] {
        let mut client = server.connect().await;
        client
            .send(format!("{}early", request("/echo", rest)))
            .await;
        client.half_close().await;
        assert_eq!(client.rest().await, format!("{head}earlyeof"));
    }
}

#[tokio::test]
async fn a_body_is_the_handlers_and_what_follows_is_the_streams() {
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    let head = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 4\r\n\r\n";
    client
        .send(format!("{}bodystream", request("/echo", head)))
        .await;
    client.half_close().await;
    assert_eq!(client.rest().await, format!("{HEAD_101}bodystreameof"));
}

#[tokio::test]
async fn a_kept_alive_connection_can_be_hijacked() {
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    client.ping().await;
    client.ping().await;
    client.send(request("/echo", UPGRADE)).await;
    assert_eq!(client.head().await, HEAD_101);
    client.half_close().await;
    assert_eq!(client.rest().await, "eof");
}

#[tokio::test]
async fn a_pipelined_answer_comes_whole_before_the_hijacks_head() {
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    let ping = "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n";
    client
        .send(format!("{ping}{ping}{}", request("/echo", UPGRADE)))
        .await;
    client.half_close().await;
    let all = client.rest().await;
    assert_eq!(all.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{all}");
    assert!(all.ends_with(&format!("OK{HEAD_101}eof")), "{all}");
}

#[tokio::test]
async fn data_follow_only_when_the_head_was_read() {
    // docker-py loses what it reads together with the head. The client here is as bad as can be:
    // it asks for a lot at once, each time.
    let server = Server::start(Options::default());
    for _ in 0..50 {
        let mut client = server.connect().await;
        let head = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 4\r\n\r\nbody";
        client.send(request("/echo", head)).await;
        let mut first = vec![0; 4096];
        let n = in_time(client.0.read(&mut first)).await.unwrap();
        assert_eq!(std::str::from_utf8(&first[..n]), Ok(HEAD_101));
        assert_eq!(client.until("body").await, "body");
    }
}

#[tokio::test]
async fn further_head_lines_and_refusals_are_dockers_to_the_byte() {
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    client.send(request("/extra", UPGRADE)).await;
    let head = HEAD_101.replace("\r\n\r\n", "\r\nApi-Version: 1.45\r\nOstype: linux\r\n\r\n");
    assert_eq!(client.rest().await, head);

    for rest in [UPGRADE, "Content-Length: 0\r\n\r\n"] {
        let mut client = server.connect().await;
        client.send(request("/refuse", rest)).await;
        assert_eq!(
            client.rest().await,
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nNo such container: nosuch\r\n"
        );
    }
}

#[tokio::test]
async fn a_session_sees_its_client_go_but_not_half_close() {
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    client.send(request("/gone", UPGRADE)).await;
    client.head().await;
    client.half_close().await;
    let more = tokio::time::timeout(Duration::from_millis(50), client.0.read_u8()).await;
    assert!(more.is_err(), "the session must still be there");
    drop(client);
    // The connection's task ends with its session: the end has nothing to wait for.
    let mut server = server;
    assert!(server.stop().await < Options::default().shutdown_timeout);
}

#[tokio::test]
async fn much_data_passes_unharmed() {
    const BYTES: usize = 8 << 20;
    let server = Server::start(Options::default());
    let mut client = server.connect().await;
    client.send(request("/echo", UPGRADE)).await;
    client.head().await;
    let sent: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
    let (mut read, mut write) = client.0.into_split();
    let to_send = sent.clone();
    let sender = tokio::spawn(async move {
        write.write_all(&to_send).await.unwrap();
        write.shutdown().await.unwrap();
        write
    });
    let mut got = Vec::new();
    in_time(read.read_to_end(&mut got)).await.unwrap();
    sender.await.unwrap();
    assert!(got[..BYTES] == sent[..], "the bytes differ");
    assert_eq!(&got[BYTES..], b"eof");
}
