//! A journalctl that is a script, and entries as the real one writes them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::Want;
use crate::logs::{FollowHandle, LogOptions, LogReader, LogSource};

const BOTH: Want = Want {
    stdout: true,
    stderr: true,
};

/// An entry in the export format, with its message as text or, where that cannot be, with a length.
fn entry(number: u32, priority: u8, partial: bool, text: &[u8]) -> Vec<u8> {
    // As conmon does.
    let newline: &[u8] = if partial { b"" } else { b"\n" };
    let message = &[text, newline].concat()[..];
    let mut out = format!(
        "__CURSOR=c{number}\n__REALTIME_TIMESTAMP={}\n_PID=7\nPRIORITY={priority}\n",
        1_700_000_000_000_000_u64 + u64::from(number)
    )
    .into_bytes();
    if partial {
        out.extend(b"CONTAINER_PARTIAL_MESSAGE=true\n");
    }
    match message.contains(&b'\n') {
        false => {
            out.extend(b"MESSAGE=");
            out.extend(message);
        }
        true => {
            out.extend(b"MESSAGE\n");
            out.extend((message.len() as u64).to_le_bytes());
            out.extend(message);
        }
    }
    out.extend(b"\n\n");
    out
}

/// A program that says what is in `said` for a call, and writes down how it was called.
fn journalctl(dir: &Path, script: &str) -> JournalLog {
    let program = dir.join("journalctl");
    let calls = dir.join("calls");
    let text = format!(
        "#!/bin/sh\necho \"$@\" >>{}\ncd {}\n{script}\n",
        calls.display(),
        dir.display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    JournalLog {
        program,
        ..JournalLog::new("ID")
    }
}

fn options(log: JournalLog) -> LogOptions {
    LogOptions {
        source: LogSource::Journal(log),
        want: BOTH,
        since: None,
        until: None,
        timestamps: false,
        details_prefix: None,
        tail: None,
        tty: true,
        follow: None,
    }
}

/// To follow to this end; the journal needs no watcher.
fn until(ended: &CancellationToken) -> Option<FollowHandle> {
    Some(FollowHandle {
        watcher: None,
        ended: ended.clone(),
    })
}

async fn all(mut reader: LogReader) -> String {
    let mut out = Vec::new();
    while let Some(batch) = reader.next().await {
        out.extend_from_slice(&batch.unwrap());
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn entries_are_read_in_whatever_pieces_they_come() {
    let parts = [
        entry(1, 6, false, b"plain=text"),
        entry(2, 3, false, b"with\n\nempty lines"),
        b"__CURSOR=x\n__REALTIME_TIMESTAMP=5\nOTHER=not conmon's\n\n".to_vec(),
        entry(3, 6, true, b""),
    ];
    let whole = parts.concat();
    for size in [1, 7, whole.len()] {
        let mut entries = Entries::default();
        let mut found = Vec::new();
        for piece in whole.chunks(size) {
            entries.waiting.extend_from_slice(piece);
            while let Some(entry) = entries.next().unwrap() {
                found.push((entry.stream, entry.partial, entry.text));
            }
        }
        let expected = [
            (StreamId::Stdout, false, b"plain=text".to_vec()),
            (StreamId::Stderr, false, b"with\n\nempty lines".to_vec()),
            (StreamId::Stdout, true, Vec::new()),
        ];
        assert_eq!(found, expected, "in pieces of {size}");
    }
    for bad in [
        &b"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xffx"[..],
        b"MESSAGE\n\x01\0\0\0\0\0\0\0xx",
    ] {
        let mut entries = Entries::default();
        entries.waiting.extend_from_slice(bad);
        assert!(entries.next().is_err());
    }
}

#[tokio::test]
async fn lines_are_joined_and_the_call_says_what_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let said = [
        entry(1, 6, true, b"be"),
        entry(2, 3, false, b"aside"),
        entry(3, 6, false, b"gin"),
        entry(4, 6, true, b"no end"),
    ];
    std::fs::write(dir.path().join("said"), said.concat()).unwrap();
    let log = journalctl(dir.path(), "case $1 in --sync) ;; *) cat said;; esac");
    let reader = LogReader::open(options(log.clone())).await.unwrap();
    assert_eq!(all(reader).await, "aside\nbegin\nno end");
    let at = "2023-11-14T22:13:20.000002Z".parse().unwrap();
    let reader = LogReader::open(LogOptions {
        since: Some(at),
        timestamps: true,
        tail: Some(3),
        want: Want {
            stderr: true,
            stdout: false,
        },
        ..options(log.clone())
    });
    assert_eq!(
        all(reader.await.unwrap()).await,
        "2023-11-14T22:13:20.000002000Z aside\n"
    );
    let reader = LogReader::open_journal_payload(log, BOTH, false);
    assert_eq!(all(reader.unwrap()).await, "beaside\ngin\nno end");
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    let calls: Vec<&str> = calls.lines().collect();
    let head = "--output=export --quiet --no-pager";
    assert_eq!(
        calls[..2],
        ["--sync".to_owned(), format!("{head} CONTAINER_ID_FULL=ID")]
    );
    // A count is of all lines: the times are looked at when they come.
    assert_eq!(calls[3], format!("{head} --lines=3 CONTAINER_ID_FULL=ID"));
}

/// Of a run that is over nothing is followed, and a count holds all the same.
#[tokio::test]
async fn a_count_holds_for_a_follower_of_a_run_that_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let said = [entry(1, 6, false, b"one"), entry(2, 6, false, b"two")];
    std::fs::write(dir.path().join("said"), said.concat()).unwrap();
    let ended = CancellationToken::new();
    ended.cancel();
    let log = journalctl(dir.path(), "case $1 in --sync) ;; *) cat said;; esac");
    let wanted = |tail, since: Option<&str>, before: Option<&str>| {
        let reader = LogReader::open(LogOptions {
            follow: until(&ended),
            tail,
            since: since.map(|at| at.parse().unwrap()),
            until: before.map(|at| at.parse().unwrap()),
            ..options(log.clone())
        });
        async { all(reader.await.unwrap()).await }
    };
    assert_eq!(wanted(Some(7), None, None).await, "one\ntwo\n");
    assert_eq!(wanted(Some(0), None, None).await, "");
    let (first, second) = ("2023-11-14T22:13:20.000001Z", "2023-11-14T22:13:20.000002Z");
    assert_eq!(wanted(Some(7), Some(second), None).await, "two\n");
    assert_eq!(wanted(None, None, Some(first)).await, "one\n");
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    assert!(!calls.contains("--follow"), "{calls}");
    assert_eq!(calls.matches("--lines=7 CONTAINER").count(), 2, "{calls}");
}

/// What the journal takes in after the run is over comes, too, and nothing comes twice.
#[tokio::test]
async fn a_follower_gets_what_the_journal_had_not_taken_in_yet() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("first"), entry(1, 6, false, b"one")).unwrap();
    std::fs::write(dir.path().join("rest"), entry(2, 6, false, b"two")).unwrap();
    let script = "case \"$*\" in *--follow*) cat first; printf __CUR; exec sleep 1000;; \
                  *--sync*) touch synced;; *--after-cursor=c1*) [ -e synced ] && cat rest;; esac";
    let ended = CancellationToken::new();
    let mut reader = LogReader::open(LogOptions {
        follow: until(&ended),
        ..options(journalctl(dir.path(), script))
    })
    .await
    .unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "one\n");
    let nothing = tokio::time::timeout(Duration::from_millis(50), reader.next());
    assert!(nothing.await.is_err(), "it waits");
    ended.cancel();
    assert_eq!(all(reader).await, "two\n");
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let none = JournalLog {
        program: dir.path().join("none"),
        ..JournalLog::new("ID")
    };
    let e = LogReader::open(options(none)).await.unwrap_err();
    assert!(
        e.message().starts_with("the journal cannot be read: "),
        "{e}"
    );
    let log = journalctl(dir.path(), "cat said; echo No journal files. >&2; exit 1");
    std::fs::write(dir.path().join("said"), entry(1, 6, true, b"begun")).unwrap();
    for ended in [None, Some(CancellationToken::new())] {
        let mut reader = LogReader::open(LogOptions {
            follow: ended.as_ref().and_then(until),
            ..options(log.clone())
        })
        .await
        .unwrap();
        let e = reader.next().await.unwrap().unwrap_err();
        assert!(
            e.message().ends_with("journalctl: No journal files."),
            "{e}"
        );
        // What it had said is not lost with that.
        assert_eq!(reader.next().await.unwrap().unwrap(), "begun");
        assert!(reader.next().await.is_none());
    }
}
