//! What a container has changed of its image's files: the upper directory of its overlay, beside the
//! layers below.
//!
//! In moby's sense (`pkg/archive`, `ChangesDirs`): a file is changed when mode, owner, size, time or
//! capabilities are, a directory when its mode or owner is or something in it changed; what was in a
//! removed directory is not told of. moby compares two whole trees and tells of what is in a directory
//! in no order; here only what is in the upper directory is looked at, names in order.
//!
//! moby compares with the image and a layer of its own, in which there are the places that every
//! container finds (`daemon/initlayer`). What is in [`FURNISHED`] is looked at as if it were there.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use archive::{At as _, is_opaque, is_whiteout};
use model::{Error, Result, limits};
use sys::beneath::{Dir, Kind, Metadata, is_bad_path};

/// A container's own directory, and those it changes.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// What it has changed.
    pub upper: PathBuf,
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

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Docker's own words")]
pub enum ChangeKind {
    Modified,
    Added,
    Deleted,
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

/// Of the files among these, those that a container that has run finds in any case.
fn is_made_for_all(path: &Path) -> bool {
    !path.starts_with("dev")
}

/// # Errors
/// A directory that cannot be read; more than is looked at.
pub(crate) fn of(layers: &Layers) -> Result<Vec<Change>> {
    let upper = match Dir::open(&layers.upper) {
        // It was never mounted.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("open", &layers.upper)?,
    };
    let open = |path: &PathBuf| Dir::open(path).at("open", path);
    let lower: Vec<Dir> = layers.lower.iter().map(open).collect::<Result<_>>()?;
    let mut looker = Looker {
        upper,
        lower,
        has_run: layers.has_run,
        entries: 0,
        bytes: 0,
        seen: Vec::new(),
    };
    looker.all()?;
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
    lower: Vec<Dir>,
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
            below: (0..self.lower.len()).collect(),
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
        let below: Vec<(usize, Dir)> = dir
            .below
            .iter()
            .map(|nth| Ok((*nth, self.lower[*nth].beneath(&dir.path)?)))
            .collect::<io::Result<_>>()?;
        let room = limits::CHANGES_BYTES_MAX.saturating_sub(self.bytes);
        let names = upper.sorted_names(room)?;
        let names = names.ok_or_else(|| io::Error::other(too_many().message().to_owned()))?;
        let is_root = dir.path.as_os_str().is_empty();
        let hides = !is_root && is_opaque(&upper)?;
        let mut gone: BTreeSet<OsString> = match hides {
            true => shown_names(&below)?,
            false => BTreeSet::new(),
        };
        let mut dirs = Vec::new();
        let mut others = Vec::new();
        for (name, _) in (0..names.len()).filter_map(|nth| names.get(nth)) {
            let Some(now) = upper.metadata(name)? else {
                continue;
            };
            let path = dir.path.join(name);
            let before = shown(&below, name)?;
            if is_whiteout(&now) {
                if before.found.is_some() {
                    gone.insert(name.to_owned());
                }
                continue;
            }
            gone.remove(name);
            let kind = self.kind(&upper, name, &path, &now, &before, &below)?;
            match now.kind {
                Kind::Dir => dirs.push(Waiting {
                    path,
                    kind,
                    below: before.dirs,
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
        below: &[(usize, Dir)],
        gone: &mut BTreeSet<OsString>,
    ) -> io::Result<()> {
        if !self.has_run {
            return Ok(());
        }
        for (furnished, kind) in FURNISHED {
            let furnished = Path::new(furnished);
            let (Some(parent), Some(name)) = (furnished.parent(), furnished.file_name()) else {
                continue;
            };
            let is_here = kind.is_some() && parent == path && is_made_for_all(furnished);
            if is_here && upper.metadata(name)?.is_none() && shown(below, name)?.found.is_none() {
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
        before: &Before,
        below: &[(usize, Dir)],
    ) -> io::Result<Option<ChangeKind>> {
        let Some((nth, was)) = &before.found else {
            return Ok((!is_furnished(path, now)).then_some(ChangeKind::Added));
        };
        let differs = differs(was, now) || {
            let layer = below.iter().find(|(layer, _)| layer == nth);
            let was = layer.map(|(_, dir)| capability(dir, name)).transpose()?;
            was != Some(capability(upper, name)?)
        };
        Ok(differs.then_some(ChangeKind::Modified))
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

/// What layers show under a name.
struct Before {
    /// The layer, and what it has.
    found: Option<(usize, Metadata)>,
    /// The layers whose directories are merged, when it is one.
    dirs: Vec<usize>,
}

fn shown(below: &[(usize, Dir)], name: &OsStr) -> io::Result<Before> {
    let mut before = Before {
        found: None,
        dirs: Vec::new(),
    };
    for (nth, dir) in below {
        let Some(found) = dir.metadata(name)? else {
            continue;
        };
        if is_whiteout(&found) {
            break;
        }
        let is_dir = found.kind == Kind::Dir;
        if before.found.is_none() {
            before.found = Some((*nth, found));
        } else if !is_dir {
            break;
        }
        if !is_dir {
            break;
        }
        before.dirs.push(*nth);
        if is_opaque(&dir.child(name)?)? {
            break;
        }
    }
    Ok(before)
}

/// All names that layers show.
fn shown_names(below: &[(usize, Dir)]) -> io::Result<BTreeSet<OsString>> {
    let mut all = BTreeSet::new();
    for (_, dir) in below {
        all.extend(dir.names()?);
    }
    let mut shows = BTreeSet::new();
    for name in all {
        if shown(below, &name)?.found.is_some() {
            shows.insert(name);
        }
    }
    Ok(shows)
}

/// moby's `statDifferent`: archives have whole seconds, so a time without a fraction is as good as one
/// with any.
fn differs(was: &Metadata, now: &Metadata) -> bool {
    let same_time = was.modified.secs == now.modified.secs
        && (was.modified.nanos == now.modified.nanos
            || was.modified.nanos == 0
            || now.modified.nanos == 0);
    (was.kind, was.mode, was.uid, was.gid, was.device)
        != (now.kind, now.mode, now.uid, now.gid, now.device)
        || now.kind != Kind::Dir && (was.size != now.size || !same_time)
}

fn capability(dir: &Dir, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let attributes = match dir.xattrs(name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let mut attributes = attributes.into_iter();
    let found = attributes.find(|(attribute, _)| attribute == "security.capability");
    Ok(found.map(|(_, value)| value))
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
