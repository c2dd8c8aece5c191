//! What is to be told of a checkpoint, and what CRIU counted while it was made.

use std::path::Path;
use std::time::SystemTime;

use model::{CheckpointName, Result, Timestamp};
use runtime::CriuOptions;

use crate::Checkpoints;
use crate::manifest::Origin;

/// One checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointView {
    /// What it is called.
    pub name: CheckpointName,
    /// When it was complete.
    pub created_at: Timestamp,
    /// What it is of.
    pub origin: Origin,
    /// As it was made.
    pub options: CriuOptions,
    /// The container ended with it.
    pub ended: bool,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// `None` where CRIU has left none.
    pub statistics: Option<DumpStatistics>,
}

/// What CRIU counted (its `images/stats.proto`, `dump_stats_entry`); 0 where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpStatistics {
    /// How long it took to freeze the processes, in microseconds.
    pub freezing_us: u64,
    /// How long they were frozen.
    pub frozen_us: u64,
    /// How long their memory took to be found.
    pub memory_dump_us: u64,
    /// How long it took to be written.
    pub memory_write_us: u64,
    /// Pages that were looked at.
    pub pages_scanned: u64,
    /// Pages that were written.
    pub pages_written: u64,
}

impl Checkpoints {
    /// What there is to tell of one. Its files are not read.
    ///
    /// # Errors
    /// NotFound, in Docker's words; System when its manifest is damaged.
    pub fn view(&self, name: &CheckpointName) -> Result<CheckpointView> {
        let (images, manifest) = self.manifest(name)?;
        let made = std::fs::metadata(crate::manifest::path(&images)).and_then(|m| m.modified());
        let made = made.unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(CheckpointView {
            name: name.clone(),
            created_at: Timestamp::try_from(made).unwrap_or_default(),
            ended: manifest.ended_run.is_some(),
            size_bytes: manifest.size_bytes(),
            origin: manifest.origin,
            options: manifest.options,
            statistics: read(&images.join("stats-dump")),
        })
    }
}

/// CRIU's file: two magic numbers and a length, of 32 bits each, then a protobuf message
/// (its `include/stats.h` and `magic.h`).
fn read(file: &Path) -> Option<DumpStatistics> {
    const HEAD_BYTES: usize = 12;
    const BYTES_MAX: u64 = 4096;
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(file).ok()?;
    file.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let length = u32::from_le_bytes(bytes.get(8..HEAD_BYTES)?.try_into().ok()?);
    let message = bytes.get(HEAD_BYTES..)?;
    let message = message.get(..usize::try_from(length).ok()?)?;
    // `stats_entry.dump`.
    let dump = fields(message).find_map(|field| match field {
        (1, Value::Bytes(dump)) => Some(dump),
        _ => None,
    })?;
    let mut found = DumpStatistics::default();
    for field in fields(dump) {
        let (number, Value::Number(value)) = field else {
            continue;
        };
        match number {
            1 => found.freezing_us = value,
            2 => found.frozen_us = value,
            3 => found.memory_dump_us = value,
            4 => found.memory_write_us = value,
            5 => found.pages_scanned = value,
            7 => found.pages_written = value,
            _ => {}
        }
    }
    Some(found)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message, up to the first that is damaged.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let (key, rest) = varint(message)?;
        let (value, rest) = match key & 7 {
            0 => {
                let (number, rest) = varint(rest)?;
                (Value::Number(number), rest)
            }
            2 => {
                let (length, rest) = varint(rest)?;
                let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Value::Bytes(bytes), rest)
            }
            _ => return None,
        };
        message = rest;
        Some((key >> 3, value))
    })
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_criu_counted_is_read_and_damage_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("stats-dump");
        // Of CRIU 3.17.1: freezing 204, frozen 6042, memdump 2123, memwrite 1450, scanned 1237,
        // skipped 0, written 92.
        let dump = [
            0x08, 0xcc, 0x01, 0x10, 0x9a, 0x2f, 0x18, 0xcb, 0x10, 0x20, 0xaa, 0x0b, 0x28, 0xd5,
            0x09, 0x30, 0x00, 0x38, 0x5c,
        ];
        let mut bytes = vec![0; 8];
        let length = u32::try_from(dump.len() + 2).unwrap();
        bytes.extend(length.to_le_bytes());
        bytes.extend([0x0a, u8::try_from(dump.len()).unwrap()]);
        bytes.extend(dump);
        std::fs::write(&file, &bytes).unwrap();
        let expected = DumpStatistics {
            freezing_us: 204,
            frozen_us: 6042,
            memory_dump_us: 2123,
            memory_write_us: 1450,
            pages_scanned: 1237,
            pages_written: 92,
        };
        assert_eq!(read(&file), Some(expected));
        for cut in [0, 11, 13, bytes.len() - 1] {
            std::fs::write(&file, &bytes[..cut]).unwrap();
            assert_eq!(read(&file), None, "{cut}");
        }
        std::fs::write(&file, [0xff; 64]).unwrap();
        assert_eq!(read(&file), None);
    }
}
