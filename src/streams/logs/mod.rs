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
use model::Result;
use sys::dir_watch::Watcher;
use tokio_util::sync::CancellationToken;

use self::assemble::{Assembler, Format};
pub use self::files::LogFiles;
pub use self::journal::JournalLog;
use self::journal::{JournalOptions, JournalReader};
use self::payload::Payload;
use self::reader::FileReader;
use self::record::Stamp;
pub use self::rotate::{Rotation, Word};
use self::scan::Product;
pub use self::scan::Skipped;
use crate::Want;

/// Where a log is.
#[derive(Debug, Clone)]
pub enum LogSource {
    /// In k8s-file logs. Where there is no file, it is empty.
    Files(LogFiles),
    /// In the journal of systemd, for as long as that keeps entries.
    Journal(JournalLog),
}

/// Which lines of which log, and how they are to look.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Where it is.
    pub source: LogSource,
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
    /// The daemon's watcher, if it has one. Files cannot be followed without.
    pub watcher: Option<Watcher>,
    /// Cancelled when the container has ended and conmon has written its last line.
    pub ended: CancellationToken,
}

impl From<LogFiles> for LogSource {
    fn from(files: LogFiles) -> Self {
        Self::Files(files)
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

impl Of {
    fn journal(options: JournalOptions) -> Result<Self> {
        Ok(Self::Journal(Box::new(JournalReader::open(options)?)))
    }
}

impl LogReader {
    /// Opens a log to read lines, and finds where to begin.
    ///
    /// # Errors
    /// [`model::Kind::System`] when the log is there but cannot be read, or cannot be watched;
    /// [`model::Kind::Unavailable`] when too many read from the journal.
    pub async fn open(options: LogOptions) -> Result<Self> {
        let lines = Product::Lines(Assembler::new(Format {
            want: options.want,
            since: options.since.map(Stamp::from),
            until: options.until.map(Stamp::from),
            timestamps: options.timestamps,
            details: options.details_prefix,
            framed: !options.tty,
        }));
        let of = match options.source {
            LogSource::Files(files) => {
                let follow = options.follow.map(|follow| (follow, options.until));
                Of::Files(FileReader::begin(files, options.tail, follow, lines).await?)
            }
            LogSource::Journal(log) => Of::journal(JournalOptions {
                log,
                product: lines,
                since: options.since,
                until: options.until,
                tail: options.tail,
                ended: options.follow.map(|follow| follow.ended),
            })?,
        };
        Ok(Self(of))
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

    /// Opens what the journal has to read the bytes that were written; nothing is followed.
    ///
    /// # Errors
    /// As [`LogReader::open`].
    pub fn open_journal_payload(log: JournalLog, want: Want, framed: bool) -> Result<Self> {
        let of = Of::journal(JournalOptions {
            log,
            product: Product::Payload(Payload::new(want, framed, 0)),
            since: None,
            until: None,
            tail: None,
            ended: None,
        });
        Ok(Self(of?))
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
