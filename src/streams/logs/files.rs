//! The files of one log, and who reads them.
//!
//! ```text
//!   container.log.3.gz      container.log.4      container.log
//!   rotated and packed      rotated              conmon writes here; its number is 5
//! ```
//!
//! A file has one number for all its life: rotating gives it a name with it. Until conmon has
//! opened the log anew it writes on in the renamed file, so a rotated file is final only when a
//! newer one is there. The files are the truth; a daemon that comes back finds all of this in the
//! directory. Only this room renames and removes them, and only conmon makes them.
//!
//! Readers are listed, for what one of them still needs stays a while.
//!
//! All of it blocks, for as long as a directory's entries take.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cut::Cut;
use super::dropped::Dropped;
use crate::Want;

/// A log's files; clones are the same log's.
#[derive(Debug, Clone)]
pub struct LogFiles {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    /// The bytes of these streams are counted when a file goes.
    pub(super) counts: Option<Want>,
    /// How many of them are gone, as far as the log was looked at.
    dropped_bytes: AtomicU64,
    state: Mutex<State>,
    /// Held by whoever packs a file.
    pub(super) packing: Mutex<()>,
    /// Somebody is about to.
    pub(super) packing_is_due: AtomicBool,
    /// Counts rotations of this log: of two that run only the later stays.
    pub(super) rotations: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The directory was read.
    is_known: bool,
    /// The log is to be removed: nothing is changed any more.
    pub(super) is_closed: bool,
    /// Oldest first; what is not here was removed.
    pub(super) rotated: BTreeMap<u64, Form>,
    /// The number of the file being written.
    pub(super) newest: u64,
    /// Which file each reader is in, by the reader's number.
    pub(super) readers: BTreeMap<u64, u64>,
    readers_made: u64,
    dropped: Dropped,
    /// How the oldest file begins.
    pub(super) cut: Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Packed,
}

/// A file that is being packed has this behind its name.
pub(super) const PACKING_SUFFIX: &str = ".tmp";

impl LogFiles {
    /// The log that is written at `path`; it need not be there yet. Nothing is looked at.
    pub fn new(path: PathBuf) -> Self {
        Self::make(path, None)
    }

    /// As [`LogFiles::new`], of a log in which readers find a byte by its number though older ones
    /// are gone. Bytes of the streams `want` count.
    pub fn counted(path: PathBuf, want: Want) -> Self {
        Self::make(path, Some(want))
    }

    fn make(path: PathBuf, counts: Option<Want>) -> Self {
        let shared = Arc::new(Shared {
            path,
            counts,
            dropped_bytes: AtomicU64::new(0),
            state: Mutex::default(),
            packing: Mutex::default(),
            packing_is_due: AtomicBool::new(false),
            rotations: AtomicU64::new(0),
        });
        Self { shared }
    }

    /// How many bytes of a counted log are gone, as far as it was looked at.
    pub fn dropped_bytes(&self) -> u64 {
        self.shared.dropped_bytes.load(Ordering::Relaxed)
    }

    /// Looks at the log's directory, which is else done when it is first read or rotated.
    ///
    /// # Errors
    /// What the file system says.
    pub fn look(&self) -> io::Result<()> {
        self.lock().map(drop)
    }

    /// Makes what is needed to count what goes, so that it can be counted on a full disk, too.
    ///
    /// # Errors
    /// What the file system says.
    pub fn prepare_count(&self) -> io::Result<()> {
        Dropped::default().write(self.path())
    }

    /// Ends all changes to the log's files, and waits for one under way: they are to be removed.
    pub fn close(&self) {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).is_closed = true;
        drop(self.shared.packing.lock());
    }

    /// Where conmon writes.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The directory of its files.
    pub(super) fn dir(&self) -> &Path {
        // A path without a parent has no log either.
        self.path().parent().unwrap_or_else(|| self.path())
    }

    /// Lists a reader in the oldest file: its own number, the file's, and how many bytes of a
    /// counted log were gone by then.
    pub(super) fn add_reader(&self) -> io::Result<(u64, u64, u64)> {
        let mut state = self.lock()?;
        let oldest = state.rotated.keys().next().copied();
        let number = oldest.unwrap_or(state.newest);
        let reader = state.readers_made;
        state.readers_made += 1;
        state.readers.insert(reader, number);
        Ok((reader, number, state.dropped.bytes))
    }

    /// Where conmon writes: the number of a file and how much is in it. After a rotation it is the
    /// renamed one, until conmon has the new one.
    pub(super) fn now(&self) -> io::Result<(u64, u64)> {
        let state = self.lock()?;
        let bytes = |path: &Path| match fs::metadata(path) {
            Ok(file) => Ok(Some(file.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        if let Some(bytes) = bytes(self.path())? {
            return Ok((state.newest, bytes));
        }
        let renamed = state.newest.saturating_sub(1);
        if state.rotated.get(&renamed) == Some(&Form::Plain)
            && let Some(bytes) = bytes(&self.name_of(renamed, Form::Plain))?
        {
            return Ok((renamed, bytes));
        }
        Ok((state.newest, 0))
    }

    /// Whether conmon is known to write into the newest file: it is not after a rotation, until it
    /// has opened the log anew.
    pub(super) fn is_open(&self) -> bool {
        self.path().exists()
    }

    /// Whether a rotation was begun of which conmon knows nothing yet.
    pub(super) fn awaits_reopening(&self) -> io::Result<bool> {
        let state = self.lock()?;
        Ok(!state.rotated.is_empty() && !self.is_open())
    }

    /// Counts what is gone with file `through`, before it is removed.
    pub(super) fn drop_bytes(&self, state: &mut State, through: u64, bytes: u64) -> io::Result<()> {
        let dropped = Dropped {
            through,
            bytes: state.dropped.bytes + bytes,
        };
        dropped.write(self.path())?;
        state.dropped = dropped;
        self.shared
            .dropped_bytes
            .store(dropped.bytes, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn name_of(&self, number: u64, form: Form) -> PathBuf {
        let suffix = match form {
            Form::Plain => format!(".{number}"),
            Form::Packed => format!(".{number}.gz"),
        };
        with_suffix(self.path(), &suffix)
    }

    /// The state, read from the directory when it is not known yet. No code panics while holding
    /// the lock, so a poisoned one is whole.
    pub(super) fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !state.is_known {
            if self.shared.counts.is_some() {
                state.dropped = Dropped::read(self.path())?;
                let gone = &self.shared.dropped_bytes;
                gone.store(state.dropped.bytes, Ordering::Relaxed);
            }
            state.cut = Cut::read(self.path());
            state.rotated = self.find_rotated()?;
            let dropped = state.dropped.through;
            // Counted, and the daemon was killed before they were removed.
            for (number, form) in state.rotated.extract_if(..=dropped, |_, _| true) {
                remove(&self.name_of(number, form))?;
            }
            let last = state.rotated.keys().next_back().copied();
            state.newest = last.unwrap_or(dropped) + 1;
            state.is_known = true;
        }
        Ok(state)
    }

    fn find_rotated(&self) -> io::Result<BTreeMap<u64, Form>> {
        let mut rotated = BTreeMap::new();
        let Some(name) = self.path().file_name() else {
            return Ok(rotated);
        };
        let entries = match fs::read_dir(self.dir()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(rotated),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let (file, name) = (entry.file_name(), name.to_string_lossy());
            let file = file.to_string_lossy();
            if let Some(cut_short) = file.strip_suffix(PACKING_SUFFIX)
                && parse_name(cut_short, &name).is_some()
            {
                remove(&entry.path())?;
                continue;
            }
            let Some((number, form)) = parse_name(&file, &name) else {
                continue;
            };
            match (rotated.get(&number), form) {
                (None, form) => drop(rotated.insert(number, form)),
                // A packing that was cut short: the plain one is whole.
                (Some(_), _) => {
                    rotated.insert(number, Form::Plain);
                    remove(&self.name_of(number, Form::Packed))?;
                }
            }
        }
        Ok(rotated)
    }
}

impl State {
    /// Whether a reader has yet to read file `number`.
    pub(super) fn needs(&self, number: u64) -> bool {
        self.readers.values().any(|at| *at <= number)
    }
}

/// `NAME.7` or `NAME.7.gz`.
fn parse_name(file: &str, name: &str) -> Option<(u64, Form)> {
    let rest = file.strip_prefix(name)?.strip_prefix('.')?;
    let (digits, form) = match rest.strip_suffix(".gz") {
        Some(digits) => (digits, Form::Packed),
        None => (rest, Form::Plain),
    };
    // Only what this file writes: no signs, no leading zeros.
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits && number < u64::MAX).then_some((number, form))
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
