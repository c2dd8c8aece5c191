//! Rotated logs packed and unpacked, with gzip as Docker's. Blocks.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use model::limits;
use sys::spill_file::SpillFile;

const BUFFER_BYTES: usize = 128 << 10;

/// Packs the file `from` into the new file `to`, which is on the disk when this returns true.
/// False when it was told to stop.
pub(super) fn pack(from: &Path, to: &Path, stop: impl Fn() -> bool) -> io::Result<bool> {
    let mut source = File::open(from)?;
    let mut options = OpenOptions::new();
    let target = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    // Buffered by the encoder, 32 KiB at a time.
    let mut encoder = GzEncoder::new(target, Compression::fast());
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        if stop() {
            return Ok(false);
        }
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => encoder.write_all(&buffer[..length])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    encoder.finish()?.sync_all()?;
    Ok(true)
}

/// A packed file, unpacked while it is read. It ends where it is damaged.
#[derive(Debug)]
pub(super) struct Unpacking {
    decoder: MultiGzDecoder<BufReader<File>>,
    /// What is left of it cannot be read.
    pub(super) is_damaged: bool,
}

impl Unpacking {
    pub(super) fn new(packed: File) -> Self {
        let source = BufReader::with_capacity(BUFFER_BYTES, packed);
        Self {
            decoder: MultiGzDecoder::new(source),
            is_damaged: false,
        }
    }
}

impl Read for Unpacking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_damaged {
            return Ok(0);
        }
        match self.decoder.read(buffer) {
            Err(e) if is_damage(&e) => {
                self.is_damaged = true;
                Ok(0)
            }
            read => read,
        }
    }
}

/// Unpacks a file into one without a name in `dir`, for those who read it backwards. One at a
/// time: it may be large.
pub(super) fn unpack(packed: File, dir: &Path) -> io::Result<File> {
    static UNPACKING: Mutex<()> = Mutex::new(());
    let _turn = UNPACKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut source = Unpacking::new(packed);
    let target = SpillFile::create(dir)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut offset = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                target.write(&buffer[..length], offset, limits::SPILL_LEAVE_BYTES)?;
                offset += length as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(target.into_file())
}

fn is_damage(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_damage_costs_only_what_follows() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, packed) = (dir.path().join("a"), dir.path().join("a.gz"));
        let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&plain, &text).unwrap();
        assert!(!pack(&plain, &packed, || true).unwrap());
        assert!(pack(&plain, &packed, || false).unwrap());
        let read = |path: &Path| {
            let mut unpacking = Unpacking::new(File::open(path).unwrap());
            let mut all = String::new();
            unpacking.read_to_string(&mut all).unwrap();
            let file = unpack(File::open(path).unwrap(), dir.path()).unwrap();
            assert_eq!(file.metadata().unwrap().len(), all.len() as u64);
            (all, unpacking.is_damaged)
        };
        assert!(read(&packed) == (text.clone(), false));
        let bytes = std::fs::read(&packed).unwrap();
        std::fs::write(&packed, &bytes[..bytes.len() / 2]).unwrap();
        let (half, damaged) = read(&packed);
        assert!(damaged && !half.is_empty() && text.starts_with(&half));
        std::fs::write(&packed, "no gzip").unwrap();
        assert_eq!(read(&packed), (String::new(), true));
    }
}
