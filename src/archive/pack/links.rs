//! Files with several names: one is sent with its content, the others as links to that.

use std::collections::HashMap;

use model::limits;
use sys::beneath::Metadata;

use crate::tar::Entry;

/// Of a file with several names: what the first is in the archive, and how many are still to come.
#[derive(Default)]
pub(super) struct Links {
    firsts: HashMap<(u64, u64), (Vec<u8>, u64)>,
    pub(super) bytes: usize,
}

impl Links {
    /// What another name of the same file is in the archive.
    pub(super) fn first_name(&mut self, found: &Metadata) -> Option<Vec<u8>> {
        if found.links <= 1 {
            return None;
        }
        let (first, left) = self.firsts.get_mut(&found.inode)?;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return Some(first.clone());
        }
        let (first, _) = self.firsts.remove(&found.inode)?;
        self.bytes -= Self::bytes_of(&first);
        Some(first)
    }

    pub(super) fn remember(&mut self, found: &Metadata, first: &Entry) {
        let bytes = Self::bytes_of(&first.path);
        if found.links > 1 && self.bytes + bytes <= limits::PACK_LINKS_BYTES_MAX {
            let left = (first.path.clone(), found.links - 1);
            match self.firsts.insert(found.inode, left) {
                None => self.bytes += bytes,
                // It has more names by now than it had.
                Some((before, _)) => self.bytes = self.bytes + bytes - Self::bytes_of(&before),
            }
        }
    }

    fn bytes_of(first: &[u8]) -> usize {
        first.len() + size_of::<((u64, u64), (Vec<u8>, u64))>()
    }
}
