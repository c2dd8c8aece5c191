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
//! Readers are listed: what one of them still needs stays, up to [`limits::LOG_HELD_BYTES_MAX`].
//!
//! All of it blocks, for as long as a directory's entries take.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::limits;
use sys::durable;

use super::dropped::Dropped;
use super::{pack, scan};
use crate::Want;

/// A log's files; clones are the same log's.
#[derive(Debug, Clone)]
pub struct LogFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// The bytes of these streams are counted when a file goes.
    counts: Option<Want>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The directory was read.
    is_known: bool,
    /// Oldest first; what is not here was removed.
    rotated: BTreeMap<u64, Form>,
    /// The number of the file being written.
    newest: u64,
    /// Which file each reader is in, by the reader's number.
    readers: BTreeMap<u64, u64>,
    readers_made: u64,
    dropped: Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Packed,
}

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
            state: Mutex::default(),
        });
        Self { shared }
    }

    /// How many bytes of a counted log are gone, as far as the log was looked at.
    pub fn dropped_bytes(&self) -> u64 {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).dropped.bytes
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

    /// A reader, in the oldest file.
    pub(super) fn enter(&self) -> io::Result<Cursor> {
        let mut state = self.lock()?;
        let number = state.rotated.keys().next().copied();
        let number = number.unwrap_or(state.newest);
        let base = state.dropped.bytes;
        let reader = state.readers_made;
        state.readers_made += 1;
        state.readers.insert(reader, number);
        drop(state);
        Ok(Cursor {
            files: self.clone(),
            reader,
            number,
            base,
            lost: 0,
        })
    }

    /// The number of the file being written, and how much conmon has written into it. 0 bytes
    /// when conmon has yet to make it.
    pub(super) fn newest(&self) -> io::Result<(u64, u64)> {
        let state = self.lock()?;
        match fs::metadata(self.path()) {
            Ok(file) => Ok((state.newest, file.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok((state.newest, 0)),
            Err(e) => Err(e),
        }
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

    /// Gives the file being written its number for a name.
    pub(super) fn rotate(&self) -> io::Result<()> {
        let mut state = self.lock()?;
        let number = state.newest;
        fs::rename(self.path(), self.name_of(number, Form::Plain))?;
        state.rotated.insert(number, Form::Plain);
        state.newest += 1;
        Ok(())
    }

    /// Takes the last rotation back when conmon has ended before it knew of it: its log is where
    /// it is looked for.
    pub(super) fn settle(&self) -> io::Result<()> {
        let mut state = self.lock()?;
        let last = state.newest.saturating_sub(1);
        if self.is_open() || state.rotated.get(&last) != Some(&Form::Plain) {
            return Ok(());
        }
        // The next run's conmon may be making its file right now.
        if durable::rename_new(&self.name_of(last, Form::Plain), self.path())? {
            state.rotated.remove(&last);
            state.newest = last;
        }
        Ok(())
    }

    /// Removes all rotated files but the `kept` newest, and those that readers still need; true
    /// when there are such.
    pub(super) fn sweep(&self, kept: usize) -> io::Result<bool> {
        let (excess, mut are_needed) = self.find_excess(kept)?;
        for doomed in excess {
            // Before it is locked: this reads the file.
            let bytes = match self.shared.counts {
                Some(want) => scan::count(self, doomed.number, want)?,
                None => 0,
            };
            let mut state = self.lock()?;
            if !doomed.by_force && state.needs(doomed.number) {
                are_needed = true;
                break;
            }
            if self.shared.counts.is_some() {
                state.dropped.through = doomed.number;
                state.dropped.bytes += bytes;
                state.dropped.write(self.path())?;
            }
            // It may have been packed meanwhile.
            if let Some(form) = state.rotated.remove(&doomed.number) {
                remove(&self.name_of(doomed.number, form))?;
            }
        }
        Ok(are_needed)
    }

    /// What [`LogFiles::sweep`] has to remove, oldest first, and whether more is needed yet.
    fn find_excess(&self, kept: usize) -> io::Result<(Vec<Doomed>, bool)> {
        let state = self.lock()?;
        // conmon may still write into the last one.
        let kept = kept.max(usize::from(!self.is_open()));
        let excess = state.rotated.len().saturating_sub(kept);
        let candidates: Vec<_> = state.rotated.iter().take(excess).collect();
        let (mut doomed, mut held) = (Vec::new(), 0);
        // Newest first: when readers need too much it is the oldest that goes.
        for (&number, &form) in candidates.into_iter().rev() {
            let is_needed = state.needs(number);
            if is_needed {
                held += fs::metadata(self.name_of(number, form)).map_or(0, |file| file.len());
            }
            if !is_needed || held > limits::LOG_HELD_BYTES_MAX {
                doomed.push(Doomed {
                    number,
                    by_force: is_needed,
                });
            }
        }
        doomed.reverse();
        let are_needed = doomed.len() < excess;
        Ok((doomed, are_needed))
    }

    /// Packs the oldest rotated file that is not; false when there is none.
    pub(super) fn pack_one(&self) -> io::Result<bool> {
        let due = {
            let state = self.lock()?;
            // As in `sweep`: the last one may still grow.
            let last = (!self.is_open()).then_some(state.newest.saturating_sub(1));
            let mut plain = state
                .rotated
                .iter()
                .filter(|(_, form)| **form == Form::Plain);
            plain
                .next()
                .map(|(number, _)| *number)
                .filter(|n| Some(*n) != last)
        };
        let Some(number) = due else {
            return Ok(false);
        };
        let (plain, packed) = (
            self.name_of(number, Form::Plain),
            self.name_of(number, Form::Packed),
        );
        let temporary = with_suffix(&packed, ".tmp");
        pack::pack(&plain, &temporary)?;
        let mut state = self.lock()?;
        if let Some(form) = state.rotated.get_mut(&number) {
            fs::rename(&temporary, &packed)?;
            *form = Form::Packed;
            remove(&plain)?;
        } else {
            // Swept meanwhile.
            remove(&temporary)?;
        }
        Ok(true)
    }

    fn name_of(&self, number: u64, form: Form) -> PathBuf {
        let suffix = match form {
            Form::Plain => format!(".{number}"),
            Form::Packed => format!(".{number}.gz"),
        };
        with_suffix(self.path(), &suffix)
    }

    /// The state, read from the directory when it is not known yet. No code panics while holding
    /// the lock, so a poisoned one is whole.
    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !state.is_known {
            if self.shared.counts.is_some() {
                state.dropped = Dropped::read(self.path())?;
            }
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
            let Some((number, form)) = parse_name(
                &entry.file_name().to_string_lossy(),
                &name.to_string_lossy(),
            ) else {
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

/// A file that is to be removed.
#[derive(Debug, Clone, Copy)]
struct Doomed {
    number: u64,
    /// Though a reader needs it.
    by_force: bool,
}

impl State {
    /// Whether a reader has yet to read file `number`.
    fn needs(&self, number: u64) -> bool {
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

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Where one reader is. What it needs is kept for it until it is dropped.
#[derive(Debug)]
pub(super) struct Cursor {
    files: LogFiles,
    reader: u64,
    number: u64,
    base: u64,
    lost: u64,
}

impl Cursor {
    pub(super) fn files(&self) -> &LogFiles {
        &self.files
    }

    /// How many bytes of a counted log were gone when it came.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The number of the file it is in.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Files that were removed before this reader came to them.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// The file before `number`.
    pub(super) fn before(&self, number: u64) -> io::Result<Option<u64>> {
        let state = self.files.lock()?;
        Ok(state.rotated.range(..number).next_back().map(|(n, _)| *n))
    }

    /// Opens file `number`; `None` when it is not there. A packed one is unpacked, into a file
    /// without a name; `true` when a part of it cannot be.
    pub(super) fn open(&self, number: u64) -> io::Result<Option<(File, bool)>> {
        let state = self.files.lock()?;
        let (path, form) = match state.rotated.get(&number) {
            Some(form) => (self.files.name_of(number, *form), *form),
            None if number == state.newest => (self.files.path().to_owned(), Form::Plain),
            None => return Ok(None),
        };
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        drop(state);
        match form {
            Form::Plain => Ok(Some((file, false))),
            Form::Packed => pack::unpack(&file, self.files.dir()).map(Some),
        }
    }

    /// Whether nothing is written to its file any more.
    pub(super) fn is_final(&self) -> io::Result<bool> {
        let state = self.files.lock()?;
        let is_last = state.rotated.range(self.number + 1..).next().is_none();
        Ok(self.number < state.newest && (!is_last || self.files.is_open()))
    }

    /// Goes to file `number`.
    pub(super) fn go_to(&mut self, number: u64) -> io::Result<()> {
        self.number = number;
        self.files.lock()?.readers.insert(self.reader, number);
        Ok(())
    }

    /// Goes to the next newer file; the newest has none. `opened` says whether this one was there.
    pub(super) fn advance(&mut self, opened: bool) -> io::Result<()> {
        let mut state = self.files.lock()?;
        let newer = state.rotated.range(self.number + 1..).next();
        let next = newer.map_or(state.newest, |(number, _)| *number);
        if next > self.number {
            self.lost += next - self.number - u64::from(opened);
            self.number = next;
            state.readers.insert(self.reader, next);
        }
        Ok(())
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Ok(mut state) = self.files.lock() {
            state.readers.remove(&self.reader);
        }
    }
}
