//! A tree as entries, parents before what is in them, names in order.
//!
//! Somebody may work in the tree meanwhile: what vanishes is left out, a file that shrinks ends it, for
//! what is sent was never there, and no link is followed.

mod what;

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use model::{Context as _, Error, IdMaps, Result, limits};
use sys::beneath::{Dir, Kind, Metadata, content_ranges, file_xattrs, is_bad_path};

use crate::Form;
use crate::apply::is_kept_xattr;
use crate::failure::At;
use crate::overlay::{OPAQUE, OPAQUE_WHITEOUT, WHITEOUT_PREFIX, is_whiteout};
use crate::path::shown;
use crate::tar::{Entry, EntryKind, Segment, Writer};

pub(crate) use what::Only;
pub use what::Source;

/// How much content is moved at once.
const COPY_BYTES: usize = 128 << 10;
/// The unit of `st_blocks` (inode(7)).
const STAT_BLOCK_BYTES: u64 = 512;
/// Attributes with which overlayfs says that a file's name or content is elsewhere.
const ELSEWHERE: [&[u8]; 2] = [b"trusted.overlay.redirect", b"trusted.overlay.metacopy"];

/// Writes what is in the directory `tree`, itself included; in the archive it is called `prefix`, and
/// empty is the archive's root. Sockets are left out, as they are of the processes that listen.
///
/// # Errors
/// System, naming what cannot be read; what `out` says, carried ([`crate::carried`]) or not.
pub fn pack<W: Write>(out: &mut Writer<W>, tree: &Path, prefix: &str, form: Form) -> Result<()> {
    pack_without(out, tree, prefix, form, HashSet::new())
}

/// The same without the entries of `left_out`, paths in the tree, the empty one being the tree itself. What
/// is in a directory that is left out is not.
///
/// # Errors
/// As [`pack`].
pub fn pack_without<W: Write>(
    out: &mut Writer<W>,
    tree: &Path,
    prefix: &str,
    form: Form,
    left_out: HashSet<PathBuf>,
) -> Result<()> {
    let mut packer = Packer::of_own(out, tree, prefix, form)?;
    packer.left_out = left_out;
    packer.all()
}

/// As [`pack_without`], the entries of a layer: `only` those, and what it says is hidden.
pub(crate) fn pack_only<W: Write>(
    out: &mut Writer<W>,
    tree: &Path,
    prefix: &str,
    left_out: HashSet<PathBuf>,
    only: Only,
) -> Result<()> {
    let mut packer = Packer::of_own(out, tree, prefix, Form::Layer)?;
    packer.left_out = left_out;
    packer.only = Some(only);
    packer.all()
}

/// Writes what `source` says, as [`pack`] does, with no limit of its size.
///
/// # Errors
/// As [`pack`]; Conflict when the one file has become a directory.
pub fn pack_source<W: Write>(out: &mut Writer<W>, source: Source) -> Result<()> {
    let file = source.file.clone();
    let mut packer = Packer::of(out, source, Form::Plain);
    let Some(file) = file else {
        return packer.all();
    };
    let dir = packer
        .root
        .beneath(Path::new(""))
        .at("open", &packer.tree)?;
    match packer.one(&dir, &file, Path::new(""))? {
        false => Ok(()),
        true => Err(Error::conflict(format!(
            "{} has become a directory",
            packer.tree.display()
        ))),
    }
}

/// Whose a file is that is nobody's inside (the kernel's default of `overflowuid`).
const NOBODY: u32 = 65_534;

struct Packer<'a, W> {
    out: &'a mut Writer<W>,
    prefix: Vec<u8>,
    tree: PathBuf,
    root: Dir,
    form: Form,
    left_out: HashSet<PathBuf>,
    only: Option<Only>,
    bare: bool,
    ids: Option<IdMaps>,
    /// Something of the kernel's own may be mounted in it, which is nobody's files.
    is_in_use: bool,
    size_bytes_max: u64,
    /// Of a file with several names: what the first is in the archive, and how many are still to come.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
    entries: u64,
    size_bytes: u64,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Packer<'a, W> {
    /// Of a tree that is ours, or was.
    fn of_own(out: &'a mut Writer<W>, tree: &Path, prefix: &str, form: Form) -> Result<Self> {
        let source = Source {
            dir: Dir::open(tree).at("open", tree)?,
            file: None,
            shown: tree.to_owned(),
            prefix: prefix.as_bytes().to_vec(),
            bare: false,
            ids: None,
        };
        let mut packer = Self::of(out, source, form);
        packer.is_in_use = false;
        packer.size_bytes_max = limits::LAYER_BYTES_MAX;
        Ok(packer)
    }

    fn of(out: &'a mut Writer<W>, source: Source, form: Form) -> Self {
        Self {
            out,
            prefix: source.prefix,
            tree: source.shown,
            root: source.dir,
            form,
            left_out: HashSet::new(),
            only: None,
            bare: source.bare,
            ids: source.ids,
            is_in_use: true,
            size_bytes_max: u64::MAX,
            links: HashMap::new(),
            entries: 0,
            size_bytes: 0,
            buffer: vec![0; COPY_BYTES],
        }
    }

    fn entry(&self, path: Vec<u8>, kind: EntryKind, found: &Metadata) -> Entry {
        let (uid, gid) = match &self.ids {
            None => (found.uid, found.gid),
            Some(ids) => (
                ids.uids.inside(found.uid).unwrap_or(NOBODY),
                ids.gids.inside(found.gid).unwrap_or(NOBODY),
            ),
        };
        Entry {
            path,
            size_bytes: match kind {
                EntryKind::File => found.size,
                _ => 0,
            },
            kind,
            mode: found.mode,
            uid,
            gid,
            modified: found.modified,
            xattrs: Vec::new(),
            segments: None,
        }
    }

    fn all(&mut self) -> Result<()> {
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            let dir = match self.root.beneath(&path) {
                Err(e) if is_gone(&e) && !path.as_os_str().is_empty() => {
                    self.check_length(&path)?;
                    continue;
                }
                other => other.at("open", &self.tree.join(&path))?,
            };
            let mut names = self.dir(&dir, &path)?;
            names.sort();
            let first = waiting.len();
            for name in names {
                let entry = path.join(&name);
                let is_wanted = |only: &Only| only.has(&entry);
                if !self.only.as_ref().is_none_or(is_wanted) {
                    continue;
                }
                if self.one(&dir, &name, &entry)? {
                    waiting.push(entry);
                }
            }
            // The last one is taken first.
            waiting[first..].reverse();
        }
        Ok(())
    }

    /// The directory itself, and what is in it.
    fn dir(&mut self, dir: &Dir, path: &Path) -> Result<Vec<OsString>> {
        let at = self.tree.join(path);
        if self.bare && path.as_os_str().is_empty() {
            return dir.names().at("read", &at);
        }
        let found = dir.own_metadata().at("look at", &at)?;
        let attributes = dir.own_xattrs().at("read the attributes of", &at)?;
        let attributes: Vec<_> = attributes.into_iter().map(raw).collect();
        let mut entry = self.entry(self.name(path, true), EntryKind::Dir, &found);
        entry.xattrs = self.kept(&attributes, path)?;
        if !self.left_out.contains(path) {
            self.write_entry(&entry)?;
        }
        let hidden = self.only.as_mut().map(|only| only.take_hidden(path));
        for name in hidden.unwrap_or_default() {
            self.mark(path, &[WHITEOUT_PREFIX, name.as_bytes()].concat())?;
        }
        let is_opaque =
            |(name, value): &(Vec<u8>, Vec<u8>)| name == OPAQUE.0.as_bytes() && value == OPAQUE.1;
        let has_marks = self.form == Form::Layer && self.only.is_none();
        if has_marks && attributes.iter().any(is_opaque) {
            self.mark(path, OPAQUE_WHITEOUT)?;
        }
        if self.is_in_use && dir.is_made_up().at("look at", &at)? {
            return Ok(Vec::new());
        }
        dir.names().at("read", &at)
    }

    /// What is no directory; `true` for one, whose turn comes.
    fn one(&mut self, dir: &Dir, name: &OsStr, path: &Path) -> Result<bool> {
        let at = self.tree.join(path);
        let Some(found) = dir.metadata(name).at("look at", &at)? else {
            return Ok(false);
        };
        let is_whiteout = self.form == Form::Layer && is_whiteout(&found);
        if is_whiteout && self.only.is_some() {
            return Err(Error::system(format!(
                "{} is the device 0:0, which means something else in a layer",
                at.display()
            )));
        }
        if is_whiteout {
            let parent = path.parent().unwrap_or_else(|| Path::new(""));
            let mark = [WHITEOUT_PREFIX, name.as_bytes()].concat();
            return self.mark(parent, &mark).map(|()| false);
        }
        if self.form == Form::Layer && name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return Err(Error::system(format!(
                "{} has a name that means something else in a layer",
                at.display()
            )));
        }
        let kind = match found.kind {
            Kind::Dir => return Ok(true),
            _ if self.left_out.contains(path) => return Ok(false),
            Kind::Socket => return Ok(false),
            Kind::File => EntryKind::File,
            Kind::Fifo => EntryKind::Fifo,
            Kind::CharDevice => EntryKind::CharDevice(found.device),
            Kind::BlockDevice => EntryKind::BlockDevice(found.device),
            Kind::Symlink => match dir.read_link(name) {
                Err(e) if is_gone(&e) => return Ok(false),
                other => {
                    let text = other.at("read the link", &at)?;
                    EntryKind::Symlink(text.as_os_str().as_bytes().to_vec())
                }
            },
        };
        let shown = self.name(path, false);
        if let Some(first) = self.first_name(&found) {
            let link = EntryKind::HardLink(first);
            let link = self.entry(shown, link, &found);
            return self.write_entry(&link).map(|()| false);
        }
        let mut entry = self.entry(shown, kind, &found);
        if entry.kind == EntryKind::File {
            return self.file(dir, name, entry, &found, path).map(|()| false);
        }
        let attributes = match dir.xattrs(name) {
            Err(e) if is_gone(&e) => return Ok(false),
            other => other.at("read the attributes of", &at)?,
        };
        let attributes: Vec<_> = attributes.into_iter().map(raw).collect();
        entry.xattrs = self.kept(&attributes, path)?;
        self.remember(&found, &entry);
        self.write_entry(&entry).map(|()| false)
    }

    /// What another name of the same file is in the archive.
    fn first_name(&mut self, found: &Metadata) -> Option<Vec<u8>> {
        let (first, left) = self.links.get_mut(&found.inode)?;
        *left = left.saturating_sub(1);
        match left {
            0 => self.links.remove(&found.inode).map(|(first, _)| first),
            _ => Some(first.clone()),
        }
    }

    fn remember(&mut self, found: &Metadata, first: &Entry) {
        if found.links > 1 {
            let left = (first.path.clone(), found.links - 1);
            self.links.insert(found.inode, left);
        }
    }

    fn file(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        mut entry: Entry,
        found: &Metadata,
        path: &Path,
    ) -> Result<()> {
        let at = &self.tree.join(path);
        let file = match dir.open_file(name) {
            Err(e) if is_gone(&e) => return Ok(()),
            other => other.at("open", at)?,
        };
        let opened = file.metadata().at("look at", at)?;
        if !opened.is_file() {
            return Ok(());
        }
        // Another one may have taken its name: it is a file of one name then, as long as it is.
        entry.size_bytes = opened.len();
        if (opened.dev(), opened.ino()) == found.inode {
            self.remember(found, &entry);
        }
        let attributes = file_xattrs(&file).at("read the attributes of", at)?;
        let attributes: Vec<_> = attributes.into_iter().map(raw).collect();
        entry.xattrs = self.kept(&attributes, path)?;
        let whole = 0..entry.size_bytes;
        // Most files have as many blocks as they need, and no holes to look for.
        let ranges = match opened.blocks().saturating_mul(STAT_BLOCK_BYTES) < entry.size_bytes {
            true => content_ranges(&file, entry.size_bytes, limits::SPARSE_SEGMENTS_MAX - 1),
            false => Ok(None),
        };
        let ranges = ranges.at("read", at)?;
        entry.segments = ranges.as_ref().map(|ranges| {
            let segment = |range: &std::ops::Range<u64>| Segment {
                offset: range.start,
                length: range.end - range.start,
            };
            ranges.iter().map(segment).collect()
        });
        self.write_entry(&entry)?;
        let Some(ranges) = ranges else {
            return self.content(&file, whole, at);
        };
        for range in ranges {
            self.content(&file, range, at)?;
        }
        // What looked like a hole may have been cut off.
        match file.metadata().at("look at", at)?.len() < entry.size_bytes {
            true => Err(shorter(at)),
            false => Ok(()),
        }
    }

    fn content(&mut self, mut file: &File, range: std::ops::Range<u64>, at: &Path) -> Result<()> {
        use std::io::Seek as _;
        // Looking for holes has moved it.
        file.seek(io::SeekFrom::Start(range.start)).at("read", at)?;
        let mut left = range.end - range.start;
        while left > 0 {
            let wanted = COPY_BYTES.min(usize::try_from(left).unwrap_or(COPY_BYTES));
            let read = match file.read(&mut self.buffer[..wanted]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.at("read", at)?,
            };
            if read == 0 {
                return Err(shorter(at));
            }
            let written = self.out.write_all(&self.buffer[..read]);
            written.map_err(crate::failure::writing)?;
            left -= read as u64;
        }
        Ok(())
    }

    /// One of the marks of a layer, an empty file.
    fn mark(&mut self, dir: &Path, name: &[u8]) -> Result<()> {
        let path = self.name(&dir.join(OsStr::from_bytes(name)), false);
        self.write_entry(&Entry {
            path,
            kind: EntryKind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            modified: Default::default(),
            size_bytes: 0,
            xattrs: Vec::new(),
            segments: None,
        })
    }

    /// Nothing that an import would refuse.
    fn write_entry(&mut self, entry: &Entry) -> Result<()> {
        self.entries += 1;
        self.size_bytes = self.size_bytes.saturating_add(entry.size_bytes);
        let too_much = if self.entries > limits::LAYER_ENTRIES_MAX {
            format!("more than {} entries", limits::LAYER_ENTRIES_MAX)
        } else if self.size_bytes > self.size_bytes_max {
            format!(
                "more than {} bytes, holes included",
                limits::LAYER_BYTES_MAX
            )
        } else if entry.path.len() > limits::LAYER_PATH_BYTES_MAX {
            format!("a name of more than {} bytes", limits::LAYER_PATH_BYTES_MAX)
        } else {
            let written = self.out.entry(entry).map_err(crate::failure::writing);
            return written.context(format_args!(
                "{} of {}",
                shown(&entry.path),
                self.tree.display()
            ));
        };
        Err(Error::system(format!(
            "{} has {too_much}: no archive may hold that",
            self.tree.display()
        )))
    }

    /// What cannot be opened because it is too deep is not gone.
    fn check_length(&self, path: &Path) -> Result<()> {
        match path.as_os_str().len() < limits::LAYER_PATH_BYTES_MAX {
            true => Ok(()),
            false => Err(Error::system(format!(
                "{} has a name of more than {} bytes: no archive may hold that",
                self.tree.display(),
                limits::LAYER_PATH_BYTES_MAX
            ))),
        }
    }

    fn name(&self, path: &Path, is_dir: bool) -> Vec<u8> {
        what::name_of(&self.prefix, path.as_os_str().as_bytes(), is_dir)
    }

    fn kept(
        &self,
        attributes: &[(Vec<u8>, Vec<u8>)],
        path: &Path,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let elsewhere = |(name, _): &&(Vec<u8>, Vec<u8>)| ELSEWHERE.contains(&&name[..]);
        if self.form == Form::Layer
            && let Some((name, _)) = attributes.iter().find(elsewhere)
        {
            return Err(Error::system(format!(
                "{} has {}: mount overlays with redirect_dir=off and metacopy=off",
                self.tree.join(path).display(),
                shown(name)
            )));
        }
        let kept = attributes
            .iter()
            .filter(|(name, _)| is_kept_xattr(name, self.form));
        Ok(kept.cloned().collect())
    }
}

fn raw((name, value): (OsString, Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value)
}

fn shorter(at: &Path) -> Error {
    let at = at.display();
    Error::conflict(format!("{at} has become shorter while it was read"))
}

/// It was there when its directory was read, or was something else.
fn is_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || is_bad_path(e)
}

#[cfg(test)]
mod tests;
