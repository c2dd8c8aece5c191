//! Opens the file: its pragmas, its checks, and the ordered migrations of its schema.
//!
//! A migration is one SQL text, run in one transaction together with the new `user_version`. A
//! released one is never edited; a change is a new one at the end, with a test that starts from
//! the version before it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use model::{Context, Error, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// `PRAGMA application_id`: "moor". Tells our file from any other SQLite file.
const APPLICATION_ID: i64 = 0x6d6f_6f72;

/// From version n to n+1, for n = 0, 1, ...
const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5];

/// STRICT and the checks keep a defect of ours from being stored; they cannot stop a damaged disk,
/// so the reader trusts none of them.
const V1: &str = "
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE containers (
    id         TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
    name       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    image_id   TEXT NOT NULL,
    image_name TEXT NOT NULL,
    runtime    TEXT NOT NULL,
    spec       TEXT NOT NULL CHECK (json_valid(spec)),
    echo       BLOB NOT NULL
) STRICT;

CREATE TABLE container_states (
    id            TEXT NOT NULL PRIMARY KEY REFERENCES containers (id) ON DELETE CASCADE,
    state         TEXT NOT NULL CHECK (json_valid(state)),
    intent        TEXT CHECK (json_valid(intent)),
    restart_count INTEGER NOT NULL CHECK (restart_count BETWEEN 0 AND 4294967295)
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
    id     TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL CHECK (json_valid(record))
) STRICT;

CREATE TABLE tags (
    reference TEXT NOT NULL PRIMARY KEY,
    image_id  TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags (image_id);

CREATE TABLE volumes (
    name   TEXT NOT NULL PRIMARY KEY,
    record TEXT NOT NULL CHECK (json_valid(record))
) STRICT;
";

/// Exec sessions. They end with the boot, so their rows need not survive power loss: see
/// `writer`.
const V2: &str = "
CREATE TABLE execs (
    id           TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
    container_id TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    created_at   TEXT NOT NULL,
    spec         TEXT NOT NULL CHECK (json_valid(spec)),
    state        TEXT NOT NULL CHECK (json_valid(state))
) STRICT;
CREATE INDEX execs_by_container ON execs (container_id);
";

/// The journal of events. `bytes_end` is what was ever written to it, up to and with this one: two
/// of them tell how much lies between without a look at it.
const V3: &str = "
CREATE TABLE events (
    number     INTEGER NOT NULL PRIMARY KEY,
    at_ns      INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    action     TEXT NOT NULL,
    actor      TEXT NOT NULL,
    attributes TEXT NOT NULL CHECK (json_valid(attributes)),
    bytes_end  INTEGER NOT NULL
) STRICT;
";

/// What health checks have found. As the journal's its rows need not survive power loss.
const V4: &str = "
CREATE TABLE health (
    id     TEXT NOT NULL PRIMARY KEY REFERENCES containers (id) ON DELETE CASCADE,
    record TEXT NOT NULL CHECK (json_valid(record))
) STRICT, WITHOUT ROWID;
";

/// Networks, and what runs of containers hold of them. The latter end with the boot, so their rows need
/// not survive power loss. What could not be taken away of a run is held when its container is removed, too.
const V5: &str = "
CREATE TABLE networks (
    id     TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
    name   TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL CHECK (json_valid(record))
) STRICT;

CREATE TABLE attachments (
    id     TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 64),
    record TEXT NOT NULL CHECK (json_valid(record))
) STRICT, WITHOUT ROWID;
";

/// How long to wait for an operator's `sqlite3` that holds a lock it should not hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log is cut back to this after a checkpoint.
const WAL_BYTES_KEPT: i64 = 4 << 20;

/// Opens or makes the ledger and brings it to the newest schema.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    let shown = path.display();
    make_private(path).context(format_args!("making the ledger {shown}"))?;
    try_open(path).map_err(|e| match e {
        OpenError::Sqlite(e) => explain(path, &e),
        OpenError::Refused(reason) => Error::system(format!("the ledger {shown} {reason}")),
    })
}

enum OpenError {
    Sqlite(rusqlite::Error),
    Refused(String),
}

impl From<rusqlite::Error> for OpenError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

/// Makes the file before SQLite does, with a mode that keeps containers' environments private;
/// SQLite gives its side files the same mode. An existing file is not opened here: closing it
/// would drop the POSIX locks of any connection this process has to it.
fn make_private(path: &Path) -> std::io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

fn try_open(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    let version = identify(&db)?;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
    if mode != "wal" {
        return Err(OpenError::Refused(format!(
            "cannot use a write-ahead log (journal mode {mode}): its file system must support \
             shared memory; move the data root to a local one"
        )));
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    quick_check(&db)?;
    migrate(&mut db, version)?;
    Ok(db)
}

/// The schema version of a file that is ours (0: a new one).
fn identify(db: &Connection) -> Result<usize, OpenError> {
    let number = |pragma| db.pragma_query_value(None, pragma, |r| r.get::<_, i64>(0));
    let application = number("application_id")?;
    let version = number("user_version")?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if application != APPLICATION_ID && (application, version, tables) != (0, 0, 0) {
        return Err(OpenError::Refused(
            "is another program's SQLite database: move it away or choose another data root"
                .to_owned(),
        ));
    }
    let known = MIGRATIONS.len();
    match usize::try_from(version) {
        Ok(v) if v <= known => Ok(v),
        _ => Err(OpenError::Refused(format!(
            "has schema {version} and this version of moored knows up to {known}: it was \
             written by a newer moored; run that one, or choose another data root"
        ))),
    }
}

/// Walks the pages of all tables but the journal of events, which is large and can be missed. Row
/// checks are left out: a row that breaks one costs only itself, which the reader sees to.
fn quick_check(db: &Connection) -> Result<(), OpenError> {
    db.pragma_update(None, "ignore_check_constraints", true)?;
    let tables: Vec<String> = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'events'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut verdict = String::from("ok");
    for table in tables {
        let check = format!("PRAGMA quick_check(\"{table}\")");
        verdict = db.query_row(&check, [], |r| r.get(0))?;
        if verdict != "ok" {
            break;
        }
    }
    db.pragma_update(None, "ignore_check_constraints", false)?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(OpenError::Refused(format!(
        "is damaged: {verdict}. {RECOVERY}"
    )))
}

fn migrate(db: &mut Connection, from: usize) -> rusqlite::Result<()> {
    for (version, sql) in (1_u32..).zip(MIGRATIONS).skip(from) {
        let step = db.transaction()?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", version)?;
        step.commit()?;
    }
    Ok(())
}

const RECOVERY: &str = "Running containers are not affected. Keep a copy of the file and its \
    -wal, then save what can be read with `sqlite3 OLD .recover | sqlite3 NEW` and put NEW in \
    its place, or move it away to start with an empty ledger";

/// What to do about a failure of the file.
pub(crate) fn explain(path: &Path, e: &rusqlite::Error) -> Error {
    let shown = path.display();
    let advice = match e.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => RECOVERY,
        Some(ErrorCode::DiskFull) => "free some space on its file system and try again",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds it locked: another daemon on this data root, or an sqlite3 \
             that was not started with -readonly"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "the daemon must be able to write the file and its directory"
        }
        Some(ErrorCode::OutOfMemory) => "the daemon gets no more memory from the host",
        _ => "see the kernel log for errors of the disk",
    };
    Error::system(format!("the ledger {shown}: {e}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_of(db: &Connection) -> i64 {
        db.pragma_query_value(None, "user_version", |r| r.get(0))
            .unwrap()
    }

    #[test]
    fn migration_1_makes_strict_tables_in_an_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        let db = open(&dir.path().join("ledger.db")).unwrap();
        assert_eq!(version_of(&db), 5);
        let loose: i64 = db
            .query_row(
                "SELECT count(*) FROM pragma_table_list
                 WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND NOT strict",
                [],
                |r| r.get(0),
            )
            .unwrap();
        assert_eq!(loose, 0);
        let refused = db.execute("INSERT INTO images VALUES ('a', 'not json')", []);
        assert!(refused.unwrap_err().to_string().contains("CHECK"));
    }

    #[test]
    fn migration_2_keeps_what_version_1_had_and_makes_room_for_execs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(V1).unwrap();
        db.pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        db.execute("INSERT INTO meta VALUES ('a', 'kept')", [])
            .unwrap();
        drop(db);
        let db = open(&path).unwrap();
        assert_eq!(version_of(&db), 5);
        let kept: String = db
            .query_row("SELECT value FROM meta", [], |r| r.get(0))
            .unwrap();
        assert_eq!(kept, "kept");
        // A session without its container is refused.
        let id = "a".repeat(64);
        let alone = db.execute("INSERT INTO execs VALUES (?1, ?1, '', '{}', '{}')", [&id]);
        assert!(alone.unwrap_err().to_string().contains("FOREIGN KEY"));
    }

    #[test]
    fn migration_5_keeps_containers_and_makes_room_for_networks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let db = Connection::open(&path).unwrap();
        for sql in [V1, V2, V3, V4] {
            db.execute_batch(sql).unwrap();
        }
        db.pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        db.pragma_update(None, "user_version", 4).unwrap();
        let id = "a".repeat(64);
        db.execute(
            "INSERT INTO containers VALUES (?1, 'kept', '', '', '', '', '{}', x'')",
            [&id],
        )
        .unwrap();
        drop(db);
        let db = open(&path).unwrap();
        assert_eq!(version_of(&db), 5);
        // A lease may outlive its container.
        db.execute("INSERT INTO attachments VALUES (?1, '{}')", [&id])
            .unwrap();
        db.execute("DELETE FROM containers", []).unwrap();
        let left: i64 = db
            .query_row("SELECT count(*) FROM attachments", [], |r| r.get(0))
            .unwrap();
        assert_eq!(left, 1);
        db.execute("INSERT INTO networks VALUES (?1, 'n', '{}')", [&id])
            .unwrap();
        let other = "b".repeat(64);
        let taken = db.execute("INSERT INTO networks VALUES (?1, 'n', '{}')", [&other]);
        assert!(taken.unwrap_err().to_string().contains("UNIQUE"));
    }

    #[test]
    fn a_second_open_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let schema = |db: &Connection| -> String {
            db.query_row("SELECT group_concat(sql) FROM sqlite_schema", [], |r| {
                r.get(0)
            })
            .unwrap()
        };
        let first = schema(&open(&path).unwrap());
        assert_eq!(schema(&open(&path).unwrap()), first);
    }

    #[test]
    fn only_root_reads_the_ledger_and_its_log() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let _db = open(&path).unwrap();
        for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
            let meta = std::fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_newer_schema_is_refused_with_both_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let db = open(&path).unwrap();
        db.pragma_update(None, "user_version", 7).unwrap();
        drop(db);
        let e = open(&path).unwrap_err();
        assert!(e.message().contains("schema 7"), "{e}");
        assert!(e.message().contains("up to 5"), "{e}");
        assert!(e.message().contains(path.to_str().unwrap()), "{e}");
    }

    #[test]
    fn a_file_that_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = dir.path().join("foreign.db");
        let db = Connection::open(&foreign).unwrap();
        db.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(db);
        let before = std::fs::read(&foreign).unwrap();
        let e = open(&foreign).unwrap_err();
        assert!(e.message().contains("another program's"), "{e}");
        assert_eq!(std::fs::read(&foreign).unwrap(), before);

        let rubbish = dir.path().join("rubbish.db");
        std::fs::write(&rubbish, "not a database ".repeat(1000)).unwrap();
        let e = open(&rubbish).unwrap_err();
        assert!(e.message().contains(".recover"), "{e}");
        assert!(e.message().contains("rubbish.db"), "{e}");
    }

    #[test]
    fn a_damaged_page_is_found_at_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let db = open(&path).unwrap();
        for n in 0..200 {
            db.execute(
                "INSERT INTO meta VALUES (?1, ?2)",
                (format!("k{n}"), "x".repeat(400)),
            )
            .unwrap();
        }
        drop(db);
        let mut bytes = std::fs::read(&path).unwrap();
        let page = 4096;
        assert!(bytes.len() > 12 * page);
        let middle = bytes.len() / page / 2 * page;
        bytes[middle..middle + page].fill(0xee);
        std::fs::write(&path, &bytes).unwrap();
        let e = open(&path).unwrap_err();
        assert!(e.message().contains(".recover"), "{e}");
        assert!(e.message().contains(path.to_str().unwrap()), "{e}");
    }

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let e = open(Path::new("/nonexistent/ledger.db")).unwrap_err();
        assert!(e.message().contains("/nonexistent/ledger.db"), "{e}");
    }
}
