//! How much a tree holds, while somebody hostile may work on it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::{DIR_FLAGS, Dir, Kind, metadata_of};

/// What [`tree_usage`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of the regular files and links, each inode once.
    pub bytes: u64,
    /// Whether a limit left something out.
    pub cut: bool,
}

/// The size of the regular files and links below `root`, as Docker counts (moby `directory.Size`). Goes at most `depth_max` directories deep, which is
/// also how many descriptors it holds, and looks at `entries_max` entries at most; no link is
/// followed, and what vanishes or changes its kind meanwhile is left out.
///
/// # Errors
/// Whatever getdents64(2) and fstatat(2) say otherwise.
pub fn tree_usage(root: Dir, depth_max: usize, entries_max: u64) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let mut linked: HashSet<(u64, u64)> = HashSet::new();
    let mut entries = 0;
    let mut open = vec![rustix::fs::Dir::new(root.fd)?];
    loop {
        let depth = open.len();
        let Some(dir) = open.last_mut() else {
            return Ok(usage);
        };
        let entry = match dir.read() {
            Some(entry) => entry?,
            None => {
                open.pop();
                continue;
            }
        };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        entries += 1;
        if entries > entries_max {
            usage.cut = true;
            return Ok(usage);
        }
        let name = OsStr::from_bytes(name);
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let found = match rustix::fs::statx(dir.fd()?, name, flags, StatxFlags::BASIC_STATS) {
            Err(Errno::NOENT) => continue,
            other => metadata_of(&other?),
        };
        match found.kind {
            Kind::Dir if depth >= depth_max => usage.cut = true,
            Kind::Dir => {
                let child = subdirectory(dir, name)?;
                open.extend(child);
            }
            Kind::File | Kind::Symlink if found.links == 1 || linked.insert(found.inode) => {
                usage.bytes += found.size;
            }
            _ => {}
        }
    }
}

/// Opens a subdirectory for reading; `None` when it is none any more.
fn subdirectory(dir: &rustix::fs::Dir, name: &OsStr) -> io::Result<Option<rustix::fs::Dir>> {
    let flags = DIR_FLAGS | OFlags::NOFOLLOW;
    match rustix::fs::openat(dir.fd()?, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(rustix::fs::Dir::new(fd)?)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
