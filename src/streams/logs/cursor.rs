//! One reader's place in a log of several files. Blocks.

use std::fs::File;
use std::io;

use super::cut::Cut;
use super::files::{Form, LogFiles};
use super::pack::Unpacking;

/// Where one reader is. What it needs is kept for it until it is dropped.
#[derive(Debug)]
pub(super) struct Cursor {
    files: LogFiles,
    reader: u64,
    number: u64,
    base: u64,
    lost: u64,
}

/// A file that is open for reading, from its beginning on.
#[derive(Debug)]
pub(super) enum Opened {
    /// As conmon wrote it.
    Plain(File),
    /// It has to be unpacked.
    Packed(File),
}

impl Cursor {
    /// A new reader, in the oldest file.
    pub(super) fn enter(files: &LogFiles) -> io::Result<Self> {
        let (reader, number, base) = files.add_reader()?;
        Ok(Self {
            files: files.clone(),
            reader,
            number,
            base,
            lost: 0,
        })
    }

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

    /// Opens file `number`; `None` when it is not there.
    pub(super) fn open(&self, number: u64) -> io::Result<Option<Opened>> {
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
        Ok(Some(match form {
            Form::Plain => Opened::Plain(file),
            Form::Packed => Opened::Packed(file),
        }))
    }

    /// The size of file `number`, unpacked where it is packed; 0 when it is not there.
    pub(super) fn bytes_of(&self, number: u64) -> io::Result<u64> {
        match self.open(number)? {
            None => Ok(0),
            Some(Opened::Plain(file)) => Ok(file.metadata()?.len()),
            Some(Opened::Packed(file)) => io::copy(&mut Unpacking::new(file), &mut io::sink()),
        }
    }

    /// How its file begins, when it is known.
    pub(super) fn cut(&self) -> io::Result<Cut> {
        let cut = self.files.lock()?.cut;
        Ok(match cut.number == self.number {
            true => cut,
            false => Cut::default(),
        })
    }

    /// Whether its file was removed before it was opened; it is counted then.
    pub(super) fn has_lost_its_file(&mut self) -> io::Result<bool> {
        let state = self.files.lock()?;
        let is_gone = self.number < state.newest && !state.rotated.contains_key(&self.number);
        self.lost += u64::from(is_gone);
        Ok(is_gone)
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
