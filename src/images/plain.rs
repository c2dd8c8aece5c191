//! A container's tree as a copy of its image's layers, where no overlay is to be had.
//!
//! All or nothing, `kill -9` and power loss included: the copy is made in staging, is durable, and only
//! then gets its place. Contents are shared with the layers where the file system can (reflinks), and
//! cost their whole size where it cannot. What is copied comes from images and may be hostile: every step
//! goes through open directories.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{At, Copied, Level, Merged, Seen};
use model::{Context, Result};
use sys::beneath::{Dir, Kind};
use sys::durable;

use crate::copy::{Rules, copy_other, set_dir_attributes};
use crate::store::Store;

/// In a container's directory: the copy, with what says when it was made.
pub(crate) const COPY: &str = "copy";
/// In a container's directory: changes that came with the container, to be taken into the copy.
pub(crate) const INCOMING: &str = "incoming";
const TREE: &str = "tree";
const MADE: &str = "made";

/// The copy in the container's directory `dir`, whether or not it was made.
pub(crate) fn copied(dir: &Path, lower: Vec<PathBuf>) -> Copied {
    Copied {
        tree: dir.join(COPY).join(TREE),
        made: dir.join(COPY).join(MADE),
        incoming: dir.join(INCOMING),
        lower,
    }
}

/// Makes the copy of the layers in the container's directory `dir`, unless it is there; its files get
/// `label`.
///
/// # Errors
/// `System`: what cannot be read or written. Nothing of the copy is there then.
pub(crate) fn make(
    store: &Arc<Store>,
    dir: &Path,
    lower: &[PathBuf],
    label: Option<&str>,
) -> Result<()> {
    let (copy, incoming) = (dir.join(COPY), dir.join(INCOMING));
    if copy.exists() {
        return remove_taken(store, &incoming);
    }
    let staging = store.stage()?;
    let part = staging.path().join(COPY);
    let tree = part.join(TREE);
    std::fs::create_dir_all(&tree).at("create", &tree)?;
    let to = Dir::open(&tree).at("open", &tree)?;
    // As an upper directory has it; the umask must not show.
    to.set_own_mode(0o755).at("change the mode of", &tree)?;
    let mut layers = lower.to_vec();
    let has_changes = incoming.exists();
    if has_changes {
        layers.insert(0, incoming.clone());
    }
    let rules = Rules {
        of_layers: true,
        label,
    };
    let copying = Copying {
        from: Merged::open(&layers)?,
        to,
        rules,
        has_root: has_changes,
        links: HashMap::new(),
    };
    copying
        .all()
        .context("cannot copy the image's files for the container")?;
    let made = part.join(MADE);
    staging.sync()?;
    durable::write_whole(&made, b"", 0o600).at("write", &made)?;
    std::fs::rename(&part, &copy).at("rename", &part)?;
    durable::sync_dir(dir).at("sync", dir)?;
    remove_taken(store, &incoming)
}

fn remove_taken(store: &Store, incoming: &Path) -> Result<()> {
    match incoming.exists() {
        true => store.remove(incoming).map(drop),
        false => Ok(()),
    }
}

struct Copying<'a> {
    from: Merged,
    to: Dir,
    rules: Rules<'a>,
    /// The root has the attributes of the topmost layer's, which is the container's own.
    has_root: bool,
    /// Where the first name of a file with several was put.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copying<'_> {
    /// Directory after directory. Their times come last, for everything made inside changes them.
    fn all(mut self) -> Result<()> {
        let mut waiting = vec![(PathBuf::new(), self.from.numbers())];
        let mut done = Vec::new();
        while let Some((path, layers)) = waiting.pop() {
            let level = self.from.level(&path, &layers).at("open", &path)?;
            let to = self.to.beneath(&path).at("open", &path)?;
            for (name, seen) in level.all().at("read", &path)? {
                let entry = path.join(&name);
                self.one(&level, &to, &name, &entry, &seen)
                    .at("copy", &entry)?;
                if seen.found.kind == Kind::Dir {
                    waiting.push((entry, seen.dirs));
                }
            }
            let is_root = path.as_os_str().is_empty();
            let Some(top) = level.top().filter(|_| !is_root || self.has_root) else {
                self.label_root(&to).at("set attributes of", &path)?;
                continue;
            };
            set_dir_attributes(top, &to, &self.rules).at("set attributes of", &path)?;
            let found = top.own_metadata().at("read", &path)?;
            done.push((path, found));
        }
        for (path, found) in done.iter().rev() {
            self.to
                .beneath(path)
                .and_then(|dir| dir.set_own_times(found.accessed, found.modified))
                .at("set times of", path)?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        level: &Level,
        to: &Dir,
        name: &OsStr,
        path: &Path,
        seen: &Seen,
    ) -> io::Result<()> {
        let Some(from) = level.of(seen.layer) else {
            return Ok(());
        };
        if seen.found.kind == Kind::Dir {
            return to.mkdir(name);
        }
        if seen.found.links > 1 {
            if let Some(first) = self.links.get(&seen.found.inode) {
                let parent = first.parent().unwrap_or_else(|| Path::new(""));
                let parent = self.to.beneath(parent)?;
                return parent.link(first.file_name().unwrap_or_default(), to, name);
            }
            self.links.insert(seen.found.inode, path.to_owned());
        }
        copy_other(from, to, name, &seen.found, &self.rules)
    }

    fn label_root(&self, root: &Dir) -> io::Result<()> {
        match self.rules.label {
            Some(label) => root.set_own_xattr(OsStr::new("security.selinux"), label.as_bytes()),
            None => Ok(()),
        }
    }
}
