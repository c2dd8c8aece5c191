//! Logs as conmon leaves them, read by a reader as a client would.

mod counted;
mod following;
mod reading;
mod rotating;
mod round_trip;

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;

use std::time::Duration;

use super::*;
use crate::stdcopy::tests::parse;
use model::{Kind, limits};

/// Records `n` seconds after 11:52, for each `(n, "stdout F text")`.
fn file(records: &[(u32, &str)]) -> String {
    let mut text = String::new();
    for (second, rest) in records {
        writeln!(text, "{}+00:00 {rest}", time(*second)).unwrap();
    }
    text
}

fn time(second: u32) -> String {
    format!("2026-11-23T11:52:{second:02}.085016519")
}

fn at(second: u32) -> Timestamp {
    format!("{}Z", time(second)).parse().unwrap()
}

const BOTH: Want = Want {
    stdout: true,
    stderr: true,
};

/// A directory and the path of a log in it.
struct Log {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn none() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctr.log");
        Self { _dir: dir, path }
    }

    fn new(content: impl AsRef<[u8]>) -> Self {
        let log = Self::none();
        std::fs::write(&log.path, content).unwrap();
        log
    }

    fn options(&self) -> LogOptions {
        LogOptions {
            source: LogFiles::new(self.path.clone()).into(),
            want: BOTH,
            since: None,
            until: None,
            timestamps: false,
            details_prefix: None,
            tail: None,
            tty: false,
            follow: None,
        }
    }

    fn append(&self) -> File {
        let mut options = OpenOptions::new();
        options.append(true).create(true).open(&self.path).unwrap()
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("within a minute")
}

async fn rest(reader: &mut LogReader) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(batch) = soon(reader.next()).await {
        all.extend_from_slice(&batch.unwrap());
    }
    all
}

async fn read(options: LogOptions) -> (Vec<u8>, Skipped) {
    let mut reader = LogReader::open(options).await.unwrap();
    let bytes = rest(&mut reader).await;
    (bytes, reader.skipped())
}

/// The frames as `out text` or `err text`.
async fn lines(options: LogOptions) -> Vec<String> {
    show(&read(options).await.0)
}

fn show(bytes: &[u8]) -> Vec<String> {
    let name = |stream| if stream == 1 { "out" } else { "err" };
    parse(bytes)
        .into_iter()
        .map(|(stream, text)| format!("{} {}", name(stream), String::from_utf8(text).unwrap()))
        .collect()
}

fn sample() -> Log {
    Log::new(file(&[
        (1, "stdout F one"),
        (2, "stderr F two"),
        (3, "stdout P thr"),
        (4, "stderr F four"),
        (5, "stdout F ee"),
        (6, "stdout F "),
        (7, "stdout P no newline"),
    ]))
}
