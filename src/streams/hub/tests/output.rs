//! The container's output: every byte to whoever keeps up, and a connection only when needed.

use super::*;

#[tokio::test]
async fn a_client_before_the_start_gets_the_first_byte_and_the_end() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::None);
    let mut client = hub.subscribe(BOTH).unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    stdout(&peer, b"out1\npartial").await;
    write(&peer, 3, b"err1\n").await;
    stdout(&peer, b"\n").await;
    drop(peer);
    soon(hub.finished()).await;
    assert_eq!(
        parse(&rest(&mut client).await),
        [
            (1, b"out1\npartial".to_vec()),
            (2, b"err1\n".to_vec()),
            (1, b"\n".to_vec()),
        ]
    );
    assert!(soon(client.next()).await.is_none(), "the end stays the end");
}

#[tokio::test]
async fn a_terminal_is_raw_and_streams_are_chosen() {
    let mut conmon = Conmon::new();
    let hub = hub(true, StdinPolicy::Keep);
    let mut screen = hub.subscribe(BOTH).unwrap();
    let mut only_stderr = hub
        .subscribe(Want {
            stdout: false,
            stderr: true,
        })
        .unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    stdout(&peer, b"40 100\r\n").await;
    stdout(&peer, b"$ ").await;
    drop(peer);
    soon(hub.finished()).await;
    assert_eq!(rest(&mut screen).await, b"40 100\r\n$ ");
    assert_eq!(rest(&mut only_stderr).await, b"");
}

#[tokio::test]
async fn packets_of_an_unknown_kind_and_empty_ones_are_skipped() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::None);
    let mut client = hub.subscribe(BOTH).unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    write(&peer, 1, b"?").await;
    write(&peer, 200, b"?").await;
    write(&peer, 2, b"").await;
    write(&peer, 2, b"x").await;
    drop(peer);
    soon(hub.finished()).await;
    assert_eq!(parse(&rest(&mut client).await), [(1, b"x".to_vec())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_closed_and_holds_nobody() {
    let mut conmon = Conmon::new();
    let hub = Hub::new(HubOptions {
        tty: true,
        stdin: StdinPolicy::None,
        ring_bytes: 64 << 10,
        spill: None,
        history: None,
    });
    let mut slow = hub.subscribe(BOTH).unwrap();
    let mut fast = hub.subscribe(BOTH).unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    let mut expected = Vec::new();
    for n in 0..500_u32 {
        let payload = vec![n.to_le_bytes()[0]; 8192];
        stdout(&peer, &payload).await;
        let got = exactly(&mut fast, payload.len()).await;
        assert_eq!(got, payload, "write {n}");
        expected.extend(payload);
    }
    drop(peer);
    soon(hub.finished()).await;
    assert_eq!(rest(&mut fast).await, b"");
    // What waited is not taken from it.
    assert_eq!(exactly(&mut slow, 64 << 10).await, expected[..64 << 10]);
    let e = soon(slow.next()).await.unwrap().unwrap_err();
    assert_eq!(e.kind(), Kind::Unavailable);
    assert_eq!(
        e.message(),
        "this client reads too slowly: more waited for it than 65536 bytes in memory and 0 on disk"
    );
    assert!(soon(slow.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_gets_every_byte_when_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut conmon = Conmon::new();
    let hub = Hub::new(HubOptions {
        tty: false,
        stdin: StdinPolicy::None,
        ring_bytes: 64 << 10,
        spill: Some(SpillOptions {
            dir: dir.path().into(),
            bytes_max: 64 << 20,
            leave_bytes: 0,
        }),
        history: None,
    });
    let mut stopped = hub.subscribe(BOTH).unwrap();
    let mut gone = hub.subscribe(BOTH).unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    let mut expected = Vec::new();
    for n in 0..2000_u32 {
        let payload = vec![n.to_le_bytes()[0]; 8000];
        let kind = if n % 7 == 0 { 3 } else { 2 };
        write(&peer, kind, &payload).await;
        expected.push((kind - 1, payload));
    }
    // A client that leaves takes its file with it; one that starts to read late misses nothing.
    soon(gone.next()).await.unwrap().unwrap();
    drop(gone);
    drop(peer);
    soon(hub.finished()).await;
    assert_eq!(parse(&rest(&mut stopped).await), expected);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_output_cannot_be_kept_is_closed_and_holds_nobody() {
    let mut conmon = Conmon::new();
    let hub = Hub::new(HubOptions {
        tty: true,
        stdin: StdinPolicy::None,
        ring_bytes: 64 << 10,
        spill: Some(SpillOptions {
            dir: PathBuf::from("/no/such/directory").into(),
            bytes_max: 64 << 20,
            leave_bytes: 0,
        }),
        history: None,
    });
    let mut slow = hub.subscribe(BOTH).unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    for _ in 0..500 {
        stdout(&peer, &[b'x'; 8192]).await;
    }
    let e = soon(slow.next()).await.unwrap().unwrap_err();
    assert!(e.message().contains("could not be kept"), "{e}");
    assert!(soon(slow.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_is_drained_though_no_client_reads() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::None);
    let _stuck: Vec<_> = (0..8).map(|_| hub.subscribe(BOTH).unwrap()).collect();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    // Sixteen times what any ring holds: `stdout` fails the test when it has to wait.
    for _ in 0..16 * limits::CLIENT_RING_BYTES / 8192 {
        stdout(&peer, &[b'x'; 8192]).await;
    }
    assert_eq!(hub.shared.lock().clients.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_get_every_byte_in_order() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::None);
    let clients: Vec<_> = (0..50).map(|_| hub.subscribe(BOTH).unwrap()).collect();
    hub.connect(&conmon.path).unwrap();
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { rest(&mut client).await }))
        .collect();
    let peer = conmon.accept().await;
    let mut expected = Vec::new();
    for n in 0..100_u32 {
        let kind = if n % 3 == 0 { 3 } else { 2 };
        let payload = format!("write {n}\n").repeat(n as usize + 1).into_bytes();
        let payload = payload[..payload.len().min(8192)].to_vec();
        write(&peer, kind, &payload).await;
        expected.push((kind - 1, payload));
    }
    drop(peer);
    soon(hub.finished()).await;
    for reader in readers {
        assert_eq!(parse(&reader.await.unwrap()), expected);
    }
}

#[tokio::test]
async fn a_hub_serves_the_next_start_too() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::None);
    let mut first = hub.subscribe(BOTH).unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    stdout(&peer, b"one").await;
    drop(peer);
    soon(hub.finished()).await;

    // Attached to the exited container: waits for the next start.
    let mut second = hub.subscribe(BOTH).unwrap();
    assert!(conmon.nobody_came());
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    stdout(&peer, b"two").await;
    drop(peer);
    soon(hub.finished()).await;
    assert_eq!(parse(&rest(&mut first).await), [(1, b"one".to_vec())]);
    assert_eq!(parse(&rest(&mut second).await), [(1, b"two".to_vec())]);
}

#[tokio::test]
async fn nobody_listening_means_no_connection_until_somebody_does() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Keep);
    hub.connect(&conmon.path).unwrap();
    assert!(conmon.nobody_came());
    let mut client = hub.subscribe(BOTH).unwrap();
    let peer = conmon.accept().await;
    let _second = hub.subscribe(BOTH).unwrap();
    assert!(conmon.nobody_came(), "one connection at most");
    stdout(&peer, b"hello").await;
    assert_eq!(exactly(&mut client, 13).await[8..], *b"hello");
}

#[tokio::test(start_paused = true)]
async fn the_connection_closes_when_the_last_client_is_gone_a_while() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Keep);
    hub.connect(&conmon.path).unwrap();
    let client = hub.subscribe(BOTH).unwrap();
    let peer = conmon.accept().await;
    drop(client);
    assert_eq!(packet(&peer).await, b"", "closed");
    let _again = hub.subscribe(BOTH).unwrap();
    conmon.accept().await;
}

#[tokio::test(start_paused = true)]
async fn a_conmon_that_hangs_after_the_end_is_cut() {
    let mut conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::None);
    let mut client = hub.subscribe(BOTH).unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    stdout(&peer, b"last").await;
    hub.finished().await;
    assert_eq!(parse(&rest(&mut client).await), [(1, b"last".to_vec())]);
    assert_eq!(packet(&peer).await, b"", "closed");
}

#[tokio::test]
async fn a_client_that_comes_while_conmon_goes_waits_for_the_word() {
    let conmon = Conmon::new();
    let hub = hub(false, StdinPolicy::Once);
    hub.resume(&conmon.path);
    drop(conmon);
    let mut client = hub.subscribe(BOTH).unwrap();
    soon(hub.finished()).await;
    assert_eq!(rest(&mut client).await, b"");
}

#[tokio::test]
async fn a_start_without_a_socket_is_an_error_that_names_it() {
    let hub = hub(false, StdinPolicy::Once);
    let e = hub.connect(Path::new("/no/such/attach")).unwrap_err();
    assert_eq!(e.kind(), Kind::System);
    assert!(
        e.message()
            .starts_with("connect to conmon's attach socket: /no/such/attach: No such file"),
        "{e}"
    );
}

#[tokio::test]
async fn clients_are_counted_and_leave_room_when_they_go() {
    let hub = hub(false, StdinPolicy::None);
    let mut clients: Vec<_> = (0..limits::ATTACH_CLIENTS_MAX)
        .map(|_| hub.subscribe(BOTH).unwrap())
        .collect();
    let e = hub.subscribe(BOTH).unwrap_err();
    assert_eq!(e.kind(), Kind::Unavailable);
    clients.pop();
    hub.subscribe(BOTH).unwrap();
    assert!(hub.stdin().is_none());
}

#[test]
fn an_idle_hub_costs_a_few_hundred_bytes() {
    assert!(size_of::<Shared>() < 256, "{}", size_of::<Shared>());
}

/// Clients that come and go while output flows: each gets an unbroken run of writes, and those
/// that stay get the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_and_go_see_no_gap() {
    const WRITES: u32 = 5000;
    let mut conmon = Conmon::new();
    let hub = hub(true, StdinPolicy::None);
    let first = hub.subscribe(BOTH).unwrap();
    hub.connect(&conmon.path).unwrap();
    let peer = conmon.accept().await;
    let clients: Vec<_> = std::iter::once(Some(first))
        .chain(std::iter::repeat_with(|| None))
        .take(30)
        .zip(0_u32..)
        .map(|(subscription, n)| {
            let hub = hub.clone();
            tokio::spawn(async move {
                let mut client = subscription.unwrap_or_else(|| hub.subscribe(BOTH).unwrap());
                let mut seen = Vec::new();
                while let Some(bytes) = soon(client.next()).await {
                    let numbers = bytes.unwrap();
                    seen.extend(
                        numbers
                            .chunks_exact(4)
                            .map(|number| u32::from_be_bytes(number.try_into().unwrap())),
                    );
                    // Every third leaves in the middle and comes back as another.
                    if n % 3 == 2 && seen.len() > 100 * n as usize {
                        drop(client);
                        client = hub.subscribe(BOTH).unwrap();
                        assert!(seen.is_sorted_by(|a, b| a + 1 == *b));
                        seen.clear();
                    }
                }
                seen
            })
        })
        .collect();
    for number in 0..WRITES {
        stdout(&peer, &number.to_be_bytes()).await;
    }
    drop(peer);
    // Those that came after the last write are told of the end by the second.
    soon(hub.finished()).await;
    let mut longest = 0;
    for client in clients {
        let finished = hub.clone();
        let seen = soon(async move {
            tokio::pin!(client);
            loop {
                tokio::select! {
                    biased;
                    seen = &mut client => return seen.unwrap(),
                    () = tokio::task::yield_now() => finished.finished().await,
                }
            }
        })
        .await;
        assert!(seen.is_sorted_by(|a, b| a + 1 == *b));
        assert!(seen.last().is_none_or(|last| *last == WRITES - 1));
        longest = longest.max(seen.len());
    }
    assert_eq!(longest, WRITES as usize, "the first missed nothing");
}
