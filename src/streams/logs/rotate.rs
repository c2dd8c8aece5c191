//! Keeps a log within its limits while conmon writes it.
//!
//! ```text
//!   look --full--> rename --> tell conmon --> wait for its new file --> sweep, pack --> look
//!     ^                          ^
//!     +--- the log grew          +--- also when a daemon before us was killed after the rename,
//!                                     and has not told it
//! ```
//!
//! conmon does not wait for anybody here: it writes on in the renamed file until it has the new
//! one, so nothing is lost, and a file may become larger than its limit by what is written in a few
//! milliseconds. conmon's own limit is not used: it throws the log away when it is full.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use failpoint::Point;
use model::{Kind, LogLimits, Result};
use sys::dir_watch::{Watch, Watcher};
use sys::space::Space;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::files::LogFiles;
use super::reader::{next_change, watch};

/// As fast as a log is thought to grow, in bytes in a second: how soon it is looked at again.
const GROWTH_MAX: u64 = 256 << 20;
/// The shortest and the longest time between two looks at a log that grows.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// How long conmon may take for its new file before that is worth a word in the log; and how long
/// it may have had nothing to read before it is taken as not told.
const REOPEN_PATIENCE: Duration = Duration::from_secs(3);
/// How soon one that has something to read is told.
const TELL_PAUSE: Duration = Duration::from_millis(5);
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
    /// Counts the rotations of this log.
    number: u64,
}

/// What conmon is to be asked or told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Whether it has read all that it was told.
    IsIdle,
    /// To open the log anew; false when it has something to read yet, and was not told.
    Reopen,
}

/// What a look at the log came to.
enum Look {
    /// It has to grow by so many bytes yet.
    Room(u64),
    /// It was renamed: conmon is to be told.
    Renamed,
    /// It was renamed before, perhaps by a daemon that told conmon, perhaps not.
    WasRenamed,
    /// There is no room for a new file.
    NoSpace,
}

impl Rotation {
    /// Rotates a log in a task of its own until `over` is cancelled; see [`Rotation::run`].
    /// Without a watcher it is not rotated, which is told in the daemon's log.
    pub fn begin<C>(
        files: LogFiles,
        limits: LogLimits,
        watcher: Option<&Watcher>,
        over: CancellationToken,
        conmon: C,
    ) where
        C: Fn(Word) -> Result<bool> + Send + Sync + 'static,
    {
        let Some(watcher) = watcher else {
            let log = files.path().display();
            return tracing::error!(%log, "the log is not rotated: no inotify instance is left");
        };
        tokio::spawn(Self::new(files, limits, watcher.clone()).run(over, conmon));
    }

    /// Of the log `files`. One that may have a single file is kept in two of half the size: else
    /// it would be empty each time the file is full.
    pub(super) fn new(files: LogFiles, limits: LogLimits, watcher: Watcher) -> Self {
        let limits = match limits.files_max {
            0 | 1 => LogLimits {
                bytes_max: limits.bytes_max.div_ceil(2),
                files_max: 2,
                compress: false,
            },
            _ => limits,
        };
        let number = files.shared.rotations.fetch_add(1, Ordering::Relaxed) + 1;
        Self {
            files,
            limits,
            watcher,
            is_failing: false,
            is_untidy: false,
            number,
        }
    }

    /// Rotates until `over` is cancelled, because the container has ended, or conmon is gone.
    /// `conmon` does what a [`Word`] says, and never waits.
    pub(super) async fn run<C>(mut self, over: CancellationToken, conmon: C)
    where
        C: Fn(Word) -> Result<bool> + Send + Sync,
    {
        let ended = over.clone();
        tokio::select! {
            () = ended.cancelled() => {}
            () = self.keep_watch(&over, &conmon) => {}
        }
        // What was full at the end waits for the next run; what is too much goes now, or when its
        // readers have gone. The rotation of a later run sees to that, too.
        self.tidy().await;
        while self.is_untidy && self.is_the_last() {
            tokio::time::sleep(TIDY_PAUSE).await;
            self.tidy().await;
        }
    }

    fn is_the_last(&self) -> bool {
        self.files.shared.rotations.load(Ordering::Relaxed) == self.number
    }

    async fn keep_watch<C>(&mut self, over: &CancellationToken, conmon: &C)
    where
        C: Fn(Word) -> Result<bool> + Sync,
    {
        let mut growth = match watch(&self.watcher, &self.files) {
            Ok(Some(growth)) => growth,
            Ok(None) => return,
            Err(e) => return tracing::error!(error = %e, "the log is not rotated"),
        };
        // A daemon before us may have renamed it, and may have told conmon.
        let mut is_told = false;
        loop {
            let renamed = match self.look(over.clone()).await {
                Ok(Look::Room(bytes)) => {
                    self.is_failing = false;
                    self.wait_for(&mut growth).await;
                    tokio::time::sleep(pause(bytes)).await;
                    is_told = true;
                    continue;
                }
                Ok(Look::NoSpace) => {
                    self.tidy().await;
                    self.fail(&"the disk has no room for a new file").await;
                    continue;
                }
                Err(e) => {
                    self.fail(&e).await;
                    continue;
                }
                Ok(Look::Renamed) => {
                    drop(failpoint::reach(Point::LogRenamed).await);
                    Ok(())
                }
                Ok(Look::WasRenamed) if is_told => Ok(()),
                Ok(Look::WasRenamed) => {
                    wait_for_earlier_word(&self.files, &mut growth, conmon).await
                }
            };
            let handed_over = match renamed {
                Ok(()) => self.hand_over(&mut growth, conmon).await,
                gone => gone,
            };
            if handed_over.is_err() {
                return;
            }
            drop(failpoint::reach(Point::LogReopened).await);
            is_told = true;
            self.tidy().await;
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

    async fn look(&self, over: CancellationToken) -> io::Result<Look> {
        let (files, limits) = (self.files.clone(), self.limits);
        blocking(move || {
            if files.awaits_reopening()? {
                return Ok(Look::WasRenamed);
            }
            let (_, bytes) = files.now()?;
            if bytes < limits.bytes_max || over.is_cancelled() {
                return Ok(Look::Room(limits.bytes_max.saturating_sub(bytes)));
            }
            let free = Space::of(files.dir())?;
            if free.bytes < ROOM_BYTES || free.files < ROOM_FILES {
                return Ok(Look::NoSpace);
            }
            Ok(match files.rotate()? {
                true => Look::Renamed,
                false => Look::Room(limits.bytes_max),
            })
        })
        .await
    }

    /// Tells conmon, once, and waits until it has its new file. An error when it is gone.
    async fn hand_over<C>(&mut self, growth: &mut Watch, conmon: &C) -> Result<()>
    where
        C: Fn(Word) -> Result<bool> + Sync,
    {
        while !self.files.is_open() {
            match conmon(Word::Reopen) {
                Ok(true) => break,
                // It has yet to read something else.
                Ok(false) => tokio::time::sleep(TELL_PAUSE).await,
                Err(e) if e.kind() == Kind::Conflict => return Err(e),
                Err(e) => self.fail(&e).await,
            }
        }
        let told = Instant::now();
        while !self.files.is_open() {
            let _ = tokio::time::timeout(REOPEN_PATIENCE, next_change(growth)).await;
            if told.elapsed() > REOPEN_PATIENCE && !std::mem::replace(&mut self.is_failing, true) {
                let log = self.files.path().display();
                tracing::warn!(%log, "conmon was told to open the log anew, and has not yet");
            }
        }
        Ok(())
    }

    /// Removes what is too much and packs the rest.
    async fn tidy(&mut self) {
        let (files, kept) = (self.files.clone(), self.limits.files_max.saturating_sub(1));
        let swept = blocking(move || files.sweep(kept)).await;
        self.is_untidy = swept.unwrap_or_else(|e| {
            let log = self.files.path().display();
            tracing::warn!(%log, error = %e, "an old file of the log is left");
            false
        });
        let is_due = &self.files.shared.packing_is_due;
        if !self.limits.compress || is_due.swap(true, Ordering::AcqRel) {
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
                    // Before it is looked: what is rotated from now on is another's.
                    files.shared.packing_is_due.store(false, Ordering::Release);
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

/// Waits until conmon has the new file, or nothing to read for so long that nobody can have told
/// it. To be told twice would empty what it has written by then. An error when it is gone.
async fn wait_for_earlier_word<C>(files: &LogFiles, growth: &mut Watch, conmon: &C) -> Result<()>
where
    C: Fn(Word) -> Result<bool> + Sync,
{
    let mut idle_since = Instant::now();
    while !files.is_open() && idle_since.elapsed() < REOPEN_PATIENCE {
        let _ = tokio::time::timeout(REOPEN_PATIENCE / 10, next_change(growth)).await;
        if !conmon(Word::IsIdle)? {
            idle_since = Instant::now();
        }
    }
    Ok(())
}

/// How long a log that lacks so many bytes need not be looked at.
fn pause(bytes: u64) -> Duration {
    let (shortest, longest) = PAUSES;
    Duration::from_millis(bytes / (GROWTH_MAX / 1000)).clamp(shortest, longest)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::from)?
}
