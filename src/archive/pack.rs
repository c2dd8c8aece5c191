//! A tree as entries, parents before what is in them, names in order.
//!
//! Somebody may work in the tree meanwhile: what vanishes is left out, and no link is followed. A file is
//! what it is when it is open. A small one is read before its header is written, so that its size is
//! true; a large one that shrinks is filled up with zeros, as tar does, or ends it where the tree should
//! be at rest.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{Context as _, Error, IdMaps, Result, limits};
use sys::beneath::{
    Dir, FileTime, Kind, Metadata, Names, content_ranges, file_metadata, file_xattrs, is_bad_path,
};

use crate::Form;
use crate::apply::is_kept_xattr;
use crate::capability::{CAPABILITY, plain_capability};
use crate::failure::At;
use crate::overlay::{OPAQUE, OPAQUE_WHITEOUT, WHITEOUT_PREFIX, is_whiteout};
use crate::path::shown;
use crate::tar::{Entry, EntryKind, Segment, Writer};

/// How much content is moved at once.
const COPY_BYTES: usize = 256 << 10;
/// Files of up to this size are read before their header is written.
const SMALL_BYTES: usize = 128 << 10;
/// The unit of `st_blocks` (inode(7)).
const STAT_BLOCK_BYTES: u64 = 512;
/// Attributes with which overlayfs says that a file's name or content is elsewhere.
const ELSEWHERE: [&[u8]; 2] = [b"trusted.overlay.redirect", b"trusted.overlay.metacopy"];

/// What of a tree goes into an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Policy {
    /// What the names of the tree mean.
    form: Form,
    /// Everything, for who reads it again with [`crate::Reader`]: times to the nanosecond, holes as
    /// GNU tar has them, attributes as they are. Docker's archives have whole seconds and no holes (moby
    /// `go-archive`, `FileInfoHeader`), and few programs but Go's and GNU tar read such holes.
    is_exact: bool,
    /// It is somebody's, who may change it, and mount things in it that are nobody's files.
    is_in_use: bool,
    size_bytes_max: u64,
}

impl Policy {
    /// A layer of an image, of a directory of changes.
    const LAYER: Self = Self {
        form: Form::Layer,
        is_exact: false,
        is_in_use: false,
        size_bytes_max: limits::LAYER_BYTES_MAX,
    };
    /// A container's files, for whoever wants them.
    const FILES: Self = Self {
        form: Form::Plain,
        is_exact: false,
        is_in_use: true,
        size_bytes_max: u64::MAX,
    };

    /// What another daemon takes in as it was here.
    const fn exact(form: Form) -> Self {
        Self {
            form,
            is_exact: true,
            is_in_use: false,
            size_bytes_max: limits::LAYER_BYTES_MAX,
        }
    }

    /// Access lists have ids in them that mean nothing elsewhere, and moby sends none.
    fn keeps(self, name: &[u8]) -> bool {
        match self.is_in_use {
            true => name == CAPABILITY || name.starts_with(b"user."),
            false => is_kept_xattr(name, self.form),
        }
    }
}

/// Writes what is in the directory `tree`, itself included, with nothing lost; in the archive it is called
/// `prefix`, and empty is the archive's root. Sockets are left out, as they are of the processes that
/// listen.
///
/// # Errors
/// System, naming what cannot be read; what `out` says, carried ([`crate::carried`]) or not.
pub fn pack<W: Write>(out: &mut Writer<W>, tree: &Path, prefix: &str, form: Form) -> Result<()> {
    let source = at_rest(tree, prefix)?;
    Packer::of(out, source, Policy::exact(form)).all()
}

/// Writes a directory of changes as the layer of an image, without the entries of `left_out`, paths in the
/// tree, the empty one being the tree itself. What is in a directory that is left out is not.
///
/// # Errors
/// As [`pack`].
pub fn pack_layer<W: Write>(
    out: &mut Writer<W>,
    tree: &Path,
    left_out: HashSet<PathBuf>,
) -> Result<()> {
    let source = at_rest(tree, "")?;
    let mut packer = Packer::of(out, source, Policy::LAYER);
    packer.left_out = left_out;
    packer.all()
}

fn at_rest(tree: &Path, prefix: &str) -> Result<Source> {
    Ok(Source {
        dir: Dir::open(tree).at("open", tree)?,
        file: None,
        shown: tree.to_owned(),
        prefix: prefix.as_bytes().to_vec(),
        bare: false,
        ids: None,
    })
}

/// Something that is in use, to be sent as it is.
#[derive(Debug)]
pub struct Source {
    /// The directory.
    pub dir: Dir,
    /// Of all that is in it this alone, which is no directory.
    pub file: Option<OsString>,
    /// What it is called in messages.
    pub shown: PathBuf,
    /// What it is called in the archive. `/` stands before all names, empty is the archive's root.
    pub prefix: Vec<u8>,
    /// What is in the directory, without an entry of its own.
    pub bare: bool,
    /// Owners are told as they are inside; one that is not is nobody's.
    pub ids: Option<IdMaps>,
}

/// Writes what `source` says as Docker does, with no limit of its size.
///
/// # Errors
/// As [`pack`]; Conflict when the one file has become a directory.
pub fn pack_source<W: Write>(out: &mut Writer<W>, source: Source) -> Result<()> {
    let file = source.file.clone();
    let mut packer = Packer::of(out, source, Policy::FILES);
    let Some(file) = file else {
        return packer.all();
    };
    let dir = packer
        .root
        .beneath(Path::new(""))
        .at("open", &packer.at())?;
    match packer.one(&dir, &file, None)? {
        false => Ok(()),
        true => Err(Error::conflict(format!(
            "{} has become a directory",
            packer.at().display()
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
    policy: Policy,
    left_out: HashSet<PathBuf>,
    bare: bool,
    ids: Option<IdMaps>,
    /// Where it is: from the tree's root, without a slash at either end.
    path: Vec<u8>,
    /// Memory of names whose turn comes.
    names_bytes: usize,
    links: Links,
    entries: u64,
    size_bytes: u64,
    buffer: Vec<u8>,
}

/// Of a file with several names: what the first is in the archive, and how many are still to come.
#[derive(Default)]
struct Links {
    firsts: HashMap<(u64, u64), (Vec<u8>, u64)>,
    bytes: usize,
}

/// A directory that has been sent, and the directories in it whose turn comes.
struct Sent {
    path_bytes: usize,
    dirs: Names,
    next: usize,
}

impl<'a, W: Write> Packer<'a, W> {
    fn of(out: &'a mut Writer<W>, source: Source, policy: Policy) -> Self {
        Self {
            out,
            prefix: source.prefix,
            tree: source.shown,
            root: source.dir,
            policy,
            left_out: HashSet::new(),
            bare: source.bare,
            ids: source.ids,
            path: Vec::new(),
            names_bytes: 0,
            links: Links::default(),
            entries: 0,
            size_bytes: 0,
            buffer: vec![0; COPY_BYTES],
        }
    }

    /// Where it is, for messages.
    fn at(&self) -> PathBuf {
        match self.path.is_empty() {
            true => self.tree.clone(),
            false => self.tree.join(self.here()),
        }
    }

    fn here(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    fn entry(&self, kind: EntryKind, found: &Metadata) -> Entry {
        let (uid, gid) = match &self.ids {
            None => (found.uid, found.gid),
            Some(ids) => (
                ids.uids.inside(found.uid).unwrap_or(NOBODY),
                ids.gids.inside(found.gid).unwrap_or(NOBODY),
            ),
        };
        Entry {
            path: self.name(kind == EntryKind::Dir),
            size_bytes: match kind {
                EntryKind::File => found.size,
                _ => 0,
            },
            kind,
            mode: found.mode,
            uid,
            gid,
            modified: match self.policy.is_exact {
                true => found.modified,
                false => FileTime {
                    secs: found.modified.secs,
                    nanos: 0,
                },
            },
            xattrs: Vec::new(),
            segments: None,
        }
    }

    fn all(&mut self) -> Result<()> {
        let mut way: Vec<Sent> = self.dir()?.into_iter().collect();
        while let Some(sent) = way.last_mut() {
            self.path.truncate(sent.path_bytes);
            let Some((name, _)) = sent.dirs.get(sent.next) else {
                self.names_bytes -= sent.dirs.bytes();
                way.pop();
                continue;
            };
            sent.next += 1;
            step(&mut self.path, name);
            way.extend(self.dir()?);
        }
        Ok(())
    }

    /// The directory where it is, and what is in it; `None` when it is gone.
    fn dir(&mut self) -> Result<Option<Sent>> {
        let dir = match self.root.beneath(self.here()) {
            Err(e) if is_gone(&e) && !self.path.is_empty() => {
                return self.check_length().map(|()| None);
            }
            other => other.at("open", &self.at())?,
        };
        if !(self.bare && self.path.is_empty()) {
            self.dir_entry(&dir)?;
        }
        let mut sent = Sent {
            path_bytes: self.path.len(),
            dirs: Names::default(),
            next: 0,
        };
        if self.policy.is_in_use && dir.is_made_up().at("look at", &self.at())? {
            return Ok(Some(sent));
        }
        let room = limits::PACK_NAMES_BYTES_MAX - self.names_bytes;
        let names = dir.sorted_names(room).at("read", &self.at())?;
        let names = names.ok_or_else(|| {
            Error::system(format!(
                "{} has more names than can be held in memory",
                self.at().display()
            ))
        })?;
        let mut nth = 0;
        while let Some((name, kind)) = names.get(nth) {
            nth += 1;
            step(&mut self.path, name);
            if self.one(&dir, name, kind)? {
                sent.dirs.push(name, kind);
            }
            self.path.truncate(sent.path_bytes);
        }
        self.names_bytes += sent.dirs.bytes();
        Ok(Some(sent))
    }

    fn dir_entry(&mut self, dir: &Dir) -> Result<()> {
        let found = dir.own_metadata().at("look at", &self.at())?;
        let attributes = dir.own_xattrs();
        let attributes = attributes.at("read the attributes of", &self.at())?;
        let is_opaque = attributes
            .iter()
            .any(|(name, value)| name == OPAQUE.0 && value == OPAQUE.1);
        let mut entry = self.entry(EntryKind::Dir, &found);
        entry.xattrs = self.kept(attributes)?;
        if !self.left_out.contains(self.here()) {
            self.write_entry(&entry)?;
        }
        match self.policy.form == Form::Layer && is_opaque {
            true => self.mark(OsStr::from_bytes(OPAQUE_WHITEOUT)),
            false => Ok(()),
        }
    }

    /// What is no directory; `true` for one, whose turn comes. What it is called is where it is.
    fn one(&mut self, dir: &Dir, name: &OsStr, kind: Option<Kind>) -> Result<bool> {
        if kind == Some(Kind::File) && self.regular(dir, name)? {
            return Ok(false);
        }
        let found = match kind {
            Some(Kind::Dir) if self.policy.form == Form::Plain => return Ok(true),
            _ => dir.metadata(name).at("look at", &self.at())?,
        };
        let Some(found) = found else {
            return Ok(false);
        };
        if self.policy.form == Form::Layer && is_whiteout(&found) {
            let mark = [WHITEOUT_PREFIX, name.as_bytes()].concat();
            let own = self.path.len();
            self.path.truncate((own - name.len()).saturating_sub(1));
            return self.mark(OsStr::from_bytes(&mark)).map(|()| false);
        }
        self.check_name(name)?;
        let kind = match found.kind {
            Kind::Dir => return Ok(true),
            _ if self.left_out.contains(self.here()) => return Ok(false),
            Kind::Socket => return Ok(false),
            Kind::File => return self.regular(dir, name).map(|_| false),
            Kind::Fifo => EntryKind::Fifo,
            Kind::CharDevice => EntryKind::CharDevice(found.device),
            Kind::BlockDevice => EntryKind::BlockDevice(found.device),
            Kind::Symlink => match dir.read_link(name) {
                Err(e) if is_gone(&e) => return Ok(false),
                other => {
                    let text = other.at("read the link", &self.at())?;
                    EntryKind::Symlink(text.into_os_string().into_encoded_bytes())
                }
            },
        };
        if self.linked(&found)? {
            return Ok(false);
        }
        let mut entry = self.entry(kind, &found);
        let attributes = match dir.xattrs(name) {
            Err(e) if is_gone(&e) => return Ok(false),
            other => other.at("read the attributes of", &self.at())?,
        };
        entry.xattrs = self.kept(attributes)?;
        self.links.remember(&found, &entry);
        self.write_entry(&entry).map(|()| false)
    }

    /// Sends the regular file `name`; `false` when that is something else by now.
    fn regular(&mut self, dir: &Dir, name: &OsStr) -> Result<bool> {
        self.check_name(name)?;
        if self.left_out.contains(self.here()) {
            return Ok(true);
        }
        let file = match dir.open_file(name) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(e) => {
                let now = dir.metadata(name).at("look at", &self.at())?;
                return match now.is_some_and(|now| now.kind == Kind::File) {
                    true => Err(e).at("open", &self.at()),
                    false => Ok(false),
                };
            }
        };
        let found = file_metadata(&file).at("look at", &self.at())?;
        if found.kind != Kind::File {
            return Ok(false);
        }
        if !self.linked(&found)? {
            self.file(&file, &found)?;
        }
        Ok(true)
    }

    /// Sends a further name of what was sent; `false` when it was not.
    fn linked(&mut self, found: &Metadata) -> Result<bool> {
        let Some(first) = self.links.first_name(found) else {
            return Ok(false);
        };
        let link = self.entry(EntryKind::HardLink(first), found);
        self.write_entry(&link).map(|()| true)
    }

    fn file(&mut self, mut file: &File, found: &Metadata) -> Result<()> {
        let mut entry = self.entry(EntryKind::File, found);
        let attributes = file_xattrs(file);
        let attributes = attributes.at("read the attributes of", &self.at())?;
        entry.xattrs = self.kept(attributes)?;
        self.links.remember(found, &entry);
        if let Ok(size) = usize::try_from(entry.size_bytes)
            && size <= SMALL_BYTES
        {
            let read = read_whole(&mut file, &mut self.buffer[..size]);
            let read = read.at("read", &self.at())?;
            entry.size_bytes = read as u64;
            self.write_entry(&entry)?;
            let written = self.out.write_all(&self.buffer[..read]);
            return written.map_err(crate::failure::writing);
        }
        let whole = 0..entry.size_bytes;
        // Most files have as many blocks as they need, and no holes to look for.
        let has_holes = found.blocks.saturating_mul(STAT_BLOCK_BYTES) < entry.size_bytes;
        let ranges = match self.policy.is_exact && has_holes {
            true => content_ranges(file, entry.size_bytes, limits::SPARSE_SEGMENTS_MAX - 1),
            false => Ok(None),
        };
        let Some(ranges) = ranges.at("read", &self.at())? else {
            self.write_entry(&entry)?;
            return self.content(file, whole);
        };
        let segments = ranges.iter().map(|range| Segment {
            offset: range.start,
            length: range.end - range.start,
        });
        entry.segments = Some(segments.collect());
        self.write_entry(&entry)?;
        for range in ranges {
            use std::io::Seek as _;
            // Looking for holes has moved it.
            let moved = file.seek(io::SeekFrom::Start(range.start));
            moved.at("read", &self.at())?;
            self.content(file, range)?;
        }
        // What looked like a hole may have been cut off.
        let now = file_metadata(file).at("look at", &self.at())?;
        match now.size < entry.size_bytes {
            true => Err(self.shorter()),
            false => Ok(()),
        }
    }

    fn content(&mut self, mut file: &File, range: std::ops::Range<u64>) -> Result<()> {
        let mut left = range.end - range.start;
        let mut is_cut = false;
        while left > 0 {
            let wanted = COPY_BYTES.min(usize::try_from(left).unwrap_or(COPY_BYTES));
            let mut read = 0;
            if !is_cut {
                let piece = read_whole(&mut file, &mut self.buffer[..wanted]);
                read = piece.at("read", &self.at())?;
            }
            if read < wanted {
                if !self.policy.is_in_use {
                    return Err(self.shorter());
                }
                if !is_cut {
                    tracing::warn!("{}: zeros are sent instead", self.shorter());
                }
                is_cut = true;
                self.buffer[read..wanted].fill(0);
            }
            let written = self.out.write_all(&self.buffer[..wanted]);
            written.map_err(crate::failure::writing)?;
            left -= wanted as u64;
        }
        Ok(())
    }

    fn shorter(&self) -> Error {
        let at = self.at();
        let at = at.display();
        Error::conflict(format!("{at} has become shorter while it was read"))
    }

    /// One of the marks of a layer where it is, an empty file.
    fn mark(&mut self, name: &OsStr) -> Result<()> {
        let dir_bytes = self.path.len();
        step(&mut self.path, name);
        let path = self.name(false);
        self.path.truncate(dir_bytes);
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
        } else if self.size_bytes > self.policy.size_bytes_max {
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

    fn check_name(&self, name: &OsStr) -> Result<()> {
        match self.policy.form == Form::Layer && name.as_bytes().starts_with(WHITEOUT_PREFIX) {
            false => Ok(()),
            true => Err(Error::system(format!(
                "{} has a name that means something else in a layer",
                self.at().display()
            ))),
        }
    }

    /// What cannot be opened because it is too deep is not gone.
    fn check_length(&self) -> Result<()> {
        match self.path.len() < limits::LAYER_PATH_BYTES_MAX {
            true => Ok(()),
            false => Err(Error::system(format!(
                "{} has a name of more than {} bytes: no archive may hold that",
                self.tree.display(),
                limits::LAYER_PATH_BYTES_MAX
            ))),
        }
    }

    /// What that where it is is called in the archive.
    fn name(&self, is_dir: bool) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.prefix.len() + self.path.len() + 2);
        name.extend_from_slice(&self.prefix);
        if !name.is_empty() && name != b"/" && !self.path.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(&self.path);
        if name.is_empty() {
            name.push(b'.');
        }
        if is_dir && name != b"/" {
            name.push(b'/');
        }
        name
    }

    fn kept(&self, attributes: Vec<(OsString, Vec<u8>)>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let elsewhere = |(name, _): &&(OsString, Vec<u8>)| ELSEWHERE.contains(&name.as_bytes());
        if self.policy.form == Form::Layer
            && let Some((name, _)) = attributes.iter().find(elsewhere)
        {
            return Err(Error::system(format!(
                "{} has {}: mount overlays with redirect_dir=off and metacopy=off",
                self.at().display(),
                shown(name.as_bytes())
            )));
        }
        let kept = attributes.into_iter().filter_map(|(name, mut value)| {
            let name = name.into_encoded_bytes();
            if name == CAPABILITY && !self.policy.is_exact {
                plain_capability(&mut value);
            }
            self.policy.keeps(&name).then_some((name, value))
        });
        Ok(kept.collect())
    }
}

impl Links {
    /// What another name of the same file is in the archive.
    fn first_name(&mut self, found: &Metadata) -> Option<Vec<u8>> {
        if found.links <= 1 {
            return None;
        }
        let (first, left) = self.firsts.get_mut(&found.inode)?;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return Some(first.clone());
        }
        let (first, _) = self.firsts.remove(&found.inode)?;
        self.bytes -= Self::bytes_of(&first);
        Some(first)
    }

    fn remember(&mut self, found: &Metadata, first: &Entry) {
        let bytes = Self::bytes_of(&first.path);
        if found.links > 1 && self.bytes + bytes <= limits::PACK_LINKS_BYTES_MAX {
            let left = (first.path.clone(), found.links - 1);
            match self.firsts.insert(found.inode, left) {
                None => self.bytes += bytes,
                // It has more names by now than it had.
                Some((before, _)) => self.bytes = self.bytes + bytes - Self::bytes_of(&before),
            }
        }
    }

    fn bytes_of(first: &[u8]) -> usize {
        first.len() + size_of::<((u64, u64), (Vec<u8>, u64))>()
    }
}

/// Goes down to `name`.
fn step(path: &mut Vec<u8>, name: &OsStr) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
}

/// Fills `room`, or as much of it as there is to read.
fn read_whole(file: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < room.len() {
        match file.read(&mut room[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// It was there when its directory was read, or was something else.
fn is_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || is_bad_path(e)
}

#[cfg(test)]
mod tests;
