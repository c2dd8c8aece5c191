//! Keeps a log within its limits while conmon writes it.
//!
//! ```text
//!   look --full--> rename --> tell conmon --> wait for its new file --> sweep, pack --> look
//!     ^                          ^
//!     +--- the log grew          +--- also when a daemon before us was killed after the rename
//! ```
//!
//! conmon does not wait for anybody here: it writes on in the renamed file until it has the new
//! one, so nothing is lost, and a file may become larger than its limit by what is written in a few
//! milliseconds. conmon's own limit is not used: it throws the log away when it is full.

use std::io;
use std::time::{Duration, Instant};

use model::{Kind, LogLimits, Result};
use sys::dir_watch::{Watch, Watcher};
use sys::space::Space;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::files::LogFiles;
use super::{next_change, watch};

/// As fast as a log is thought to grow, in bytes in a second: how soon it is looked at again.
const GROWTH_MAX: u64 = 256 << 20;
/// The shortest and the longest time between two looks at a log that grows.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// How long conmon may take for its new file before it is asked whether it was told.
const REOPEN_PATIENCE: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// How often it is looked whether readers still need what is too much.
const TIDY_PAUSE: Duration = Duration::from_secs(2);
/// What must be left on the file system: conmon ends when it cannot make its new file.
const ROOM_BYTES: u64 = 1 << 20;
/// The same, in files.
const ROOM_FILES: u64 = 16;
/// Logs packed at once, of all containers: it costs a processor each.
static PACKING: Semaphore = Semaphore::const_new(1);

/// The rotation of one log.
#[derive(Debug)]
pub struct Rotation {
    files: LogFiles,
    limits: LogLimits,
    watcher: Watcher,
    /// The last failure was logged.
    is_failing: bool,
    /// Files are left for readers.
    is_untidy: bool,
}

/// What a look at the log came to.
enum Look {
    /// It has to grow by so many bytes yet.
    Room(u64),
    /// It was renamed, now or by a daemon before us: conmon is to be told.
    Renamed,
    /// There is no room for a new file.
    NoSpace,
}

impl Rotation {
    /// Of the log `files`. One that may have a single file is kept in two of half the size: else
    /// it would be empty each time the file is full.
    pub fn new(files: LogFiles, limits: LogLimits, watcher: Watcher) -> Self {
        let limits = match limits.files_max {
            0 | 1 => LogLimits {
                bytes_max: limits.bytes_max.div_ceil(2),
                files_max: 2,
                compress: false,
            },
            _ => limits,
        };
        Self {
            files,
            limits,
            watcher,
            is_failing: false,
            is_untidy: false,
        }
    }

    /// Rotates until `over` is cancelled, because the container has ended, or conmon is gone.
    /// `reopen` tells conmon to open the log anew; a conflict means that it is gone.
    pub async fn run<R, F>(mut self, over: CancellationToken, reopen: R)
    where
        R: Fn() -> F + Send,
        F: Future<Output = Result<()>> + Send,
    {
        let ended = over.clone();
        tokio::select! {
            () = ended.cancelled() => {}
            () = self.keep_watch(&reopen) => {}
        }
        // What was full at the end waits for the next run; what is too much goes now.
        let files = self.files.clone();
        if let Err(e) = blocking(move || files.settle()).await {
            tracing::warn!(log = %self.files.path().display(), error = %e, "the log has its rotated name");
        }
        self.tidy().await;
        while self.is_untidy {
            tokio::time::sleep(TIDY_PAUSE).await;
            self.tidy().await;
        }
    }

    async fn keep_watch<R, F>(&mut self, reopen: &R)
    where
        R: Fn() -> F,
        F: Future<Output = Result<()>>,
    {
        let mut growth = match watch(&self.watcher, &self.files) {
            Ok(Some(growth)) => growth,
            Ok(None) => return,
            Err(e) => return tracing::error!(error = %e, "the log is not rotated"),
        };
        loop {
            match self.look().await {
                Ok(Look::Room(bytes)) => {
                    self.is_failing = false;
                    self.wait_for(&mut growth).await;
                    tokio::time::sleep(pause(bytes)).await;
                }
                Ok(Look::Renamed) => {
                    if self.hand_over(&mut growth, reopen).await.is_err() {
                        return;
                    }
                    self.tidy().await;
                }
                Ok(Look::NoSpace) => {
                    self.tidy().await;
                    self.fail(&"the disk has no room for a new file").await;
                }
                Err(e) => self.fail(&e).await,
            }
        }
    }

    /// Waits until the log grows, or what readers needed may be removed.
    async fn wait_for(&mut self, growth: &mut Watch) {
        let changed = next_change(growth);
        if !self.is_untidy {
            return changed.await;
        }
        if tokio::time::timeout(TIDY_PAUSE, changed).await.is_err() {
            self.tidy().await;
        }
    }

    async fn look(&self) -> io::Result<Look> {
        let (files, limits) = (self.files.clone(), self.limits);
        blocking(move || {
            if files.awaits_reopening()? {
                return Ok(Look::Renamed);
            }
            let (_, bytes) = files.newest()?;
            if bytes < limits.bytes_max {
                return Ok(Look::Room(limits.bytes_max - bytes));
            }
            let free = Space::of(files.dir())?;
            if free.bytes < ROOM_BYTES || free.files < ROOM_FILES {
                return Ok(Look::NoSpace);
            }
            files.rotate()?;
            Ok(Look::Renamed)
        })
        .await
    }

    /// Tells conmon, and waits until it has its new file. An error when it is gone.
    async fn hand_over<R, F>(&mut self, growth: &mut Watch, reopen: &R) -> Result<(), ()>
    where
        R: Fn() -> F,
        F: Future<Output = Result<()>>,
    {
        while !self.files.is_open() {
            match reopen().await {
                Err(e) if e.kind() == Kind::Conflict => return Err(()),
                Err(e) => self.fail(&e).await,
                Ok(()) => {
                    let told = Instant::now();
                    while !self.files.is_open() && told.elapsed() < REOPEN_PATIENCE {
                        let left = REOPEN_PATIENCE.saturating_sub(told.elapsed());
                        let _ = tokio::time::timeout(left, next_change(growth)).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes what is too much and packs the rest.
    async fn tidy(&mut self) {
        let (files, kept) = (self.files.clone(), self.limits.files_max.saturating_sub(1));
        let swept = blocking(move || files.sweep(kept)).await;
        match swept {
            Ok(are_needed) => self.is_untidy = are_needed,
            Err(e) => {
                tracing::warn!(log = %self.files.path().display(), error = %e, "an old file of the log is left");
            }
        }
        if !self.limits.compress {
            return;
        }
        let files = self.files.clone();
        // In a task of its own: the next file may be full before this one is packed.
        tokio::spawn(async move {
            let Ok(_permit) = PACKING.acquire().await else {
                return;
            };
            let packed = blocking({
                let files = files.clone();
                move || {
                    while files.pack_one()? {}
                    Ok(())
                }
            });
            if let Err(e) = packed.await {
                tracing::warn!(log = %files.path().display(), error = %e, "a file of the log is left unpacked");
            }
        });
    }

    async fn fail(&mut self, why: &(impl std::fmt::Display + Sync)) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(log = %self.files.path().display(), %why, "the log cannot be rotated now");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// How long a log that lacks so many bytes need not be looked at.
fn pause(bytes: u64) -> Duration {
    let (shortest, longest) = PAUSES;
    Duration::from_millis(bytes * 1000 / GROWTH_MAX).clamp(shortest, longest)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::from)?
}
