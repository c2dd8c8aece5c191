//! What is at a path, in Docker's words.

use std::io;
use std::path::Path;

use model::{Error, Kind as ErrorKind, Result};
use sys::beneath::{FileTime, Kind, Metadata};

use crate::View;
use crate::name::Wanted;
use crate::walk::{Thing, walk};

/// What Docker tells of a path (moby `api/types/container.PathStat`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// The last component, `.` or `/`.
    pub name: String,
    /// Its size in bytes; of a link, its text's.
    pub size_bytes: u64,
    /// Go's `fs.FileMode`.
    pub mode: u32,
    /// Last change.
    pub modified: FileTime,
    /// Where a link leads in the end, in the container; empty for all else.
    pub link_target: String,
}

/// What was looked at.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) stat: PathStat,
    pub(crate) thing: Thing,
}

impl View {
    /// What is at a path; a link that it ends with is not followed unless it wants a directory.
    ///
    /// # Errors
    /// 404 when nothing is; a path that is impossible.
    pub(crate) fn look(&self, wanted: &Wanted) -> Result<Looked> {
        let failed = |e: io::Error| failed(&e, wanted);
        let missing = || Error::new(ErrorKind::NotFound, String::new());
        let walked = walk(self.root(), &wanted.path, wanted.is_dir).map_err(failed)?;
        let thing = walked.thing.ok_or_else(missing)?;
        let found = match &thing {
            Thing::Dir(dir) => dir.own_metadata().map_err(failed)?,
            Thing::Other { .. } if wanted.is_dir => {
                return Err(failed(io::ErrorKind::NotADirectory.into()));
            }
            // What the kernel makes up is no file of the container.
            Thing::Other { parent, .. } if parent.is_made_up().map_err(failed)? => {
                return Err(missing());
            }
            Thing::Other { found, .. } => *found,
        };
        let link_target = match found.kind {
            Kind::Symlink => self.link_target(wanted)?,
            _ => String::new(),
        };
        let stat = PathStat {
            name: String::from_utf8_lossy(&wanted.base).into_owned(),
            size_bytes: found.size,
            mode: go_mode(&found),
            modified: found.modified,
            link_target,
        };
        Ok(Looked { stat, thing })
    }

    /// As moby's `FollowSymlinkInScope`: as far as there is something, the rest by its words.
    fn link_target(&self, wanted: &Wanted) -> Result<String> {
        match walk(self.root(), &wanted.path, true) {
            Ok(walked) => Ok(walked.path.to_string_lossy().into_owned()),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => Err(Error::invalid(format!(
                "evalSymlinksInScope: too many links in {}",
                wanted.path.display()
            ))),
            Err(e) => Err(failed(&e, wanted)),
        }
    }
}

/// As Go says it (`fs.PathError`), whose fault it is.
pub(crate) fn failed(e: &io::Error, wanted: &Wanted) -> Error {
    let said = match e.kind() {
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        io::ErrorKind::InvalidInput => "too many links".to_owned(),
        _ => e.to_string(),
    };
    let path = Path::new("/").join(&wanted.path);
    let message = format!("lstat {}: {said}", path.display());
    match e.kind() {
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, String::new()),
        io::ErrorKind::InvalidInput => Error::invalid(message),
        _ if sys::beneath::is_bad_path(e) => Error::invalid(message),
        _ => Error::system(message),
    }
}

/// Go's `fs.FileMode`: permission bits, and the rest where Go has it.
fn go_mode(found: &Metadata) -> u32 {
    const DIR: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26;
    const NAMED_PIPE: u32 = 1 << 25;
    const SOCKET: u32 = 1 << 24;
    const SETUID: u32 = 1 << 23;
    const SETGID: u32 = 1 << 22;
    const CHAR_DEVICE: u32 = 1 << 21;
    const STICKY: u32 = 1 << 20;
    let kind = match found.kind {
        Kind::File => 0,
        Kind::Dir => DIR,
        Kind::Symlink => SYMLINK,
        Kind::Fifo => NAMED_PIPE,
        Kind::Socket => SOCKET,
        Kind::BlockDevice => DEVICE,
        Kind::CharDevice => DEVICE | CHAR_DEVICE,
    };
    let bits = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];
    let special = bits.into_iter().filter(|(bit, _)| found.mode & bit != 0);
    kind | special.map(|(_, bit)| bit).sum::<u32>() | (found.mode & 0o777)
}
