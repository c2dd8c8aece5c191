//! The content of a directory of a mounted tree put into an empty volume; how one entry is copied.
//!
//! Docker's copy-up: what an image has at a volume's place is what the new volume starts with.
//! The source may be hostile (an image's links and depths), so every step goes through open
//! directories.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use model::{Context, Result};
use sys::beneath::{self, Dir, Kind, Metadata, Node};
use sys::durable::{self, FileSystem};

use archive::At;

/// Copies what is in the directory `inside` of the tree at `tree` into the directory
/// `destination`, which also gets its owner, mode, attributes and times.
///
/// Returns whether anything was copied: nothing is when `destination` is not empty, or there is
/// no such directory in the tree.
///
/// All or nothing, `kill -9` and power loss included: the copy is made beside `destination`, is
/// durable, and only then gets its name ([`Stages`]); from there on a call that finds it moves it
/// in, entry by entry. `destination` itself stays the directory it is, for somebody may have it
/// mounted.
///
/// Where something is mounted at `destination`, nothing moves out of it: the copy is made inside, where
/// containers can make the same name. So none is taken up again there: one that was cut short before its
/// first entry moved is made anew, and after that the place stays as it was left.
pub(crate) fn copy_out(tree: &Path, inside: &Path, destination: &Path) -> Result<bool> {
    let stages = Stages::of(destination)?;
    let to = Dir::open(destination).at("open", destination)?;
    if stages.inside {
        let names = to.names().at("read", destination)?;
        if names.iter().any(|name| *name != stages.part) {
            return Ok(false);
        }
    } else if stages.is_whole()? {
        stages.move_in(&to, destination)?;
        return Ok(true);
    }
    stages.clear()?;
    if !to.names().at("read", destination)?.is_empty() {
        return Ok(false);
    }
    let root = Dir::open(tree).at("open", tree)?;
    let from = match root.in_root(inside) {
        Ok(from) => from,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(false);
        }
        Err(e) => {
            return Err(e).context(format_args!(
                "open {} in {}",
                inside.display(),
                tree.display()
            ));
        }
    };
    if from.names().at("read", inside)?.is_empty() {
        // As most images have it. There is nothing that could be there by half, so nobody's data needs
        // to be flushed for it.
        let found = from.own_metadata().at("read", inside)?;
        take_attributes(&from, found, &to).at("set attributes of", destination)?;
        return durable::sync_dir(destination)
            .at("sync", destination)
            .map(|()| true);
    }
    let copied = stages.copy(&from).context(format_args!(
        "cannot copy the image's {} to {}",
        inside.display(),
        destination.display()
    ));
    let whole = match copied {
        Ok(whole) => whole,
        Err(e) => {
            if let Err(left) = stages.clear() {
                tracing::warn!("left for the next copy: {left}");
            }
            return Err(e);
        }
    };
    if stages.inside {
        stages.move_held(&whole, &from, &to, destination)?;
    } else {
        stages.move_in(&to, destination)?;
    }
    Ok(true)
}

/// Where a copy is before it is in its place.
struct Stages {
    /// Who has a volume mounted may write there, so that nothing is found by its path.
    parent: Dir,
    /// Being made; worth nothing.
    part: OsString,
    /// Complete and durable; not where they are in the place itself.
    whole: OsString,
    /// They are in the place itself: whoever has it mounted can make and take them.
    inside: bool,
}

/// What stages are called in a file system that was mounted for a volume: nothing moves out of it.
const INSIDE: &str = ".moored-copy";

impl Stages {
    /// Beside `destination`, or in it where something is mounted there.
    fn of(destination: &Path) -> Result<Self> {
        let inside = sys::mount::is_mount_point(destination).at("look at", destination)?;
        let (parent, stem) = match (inside, destination.parent(), destination.file_name()) {
            (false, Some(parent), Some(name)) => (parent, name),
            _ => (destination, OsStr::new(INSIDE)),
        };
        let named = |end: &str| {
            let mut name = stem.to_owned();
            name.push(end);
            name
        };
        Ok(Self {
            parent: Dir::open(parent).at("open", parent)?,
            part: named(".part"),
            whole: named(".whole"),
            inside,
        })
    }

    fn is_whole(&self) -> Result<bool> {
        let found = self.parent.metadata(&self.whole);
        let found = found.at("look at", Path::new(&self.whole))?;
        Ok(found.is_some_and(|found| found.kind == Kind::Dir))
    }

    /// Takes away what a copy that was cut short has left.
    fn clear(&self) -> Result<()> {
        let removed = beneath::remove_tree(&self.parent, &self.part);
        removed.map(drop).at("remove", Path::new(&self.part))
    }

    /// Copies `from`, and returns the copy.
    fn copy(&self, from: &Dir) -> Result<Dir> {
        let part = Path::new(&self.part);
        let at = sys::tree::path_of(&self.parent);
        self.parent.mkdir(&self.part).at("create", part)?;
        let disk = FileSystem::watch(&at).at("open", part)?;
        let to = self.parent.child(&self.part).at("open", part)?;
        let mut copy = Copy {
            from,
            to: &to,
            links: HashMap::new(),
        };
        copy.all()?;
        disk.sync().at("sync the file system of", part)?;
        if !self.inside {
            let done = self.parent.rename(&self.part, &self.parent, &self.whole);
            done.at("rename", part)?;
        }
        Ok(to)
    }

    /// Puts a complete copy into its place. An entry that is there already was moved by a call
    /// that was cut short, or is newer: it stays.
    fn move_in(&self, to: &Dir, destination: &Path) -> Result<()> {
        let path = Path::new(&self.whole);
        let whole = self.parent.child(&self.whole).at("open", path)?;
        // Before moving changes its times.
        let found = whole.own_metadata().at("read", path)?;
        move_entries(&whole, to, destination)?;
        take_attributes(&whole, found, to).at("set attributes of", destination)?;
        drop(whole);
        // Not empty only when something newer was in the place of an entry.
        let renamed = self.parent.rename(&self.whole, &self.parent, &self.part);
        renamed.at("rename", path)?;
        self.clear()
    }

    /// As [`Stages::move_in`], of a copy that was just made: what has its name by now is not asked, and the
    /// attributes are those of `from`, what it was made of.
    fn move_held(&self, whole: &Dir, from: &Dir, to: &Dir, destination: &Path) -> Result<()> {
        move_entries(whole, to, destination)?;
        self.clear()?;
        let found = from.own_metadata().at("read", destination)?;
        take_attributes(from, found, to).at("set attributes of", destination)
    }
}

fn move_entries(whole: &Dir, to: &Dir, destination: &Path) -> Result<()> {
    for name in whole.names().at("read a copy for", destination)? {
        if to.metadata(&name).at("look at", destination)?.is_none() {
            whole.rename(&name, to, &name).at("move to", destination)?;
        }
    }
    Ok(())
}

struct Copy<'a> {
    from: &'a Dir,
    to: &'a Dir,
    /// Where the first name of a file with several was put.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    /// Directory after directory, each opened by its path without following links. Their times
    /// come last, for everything made inside changes them.
    fn all(&mut self) -> Result<()> {
        let mut waiting = vec![PathBuf::new()];
        let mut done = Vec::new();
        while let Some(path) = waiting.pop() {
            let from = self.from.beneath(&path).at("open", &path)?;
            let to = self.to.beneath(&path).at("open", &path)?;
            for name in from.names().at("read", &path)? {
                let entry = path.join(&name);
                // Gone since it was listed: nothing to copy.
                let Some(found) = from.metadata(&name).at("read", &entry)? else {
                    continue;
                };
                if self
                    .one(&from, &to, &name, &entry, &found)
                    .at("copy", &entry)?
                {
                    waiting.push(entry);
                }
            }
            set_dir_attributes(&from, &to, &RULES).at("set attributes of", &path)?;
            done.push(path);
        }
        for path in done.iter().rev() {
            let found = self
                .from
                .beneath(path)
                .and_then(|d| d.own_metadata())
                .at("read", path)?;
            self.to
                .beneath(path)
                .and_then(|d| d.set_own_times(found.accessed, found.modified))
                .at("set times of", path)?;
        }
        Ok(())
    }

    /// Copies one entry; `true` for a directory whose content is still to come.
    fn one(
        &mut self,
        from: &Dir,
        to: &Dir,
        name: &OsStr,
        path: &Path,
        found: &Metadata,
    ) -> io::Result<bool> {
        // A socket lives with the process that listens on it.
        if found.kind == Kind::Socket {
            return Ok(false);
        }
        if found.kind != Kind::Dir && found.links > 1 {
            if let Some(first) = self.links.get(&found.inode) {
                let first_dir = self
                    .to
                    .beneath(first.parent().unwrap_or_else(|| Path::new("")))?;
                let first_name = first.file_name().unwrap_or_default();
                return first_dir.link(first_name, to, name).map(|()| false);
            }
            self.links.insert(found.inode, path.to_owned());
        }
        match found.kind {
            Kind::Dir => to.mkdir(name).map(|()| true),
            _ => copy_other(from, to, name, found, &RULES).map(|()| false),
        }
    }
}

/// Of what a volume gets.
const RULES: Rules<'static> = Rules {
    of_layers: false,
    label: None,
};

/// What attributes a copy has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// It is copied from layers: overlayfs' own marks in them stay there.
    pub(crate) of_layers: bool,
    /// Its SELinux label; without one the kernel gives it what is usual where it is.
    pub(crate) label: Option<&'a str>,
}

impl Rules<'_> {
    /// All but the SELinux label, which is the container's.
    fn kept(&self, mut attributes: Vec<(OsString, Vec<u8>)>) -> Vec<(OsString, Vec<u8>)> {
        let is_mark = |name: &OsString| name.as_encoded_bytes().starts_with(b"trusted.overlay.");
        attributes
            .retain(|(name, _)| name != "security.selinux" && !(self.of_layers && is_mark(name)));
        let label = self.label.map(|label| label.as_bytes().to_vec());
        attributes.extend(label.map(|label| ("security.selinux".into(), label)));
        attributes
    }
}

/// Copies what is no directory.
pub(crate) fn copy_other(
    from: &Dir,
    to: &Dir,
    name: &OsStr,
    found: &Metadata,
    rules: &Rules<'_>,
) -> io::Result<()> {
    match found.kind {
        Kind::Dir | Kind::Socket => return Ok(()),
        Kind::File => return copy_file(from, to, name, found, rules),
        Kind::Symlink => to.symlink(from.read_link(name)?.as_os_str(), name)?,
        Kind::Fifo => to.mknod(name, Node::Fifo)?,
        Kind::CharDevice => to.mknod(name, Node::CharDevice(found.device))?,
        Kind::BlockDevice => to.mknod(name, Node::BlockDevice(found.device))?,
    }
    to.set_owner(name, found.uid, found.gid)?;
    for (attribute, value) in rules.kept(from.xattrs(name)?) {
        to.set_xattr(name, &attribute, &value)?;
    }
    if found.kind != Kind::Symlink {
        to.set_mode(name, found.mode)?;
    }
    to.set_times(name, found.accessed, found.modified)
}

fn copy_file(
    from: &Dir,
    to: &Dir,
    name: &OsStr,
    found: &Metadata,
    rules: &Rules<'_>,
) -> io::Result<()> {
    let source = from.open_file(name)?;
    let target = to.create_file(name)?;
    beneath::copy_content(&source, &target, found.size)?;
    beneath::set_file_owner(target.as_fd(), found.uid, found.gid)?;
    for (attribute, value) in rules.kept(from.xattrs(name)?) {
        beneath::set_file_xattr(target.as_fd(), &attribute, &value)?;
    }
    beneath::set_file_mode(target.as_fd(), found.mode)?;
    beneath::set_file_times(target.as_fd(), found.accessed, found.modified)
}

/// Gives a directory the owner, attributes and mode of another.
/// With the times it had, `found`, before anything was done to it.
fn take_attributes(from: &Dir, found: Metadata, to: &Dir) -> io::Result<()> {
    set_dir_attributes(from, to, &RULES)?;
    to.set_own_times(found.accessed, found.modified)
}

pub(crate) fn set_dir_attributes(from: &Dir, to: &Dir, rules: &Rules<'_>) -> io::Result<()> {
    let found = from.own_metadata()?;
    to.set_own_owner(found.uid, found.gid)?;
    for (attribute, value) in rules.kept(from.own_xattrs()?) {
        to.set_own_xattr(&attribute, &value)?;
    }
    to.set_own_mode(found.mode)
}
