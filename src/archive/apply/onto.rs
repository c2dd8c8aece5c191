//! Entries put into a directory that is in use: somebody's files, who may change them meanwhile.
//!
//! What is a link among the parents of an entry leads where it leads for those who live there: from
//! their root on, which is further up than the directory, and never beyond it. Owners are those inside
//! a map of ids where there is one. The directory itself stays as it is.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use model::{Error, IdMaps, Result};
use sys::beneath::{Dir, is_link_on_the_way};

use super::Applier;
use crate::Form;
use crate::capability::{CAPABILITY, capability_of};
use crate::path::CleanPath;
use crate::tar::Entry;

/// A directory in use, and how entries are put into it.
#[derive(Debug)]
pub struct Onto {
    /// What is `/` for those who live there.
    pub root: Dir,
    /// The directory.
    pub dir: Dir,
    /// Its path from `root`, without links.
    pub path: CleanPath,
    /// A directory is not replaced by what is none, nor the other way round.
    pub keeps_kinds: bool,
    /// Whose everything is to be; `None` leaves that to the archive.
    pub owner: Option<(u32, u32)>,
    /// Behind which ids those of the archive and of `owner` are.
    pub ids: Option<IdMaps>,
}

#[derive(Debug)]
pub(super) struct Rules {
    root: Dir,
    path: CleanPath,
    keeps_kinds: bool,
    owner: Option<(u32, u32)>,
    ids: Option<IdMaps>,
}

impl Rules {
    /// The entry with another owner; `None` where it is right as it is.
    pub(super) fn own(&self, entry: &Entry) -> Result<Option<Entry>> {
        if self.owner.is_none() && self.ids.is_none() {
            return Ok(None);
        }
        let (uid, gid) = self.owner.unwrap_or((entry.uid, entry.gid));
        let outside = match &self.ids {
            Some(ids) => ids.outside(uid, gid),
            None => Some((uid, gid)),
        };
        // In the words of moby `idtools`.
        let (uid, gid) = outside.ok_or_else(|| {
            let users = self
                .ids
                .as_ref()
                .is_some_and(|ids| ids.uids.outside(uid).is_some());
            let id = if users { gid } else { uid };
            Error::invalid(format!("Container ID {id} cannot be mapped to a host ID"))
        })?;
        let mut own = Entry {
            uid,
            gid,
            ..entry.clone()
        };
        if let Some(root) = self.ids.as_ref().and_then(|ids| ids.uids.outside(0)) {
            let mut attributes = own.xattrs.iter_mut();
            if let Some((_, value)) = attributes.find(|(name, _)| name == CAPABILITY) {
                capability_of(value, root);
            }
        }
        Ok(Some(own))
    }
}

impl Applier {
    /// Of a directory in use.
    pub fn onto(onto: Onto) -> Self {
        let tree = Path::new("/").join(onto.path.as_path());
        let rules = Rules {
            root: onto.root,
            path: onto.path,
            keeps_kinds: onto.keeps_kinds,
            owner: onto.owner,
            ids: onto.ids,
        };
        Self::of(tree, Form::Plain, onto.dir, Some(rules))
    }

    /// Opens a directory of the tree; links on the way are followed.
    pub(super) fn open(&self, path: &CleanPath) -> io::Result<Dir> {
        let Some(rules) = &self.onto else {
            return self.root.in_root(path.as_path());
        };
        match self.root.beneath(path.as_path()) {
            Err(e) if is_link_on_the_way(&e) => {
                let whole = rules
                    .path
                    .as_path()
                    .join(OsStr::from_bytes(path.as_bytes()));
                rules.root.in_root(&whole)
            }
            other => other,
        }
    }

    pub(super) fn keeps_kinds(&self) -> bool {
        self.onto.as_ref().is_some_and(|rules| rules.keeps_kinds)
    }

    /// As moby's `Unpack` tells of a place where something is mounted.
    pub(super) fn busy(&self, path: &CleanPath) -> Error {
        let path = self.tree.join(path.as_path());
        Error::system(format!(
            "unlinkat {}: device or resource busy",
            path.display()
        ))
    }

    /// moby's sentence (`pkg/archive`, `Unpack`).
    pub(super) fn overwrites(&self, path: &CleanPath, there: &str, comes: &str) -> Error {
        let tree = self.tree.display().to_string();
        let path = self.tree.join(path.as_path()).display().to_string();
        Error::invalid(format!(
            "cannot overwrite {there} {path:?} with {comes} {tree:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;
    use crate::tar::{EntryKind, Reader, Writer};
    use model::UserNamespace;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry {
            path: path.as_bytes().to_vec(),
            kind,
            mode: 0o755,
            uid: 1,
            gid: 2,
            modified: Default::default(),
            size_bytes: 0,
            xattrs: Vec::new(),
            segments: None,
        }
    }

    struct Bed(tempfile::TempDir);

    impl Bed {
        /// A root with `/data/in` in it.
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            fs::create_dir_all(temp.path().join("data/in")).unwrap();
            Self(temp)
        }

        fn put(&self, change: impl Fn(&mut Onto), entries: &[Entry]) -> Result<u64> {
            let root = Dir::open(self.0.path()).unwrap();
            let mut onto = Onto {
                dir: root.in_root(Path::new("data/in")).unwrap(),
                root,
                path: CleanPath::parse(b"data/in").unwrap(),
                keeps_kinds: false,
                owner: None,
                ids: None,
            };
            change(&mut onto);
            let mut writer = Writer::new(Vec::new());
            for entry in entries {
                writer.entry(entry).unwrap();
            }
            let tar = writer.finish().unwrap();
            Applier::onto(onto).all(&mut Reader::new(&tar[..]))
        }

        fn found(&self, path: &str) -> Option<fs::Metadata> {
            fs::symlink_metadata(self.0.path().join(path)).ok()
        }
    }

    #[test]
    fn links_lead_from_the_root_of_who_lives_there() {
        let bed = Bed::new();
        fs::create_dir(bed.0.path().join("etc")).unwrap();
        let link = |text: &str, name: &str| {
            symlink(text, bed.0.path().join("data/in").join(name)).unwrap();
        };
        link("/etc", "abs");
        link("../../../../etc", "up");
        link("/made", "dangling");
        let file = |path: &str| entry(path, EntryKind::File);
        bed.put(
            |_| {},
            &[file("abs/one"), file("up/two"), file("real/three")],
        )
        .unwrap();
        for path in ["etc/one", "etc/two", "data/in/real/three"] {
            assert!(bed.found(path).is_some(), "{path}");
        }
        let hard = entry("real/hard", EntryKind::HardLink(b"abs/one".to_vec()));
        bed.put(|_| {}, &[hard]).unwrap();
        let to_none = entry("real/none", EntryKind::HardLink(b"abs/none".to_vec()));
        let e = bed.put(|_| {}, &[to_none]).unwrap_err();
        assert_eq!(e.kind(), model::Kind::NotFound);
        let inode = |path: &str| bed.found(path).unwrap().ino();
        assert_eq!(inode("data/in/real/hard"), inode("etc/one"));
        bed.put(|_| {}, &[file("dangling/x")]).unwrap_err();
        bed.put(|_| {}, &[file("../x")]).unwrap_err();
        assert!(bed.found("data/x").is_none());
    }

    /// Times are set where a link led when the directory was made, and what cannot be is told.
    #[test]
    fn a_directory_behind_a_link_has_its_time() {
        let bed = Bed::new();
        fs::create_dir(bed.0.path().join("etc")).unwrap();
        symlink("/etc", bed.0.path().join("data/in/abs")).unwrap();
        let mut old = entry("abs/sub/", EntryKind::Dir);
        old.modified.secs = 1_000_000;
        let mut replaced = entry("gone/", EntryKind::Dir);
        replaced.modified.secs = 5;
        let entries = [
            old,
            entry("abs/sub/f", EntryKind::File),
            replaced,
            entry("gone", EntryKind::Symlink(b"/etc".to_vec())),
        ];
        bed.put(|_| {}, &entries).unwrap();
        assert_eq!(bed.found("etc/sub").unwrap().mtime(), 1_000_000);
        assert_ne!(bed.found("etc").unwrap().mtime(), 5);
    }

    /// What the disk takes, an archive may hold; of a layer that is less.
    #[test]
    fn files_of_somebody_have_no_limit_of_ours() {
        let bed = Bed::new();
        let mut big = entry("big", EntryKind::File);
        big.size_bytes = model::limits::LAYER_BYTES_MAX + 1;
        let segment = crate::tar::Segment {
            offset: 0,
            length: 0,
        };
        big.segments = Some(vec![segment]);
        let root = Dir::open(bed.0.path()).unwrap();
        let mut onto = Applier::onto(Onto {
            dir: root.in_root(Path::new("data/in")).unwrap(),
            root,
            path: CleanPath::parse(b"data/in").unwrap(),
            keeps_kinds: false,
            owner: None,
            ids: None,
        });
        onto.entry(&mut Reader::new(&b""[..]), &big).unwrap();
        let size = bed.found("data/in/big").unwrap().len();
        assert_eq!(size, model::limits::LAYER_BYTES_MAX + 1);
        let mut layer = Applier::new(&bed.0.path().join("data"), Form::Layer).unwrap();
        let e = layer.entry(&mut Reader::new(&b""[..]), &big).unwrap_err();
        assert_eq!(e.kind(), model::Kind::InvalidParameter);
    }

    #[test]
    fn the_directory_stays_and_kinds_and_owners_are_as_it_is_told() {
        let bed = Bed::new();
        let before = bed.found("data/in").unwrap().mtime();
        let dir = entry("./", EntryKind::Dir);
        let (file, sub) = (entry("f", EntryKind::File), entry("d/", EntryKind::Dir));
        bed.put(|_| {}, &[dir, file.clone(), sub.clone()]).unwrap();
        let found = bed.found("data/in").unwrap();
        assert_eq!((found.uid(), found.mtime() >= before), (0, true));
        assert_eq!(bed.found("data/in/f").unwrap().uid(), 1);
        let keep = |onto: &mut Onto| onto.keeps_kinds = true;
        let (to_dir, to_file) = (entry("f", EntryKind::Dir), entry("d", EntryKind::Fifo));
        let e = bed.put(keep, std::slice::from_ref(&to_dir)).unwrap_err();
        let told = "cannot overwrite non-directory \"/data/in/f\" with directory \"/data/in\"";
        assert_eq!(e.message(), told);
        bed.put(keep, std::slice::from_ref(&to_file)).unwrap_err();
        bed.put(|_| {}, &[to_dir, to_file]).unwrap();
        assert!(bed.found("data/in/f").unwrap().is_dir());
        let UserNamespace::Mapped(maps) = UserNamespace::parse("0:1000:10").unwrap() else {
            panic!("mapped");
        };
        let ids = |onto: &mut Onto| {
            onto.ids = Some(maps.clone());
            onto.owner = Some((4, 5));
        };
        bed.put(ids, &[entry("g", EntryKind::File)]).unwrap();
        let found = bed.found("data/in/g").unwrap();
        assert_eq!((found.uid(), found.gid()), (1004, 1005));
        let beyond = |onto: &mut Onto| {
            onto.ids = Some(maps.clone());
            onto.owner = Some((4, 10));
        };
        let e = bed.put(beyond, &[entry("h", EntryKind::File)]).unwrap_err();
        assert_eq!(e.message(), "Container ID 10 cannot be mapped to a host ID");
        assert!(bed.found("data/in/h").is_none());
    }
}
