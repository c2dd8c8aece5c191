//! Clients' input: packets, back-pressure, and who may end it.

use super::*;

#[tokio::test(start_paused = true)]
async fn stdin_once_keeps_its_connection_though_nobody_listens() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Once);
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    drop(hub.subscribe(BOTH).unwrap());
    let mut buffer = [0; 8];
    tokio::time::timeout(10 * IDLE_LINGER, peer.recv(&mut buffer))
        .await
        .expect_err("still open");
}

#[tokio::test]
async fn input_is_split_and_waits_for_the_start() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Once);
    let _client = hub.subscribe(BOTH).unwrap();
    let mut stdin = hub.stdin().unwrap();
    let input: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let writer = tokio::spawn({
        let input = Bytes::from(input.clone());
        async move {
            stdin.write(Bytes::new()).await.unwrap();
            stdin.write(input).await.unwrap();
            stdin.finish()
        }
    });
    tokio::task::yield_now().await;
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    let mut got = Vec::new();
    let mut lengths = Vec::new();
    loop {
        let packet = packet(&peer).await;
        if packet.is_empty() {
            break;
        }
        lengths.push(packet.len());
        got.extend(packet);
    }
    assert_eq!(lengths, [32_768, 32_768, 32_768, 1_696]);
    assert_eq!(got, input);
    assert_eq!(soon(writer).await.unwrap(), AfterEof::OutputGoesOn);
}

#[tokio::test]
async fn output_goes_on_after_the_half_close_and_nobody_writes_any_more() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Once);
    let mut client = hub.subscribe(BOTH).unwrap();
    let mut other = hub.stdin().unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    assert_eq!(hub.stdin().unwrap().finish(), AfterEof::OutputGoesOn);
    assert_eq!(packet(&peer).await, b"", "the EOF");
    assert_eq!(
        soon(other.write(Bytes::from_static(b"late"))).await,
        Err(StdinClosed)
    );
    stdout(&peer, b"done").await;
    drop(peer);
    soon(hub.finished()).await;
    assert_eq!(parse(&rest(&mut client).await), [(1, b"done".to_vec())]);
}

#[tokio::test]
async fn a_client_that_left_before_the_start_is_an_eof_at_the_start() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Once);
    drop(hub.stdin().unwrap());
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    assert_eq!(packet(&peer).await, b"");
    drop(peer);
    soon(hub.finished()).await;

    // The next run has its own stdin.
    let mut stdin = hub.stdin().unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    stdin.write(Bytes::from_static(b"hi")).await.unwrap();
    assert_eq!(packet(&peer).await, b"hi");
}

#[tokio::test]
async fn stdin_that_is_kept_open_survives_its_clients() {
    for (tty, policy) in [
        (true, StdinPolicy::Keep),
        (false, StdinPolicy::Keep),
        (true, StdinPolicy::Once),
    ] {
        let mut conmon = Conmon::new();
        let hub = hub(tty, policy);
        let _client = hub.subscribe(BOTH).unwrap();
        hub.connect(&conmon.path).unwrap();
        let peer = conmon.accept().await;
        assert_eq!(hub.stdin().unwrap().finish(), AfterEof::AttachEnds);
        let mut next = hub.stdin().unwrap();
        next.write(Bytes::from_static(b"still open")).await.unwrap();
        assert_eq!(packet(&peer).await, b"still open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_does_not_read_holds_its_writer_and_nothing_else() {
    let mut conmon = Conmon::new();
    let hub = hub(true, StdinPolicy::Keep);
    let mut client = hub.subscribe(BOTH).unwrap();
    let mut stdin = hub.stdin().unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    let writer = tokio::spawn(async move {
        loop {
            stdin.write(Bytes::from(vec![b'i'; 1 << 20])).await?;
        }
        #[expect(unreachable_code, reason = "names the type of the block")]
        Ok::<(), StdinClosed>(())
    });
    for _ in 0..1000 {
        stdout(&peer, b"output").await;
        assert_eq!(exactly(&mut client, 6).await, b"output");
    }
    assert!(!writer.is_finished());
    drop(peer);
    assert_eq!(soon(writer).await.unwrap(), Err(StdinClosed));
    soon(hub.finished()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_of_concurrent_writers_stay_whole() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Keep);
    let _client = hub.subscribe(BOTH).unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    let writers: Vec<_> = [b'a', b'b', b'c']
        .into_iter()
        .map(|letter| {
            let mut stdin = hub.stdin().unwrap();
            tokio::spawn(async move {
                for _ in 0..50 {
                    stdin.write(Bytes::from(vec![letter; 5000])).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..150 {
        let packet = packet(&peer).await;
        assert_eq!(packet.len(), 5000);
        assert!(packet.iter().all(|byte| *byte == packet[0]));
    }
    for writer in writers {
        soon(writer).await.unwrap();
    }
}

#[tokio::test]
async fn a_reset_is_an_end() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Once);
    let mut client = hub.subscribe(BOTH).unwrap();
    let mut stdin = hub.stdin().unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    stdin.write(Bytes::from_static(b"unread")).await.unwrap();
    drop(peer);
    soon(hub.finished()).await;
    assert_eq!(rest(&mut client).await, b"");
    assert_eq!(
        soon(stdin.write(Bytes::from_static(b"x"))).await,
        Err(StdinClosed)
    );
}

#[tokio::test]
async fn after_a_daemons_restart_output_comes_and_once_stdin_is_closed() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Once);
    hub.resume(&conmon.path);
    assert!(conmon.nobody_came());
    let mut client = hub.subscribe(BOTH).unwrap();
    let peer = conmon.accept().await;
    let mut stdin = hub.stdin().unwrap();
    assert_eq!(
        soon(stdin.write(Bytes::from_static(b"x"))).await,
        Err(StdinClosed)
    );
    stdout(&peer, b"on").await;
    assert_eq!(exactly(&mut client, 10).await[8..], *b"on");
}
