//! The one writer: a thread, a bounded queue, and a transaction for all that is waiting.
//!
//! Committing costs a flush of the disk however much is in it, so the thread takes everything
//! that is queued, makes each change under a savepoint of its own (one refused change takes
//! nobody else with it), commits once, and only then answers them all.

use std::path::Path;

use std::sync::Arc;

use failpoint::Point;
use model::{Context, Error, Event, Kind, NumberedEvent, Result};
use rusqlite::{Connection, ErrorCode, ffi};
use tokio::sync::{mpsc, oneshot};

use crate::journal::{Extent, Feed};
use crate::reserve::Reserve;
use crate::schema::explain;

/// Changes waiting for the writer; further callers wait their turn. Also the largest group.
const QUEUE_MAX: usize = 256;

/// Handle to the thread. It ends, and closes the file, when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Change>,
    /// What the changes made through this handle tell.
    events: Vec<Event>,
    apply: Option<Apply>,
}

/// Puts a change in force for those who read from memory.
pub(crate) type Apply = Arc<dyn Fn() + Send + Sync>;

struct Change {
    make: Make,
    kind: ChangeKind,
    events: Vec<Event>,
    apply: Option<Apply>,
    answer: oneshot::Sender<Result<()>>,
}

/// What a change asks of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChangeKind {
    Durable,
    /// It need not survive power loss.
    UntilReboot,
    /// Durable, and after it room is freed: it may use what is set aside for that.
    Freeing,
}

/// It may be made twice, when the first time was on a full disk.
type Make = Box<dyn Fn(&Connection) -> Result<(), WriteError> + Send>;

/// Why one change was not made.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The row it changes is not there.
    Missing,
    /// SQLite refused.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

/// An update must have met exactly its row.
pub(crate) fn check_one(changed: usize) -> Result<(), WriteError> {
    if changed == 1 {
        Ok(())
    } else {
        Err(WriteError::Missing)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn start(
        db: Connection,
        path: &Path,
        extent: Extent,
        feed: Arc<Feed>,
    ) -> Result<Self> {
        let (queue, changes) = mpsc::channel(QUEUE_MAX);
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || run(db, &path, changes, Journaling { extent, feed }))
            .context("starting the ledger's thread")?;
        Ok(Self {
            queue,
            events: Vec::new(),
            apply: None,
        })
    }

    /// The same writer, for a change that tells `events`.
    pub(crate) fn telling(&self, events: Vec<Event>) -> Self {
        Self {
            events,
            ..self.clone()
        }
    }

    /// The same writer, for a change that is put in force by `apply`.
    pub(crate) fn applying(&self, apply: Apply) -> Self {
        Self {
            apply: Some(apply),
            ..self.clone()
        }
    }

    /// Keeps the events without a change, and resolves when their place in the order is certain,
    /// not when they are kept.
    pub(crate) async fn tell_soon(&self) -> Result<()> {
        self.enqueue(Box::new(|_| Ok(())), ChangeKind::UntilReboot)
            .await
            .map(drop)
    }

    /// Makes a change and resolves when it is durable.
    pub(crate) async fn write(
        &self,
        make: impl Fn(&Connection) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<()> {
        self.send(Box::new(make), ChangeKind::Durable).await
    }

    /// Makes a change after which room on the disk is freed, so that it can be made on a full
    /// one; resolves when it is durable.
    pub(crate) async fn write_freeing(
        &self,
        make: impl Fn(&Connection) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<()> {
        self.send(Box::new(make), ChangeKind::Freeing).await
    }

    /// Makes a change that means nothing after a reboot: it survives the daemon, and the host
    /// only when a durable change came after it. Spares the flush of the disk.
    pub(crate) async fn write_until_reboot(
        &self,
        make: impl Fn(&Connection) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<()> {
        self.send(Box::new(make), ChangeKind::UntilReboot).await
    }

    async fn send(&self, make: Make, kind: ChangeKind) -> Result<()> {
        let outcome = self.enqueue(make, kind).await?;
        outcome.await.map_err(|_| ended())?
    }

    async fn enqueue(&self, make: Make, kind: ChangeKind) -> Result<oneshot::Receiver<Result<()>>> {
        let (answer, outcome) = oneshot::channel();
        let change = Change {
            make,
            kind,
            events: self.events.clone(),
            apply: self.apply.clone(),
            answer,
        };
        self.queue.send(change).await.map_err(|_| ended())?;
        Ok(outcome)
    }
}

fn ended() -> Error {
    Error::system("the ledger's thread has ended")
}

/// The writer's end of the journal.
struct Journaling {
    extent: Extent,
    feed: Arc<Feed>,
}

fn run(
    mut db: Connection,
    path: &Path,
    mut changes: mpsc::Receiver<Change>,
    mut journal: Journaling,
) {
    let mut reserve = Reserve::new(path);
    let mut group = Vec::with_capacity(QUEUE_MAX);
    while changes.blocking_recv_many(&mut group, QUEUE_MAX) > 0 {
        let outcomes = commit_or_free(&mut db, path, &group, &mut reserve, &mut journal);
        for (change, outcome) in group.drain(..).zip(outcomes) {
            // Nobody waits for it any more; it is made all the same.
            let _ = change.answer.send(outcome);
        }
    }
}

/// Makes a group of changes; on a full disk those that free some of it.
fn commit_or_free(
    db: &mut Connection,
    path: &Path,
    group: &[Change],
    reserve: &mut Reserve,
    journal: &mut Journaling,
) -> Vec<Result<()>> {
    let error = match commit(db, path, &group.iter().collect::<Vec<_>>(), journal) {
        Ok(outcomes) => {
            reserve.restore();
            return outcomes;
        }
        Err(error) => error,
    };
    let frees = |change: &Change| change.kind == ChangeKind::Freeing;
    let freeing: Vec<&Change> = group.iter().filter(|change| frees(change)).collect();
    let full = explain(path, &error);
    if !is_full(&error) || freeing.is_empty() || !reserve.give_up() {
        return vec![Err(full); group.len()];
    }
    tracing::warn!("the disk is full: what was set aside for removals is used");
    let mut freed = match commit(db, path, &freeing, journal) {
        Ok(outcomes) => outcomes,
        Err(e) => vec![Err(explain(path, &e)); freeing.len()],
    }
    .into_iter();
    let outcome = |change| match frees(change) {
        true => freed.next().expect("one outcome for each that frees"),
        false => Err(full.clone()),
    };
    group.iter().map(outcome).collect()
}

fn is_full(e: &rusqlite::Error) -> bool {
    matches!(
        e.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)
    )
}

/// Makes all changes in one transaction; one outcome each, in order.
///
/// # Errors
/// When the whole of it was not made.
fn commit(
    db: &mut Connection,
    path: &Path,
    changes: &[&Change],
    journal: &mut Journaling,
) -> Result<Vec<Result<()>>, rusqlite::Error> {
    let durable = changes.iter().any(|c| c.kind != ChangeKind::UntilReboot);
    // In WAL mode NORMAL leaves out the flush at the commit and nothing else: the file stays
    // whole, and the next FULL commit flushes what came before it, too.
    let synchronous = if durable { "FULL" } else { "NORMAL" };
    let begun = db
        .pragma_update(None, "synchronous", synchronous)
        .and_then(|()| db.execute_batch("BEGIN IMMEDIATE"));
    let mut extent = journal.extent;
    let mut told = Vec::new();
    let made = begun.and_then(|()| {
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            let outcome = make_one(db, change, &mut extent, &mut told);
            // A full disk or a failing one makes SQLite roll the whole transaction back by
            // itself, with all that was made before in it.
            if let (Err(WriteError::Sqlite(e)), true) = (&outcome, db.is_autocommit()) {
                return Err(copy_of(e));
            }
            outcomes.push(outcome.map_err(|e| refusal(path, &e)));
        }
        extent.cut(db)?;
        failpoint::hit(Point::LedgerCommit).map_err(|e| failed(&e))?;
        db.execute_batch("COMMIT")?;
        drop(failpoint::hit(Point::LedgerCommitted));
        // Who reads of a change finds it made; who made it finds it told.
        for (change, outcome) in changes.iter().zip(&outcomes) {
            if let (Some(apply), Ok(())) = (&change.apply, outcome) {
                apply();
            }
        }
        journal.extent = extent;
        journal.feed.publish(&extent, std::mem::take(&mut told));
        Ok(outcomes)
    });
    made.inspect_err(|e| {
        if !db.is_autocommit()
            && let Err(e) = db.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %e, "the ledger could not take a transaction back");
        }
        let error = explain(path, e);
        tracing::error!(%error, changes = changes.len(), "the ledger could not be written");
    })
}

fn make_one(
    db: &Connection,
    change: &Change,
    extent: &mut Extent,
    told: &mut Vec<Arc<NumberedEvent>>,
) -> Result<(), WriteError> {
    db.prepare_cached("SAVEPOINT change")?.execute([])?;
    let mut after = *extent;
    let made = (change.make)(db).and_then(|()| after.append(db, &change.events));
    if made.is_err() && !db.is_autocommit() {
        db.prepare_cached("ROLLBACK TO change")?.execute([])?;
    }
    if !db.is_autocommit() {
        db.prepare_cached("RELEASE change")?.execute([])?;
    }
    told.extend(made?);
    *extent = after;
    Ok(())
}

/// As SQLite would say it.
fn failed(e: &std::io::Error) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), Some(e.to_string()))
}

/// SQLite's code and words; its errors cannot be cloned.
fn copy_of(e: &rusqlite::Error) -> rusqlite::Error {
    let code = e
        .sqlite_error()
        .map_or(ffi::SQLITE_ERROR, |e| e.extended_code);
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(e.to_string()))
}

fn refusal(path: &Path, e: &WriteError) -> Error {
    let WriteError::Sqlite(e) = e else {
        return Error::new(Kind::NotFound, "not in the ledger");
    };
    let code = e.sqlite_error().map(|e| e.extended_code);
    match code {
        Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE) => {
            Error::conflict(format!("already in the ledger ({e})"))
        }
        Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Error::not_found("not in the ledger"),
        _ if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Error::system(format!("the ledger's own checks refused the row: {e}"))
        }
        _ => explain(path, e),
    }
}
