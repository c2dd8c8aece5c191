//! Clients that come back and say how much they have.

use super::*;

fn hub_with_history(tty: bool, bytes_max: usize) -> Hub {
    Hub::new(HubOptions {
        tty,
        stdin: StdinPolicy::None,
        ring_bytes: limits::CLIENT_RING_BYTES,
        spill: None,
        history: Some(HistoryOptions {
            want: BOTH,
            bytes_max,
            budget: HistoryBudget::new(1 << 20),
        }),
    })
}

/// Waits until the hub has taken so many bytes.
async fn taken(hub: &Hub, bytes: u64) {
    let has = || {
        hub.shared
            .lock()
            .history
            .as_ref()
            .is_some_and(|h| h.end() == bytes)
    };
    soon(async {
        while !has() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_that_comes_back_gets_what_it_missed_and_what_comes() {
    let (mut conmon, hub) = (Conmon::new(), hub_with_history(false, 1 << 20));
    hub.connect(&conmon.path).unwrap();
    // Connected with nobody there: all is kept.
    let connection = conmon.accept().await;
    stdout(&connection, b"one").await;
    write(&connection, 3, b"other").await;
    taken(&hub, 8).await;
    let (mut all, begin) = hub.subscribe_since(0).unwrap();
    let (mut some, second) = hub.subscribe_since(5).unwrap();
    assert_eq!((begin, second), (0, 5));
    stdout(&connection, b"late").await;
    drop(connection);
    soon(hub.finished()).await;
    let frames = parse(&rest(&mut all).await);
    let expected = [
        (1, b"one".to_vec()),
        (2, b"other".to_vec()),
        (1, b"late".to_vec()),
    ];
    assert_eq!(frames, expected);
    let frames = parse(&rest(&mut some).await);
    assert_eq!(frames, [(2, b"her".to_vec()), (1, b"late".to_vec())]);
    let e = hub.subscribe_since(0).unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "nothing runs");
    // Another run, another count.
    let mut conmon = Conmon::new();
    hub.connect(&conmon.path).unwrap();
    let connection = conmon.accept().await;
    stdout(&connection, b"again").await;
    taken(&hub, 5).await;
    assert_eq!(hub.subscribe_since(2).unwrap().1, 2);
}

#[tokio::test]
async fn what_is_kept_no_more_is_told_by_the_offset() {
    let (mut conmon, hub) = (Conmon::new(), hub_with_history(true, 20_000));
    hub.connect(&conmon.path).unwrap();
    let connection = conmon.accept().await;
    for byte in 0..10 {
        stdout(&connection, &[byte; 8000]).await;
    }
    taken(&hub, 80_000).await;
    let (mut late, begin) = hub.subscribe_since(100).unwrap();
    assert!(begin >= 60_000, "{begin}");
    let length = usize::try_from(80_000 - begin).unwrap();
    let got = exactly(&mut late, length).await;
    assert_eq!(got.last(), Some(&9));
    let e = hub.subscribe_since(80_001).unwrap_err();
    assert_eq!(e.kind(), Kind::InvalidParameter);
    assert_eq!(hub.subscribe_since(80_000).unwrap().1, 80_000);
}

#[tokio::test]
async fn after_a_restart_of_the_daemon_offsets_mean_nothing() {
    let (mut conmon, hub) = (Conmon::new(), hub_with_history(false, 1 << 20));
    hub.resume(&conmon.path);
    assert!(conmon.nobody_came());
    let e = hub.subscribe_since(0).unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict);
    let mut client = hub.subscribe(BOTH).unwrap();
    let connection = conmon.accept().await;
    stdout(&connection, b"more").await;
    drop(connection);
    soon(hub.finished()).await;
    assert_eq!(parse(&rest(&mut client).await), [(1, b"more".to_vec())]);
}
