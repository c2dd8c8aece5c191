//! Logs of several files: rotated while they are read, packed, swept, and found again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::super::cursor::Cursor;
use super::*;
use model::LogLimits;

/// Writes a log as conmon does, and opens it anew when told to, before its next write.
pub(super) struct Conmon {
    path: PathBuf,
    pub(super) file: Mutex<File>,
    told: AtomicBool,
}

impl Conmon {
    pub(super) fn new(log: &Log) -> Arc<Self> {
        Arc::new(Self {
            path: log.path.clone(),
            file: Mutex::new(log.append()),
            told: AtomicBool::new(false),
        })
    }

    pub(super) fn write(&self, record: &str) {
        let mut file = self.file.lock().unwrap();
        file.write_all(record.as_bytes()).unwrap();
    }

    /// `reopen_k8s_file`.
    pub(super) fn reopen(&self) {
        let mut file = self.file.lock().unwrap();
        let temporary = self.path.with_extension("tmp");
        *file = File::create(&temporary).unwrap();
        std::fs::rename(&temporary, &self.path).unwrap();
        self.told.store(true, Ordering::Relaxed);
    }
}

pub(super) fn rotate(files: &LogFiles, conmon: &Conmon) {
    files.rotate().unwrap();
    conmon.reopen();
}

pub(super) fn names(log: &Log) -> Vec<String> {
    let entries = std::fs::read_dir(log.path.parent().unwrap()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(super) fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("out line {n}\n")).collect()
}

pub(super) fn line(n: u32) -> String {
    file(&[(n % 60, &format!("stdout F line {n}"))])
}

#[tokio::test]
async fn a_log_is_read_across_its_files_and_found_again() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let files = LogFiles::new(log.path.clone());
    for n in 0..50 {
        conmon.write(&line(n));
        if n % 10 == 4 {
            rotate(&files, &conmon);
        }
        if n == 30 {
            while files.pack_one().unwrap() {}
        }
    }
    let expected = [
        "ctr.log",
        "ctr.log.1.gz",
        "ctr.log.2.gz",
        "ctr.log.3.gz",
        "ctr.log.4",
        "ctr.log.5",
    ];
    assert_eq!(names(&log), expected);
    for files in [files, LogFiles::new(log.path.clone())] {
        let options = || LogOptions {
            source: files.clone().into(),
            ..log.options()
        };
        assert_eq!(lines(options()).await, numbered(0..50));
        for tail in [0, 1, 5, 6, 15, 16, 49, 50, 51] {
            let wanted = LogOptions {
                tail: Some(tail),
                ..options()
            };
            let first = 50_u32.saturating_sub(u32::try_from(tail).unwrap());
            assert_eq!(lines(wanted).await, numbered(first..50), "tail {tail}");
        }
    }
    LogFiles::new(log.path.clone()).sweep(2).unwrap();
    assert_eq!(names(&log), ["ctr.log", "ctr.log.4", "ctr.log.5"]);
    assert_eq!(lines(log.options()).await, numbered(25..50));
}

#[tokio::test]
async fn a_line_whose_pieces_are_in_two_files_is_joined() {
    let log = Log::new(file(&[(1, "stdout P one "), (2, "stderr F other")]));
    let conmon = Conmon::new(&log);
    rotate(&LogFiles::new(log.path.clone()), &conmon);
    conmon.write(&file(&[(3, "stdout F line")]));
    assert_eq!(
        lines(log.options()).await,
        ["err other\n", "out one line\n"]
    );
    let tail = LogOptions {
        tail: Some(1),
        ..log.options()
    };
    assert_eq!(lines(tail).await, ["out one line\n"]);
}

#[tokio::test]
async fn a_log_does_not_begin_with_the_rest_of_a_line() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let files = LogFiles::new(log.path.clone());
    conmon.write(&file(&[(1, "stdout F gone"), (2, "stdout P half of a")]));
    rotate(&files, &conmon);
    conmon.write(&file(&[
        (3, "stderr F other"),
        (4, "stdout P  line and"),
        (5, "stdout F  the rest"),
        (6, "stdout F next"),
    ]));
    rotate(&files, &conmon);
    conmon.write(&file(&[(7, "stdout F last")]));
    let whole = [
        "out gone\n",
        "err other\n",
        "out half of a line and the rest\n",
    ];
    assert_eq!(lines(log.options()).await[..3], whole);
    files.sweep(1).unwrap();
    // The same to a daemon that comes later.
    for files in [files.clone(), LogFiles::new(log.path.clone())] {
        let options = LogOptions {
            source: files.into(),
            ..log.options()
        };
        let left = ["err other\n", "out next\n", "out last\n"];
        assert_eq!(lines(options).await, left);
    }
    // The next file begins with a line.
    files.sweep(0).unwrap();
    assert_eq!(lines(log.options()).await, ["out last\n"]);
}

#[tokio::test]
async fn what_readers_need_stays_until_they_have_gone_on() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let files = LogFiles::new(log.path.clone());
    let mut reader = Cursor::enter(&files).unwrap();
    for n in 0..4 {
        conmon.write(&line(n));
        rotate(&files, &conmon);
        files.sweep(0).unwrap();
    }
    assert_eq!(names(&log).len(), 5, "all of them, and the new one");
    reader.advance(true).unwrap();
    files.sweep(1).unwrap();
    assert_eq!(
        names(&log),
        ["ctr.log", "ctr.log.2", "ctr.log.3", "ctr.log.4"]
    );
    drop(reader);
    files.sweep(1).unwrap();
    assert_eq!(names(&log), ["ctr.log", "ctr.log.4"]);
    files.rotate().unwrap();
    files.sweep(0).unwrap();
    assert_eq!(names(&log), ["ctr.log.5"], "conmon writes into it yet");
}

#[tokio::test]
async fn readers_that_need_too_much_are_told_what_they_missed() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let files = LogFiles::new(log.path.clone());
    let (options, ended) = following::follow(&log, &Watcher::new().unwrap());
    let options = LogOptions {
        source: files.clone().into(),
        ..options
    };
    let mut reader = LogReader::open(options).await.unwrap();
    for n in 0..3 {
        conmon.write(&line(n));
        // With a hole: readers may hold two of them.
        let end = log.append().metadata().unwrap().len();
        let hole = limits::LOG_HELD_BYTES_MAX / 2 - 4096;
        let written = conmon.file.lock().unwrap();
        written.set_len(end + hole).unwrap();
        drop(written);
        rotate(&files, &conmon);
    }
    files.sweep(0).unwrap();
    ended.cancel();
    // It was in the first, and had not opened it.
    assert_eq!(show(&rest(&mut reader).await), numbered(1..3));
    let skipped = reader.skipped();
    assert!(skipped.files == 1 && skipped.places >= 2, "{skipped:?}");
}

#[tokio::test]
async fn a_packing_that_was_cut_short_and_a_damaged_one_cost_no_more_than_they_must() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let files = LogFiles::new(log.path.clone());
    for n in 0..3 {
        conmon.write(&line(n));
        rotate(&files, &conmon);
    }
    while files.pack_one().unwrap() {}
    let packed = |n: u32| log.path.with_file_name(format!("ctr.log.{n}.gz"));
    // Killed before the plain one was removed.
    std::fs::write(log.path.with_file_name("ctr.log.1"), line(0)).unwrap();
    let whole = std::fs::read(packed(2)).unwrap();
    std::fs::write(packed(2), &whole[..whole.len() / 2]).unwrap();
    let (bytes, skipped) = read(log.options()).await;
    let shown = show(&bytes);
    assert_eq!(
        [&shown[0], &shown[shown.len() - 1]],
        ["out line 0\n", "out line 2\n"]
    );
    assert!(skipped.places >= 1);
    assert!(!packed(1).exists(), "the plain one is whole");
}

fn rotation(log: &Log, limits: LogLimits) -> (LogFiles, Rotation) {
    let files = LogFiles::new(log.path.clone());
    let watcher = Watcher::new().unwrap();
    (files.clone(), Rotation::new(files, limits, watcher))
}

#[tokio::test]
async fn a_daemon_that_was_killed_after_the_rename_is_made_good() {
    let log = Log::new(line(0));
    let conmon = Conmon::new(&log);
    let writer = conmon.clone();
    LogFiles::new(log.path.clone()).rotate().unwrap();
    conmon.write(&line(1));
    let limits = LogLimits {
        bytes_max: 1 << 20,
        files_max: 3,
        compress: false,
    };
    let (_, rotation) = rotation(&log, limits);
    let over = CancellationToken::new();
    let told = over.clone();
    let word = move |word| {
        if word == Word::Reopen {
            conmon.reopen();
            told.cancel();
        }
        Ok(true)
    };
    soon(rotation.run(over, word)).await;
    writer.write(&line(2));
    assert_eq!(names(&log), ["ctr.log", "ctr.log.1"]);
    assert_eq!(lines(log.options()).await, numbered(0..3));
}

/// Many followers, one of them slow, over a log whose files are small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_lose_and_double_nothing_while_a_log_rotates() {
    const LINES: u32 = 20_000;
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let limits = LogLimits {
        bytes_max: 64 << 10,
        files_max: 2,
        compress: true,
    };
    let (files, rotation) = rotation(&log, limits);
    let (over, watcher) = (CancellationToken::new(), Watcher::new().unwrap());
    let mut followers = Vec::new();
    for n in 0..20 {
        let (options, _) = following::follow(&log, &watcher);
        let follow = options.follow.map(|follow| FollowHandle {
            ended: over.clone(),
            ..follow
        });
        let options = LogOptions {
            source: files.clone().into(),
            follow,
            ..options
        };
        let mut reader = LogReader::open(options).await.unwrap();
        followers.push(tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(batch) = reader.next().await {
                all.extend_from_slice(&batch.unwrap());
                if n == 0 {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            }
            (show(&all), reader.skipped())
        }));
    }
    let (writes, told) = (conmon.clone(), over.clone());
    let writer = tokio::task::spawn_blocking(move || {
        for n in 0..LINES {
            writes.write(&line(n));
            if n % 100 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        told.cancel();
    });
    let reopens = conmon.clone();
    soon(rotation.run(over, move |word| {
        if word == Word::Reopen {
            reopens.reopen();
        }
        Ok(true)
    }))
    .await;
    writer.await.unwrap();
    assert!(conmon.told.load(Ordering::Relaxed), "it was rotated");
    for follower in followers {
        let (got, skipped) = soon(follower).await.unwrap();
        assert!(
            got == numbered(0..LINES),
            "{} lines, {skipped:?}",
            got.len()
        );
        assert_eq!(skipped, Skipped::default());
    }
}

/// A container may end between a rotation and its conmon's new file: readers end, each line once.
#[tokio::test]
async fn a_log_whose_newest_file_never_came_is_read_to_its_end() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let files = LogFiles::new(log.path.clone());
    for n in 0..5 {
        conmon.write(&line(n));
    }
    files.rotate().unwrap();
    let (options, ended) = following::follow(&log, &Watcher::new().unwrap());
    let options = LogOptions {
        source: files.clone().into(),
        ..options
    };
    let mut follower = LogReader::open(options.clone()).await.unwrap();
    ended.cancel();
    assert_eq!(show(&rest(&mut follower).await), numbered(0..5));
    let whole = LogOptions {
        follow: None,
        ..options
    };
    let mut reader = LogReader::open(whole).await.unwrap();
    // The next run's.
    conmon.reopen();
    conmon.write(&line(5));
    assert_eq!(show(&rest(&mut reader).await), numbered(0..5));
    assert_eq!(lines(log.options()).await, numbered(0..6));
}

#[tokio::test]
async fn a_follower_from_now_on_gets_what_comes_into_a_renamed_file() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let files = LogFiles::new(log.path.clone());
    conmon.write(&line(0));
    files.rotate().unwrap();
    let (options, ended) = following::follow(&log, &Watcher::new().unwrap());
    let options = LogOptions {
        source: files.into(),
        tail: Some(0),
        ..options
    };
    let mut reader = LogReader::open(options).await.unwrap();
    conmon.write(&line(1));
    conmon.reopen();
    conmon.write(&line(2));
    ended.cancel();
    assert_eq!(show(&rest(&mut reader).await), numbered(1..3));
}

#[tokio::test]
async fn a_closed_log_is_left_alone_and_its_rotation_ends() {
    let log = Log::none();
    let conmon = Conmon::new(&log);
    let limits = LogLimits {
        bytes_max: 10,
        files_max: 2,
        compress: true,
    };
    let (files, rotation) = rotation(&log, limits);
    for n in 0..3 {
        conmon.write(&line(n));
        rotate(&files, &conmon);
    }
    conmon.write(&line(3));
    // Too much is there, and a reader needs it.
    let reader = Cursor::enter(&files).unwrap();
    files.close();
    let before = names(&log);
    let over = CancellationToken::new();
    over.cancel();
    soon(rotation.run(over, |_| Ok(true))).await;
    assert!(!files.rotate().unwrap());
    drop(reader);
    assert!(!files.sweep(1).unwrap());
    assert!(!files.pack_one().unwrap());
    assert_eq!(names(&log), before);
}

#[test]
fn a_packing_that_fails_leaves_nothing_of_it() {
    let log = Log::new(line(0));
    let conmon = Conmon::new(&log);
    let files = LogFiles::new(log.path.clone());
    rotate(&files, &conmon);
    // It can be opened, and not read.
    let rotated = log.path.with_file_name("ctr.log.1");
    std::fs::remove_file(&rotated).unwrap();
    std::fs::create_dir(&rotated).unwrap();
    assert!(files.pack_one().is_err());
    assert_eq!(names(&log), ["ctr.log", "ctr.log.1"]);
}
