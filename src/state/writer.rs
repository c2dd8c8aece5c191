//! The one writer: a thread, a bounded queue, and a transaction for all that is waiting.
//!
//! Committing costs a flush of the disk however much is in it, so the thread takes everything
//! that is queued, makes each change under a savepoint of its own (one refused change takes
//! nobody else with it), commits once, and only then answers them all.

use std::path::Path;

use model::{Context, Error, Kind, Result};
use rusqlite::{Connection, ErrorCode, ffi};
use tokio::sync::{mpsc, oneshot};

use crate::schema::explain;

/// Changes waiting for the writer; further callers wait their turn. Also the largest group.
const QUEUE_MAX: usize = 256;

/// Handle to the thread. It ends, and closes the file, when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Change>,
}

struct Change {
    make: Make,
    /// It need not survive power loss.
    until_reboot: bool,
    answer: oneshot::Sender<Result<()>>,
}

type Make = Box<dyn FnOnce(&Connection) -> Result<(), WriteError> + Send>;

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

impl Writer {
    pub(crate) fn start(db: Connection, path: &Path) -> Result<Self> {
        let (queue, changes) = mpsc::channel(QUEUE_MAX);
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || run(db, &path, changes))
            .context("starting the ledger's thread")?;
        Ok(Self { queue })
    }

    /// Makes a change and resolves when it is durable.
    pub(crate) async fn write(
        &self,
        make: impl FnOnce(&Connection) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<()> {
        self.send(Box::new(make), false).await
    }

    /// Makes a change that means nothing after a reboot: it survives the daemon, and the host
    /// only when a durable change came after it. Spares the flush of the disk.
    pub(crate) async fn write_until_reboot(
        &self,
        make: impl FnOnce(&Connection) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<()> {
        self.send(Box::new(make), true).await
    }

    async fn send(&self, make: Make, until_reboot: bool) -> Result<()> {
        let gone = || Error::system("the ledger's thread has ended");
        let (answer, outcome) = oneshot::channel();
        let change = Change {
            make,
            until_reboot,
            answer,
        };
        self.queue.send(change).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

fn run(mut db: Connection, path: &Path, mut changes: mpsc::Receiver<Change>) {
    let mut group = Vec::with_capacity(QUEUE_MAX);
    while changes.blocking_recv_many(&mut group, QUEUE_MAX) > 0 {
        let durable = group.iter().any(|c| !c.until_reboot);
        let (makes, answers): (Vec<_>, Vec<_>) =
            group.drain(..).map(|c| (c.make, c.answer)).unzip();
        let outcomes = commit(&mut db, path, makes, durable);
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Nobody waits for it any more; it is made all the same.
            let _ = answer.send(outcome);
        }
    }
}

/// Makes all changes in one transaction; one outcome each, in order.
fn commit(db: &mut Connection, path: &Path, makes: Vec<Make>, durable: bool) -> Vec<Result<()>> {
    let count = makes.len();
    // In WAL mode NORMAL leaves out the flush at the commit and nothing else: the file stays
    // whole, and the next FULL commit flushes what came before it, too.
    let synchronous = if durable { "FULL" } else { "NORMAL" };
    let begun = db
        .pragma_update(None, "synchronous", synchronous)
        .and_then(|()| db.execute_batch("BEGIN IMMEDIATE"));
    let made = begun.and_then(|()| {
        let mut outcomes = Vec::with_capacity(count);
        for make in makes {
            let outcome = make_one(db, make);
            // A full disk or a failing one makes SQLite roll the whole transaction back by
            // itself, with all that was made before in it.
            if let (Err(WriteError::Sqlite(e)), true) = (&outcome, db.is_autocommit()) {
                return Err(copy_of(e));
            }
            outcomes.push(outcome.map_err(|e| refusal(path, &e)));
        }
        db.execute_batch("COMMIT")?;
        Ok(outcomes)
    });
    made.unwrap_or_else(|e| {
        if !db.is_autocommit()
            && let Err(e) = db.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %e, "the ledger could not take a transaction back");
        }
        let error = explain(path, &e);
        tracing::error!(%error, changes = count, "the ledger could not be written");
        vec![Err(error); count]
    })
}

fn make_one(db: &Connection, make: Make) -> Result<(), WriteError> {
    db.prepare_cached("SAVEPOINT change")?.execute([])?;
    let made = make(db);
    if made.is_err() && !db.is_autocommit() {
        db.prepare_cached("ROLLBACK TO change")?.execute([])?;
    }
    if !db.is_autocommit() {
        db.prepare_cached("RELEASE change")?.execute([])?;
    }
    made
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
