//! What a container finds in its root though its image has none of it.
//!
//! Docker makes these in a layer of its own between the image and the container (moby
//! `daemon/initlayer`). The places of files that are mounted over must exist before a volume that
//! is filled from the image hides their directory; `/.dockerenv` tells programs that they run in
//! a container.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use model::Result;
use sys::beneath::{Dir, Kind, Metadata};

use archive::At;

/// Mode of the files and of `/etc` where there is none.
pub(crate) const MODE: u32 = 0o755;
/// The files that are mounted over in `/etc`.
pub(crate) const FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];
/// Where `/etc/mtab` leads.
pub(crate) const MTAB: &str = "/proc/mounts";

/// Makes what is missing in the mounted tree `root`. What is there, whatever it is, stays.
pub(crate) fn furnish(root: &Path) -> Result<()> {
    let top = Dir::open(root).at("open", root)?;
    file(&top, ".dockerenv").at("make /.dockerenv in", root)?;
    let etc = match top.in_root(Path::new("/etc")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            match top.mkdir(OsStr::new("etc")) {
                // A link that leads nowhere: the image wants none.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                made => made.at("make /etc in", root)?,
            }
            let etc = top.child(OsStr::new("etc")).at("open /etc in", root)?;
            etc.set_own_mode(MODE).at("set the mode of /etc in", root)?;
            etc
        }
        // Not a directory: nothing can be mounted in it either.
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        etc => etc.at("open /etc in", root)?,
    };
    for name in FILES {
        file(&etc, name).at("make a file in the /etc of", root)?;
    }
    let mtab = OsStr::new("mtab");
    if etc.metadata(mtab).at("read the /etc of", root)?.is_none() {
        etc.symlink(OsStr::new(MTAB), mtab)
            .at("make /etc/mtab in", root)?;
    }
    Ok(())
}

/// The bytes of what [`furnish`] made, if it is in the tree `upper` of changes: Docker counts none of it.
pub(crate) fn bytes(upper: &Dir) -> u64 {
    let etc = upper.beneath(Path::new("etc"));
    let mtab = etc.and_then(|etc| etc.read_link(OsStr::new("mtab")));
    match mtab {
        Ok(text) if text == Path::new(MTAB) => MTAB.len() as u64,
        _ => 0,
    }
}

/// Whether what a copy has at `path` is of that.
pub(crate) fn is_made(path: &Path, found: &Metadata) -> bool {
    let is_link = found.kind == Kind::Symlink && found.size == MTAB.len() as u64;
    is_link && path == Path::new("etc/mtab")
}

fn file(dir: &Dir, name: &str) -> io::Result<()> {
    let name = OsStr::new(name);
    if dir.metadata(name)?.is_none() {
        dir.create_file(name)?;
        dir.set_mode(name, MODE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_missing_is_made_and_what_is_there_stays() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            furnish(root.path()).unwrap();
        }
        let etc = root.path().join("etc");
        assert_eq!(std::fs::read(root.path().join(".dockerenv")).unwrap(), b"");
        assert_eq!(std::fs::read(etc.join("resolv.conf")).unwrap(), b"");
        assert_eq!(
            std::fs::read_link(etc.join("mtab")).unwrap(),
            Path::new("/proc/mounts")
        );
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/hosts"), "own").unwrap();
        symlink("elsewhere", root.path().join("etc/resolv.conf")).unwrap();
        furnish(root.path()).unwrap();
        let read = std::fs::read(root.path().join("etc/hosts")).unwrap();
        assert_eq!(read, b"own");
        assert!(!root.path().join("etc/elsewhere").exists());
    }

    #[test]
    fn a_link_never_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("etc")).unwrap();
        furnish(root.path()).unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("etc"), "a file").unwrap();
        furnish(root.path()).unwrap();
    }
}
