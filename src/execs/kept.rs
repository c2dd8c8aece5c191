//! Sessions whose output is kept: conmon writes a log of theirs, which outlives the daemon.
//!
//! ```text
//!   containers/<container>/execs/<session>/output.log  output.log.7  output.log.dropped
//! ```
//!
//! Two files of half the limit, so that the newest output is always there. How much is gone is
//! counted, so that a byte keeps its number.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use model::{ContainerId, Context, Error, ExecId, LogLimits, Result, limits};
use runtime::ExecTask;
use streams::{FollowHandle, LogFiles, LogReader, PayloadOptions, Rotation, Want, Word};
use sys::dir_watch::Watcher;
use sys::task::blocking;
use tokio_util::sync::CancellationToken;

const LIMITS: LogLimits = LogLimits {
    bytes_max: limits::EXEC_LOG_BYTES_MAX / 2,
    files_max: 2,
    compress: false,
};

/// The log of one session.
#[derive(Debug)]
pub(crate) struct Kept {
    dir: PathBuf,
    files: LogFiles,
    want: Want,
    /// Cancelled when the session is over and conmon has written its last line.
    over: CancellationToken,
    /// Some of the output was never kept, so bytes have no number any more.
    has_hole: AtomicBool,
    /// Since when this daemon knows that.
    over_since: OnceLock<Instant>,
}

impl Kept {
    /// Below `containers`; nothing is there yet, or it is an earlier daemon's.
    pub(crate) fn new(containers: &Path, container: &ContainerId, id: &ExecId, want: Want) -> Self {
        let dir = containers
            .join(container.as_str())
            .join("execs")
            .join(id.as_str());
        Self {
            files: LogFiles::counted(dir.join("output.log"), want),
            dir,
            want,
            over: CancellationToken::new(),
            has_hole: AtomicBool::new(false),
            over_since: OnceLock::new(),
        }
    }

    /// Where conmon writes.
    pub(crate) fn path(&self) -> PathBuf {
        self.files.path().to_owned()
    }

    /// Makes the log's directory.
    pub(crate) async fn make_dir(&self) -> Result<()> {
        let (dir, files) = (self.dir.clone(), self.files.clone());
        blocking(move || {
            std::fs::create_dir_all(&dir)
                .and_then(|()| files.prepare_count())
                .context(format_args!("make {} for an exec's log", dir.display()))
        })
        .await
    }

    /// Keeps the log within its limits while the session runs.
    pub(crate) fn keep(&self, task: &ExecTask, watcher: Option<&Watcher>) {
        let Ok(ctl) = task.ctl() else {
            return;
        };
        let conmon = move |word| match word {
            Word::IsIdle => ctl.is_idle(),
            Word::Reopen => ctl.reopen_log(),
        };
        Rotation::begin(
            self.files.clone(),
            LIMITS,
            watcher,
            self.over.clone(),
            conmon,
        );
    }

    /// The session is over: those who follow its log end with it.
    pub(crate) fn finish(&self) {
        self.over_since.get_or_init(Instant::now);
        self.over.cancel();
    }

    /// Whether it was there for long enough after the session's end.
    pub(crate) fn is_expired(&self) -> bool {
        let since = self.over_since.get();
        since.is_some_and(|at| at.elapsed() > limits::EXEC_KEPT_ENDED_KEPT)
    }

    /// Its output from byte `since` on, and what comes; also the number of the first byte.
    pub(crate) async fn read(
        &self,
        since: u64,
        framed: bool,
        watcher: Option<&Watcher>,
    ) -> Result<(LogReader, u64)> {
        if since > 0 && self.has_hole.load(Ordering::Relaxed) {
            return Err(Error::conflict(
                "its output is not whole, for the disk was full: it can only be read from 0",
            ));
        }
        let follow = (!self.over.is_cancelled()).then(|| FollowHandle {
            watcher: watcher.cloned(),
            ended: self.over.clone(),
        });
        LogReader::open_payload(PayloadOptions {
            files: self.files.clone(),
            want: self.want,
            framed,
            since,
            follow,
        })
        .await
    }

    /// What is written now is not kept.
    pub(crate) fn note_loss(&self) {
        self.has_hole.store(true, Ordering::Relaxed);
    }

    /// Finds out how much is gone, when an earlier daemon rotated it.
    pub(crate) fn look(&self) {
        let files = self.files.clone();
        drop(tokio::task::spawn_blocking(move || {
            if let Err(e) = files.look() {
                tracing::warn!(log = %files.path().display(), error = %e, "an exec's log cannot be looked at");
            }
        }));
    }

    /// Ends all changes to the log: its directory is to be removed.
    pub(crate) async fn close(&self) {
        self.finish();
        let files = self.files.clone();
        drop(tokio::task::spawn_blocking(move || files.close()).await);
    }

    /// How much of the output is gone, as far as is known.
    pub(crate) fn lost_bytes(&self) -> u64 {
        self.files.dropped_bytes()
    }

    /// Removes the log.
    pub(crate) async fn remove(&self) {
        self.close().await;
        let dir = self.dir.clone();
        let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(dir = %dir.display(), error = %e, "an exec's log is left");
            }
            _ => {}
        });
        if let Err(e) = removed.await {
            tracing::error!(error = %e, "an exec's log was not removed");
        }
    }
}

/// The directories of all logs below `containers`. Blocks.
pub(crate) fn log_dirs(containers: &Path) -> Vec<(ExecId, PathBuf)> {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for container in entries(containers) {
        for session in entries(&container.path().join("execs")) {
            if let Some(id) = session.file_name().to_str().and_then(|n| n.parse().ok()) {
                found.push((id, session.path()));
            }
        }
    }
    found
}
