//! What conmon has written into the journal of systemd, read back and followed by journalctl(1).
//!
//! ```text
//!   journalctl -o export CONTAINER_ID_FULL=...   entries   records   lines
//!   (follow: one that stays; when the run is over, one more from the last entry on)
//! ```
//!
//! The journal takes entries in later than they are written. So it is asked to write all it has before its
//! end is looked for, also by a follower, who does not end with the run but behind its last entry.

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use jiff::Timestamp;
use model::{Error, Kind, Result, limits};
use sys::spawn::{Finished, Program, RunError, Started};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::record::{Record, Stamp};
use super::scan::Product;
use crate::stdcopy::StreamId;

/// Where the program usually is.
const JOURNALCTL: &str = "/usr/bin/journalctl";
/// No entry is longer: conmon's have 8 KiB of text, and some fields of the journal's own.
const ENTRY_BYTES_MAX: usize = 1 << 20;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;
/// About what one batch holds.
const BATCH_BYTES: usize = 128 << 10;
/// How long journalctl may take to end when it has said all, and the journal to write all it has.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How many logs may be read at once: each is a program at work.
const READERS_MAX: usize = limits::JOURNAL_READERS_MAX;
static READERS: Semaphore = Semaphore::const_new(READERS_MAX);
/// conmon's for what a container wrote on stderr (LOG_ERR); all else is stdout.
const PRIORITY_STDERR: &[u8] = b"3";

/// The journal's entries of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLog {
    container: String,
    program: PathBuf,
}

/// Which of its entries, and what is made of them.
#[derive(Debug)]
pub(super) struct JournalOptions {
    pub log: JournalLog,
    pub product: Product,
    /// As of [`super::LogOptions`].
    pub since: Option<Timestamp>,
    /// As of [`super::LogOptions`].
    pub until: Option<Timestamp>,
    /// Only the last so many entries.
    pub tail: Option<u64>,
    /// Stay for what comes until this is cancelled: the run is over, and conmon has written its last.
    pub ended: Option<CancellationToken>,
}

impl JournalLog {
    /// Of the container with this id.
    pub fn new(container: &str) -> Self {
        Self {
            container: container.to_owned(),
            program: JOURNALCTL.into(),
        }
    }

    fn program(&self) -> Program {
        let env = [("LC_ALL", "C"), ("SYSTEMD_COLORS", "0")];
        Program::new(&self.program).env(env)
    }

    fn start(&self, args: Vec<String>) -> Result<Child> {
        let failed = |e: &dyn std::fmt::Display| {
            let program = self.program.display();
            Error::system(format!("the journal cannot be read by {program}: {e}"))
        };
        let (output, end) = std::io::pipe().map_err(|e| failed(&e))?;
        let output = pipe::Receiver::from_owned_fd(output.into()).map_err(|e| failed(&e))?;
        let words = ["--output=export", "--quiet", "--no-pager"].map(str::to_owned);
        let of = format!("CONTAINER_ID_FULL={}", self.container);
        let all = words.into_iter().chain(args).chain([of]);
        let started = self.program().args(all).fd(1, end.into()).start();
        Ok(Child {
            started: started.map_err(|e| failed(&e))?,
            output,
        })
    }

    /// Asks the journal to write down what it was sent. Where it cannot be asked, what it has is read.
    async fn sync(&self) {
        let done = self.program().args(["--sync"]).run(END_PATIENCE).await;
        if let Err(e) = done {
            tracing::debug!(error = %e, "the journal was not asked to write all it has");
        }
    }
}

/// A journalctl at work. Dropped, it is killed.
#[derive(Debug)]
struct Child {
    started: Started,
    output: pipe::Receiver,
}

#[derive(Debug)]
enum Phase {
    /// What there is and what comes.
    Following(Child, CancellationToken),
    /// The journal is to write all it has, which then is read.
    Syncing,
    /// To the end of what there is.
    Reading(Child),
    /// It has said all.
    Ending(Child),
    Over,
}

/// The journal's entries on their way to one client.
#[derive(Debug)]
pub(super) struct JournalReader {
    log: JournalLog,
    /// Where to begin when no entry was taken yet.
    begin: Vec<String>,
    until: Option<Timestamp>,
    /// The last entry that was taken.
    cursor: Option<String>,
    entries: Entries,
    product: Product,
    phase: Phase,
    /// One of those that may be at work.
    _place: SemaphorePermit<'static>,
}

impl JournalReader {
    pub(super) fn open(options: JournalOptions) -> Result<Self> {
        let place = READERS.try_acquire().map_err(|_| {
            Error::new(
                Kind::Unavailable,
                format!("{READERS_MAX} logs are being read from the journal: try again later"),
            )
        })?;
        if !options.log.program.exists() {
            return Err(Error::system(format!(
                "the journal cannot be read: {} is not there (it is part of systemd)",
                options.log.program.display()
            )));
        }
        // A count is before the times, as in the logs of files; journalctl takes it for that of what
        // lies between the times, or not, by its release. The times are looked at here, too.
        let begin = match (options.tail, options.since) {
            // Of nothing there is no last entry from which to go on.
            (Some(0), _) => Some(format!("--since={}", moment(Timestamp::now()))),
            (Some(count), _) => Some(format!("--lines={count}")),
            (None, since) => since.map(|at| format!("--since={}", moment(at))),
        };
        let begin: Vec<String> = begin.into_iter().collect();
        let phase = match options.ended {
            Some(ended) if !ended.is_cancelled() => {
                let mut args = vec!["--follow".to_owned()];
                let counted = options.tail.is_some_and(|count| count > 0);
                args.extend((!counted).then(|| "--no-tail".to_owned()));
                args.extend(begin.iter().cloned());
                Phase::Following(options.log.start(args)?, ended)
            }
            _ if options.tail == Some(0) => Phase::Over,
            _ => Phase::Syncing,
        };
        Ok(Self {
            log: options.log,
            begin,
            until: options.until,
            cursor: None,
            entries: Entries::default(),
            product: options.product,
            phase,
            _place: place,
        })
    }

    /// As [`super::LogReader::next`].
    pub(super) async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            match self.take_entries() {
                Ok(batch) if batch.is_empty() => {}
                Ok(batch) => return Some(Ok(batch)),
                Err(e) => {
                    self.phase = Phase::Over;
                    return Some(Err(e));
                }
            }
            if let Phase::Over = self.phase {
                return None;
            }
            if let Err(e) = self.go_on().await {
                self.phase = Phase::Over;
                return Some(Err(e));
            }
        }
    }

    /// What the entries that are here come to.
    fn take_entries(&mut self) -> Result<Bytes> {
        let mut out = BytesMut::new();
        while out.len() < BATCH_BYTES {
            let entry = match self.entries.next() {
                Ok(Some(entry)) => entry,
                // What came before is told first: the damage is still there then.
                Err(_) if !out.is_empty() => break,
                Err(e) => return Err(e),
                Ok(None) => break,
            };
            self.cursor = Some(entry.cursor);
            let record = Record {
                stamp: entry.stamp,
                stream: entry.stream,
                partial: entry.partial,
                text: &entry.text,
            };
            match &mut self.product {
                Product::Payload(payload) => payload.push(&record, &mut out),
                Product::Lines(lines) => {
                    if lines.push(&record, &mut out).is_err() {
                        lines.finish(&mut out);
                        self.phase = Phase::Over;
                        self.entries = Entries::default();
                    }
                }
            }
        }
        // What waits for the end of its line goes without one when nothing more comes.
        if let (Phase::Over, Product::Lines(lines)) = (&self.phase, &mut self.product) {
            lines.finish(&mut out);
        }
        Ok(out.freeze())
    }

    /// Reads once, or goes over to the next phase. Cancelled, it is as if it had not begun.
    async fn go_on(&mut self) -> Result<()> {
        let until = self.until;
        self.entries.waiting.reserve(READ_BYTES);
        let gone = match &mut self.phase {
            Phase::Over => return Ok(()),
            Phase::Following(child, ended) => tokio::select! {
                read = child.output.read_buf(&mut self.entries.waiting) => read? == 0,
                () = over(ended, until) => {
                    // Half an entry comes once more.
                    self.entries = Entries::default();
                    self.phase = Phase::Syncing;
                    return Ok(());
                }
            },
            Phase::Syncing => {
                self.log.sync().await;
                let begin = match &self.cursor {
                    Some(cursor) => vec![format!("--after-cursor={cursor}")],
                    None => self.begin.clone(),
                };
                self.phase = Phase::Reading(self.log.start(begin)?);
                return Ok(());
            }
            Phase::Reading(child) => child.output.read_buf(&mut self.entries.waiting).await? == 0,
            Phase::Ending(child) => {
                let done = child.started.wait(END_PATIENCE).await;
                self.phase = Phase::Over;
                return complaint(done);
            }
        };
        if gone {
            self.phase = match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Reading(child) | Phase::Following(child, _) => Phase::Ending(child),
                other => other,
            };
        }
        Ok(())
    }
}

/// What journalctl failed of. One that finds nothing fails in some releases, and says nothing.
fn complaint(done: Result<Finished, RunError>) -> Result<()> {
    let said = match done {
        Ok(done) if done.status.success() || done.message().is_empty() => return Ok(()),
        Ok(done) => done.message(),
        Err(e) => e.to_string(),
    };
    Err(Error::system(format!(
        "the journal cannot be read: journalctl: {said}"
    )))
}

/// The run is over, or no later line is wanted.
async fn over(ended: &CancellationToken, until: Option<Timestamp>) {
    let until_passed = async {
        match until {
            Some(until) => tokio::time::sleep(super::reader::remaining(until)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ended.cancelled() => {}
        () = until_passed => {}
    }
}

/// As systemd.time(7) takes it, down to the microsecond.
fn moment(at: Timestamp) -> String {
    let micros = at.as_microsecond().max(0);
    format!("@{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// Entries in the journal's export format (systemd's JOURNAL_EXPORT_FORMATS): `NAME=text` lines, or
/// `NAME`, eight bytes of length and as many of anything; an empty line ends an entry.
#[derive(Debug, Default)]
struct Entries {
    waiting: BytesMut,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    cursor: String,
    stamp: Stamp,
    stream: StreamId,
    partial: bool,
    text: Vec<u8>,
}

impl Entries {
    /// The next whole entry that has a text.
    fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            let Some((fields, length)) = fields_of(&self.waiting)? else {
                if self.waiting.len() > ENTRY_BYTES_MAX {
                    return Err(unreadable("an entry is too long"));
                }
                return Ok(None);
            };
            let entry = Entry::of(&fields);
            self.waiting.advance(length);
            if let Some(entry) = entry {
                return Ok(Some(entry));
            }
        }
    }
}

impl Entry {
    /// `None` for one that is not conmon's.
    fn of(fields: &[(&[u8], &[u8])]) -> Option<Self> {
        let field = |name: &str| {
            let mut named = fields.iter().filter(|(n, _)| *n == name.as_bytes());
            named.next().map(|(_, value)| *value)
        };
        let text = |name: &str| std::str::from_utf8(field(name)?).ok();
        let partial = field("CONTAINER_PARTIAL_MESSAGE") == Some(b"true");
        let micros = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
        Some(Self {
            cursor: text("__CURSOR")?.to_owned(),
            stamp: Stamp::from(Timestamp::from_microsecond(micros).ok()?),
            stream: match field("PRIORITY") {
                Some(PRIORITY_STDERR) => StreamId::Stderr,
                _ => StreamId::Stdout,
            },
            partial,
            // conmon leaves a line its newline.
            text: match field("MESSAGE")? {
                [line @ .., b'\n'] if !partial => line.to_vec(),
                text => text.to_vec(),
            },
        })
    }
}

type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

/// The fields of the first entry and its length, if it is whole.
fn fields_of(bytes: &[u8]) -> Result<Option<(Fields<'_>, usize)>> {
    const LENGTH_BYTES: usize = 8;
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let Some(end) = memchr::memchr(b'\n', &bytes[at..]) else {
            return Ok(None);
        };
        let line = &bytes[at..at + end];
        at += end + 1;
        if line.is_empty() {
            return Ok(Some((fields, at)));
        }
        if let Some(equals) = memchr::memchr(b'=', line) {
            fields.push((&line[..equals], &line[equals + 1..]));
            continue;
        }
        let Some((length, rest)) = bytes[at..].split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > ENTRY_BYTES_MAX {
            return Err(unreadable("a field is too long"));
        }
        if rest.len() <= length {
            return Ok(None);
        }
        if rest[length] != b'\n' {
            return Err(unreadable("a field does not end where it says"));
        }
        fields.push((line, &rest[..length]));
        at += LENGTH_BYTES + length + 1;
    }
}

fn unreadable(why: &str) -> Error {
    Error::system(format!("what journalctl says is not understood: {why}"))
}

#[cfg(test)]
mod tests;
