//! What a container has changed of its image's files: the upper directory of its overlay, or the whole
//! of its copy, beside the layers below.
//!
//! In moby's sense (`pkg/archive`, `ChangesDirs`): a file is changed when mode, owner, size, time or
//! capabilities are, a directory when its mode or owner is or something in it changed; what was in a
//! removed directory is not told of. moby compares two whole trees and tells of what is in a directory
//! in no order; of an overlay only what is in the upper directory is looked at here, names in order.
//!
//! moby compares with the image and a layer of its own, in which there are the places that every
//! container finds (`daemon/initlayer`). What is in [`FURNISHED`] is looked at as if it were there.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

pub use archive::ChangeKind;
use archive::{
    At as _, Care, Changed, Copied, Level, Merged, Seen as Before, differ_in_capability,
    differences, differs, is_opaque, is_whiteout,
};
use model::{Error, Result, limits};
use sys::beneath::{Dir, Kind, Metadata, is_bad_path};

/// A container's own directory, and those it changes.
#[derive(Debug, Clone)]
pub struct Layers {
    /// What it has changed.
    pub changed: Changed,
    /// What it is made on, the topmost first.
    pub lower: Vec<PathBuf>,
    /// It has run, so that all it finds was made.
    pub has_run: bool,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From the root.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What every container finds, in moby's layer or made by us and the runtime; `None` is a directory.
const FURNISHED: [(&str, Option<Kind>); 12] = [
    (".dockerenv", Some(Kind::File)),
    ("dev", None),
    ("dev/console", Some(Kind::File)),
    ("dev/pts", None),
    ("dev/shm", None),
    ("etc", None),
    ("etc/hostname", Some(Kind::File)),
    ("etc/hosts", Some(Kind::File)),
    ("etc/mtab", Some(Kind::Symlink)),
    ("etc/resolv.conf", Some(Kind::File)),
    ("proc", None),
    ("sys", None),
];

/// Mode and owner of the files among them.
const FURNISHED_MODE: u32 = 0o755;

/// Of these, the files that a container that has run finds in any case.
fn furnished_files() -> impl Iterator<Item = &'static Path> {
    let files = FURNISHED.iter().filter(|(_, kind)| kind.is_some());
    let paths = files.map(|(path, _)| Path::new(*path));
    paths.filter(|path| !path.starts_with("dev"))
}

/// # Errors
/// A directory that cannot be read; more than is looked at.
pub(crate) fn of(layers: &Layers) -> Result<Vec<Change>> {
    let changed = layers.changed.at_hand();
    let dir = changed.dir();
    let upper = match Dir::open(dir) {
        // It was never mounted.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("open", dir)?,
    };
    let mut looker = Looker {
        upper,
        lower: Merged::open(&layers.lower)?,
        has_run: layers.has_run,
        entries: 0,
        bytes: 0,
        seen: Vec::new(),
    };
    match &changed {
        Changed::Upper(_) => looker.all()?,
        Changed::Copy(copied) => looker.copy(copied)?,
    }
    Ok(with_parents(looker.seen))
}

/// Something that was seen, changed or not.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    kind: Option<ChangeKind>,
}

struct Looker {
    upper: Dir,
    lower: Merged,
    has_run: bool,
    entries: u64,
    /// What the paths take of memory.
    bytes: usize,
    /// Each directory before what is in it.
    seen: Vec<Seen>,
}

/// A directory whose turn comes.
struct Waiting {
    path: PathBuf,
    kind: Option<ChangeKind>,
    /// The layers that have it, as a directory that shows through.
    below: Vec<usize>,
}

impl Looker {
    fn all(&mut self) -> Result<()> {
        let root = Waiting {
            path: PathBuf::new(),
            kind: None,
            below: self.lower.numbers(),
        };
        let mut waiting = vec![root];
        while let Some(dir) = waiting.pop() {
            if !dir.path.as_os_str().is_empty() {
                self.see(dir.path.clone(), dir.kind)?;
            }
            let (seen, mut dirs) = match self.dir(&dir) {
                // It was there when its parent was read, or was a directory then.
                Err(e) if e.kind() == io::ErrorKind::NotFound || is_bad_path(&e) => continue,
                other => other.at("look at", &dir.path)?,
            };
            for Seen { path, kind } in seen {
                self.see(path, kind)?;
            }
            dirs.reverse();
            waiting.append(&mut dirs);
        }
        Ok(())
    }

    /// What is in a directory, and the directories in it, in order.
    fn dir(&self, dir: &Waiting) -> io::Result<(Vec<Seen>, Vec<Waiting>)> {
        let upper = self.upper.beneath(&dir.path)?;
        let below = self.lower.level(&dir.path, &dir.below)?;
        let room = limits::CHANGES_BYTES_MAX.saturating_sub(self.bytes);
        let names = upper.sorted_names(room)?;
        let names = names.ok_or_else(|| io::Error::other(too_many().message().to_owned()))?;
        let is_root = dir.path.as_os_str().is_empty();
        let hides = !is_root && is_opaque(&upper)?;
        let mut gone: BTreeSet<OsString> = match hides {
            true => below.all()?.into_keys().collect(),
            false => BTreeSet::new(),
        };
        let mut dirs = Vec::new();
        let mut others = Vec::new();
        for (name, _) in (0..names.len()).filter_map(|nth| names.get(nth)) {
            let Some(now) = upper.metadata(name)? else {
                continue;
            };
            let path = dir.path.join(name);
            let before = below.seen(name)?;
            if is_whiteout(&now) {
                if before.is_some() {
                    gone.insert(name.to_owned());
                }
                continue;
            }
            gone.remove(name);
            let kind = self.kind(&upper, name, &path, &now, before.as_ref(), &below)?;
            match now.kind {
                Kind::Dir => dirs.push(Waiting {
                    path,
                    kind,
                    below: before.map(|before| before.dirs).unwrap_or_default(),
                }),
                _ => others.push(Seen { path, kind }),
            }
        }
        self.add_missing(&upper, &dir.path, &below, &mut gone)?;
        others.extend(gone.into_iter().map(|name| Seen {
            path: dir.path.join(name),
            kind: Some(ChangeKind::Deleted),
        }));
        Ok((others, dirs))
    }

    /// What every container finds and this one has not any more.
    fn add_missing(
        &self,
        upper: &Dir,
        path: &Path,
        below: &Level,
        gone: &mut BTreeSet<OsString>,
    ) -> io::Result<()> {
        if !self.has_run {
            return Ok(());
        }
        for furnished in furnished_files() {
            let (Some(parent), Some(name)) = (furnished.parent(), furnished.file_name()) else {
                continue;
            };
            if parent == path && upper.metadata(name)?.is_none() && below.seen(name)?.is_none() {
                gone.insert(name.to_owned());
            }
        }
        Ok(())
    }

    fn kind(
        &self,
        upper: &Dir,
        name: &OsStr,
        path: &Path,
        now: &Metadata,
        before: Option<&Before>,
        below: &Level,
    ) -> io::Result<Option<ChangeKind>> {
        let Some(before) = before else {
            return Ok((!is_furnished(path, now)).then_some(ChangeKind::Added));
        };
        let differs = differs(&before.found, now)
            || match below.of(before.layer) {
                Some(layer) => differ_in_capability(layer, upper, name)?,
                None => true,
            };
        Ok(differs.then_some(ChangeKind::Modified))
    }

    /// All of a copy. What every container finds and this one has not any more comes at the end.
    fn copy(&mut self, copied: &Copied) -> Result<()> {
        differences(copied, Care::Stat, &mut |found| {
            let now = found.now.as_ref();
            let is_furnished =
                |now| found.kind == Some(ChangeKind::Added) && is_furnished(&found.path, now);
            let kind = found.kind.filter(|_| !now.is_some_and(is_furnished));
            self.see(found.path, kind)
        })?;
        let has_run = self.has_run;
        for path in furnished_files().filter(|_| has_run) {
            let is_told = self.seen.iter().any(|seen| seen.path == path);
            let found = path.parent().zip(path.file_name()).map(|(dir, name)| {
                let dir = self.upper.beneath(dir)?;
                dir.metadata(name)
            });
            // The directory may have gone, of which was told.
            if !is_told && matches!(found, Some(Ok(None))) {
                self.see(path.to_owned(), Some(ChangeKind::Deleted))?;
            }
        }
        Ok(())
    }

    fn see(&mut self, path: PathBuf, kind: Option<ChangeKind>) -> Result<()> {
        self.entries += 1;
        self.bytes += path.as_os_str().len() + size_of::<Seen>();
        if self.entries > limits::SIZE_ENTRIES_MAX || self.bytes > limits::CHANGES_BYTES_MAX {
            return Err(too_many());
        }
        self.seen.push(Seen { path, kind });
        Ok(())
    }
}

fn too_many() -> Error {
    Error::system(format!(
        "the container has changed more files than can be told of: {} bytes of names",
        limits::CHANGES_BYTES_MAX
    ))
}

/// Whether it is as every container finds it.
fn is_furnished(path: &Path, now: &Metadata) -> bool {
    FURNISHED.iter().any(|(furnished, kind)| {
        Path::new(furnished) == path
            && match kind {
                None => now.kind == Kind::Dir,
                Some(Kind::File) => {
                    let plain = (now.mode, now.uid, now.gid) == (FURNISHED_MODE, 0, 0);
                    now.kind == Kind::File && now.size == 0 && plain
                }
                Some(kind) => now.kind == *kind,
            }
    })
}

/// What changed, and each directory above it that is there.
fn with_parents(seen: Vec<Seen>) -> Vec<Change> {
    let mut wanted: BTreeSet<PathBuf> = BTreeSet::new();
    for change in seen.iter().filter(|seen| seen.kind.is_some()) {
        let above = change.path.ancestors().skip(1);
        for dir in above.filter(|dir| !dir.as_os_str().is_empty()) {
            if !wanted.insert(dir.to_owned()) {
                break;
            }
        }
    }
    let told = seen.into_iter().filter_map(|Seen { path, kind }| {
        let parent = || wanted.contains(&path).then_some(ChangeKind::Modified);
        let kind = kind.or_else(parent)?;
        let path = Path::new("/").join(path);
        Some(Change { path, kind })
    });
    told.collect()
}

#[cfg(test)]
mod tests;
