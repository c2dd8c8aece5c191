//! Rotated logs packed and unpacked, with gzip as Docker's. Blocks.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use model::limits;
use sys::spill_file::SpillFile;

const BUFFER_BYTES: usize = 128 << 10;

/// Packs the file `from` into the new file `to`, which is on the disk when this returns.
pub(super) fn pack(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = BufReader::with_capacity(BUFFER_BYTES, File::open(from)?);
    let mut options = OpenOptions::new();
    let target = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    // Buffered by the encoder, 32 KiB at a time.
    let mut encoder = GzEncoder::new(target, Compression::fast());
    io::copy(&mut source, &mut encoder)?;
    encoder.finish()?.sync_all()
}

/// Unpacks a file into one without a name in `dir`; `true` when what it has is damaged from some
/// place on.
pub(super) fn unpack(packed: &File, dir: &Path) -> io::Result<(File, bool)> {
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, packed));
    let target = SpillFile::create(dir)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut offset, mut is_damaged) = (0, false);
    loop {
        let length = match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if is_damage(&e) => {
                is_damaged = true;
                break;
            }
            Err(e) => return Err(e),
        };
        target.write(&buffer[..length], offset, limits::SPILL_LEAVE_BYTES)?;
        offset += length as u64;
    }
    let mut file = target.into_file();
    file.rewind()?;
    Ok((file, is_damaged))
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
        pack(&plain, &packed).unwrap();
        let read = |path: &Path| {
            let (mut file, damaged) = unpack(&File::open(path).unwrap(), dir.path()).unwrap();
            let mut all = String::new();
            file.read_to_string(&mut all).unwrap();
            (all, damaged)
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
