//! Where a container was started again within a line of its log: a small file beside it.
//!
//! What a run wrote last may have no newline, and nothing in the log says that what follows is
//! another run's. Written before the run, read by those who join pieces to lines. Blocks.

use std::fs;
use std::io;

use super::cursor::Cursor;
use super::files::{LogFiles, with_suffix};
use super::tail::{self, Place};

/// The latest are kept.
const RUNS_MAX: usize = 4096;

impl LogFiles {
    /// A run is about to begin, and its conmon writes nothing yet.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin_run(&self) -> io::Result<()> {
        let (number, offset) = self.now()?;
        let here = Place { number, offset };
        let within = tail::within_lines(&Cursor::enter(self)?, here)?;
        if !within.stdout && !within.stderr {
            return Ok(());
        }
        let mut runs = self.runs()?;
        runs.push(here);
        let latest = &runs[runs.len().saturating_sub(RUNS_MAX)..];
        let lines = latest
            .iter()
            .map(|run| format!("{} {}\n", run.number, run.offset));
        fs::write(with_suffix(self.path(), ".runs"), lines.collect::<String>())
    }

    /// The places where such runs begin, in order. What cannot be read costs a line its end.
    pub(super) fn runs(&self) -> io::Result<Vec<Place>> {
        let text = match fs::read_to_string(with_suffix(self.path(), ".runs")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let place = |line: &str| {
            let (number, offset) = line.split_once(' ')?;
            Some(Place {
                number: number.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        };
        Ok(text.lines().filter_map(place).collect())
    }
}
