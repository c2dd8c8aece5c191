//! The log of a container or an exec, read, followed and rotated.
//!
//! ```text
//! files --scan--> lines --record--> records --assemble--> batches --reader--> client
//!   ^      ^ tail says where to begin      \-payload-/
//!   +-- rotate: a new file when one is full, the oldest removed, the others packed
//! ```
//!
//! A reader belongs to one client and is pulled by it: no queue, one block of memory, no thread
//! while nothing comes. Blocks are read on threads that may block. A follower sleeps on inotify
//! and is told when the container has ended; it ends when everything that was in the file *after*
//! that word is delivered, so the last line is never lost.
//!
//! Only conmon writes into a log, and nothing here knows what a container is. What it writes into the
//! journal is read by journalctl (`journal`), and becomes lines in the same way.

mod assemble;
mod cursor;
mod cut;
mod dropped;
mod files;
mod journal;
mod keep;
mod pack;
mod payload;
mod reader;
mod record;
mod rotate;
mod runs;
mod scan;
mod tail;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use jiff::Timestamp;
use model::{Error, Result};
use sys::dir_watch::Watcher;
use tokio_util::sync::CancellationToken;

pub use self::files::LogFiles;
use self::journal::JournalReader;
pub use self::journal::{JournalLog, JournalOptions};
use self::reader::FileReader;
pub use self::rotate::{Rotation, Word};
pub use self::scan::Skipped;
use crate::Want;

/// Which lines of which log, and how they are to look.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The k8s-file log. Where there is no file, it is empty.
    pub files: LogFiles,
    /// Whose lines.
    pub want: Want,
    /// Only lines that began at or after this.
    pub since: Option<Timestamp>,
    /// Only lines that began at or before this; reading ends with the first later one.
    pub until: Option<Timestamp>,
    /// The time in front of each line: RFC 3339 in UTC, nine digits, and a space.
    pub timestamps: bool,
    /// `k=v,k=v` in front of each line, and a space.
    pub details_prefix: Option<String>,
    /// Only the last so many lines, of both streams together and before `since` (as Docker's).
    pub tail: Option<u64>,
    /// The container has a terminal: lines go raw, not in stdcopy frames.
    pub tty: bool,
    /// Stay for what comes.
    pub follow: Option<FollowHandle>,
}

/// Which bytes of which log.
#[derive(Debug, Clone)]
pub struct PayloadOptions {
    /// The k8s-file log. Where there is no file, it is empty.
    pub files: LogFiles,
    /// Of which streams.
    pub want: Want,
    /// In stdcopy frames.
    pub framed: bool,
    /// How many of all bytes that were written are left out.
    pub since: u64,
    /// Stay for what comes.
    pub follow: Option<FollowHandle>,
}

/// How a follower learns that there is more, and that there will not be.
#[derive(Debug, Clone)]
pub struct FollowHandle {
    /// The daemon's watcher.
    pub watcher: Watcher,
    /// Cancelled when the container has ended and conmon has written its last line.
    pub ended: CancellationToken,
}

impl FollowHandle {
    /// With the daemon's watcher, if it has one.
    ///
    /// # Errors
    /// [`Kind::System`] when there is none; the message says what to do.
    pub fn new(watcher: Option<&Watcher>, ended: CancellationToken) -> Result<Self> {
        let watcher = watcher.cloned().ok_or_else(|| {
            Error::system(
                "the log cannot be followed: no inotify instance is left on this host (raise \
                 fs.inotify.max_user_instances)",
            )
        })?;
        Ok(Self { watcher, ended })
    }
}

/// A log on its way to one client.
#[derive(Debug)]
pub struct LogReader(Of);

#[derive(Debug)]
enum Of {
    Files(FileReader),
    Journal(Box<JournalReader>),
}

impl LogReader {
    /// Opens a log to read lines, and finds where to begin.
    ///
    /// # Errors
    /// [`model::Kind::System`] when the log is there but cannot be read, or cannot be watched.
    pub async fn open(options: LogOptions) -> Result<Self> {
        Ok(Self(Of::Files(FileReader::open(options).await?)))
    }

    /// Opens a log to read the bytes that were written, each once and in order. Also the number
    /// of the first byte that comes: later ones than asked for when older files are gone.
    ///
    /// # Errors
    /// As [`LogReader::open`]; [`model::Kind::InvalidParameter`] when less was written than is to
    /// be left out.
    pub async fn open_payload(options: PayloadOptions) -> Result<(Self, u64)> {
        let (reader, begin) = FileReader::open_payload(options).await?;
        Ok((Self(Of::Files(reader)), begin))
    }

    /// Opens what the journal has of a container.
    ///
    /// # Errors
    /// [`model::Kind::System`] when journalctl cannot be started.
    pub fn open_journal(options: JournalOptions) -> Result<Self> {
        let reader = JournalReader::open(options)?;
        Ok(Self(Of::Journal(Box::new(reader))))
    }

    /// The next lines, ready for the wire: whole stdcopy frames, one for each line, or raw with a
    /// terminal. Lines come with their newline, except a last one that has none, and the pieces
    /// of one above [`model::limits::LOG_LINE_BYTES_MAX`]. Cancel safe.
    ///
    /// # Errors
    /// [`model::Kind::System`] when the log cannot be read; then it is the last item.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        match &mut self.0 {
            Of::Files(reader) => reader.next().await,
            Of::Journal(reader) => reader.next().await,
        }
    }

    /// What could not be read so far.
    pub fn skipped(&self) -> Skipped {
        match &self.0 {
            Of::Files(reader) => reader.skipped(),
            Of::Journal(_) => Skipped::default(),
        }
    }
}
