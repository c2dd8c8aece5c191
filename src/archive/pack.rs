//! A tree as entries, parents before what is in them, names in order.
//!
//! Somebody may work in the tree meanwhile: what vanishes is left out, and no link is followed. A file is
//! what it is when it is open. A small one is read before its header is written, so that its size is
//! true; a large one that shrinks is filled up with zeros, as tar does, or ends it where the tree should
//! be at rest.

mod content;
mod links;
mod policy;
mod what;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{Context as _, Error, IdMaps, Result, limits};
use sys::beneath::{Dir, FileTime, Kind, Metadata, Names, file_metadata, is_bad_path};

use crate::Form;
use crate::capability::{CAPABILITY, plain_capability};
use crate::failure::At;
use crate::overlay::{OPAQUE, OPAQUE_WHITEOUT, WHITEOUT_PREFIX, is_whiteout};
use crate::path::shown;
use crate::tar::{Entry, EntryKind, Writer};
use links::Links;
use policy::Policy;

pub(crate) use what::Only;
pub use what::{Layered, Source};

/// Attributes with which overlayfs says that a file's name or content is elsewhere.
const ELSEWHERE: [&[u8]; 2] = [b"trusted.overlay.redirect", b"trusted.overlay.metacopy"];

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

/// Writes a directory of changes as the entries of a layer: all of it, with the marks that are in it, or
/// `only` what that says.
///
/// # Errors
/// As [`pack`].
pub(crate) fn pack_layer<W: Write>(
    out: &mut Writer<W>,
    tree: &Path,
    how: Layered<'_>,
    only: Option<Only>,
) -> Result<()> {
    let policy = match how.is_exact {
        true => Policy::exact(Form::Layer),
        false => Policy::LAYER,
    };
    let mut packer = Packer::of(out, at_rest(tree, how.prefix)?, policy);
    packer.left_out = how.left_out;
    packer.only = only;
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
    only: Option<Only>,
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
            only: None,
            bare: source.bare,
            ids: source.ids,
            path: Vec::new(),
            names_bytes: 0,
            links: Links::default(),
            entries: 0,
            size_bytes: 0,
            buffer: vec![0; content::COPY_BYTES],
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
        let names = match dir.sorted_names(room) {
            // It was removed since it was opened.
            Err(e) if is_gone(&e) && !self.path.is_empty() => return Ok(Some(sent)),
            other => other.at("read", &self.at())?,
        };
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
            let is_wanted = self.only.as_ref().is_none_or(|o| o.has(self.here()));
            if is_wanted && self.one(&dir, name, kind)? {
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
        let here = Path::new(OsStr::from_bytes(&self.path));
        let Some(only) = &mut self.only else {
            return match self.policy.form == Form::Layer && is_opaque {
                true => self.mark(OsStr::from_bytes(OPAQUE_WHITEOUT)),
                false => Ok(()),
            };
        };
        for name in only.take_hidden(here) {
            let mark = [WHITEOUT_PREFIX, name.as_bytes()].concat();
            self.mark(OsStr::from_bytes(&mark))?;
        }
        Ok(())
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
        let is_whiteout = self.policy.form == Form::Layer && is_whiteout(&found);
        if is_whiteout && self.only.is_some() {
            return Err(Error::system(format!(
                "{} is the device 0:0, which means something else in a layer",
                self.at().display()
            )));
        }
        if is_whiteout {
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

/// Goes down to `name`.
fn step(path: &mut Vec<u8>, name: &OsStr) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
}

/// It was there when its directory was read, or was something else.
fn is_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || is_bad_path(e)
}

#[cfg(test)]
mod tests;
