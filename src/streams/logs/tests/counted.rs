//! Logs whose bytes are counted, read from a byte on.

use super::rotating::{Conmon, line, rotate};
use super::*;

/// Its bytes from `since` on, and where they begin.
async fn bytes_since(files: &LogFiles, since: u64) -> Result<(Vec<u8>, u64)> {
    let (mut reader, begin) = LogReader::open_payload(PayloadOptions {
        files: files.clone(),
        want: BOTH,
        framed: false,
        since,
        follow: None,
    })
    .await?;
    Ok((rest(&mut reader).await, begin))
}

#[tokio::test]
async fn a_byte_of_a_counted_log_keeps_its_number_when_older_ones_go() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let open = || LogFiles::counted(log.path.clone(), BOTH);
    let files = open();
    let mut all = Vec::new();
    for n in 0..40 {
        conmon.write(&line(n));
        all.extend(format!("line {n}\n").into_bytes());
        if n % 10 == 9 {
            rotate(&files, &conmon);
            files.sweep(2).unwrap();
        }
    }
    let gone: u64 = (0..20).map(|n| format!("line {n}\n").len() as u64).sum();
    let total = all.len() as u64;
    // The same to a daemon that comes later, also when one was killed before a file was removed.
    std::fs::write(log.path.with_file_name("ctr.log.2"), line(99)).unwrap();
    for files in [files, open()] {
        for since in [0, 7, gone, gone + 3, total - 1, total] {
            let (got, begin) = bytes_since(&files, since).await.unwrap();
            assert_eq!(begin, since.max(gone), "since {since}");
            assert!(
                got == all[usize::try_from(begin).unwrap()..],
                "since {since}"
            );
        }
        let e = bytes_since(&files, total + 1).await.unwrap_err();
        let words = format!("invalid offset {}: it has written {total} bytes", total + 1);
        assert_eq!(e.message(), words);
        assert_eq!(files.dropped_bytes(), gone);
    }
    assert!(!log.path.with_file_name("ctr.log.2").exists());
}

#[tokio::test]
async fn what_cannot_be_counted_is_not_removed_and_counted_once_later() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let files = LogFiles::counted(log.path.clone(), BOTH);
    for n in 0..30 {
        conmon.write(&line(n));
        if n % 10 == 9 {
            rotate(&files, &conmon);
        }
    }
    let blocker = log.path.with_file_name("ctr.log.dropped");
    std::fs::create_dir(&blocker).unwrap();
    assert!(files.sweep(2).is_err());
    assert_eq!(files.dropped_bytes(), 0);
    std::fs::remove_dir(&blocker).unwrap();
    files.sweep(2).unwrap();
    let gone: u64 = (0..10).map(|n| format!("line {n}\n").len() as u64).sum();
    assert_eq!(files.dropped_bytes(), gone);
}

#[tokio::test]
async fn bytes_with_a_hole_are_not_passed_off_as_whole() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let files = LogFiles::counted(log.path.clone(), BOTH);
    conmon.write(&line(0));
    let (mut reader, begin) = LogReader::open_payload(PayloadOptions {
        files: files.clone(),
        want: BOTH,
        framed: false,
        since: 0,
        follow: None,
    })
    .await
    .unwrap();
    assert_eq!(begin, 0);
    // Read to here, then the next two are gone before it comes to them.
    let (mut slow, _) = LogReader::open_payload(PayloadOptions {
        files: files.clone(),
        want: BOTH,
        framed: false,
        since: 0,
        follow: following::follow(&log, &Watcher::new().unwrap()).0.follow,
    })
    .await
    .unwrap();
    assert_eq!(soon(slow.next()).await.unwrap().unwrap(), "line 0\n");
    for n in 1..4 {
        rotate(&files, &conmon);
        conmon.write(&line(n));
        let hole = limits::LOG_HELD_BYTES_MAX / 2 + 4096;
        conmon.file.lock().unwrap().set_len(hole).unwrap();
    }
    rotate(&files, &conmon);
    files.sweep(0).unwrap();
    let e = loop {
        match soon(slow.next()).await {
            Some(Ok(_)) => {}
            Some(Err(e)) => break e,
            None => panic!("it ended as if it were whole"),
        }
    };
    assert_eq!(e.kind(), Kind::Unavailable);
    // One that had not opened its only file is told, too.
    let e = soon(reader.next()).await.unwrap().unwrap_err();
    assert_eq!(e.kind(), Kind::Unavailable);
}
