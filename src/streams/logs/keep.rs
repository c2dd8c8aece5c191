//! What rotation does to a log's files: rename, remove, pack. Blocks.
//!
//! Nothing is done to a log that is closed, and what is done is done by one at a time.

use std::fs;
use std::io;
use std::sync::PoisonError;

use model::limits;

use super::cursor::Cursor;
use super::cut::Cut;
use super::files::{Form, LogFiles, PACKING_SUFFIX, remove, with_suffix};
use super::tail::{self, Place, Within};
use super::{pack, scan};

/// A file that is to be removed.
#[derive(Debug, Clone, Copy)]
struct Doomed {
    number: u64,
    /// Though a reader needs it.
    by_force: bool,
}

impl LogFiles {
    /// Gives the file being written its number for a name; false when the log is closed.
    pub(super) fn rotate(&self) -> io::Result<bool> {
        let mut state = self.lock()?;
        if state.is_closed {
            return Ok(false);
        }
        let number = state.newest;
        fs::rename(self.path(), self.name_of(number, Form::Plain))?;
        state.rotated.insert(number, Form::Plain);
        state.newest += 1;
        Ok(true)
    }

    /// Removes all rotated files but the `kept` newest, and those that readers still need, up to
    /// [`limits::LOG_HELD_BYTES_MAX`]; true when there are such.
    pub(super) fn sweep(&self, kept: usize) -> io::Result<bool> {
        let (excess, mut are_needed) = self.find_excess(kept)?;
        for doomed in excess {
            // Before it is locked: both read the file. A cut that is not known is no reason to keep
            // it: the log begins with half a line then.
            let cut = self.cut_behind(doomed.number).unwrap_or_default();
            let bytes = match self.shared.counts {
                Some(want) => scan::count(self, doomed.number, want)?,
                None => 0,
            };
            let mut state = self.lock()?;
            if state.is_closed {
                return Ok(false);
            }
            if !doomed.by_force && state.needs(doomed.number) {
                are_needed = true;
                break;
            }
            // Another sweep may have been quicker, and it may have been packed meanwhile.
            let Some(form) = state.rotated.get(&doomed.number).copied() else {
                continue;
            };
            if self.shared.counts.is_some() {
                self.drop_bytes(&mut state, doomed.number, bytes)?;
            }
            if cut != state.cut {
                state.cut = cut;
                if let Err(e) = cut.write(self.path()) {
                    tracing::debug!(log = %self.path().display(), error = %e, "the log will begin within a line");
                }
            }
            remove(&self.name_of(doomed.number, form))?;
            state.rotated.remove(&doomed.number);
        }
        Ok(are_needed)
    }

    /// How the file behind `number` begins.
    fn cut_behind(&self, number: u64) -> io::Result<Cut> {
        let cursor = Cursor::enter(self)?;
        let end = Place {
            number,
            offset: cursor.bytes_of(number)?,
        };
        let within = tail::within_lines(&cursor, end)?;
        if within == Within::default() {
            return Ok(Cut::default());
        }
        Ok(Cut {
            number: number + 1,
            stdout: within.stdout,
            stderr: within.stderr,
        })
    }

    /// What [`LogFiles::sweep`] has to remove, oldest first, and whether more is needed yet.
    fn find_excess(&self, kept: usize) -> io::Result<(Vec<Doomed>, bool)> {
        let state = self.lock()?;
        if state.is_closed {
            return Ok((Vec::new(), false));
        }
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
        let packing = &self.shared.packing;
        let _packing = packing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(number) = self.find_unpacked()? else {
            return Ok(false);
        };
        let plain = self.name_of(number, Form::Plain);
        let packed = self.name_of(number, Form::Packed);
        let temporary = with_suffix(&packed, PACKING_SUFFIX);
        let is_closed = || self.lock().is_ok_and(|state| state.is_closed);
        let is_whole = pack::pack(&plain, &temporary, is_closed).inspect_err(|_| {
            // On a full disk above all half a file must not stay; the first error is the one to tell.
            let _ = remove(&temporary);
        })?;
        let mut state = self.lock()?;
        match state.rotated.get_mut(&number) {
            Some(form) if is_whole => {
                fs::rename(&temporary, &packed)?;
                *form = Form::Packed;
                remove(&plain)?;
            }
            // Closed or swept meanwhile.
            _ => remove(&temporary)?,
        }
        Ok(is_whole)
    }

    fn find_unpacked(&self) -> io::Result<Option<u64>> {
        let state = self.lock()?;
        if state.is_closed {
            return Ok(None);
        }
        let mut plain = state
            .rotated
            .iter()
            .filter(|(_, form)| **form == Form::Plain);
        // As in `sweep`: the last one may still grow.
        let last = (!self.is_open()).then_some(state.newest.saturating_sub(1));
        let oldest = plain.next().map(|(number, _)| *number);
        Ok(oldest.filter(|number| Some(*number) != last))
    }
}
