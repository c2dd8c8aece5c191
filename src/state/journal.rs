//! The journal of events: written with the changes they tell of, read by those who follow.
//!
//! ```text
//!   change + events --> writer: one transaction, numbers given --> COMMIT --> feed --> followers
//!                                      |                                       |
//!                                   `events` table <------ further back than the feed's ring
//! ```
//!
//! A follower asks for what comes after a number, so it may be as slow as it likes, go away, or
//! have been there before the daemon was restarted. The last events are in memory; older ones are
//! read from the file by a connection of the journal's own, which the writer does not wait for.
//!
//! The journal is bounded by [`limits::EVENTS_BYTES_MAX`]; who asks for what was dropped is told.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use model::{Error, Event, EventKind, Kind, NumberedEvent, Result, Timestamp, limits};
use rusqlite::{Connection, OpenFlags, Row, params};
use tokio::sync::watch;

use crate::schema::explain;
use crate::writer::WriteError;

/// The journal is cut back to this share of its limit, so that it is not cut at every event.
const KEPT_BYTES: u64 = limits::EVENTS_BYTES_MAX / 16 * 15;
/// Most events dropped in one transaction.
const DROPPED_AT_ONCE: u32 = 4096;
/// The key in `meta` of the number after which this boot's events begin.
const META_FROM: &str = "events_from";
/// The key in `meta` of the boot that this number is of.
const META_BOOT: &str = "events_boot";

/// Where the journal ends and begins: what the writer must know to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The last number given.
    newest: u64,
    /// Everything up to this number is dropped.
    dropped: u64,
    /// Bytes ever written.
    bytes_end: u64,
    /// Bytes ever written before the oldest event, or with it.
    bytes_begin: u64,
}

impl Extent {
    /// As the file has it. When the host was restarted numbers are left out: a power loss takes
    /// events back whose numbers somebody may have seen.
    pub(crate) fn begin(db: &Connection, boot_id: &str) -> rusqlite::Result<Self> {
        let mut extent = Self::read(db)?;
        let boot = meta(db, META_BOOT)?;
        if boot.as_deref() == Some(boot_id) {
            return Ok(extent);
        }
        if extent.newest > 0 {
            extent.newest += limits::EVENTS_LEFT_OUT;
        }
        let from = extent.newest.to_string();
        let kept = db.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2), (?3, ?4)",
            [META_FROM, &from, META_BOOT, boot_id],
        );
        if let Err(e) = kept {
            // A daemon must start on a full disk, too.
            tracing::error!(error = %e, "where the events of this boot begin was not kept");
        }
        Ok(extent)
    }

    fn read(db: &Connection) -> rusqlite::Result<Self> {
        let end_of = |order| {
            let sql =
                format!("SELECT number, bytes_end FROM events ORDER BY number {order} LIMIT 1");
            let mut query = db.prepare(&sql)?;
            let mut rows = query.query([])?;
            let row = rows.next()?;
            row.map(|row| -> rusqlite::Result<_> {
                Ok((unsigned(row, "number")?, unsigned(row, "bytes_end")?))
            })
            .transpose()
        };
        let (oldest, newest) = (end_of("ASC")?, end_of("DESC")?);
        let from = meta(db, META_FROM)?;
        let from = from.and_then(|from| from.parse().ok()).unwrap_or(0);
        Ok(Self {
            newest: newest.map_or(0, |(number, _)| number).max(from),
            dropped: oldest.map_or(0, |(number, _)| number.saturating_sub(1)),
            bytes_end: newest.map_or(0, |(_, end)| end),
            bytes_begin: oldest.map_or(0, |(_, end)| end),
        })
    }

    /// Writes events and gives them their numbers.
    pub(crate) fn append(
        &mut self,
        db: &Connection,
        events: &[Event],
    ) -> Result<Vec<Arc<NumberedEvent>>, WriteError> {
        let mut written = Vec::with_capacity(events.len());
        for event in events {
            let number = self.newest + 1;
            let bytes_end = self.bytes_end + size_bytes(event) as u64;
            db.prepare_cached(
                "INSERT INTO events (number, at_ns, kind, action, actor, attributes, bytes_end)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                signed(number),
                nanoseconds(event.at),
                event.kind.as_str(),
                event.action,
                event.actor,
                attributes_json(event),
                signed(bytes_end),
            ])?;
            (self.newest, self.bytes_end) = (number, bytes_end);
            let event = event.clone();
            written.push(Arc::new(NumberedEvent { number, event }));
        }
        Ok(written)
    }

    /// Drops the oldest events when there are too many.
    pub(crate) fn cut(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.bytes_end - self.bytes_begin <= limits::EVENTS_BYTES_MAX {
            return Ok(());
        }
        let keep_from = self.bytes_end - KEPT_BYTES;
        db.prepare_cached(
            "DELETE FROM events WHERE number IN (
                 SELECT number FROM events WHERE bytes_end <= ?1 ORDER BY number LIMIT ?2)",
        )?
        .execute(params![signed(keep_from), DROPPED_AT_ONCE])?;
        let now = Self::read(db)?;
        (self.dropped, self.bytes_begin) = (now.dropped, now.bytes_begin);
        Ok(())
    }
}

/// A fact, when it is there and can be read.
fn meta(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let mut query = db.prepare("SELECT value FROM meta WHERE key = ?1")?;
    let mut rows = query.query([key])?;
    Ok(rows.next()?.and_then(|row| row.get(0).ok()))
}

/// What the writer hands to those who follow: the last events, and where the journal is.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<NumberedEvent>>,
    bytes: usize,
    /// All after this number are in the ring.
    floor: u64,
    /// Everything up to this number is dropped from the file.
    dropped: u64,
}

impl Feed {
    pub(crate) fn new(extent: &Extent) -> Arc<Self> {
        let ring = Ring {
            events: VecDeque::new(),
            bytes: 0,
            floor: extent.newest,
            dropped: extent.dropped,
        };
        Arc::new(Self {
            ring: Mutex::new(ring),
            newest: watch::channel(extent.newest).0,
        })
    }

    /// Takes in what was committed.
    pub(crate) fn publish(&self, extent: &Extent, events: Vec<Arc<NumberedEvent>>) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.dropped = extent.dropped;
        for event in events {
            ring.bytes += size_bytes(&event.event);
            ring.events.push_back(event);
        }
        while ring.bytes > limits::EVENTS_RING_BYTES
            && let Some(oldest) = ring.events.pop_front()
        {
            ring.bytes -= size_bytes(&oldest.event);
            ring.floor = oldest.number;
        }
        drop(ring);
        if *self.newest.borrow() != extent.newest {
            self.newest.send_replace(extent.newest);
        }
    }

    /// What comes after `number`, when the ring has all of it.
    fn after(&self, number: u64) -> Option<Batch> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if number < ring.floor {
            return None;
        }
        let begin = ring.events.partition_point(|e| e.number <= number);
        let some = ring.events.range(begin..).take(limits::EVENTS_BATCH_MAX);
        let events: Vec<_> = some.cloned().collect();
        let up_to = events.last().map_or(number, |last| last.number);
        Some(Batch { events, up_to })
    }

    fn dropped(&self) -> u64 {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.dropped
    }
}

/// A piece of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Events in order, at most [`limits::EVENTS_BATCH_MAX`].
    pub events: Vec<Arc<NumberedEvent>>,
    /// The number to go on after: that of the last event, or a later one that none has.
    pub up_to: u64,
}

/// The journal, for those who follow: a cheap handle, cloned freely.
#[derive(Debug, Clone)]
pub struct Journal {
    feed: Arc<Feed>,
    file: Arc<File>,
}

/// The journal's own connection to the file, opened anew when it failed.
#[derive(Debug)]
struct File {
    path: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl Journal {
    pub(crate) fn new(path: &Path, feed: Arc<Feed>) -> Self {
        let file = File {
            path: path.to_owned(),
            connection: Mutex::default(),
        };
        // Opened now, so that its descriptors do not have to be found on a busy day.
        if let Err(error) = file.after(u64::MAX) {
            tracing::warn!(%error, "the journal of events cannot be read");
        }
        let file = Arc::new(file);
        Self { feed, file }
    }

    /// The number of the newest event.
    pub fn newest(&self) -> u64 {
        *self.feed.newest.borrow()
    }

    /// The number up to which events are kept no more.
    pub fn dropped(&self) -> u64 {
        self.feed.dropped()
    }

    /// Resolves when there is an event after `number`; never, when the ledger is closed.
    pub async fn grown_beyond(&self, number: u64) {
        let mut newest = self.feed.newest.subscribe();
        if newest.wait_for(|newest| *newest > number).await.is_err() {
            std::future::pending().await
        }
    }

    /// The next events after `number`; none when there is none yet.
    ///
    /// # Errors
    /// [`Kind::Gone`] when the next one is kept no more; a file that cannot be read.
    pub async fn after(&self, number: u64) -> Result<Batch> {
        if let Some(batch) = self.feed.after(number) {
            return Ok(batch);
        }
        // Before the file: what is in it by now is read.
        let newest = self.newest();
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || file.after(number));
        let (events, last) = read
            .await
            .map_err(|e| Error::system(format!("reading the journal ended early: {e}")))??;
        // Asked after: what was dropped meanwhile was dropped before it was read, or read.
        let dropped = self.dropped();
        if number < dropped && events.first().is_none_or(|first| first.number > dropped) {
            return Err(Error::new(
                Kind::Gone,
                format!(
                    "the events up to number {dropped} are kept no more: ask for what there is \
                     now, then for the events after it"
                ),
            ));
        }
        // Nothing to be read is a damaged row, or a number that was left out.
        let up_to = last.unwrap_or(newest).max(number);
        Ok(Batch { events, up_to })
    }
}

/// Events, and the number of the last row, which may be damaged.
type Rows = (Vec<Arc<NumberedEvent>>, Option<u64>);

impl File {
    fn after(&self, number: u64) -> Result<Rows> {
        let mut kept = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let db = match kept.take() {
            Some(db) => Ok(db),
            None => self.open(),
        };
        // One that failed is opened anew the next time.
        let read = db.and_then(|db| Ok((read_after(&db, number)?, db)));
        let (rows, db) = read.map_err(|e| explain(&self.path, &e))?;
        *kept = Some(db);
        Ok(rows)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.path, flags)
    }
}

fn read_after(db: &Connection, number: u64) -> rusqlite::Result<Rows> {
    let mut query = db.prepare_cached(
        "SELECT number, at_ns, kind, action, actor, attributes FROM events
         WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    let rows = query.query_map(
        params![signed(number), signed(limits::EVENTS_BATCH_MAX as u64)],
        |row| {
            let number = unsigned(row, "number")?;
            let event = decode(row).map(|event| Arc::new(NumberedEvent { number, event }));
            Ok((number, event))
        },
    )?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let last = rows.last().map(|(number, _)| *number);
    // A damaged row costs only itself.
    Ok((
        rows.into_iter().filter_map(|(_, event)| event).collect(),
        last,
    ))
}

/// `None` for a row that is damaged.
fn decode(row: &Row<'_>) -> Option<Event> {
    let text = |column| row.get::<_, String>(column).ok();
    let event = (|| {
        let at = row.get::<_, i64>("at_ns").ok()?;
        Some(Event {
            at: Timestamp::from_nanosecond(at.into()).ok()?,
            kind: EventKind::from_word(&text("kind")?)?,
            action: text("action")?,
            actor: text("actor")?,
            attributes: serde_json::from_str(&text("attributes")?).ok()?,
        })
    })();
    if event.is_none() {
        tracing::error!("a row of the journal of events is damaged and left out");
    }
    event
}

/// What an event takes, in memory and in the file, more or less.
fn size_bytes(event: &Event) -> usize {
    const FIXED: usize = 64;
    let attributes = event.attributes.iter().map(|(k, v)| k.len() + v.len() + 6);
    FIXED + event.action.len() + event.actor.len() + attributes.sum::<usize>()
}

fn attributes_json(event: &Event) -> String {
    serde_json::to_string(&event.attributes).expect("a map of strings")
}

/// Until the year 2262; beyond, the last moment that can be written.
fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
