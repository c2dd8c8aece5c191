//! One pass over an archive of images: layers go to staging, JSON to memory, the rest nowhere.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use model::image::Blob;
use model::{Digest, Error, Result, limits};

use super::LoadStep;
use crate::layer::{self, Keep};
use crate::leases::{Item, Lease};
use crate::store::{Staging, Store, TreeInfo, digest_of_hex};
use archive::{CleanPath, Entry, EntryKind, Reader, Unpacked, buffered};
use failpoint::Point;

/// How much of a file is looked at to see what it is: a tar header.
const HEAD_BYTES: u64 = 512;
/// How often progress is told.
const STEP_BYTES: u64 = 1 << 20;
/// Links from link to link within the archive.
const LINKS_MAX: usize = 16;

/// What a file of the archive turned out to be.
#[derive(Debug)]
pub(super) enum Member {
    /// A manifest, index or configuration.
    Json(Vec<u8>),
    /// A layer, unpacked into `dir` of staging.
    Layer { dir: PathBuf, info: TreeInfo },
    /// A layer that the store has, and the blob it has it as; its content was not looked at.
    Known {
        info: TreeInfo,
        packed: Option<Blob>,
    },
    /// Something like a layer that could not be unpacked, which matters only if it is one.
    Broken(Error),
    /// Of no use.
    Other,
}

/// The files of an archive by their names.
#[derive(Debug, Default)]
pub(super) struct Contents {
    members: HashMap<CleanPath, Member>,
    links: HashMap<CleanPath, CleanPath>,
}

impl Contents {
    pub(super) fn has(&self, name: &str) -> bool {
        CleanPath::parse(name.as_bytes()).is_ok_and(|path| self.get(&path).is_some())
    }

    /// The file `path`, or what a link of that name leads to.
    pub(super) fn get(&self, path: &CleanPath) -> Option<&Member> {
        let mut path = path;
        for _ in 0..LINKS_MAX {
            if let Some(member) = self.members.get(path) {
                return Some(member);
            }
            path = self.links.get(path)?;
        }
        None
    }

    /// The JSON file `path`.
    pub(super) fn json(&self, path: &CleanPath) -> Result<&[u8]> {
        let name = path.as_path().display();
        match self.get(path) {
            Some(Member::Json(bytes)) => Ok(bytes),
            Some(_) => Err(Error::invalid(format!(
                "{name} in the archive is not JSON, or too large"
            ))),
            None => Err(Error::invalid(format!("{name} is not in the archive"))),
        }
    }
}

/// Reads `source` to its end.
pub(super) fn read(
    store: &Arc<Store>,
    staging: &Staging,
    lease: &mut Lease,
    source: &mut dyn Read,
    progress: &mut dyn FnMut(LoadStep),
) -> Result<Contents> {
    let mut pass = Pass {
        store,
        staging,
        lease,
        progress,
        known: known_trees(store)?,
        contents: Contents::default(),
        json_bytes: 0,
        names_bytes: 0,
        entries: 0,
    };
    let mut reader = Reader::new(buffered(Unpacked::new(source)?));
    while let Some(entry) = reader.next_entry()? {
        pass.entry(&mut reader, &entry)?;
    }
    // The client is to be heard out, and a damaged end to be told.
    io::copy(&mut reader.into_inner(), &mut io::sink()).map_err(archive::reading)?;
    Ok(pass.contents)
}

struct Pass<'a> {
    store: &'a Arc<Store>,
    staging: &'a Staging,
    lease: &'a mut Lease,
    progress: &'a mut dyn FnMut(LoadStep),
    /// Trees of the store by diff_id and by the digests of the blobs they came from.
    known: HashMap<Digest, TreeInfo>,
    contents: Contents,
    json_bytes: u64,
    names_bytes: usize,
    entries: usize,
}

impl Pass<'_> {
    fn entry<R: Read>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> Result<()> {
        self.entries += 1;
        if self.entries > limits::ARCHIVE_ENTRIES_MAX {
            return Err(Error::invalid(format!(
                "more than {} files in an archive of images",
                limits::ARCHIVE_ENTRIES_MAX
            )));
        }
        let path = CleanPath::parse(&entry.path)?;
        self.count_name(&path)?;
        match &entry.kind {
            EntryKind::File => {
                // An earlier file of that name makes way; what it unpacked goes with staging.
                self.contents.links.remove(&path);
                let member = self.file(reader, entry, &path)?;
                self.contents.members.insert(path, member);
            }
            // Older Docker saves a layer once and links to it.
            EntryKind::Symlink(text) => {
                if let Some((parent, _)) = path.split() {
                    let target = [parent.as_bytes(), b"/", text].concat();
                    let target = CleanPath::parse(&target)?;
                    self.count_name(&target)?;
                    self.contents.links.insert(path, target);
                }
            }
            EntryKind::HardLink(target) => {
                let target = CleanPath::parse(target)?;
                self.count_name(&target)?;
                self.contents.links.insert(path, target);
            }
            _ => {}
        }
        Ok(())
    }

    fn count_name(&mut self, name: &CleanPath) -> Result<()> {
        self.names_bytes += name.as_bytes().len();
        if self.names_bytes > limits::ARCHIVE_NAMES_BYTES_MAX {
            return Err(Error::invalid(format!(
                "more than {} bytes of names in an archive of images",
                limits::ARCHIVE_NAMES_BYTES_MAX
            )));
        }
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        entry: &Entry,
        path: &CleanPath,
    ) -> Result<Member> {
        if let Some(known) = self.known_by_name(path)? {
            return Ok(known);
        }
        let mut head = Vec::new();
        reader
            .by_ref()
            .take(HEAD_BYTES)
            .read_to_end(&mut head)
            .map_err(archive::reading)?;
        if layer::looks_like_layer(&head) {
            return self.layer(&mut head.as_slice().chain(reader), entry, path);
        }
        let is_json = matches!(head.trim_ascii_start().first(), Some(b'{' | b'['));
        if !is_json || entry.size_bytes > limits::MANIFEST_BYTES_MAX {
            return Ok(Member::Other);
        }
        self.json_bytes += entry.size_bytes;
        if self.json_bytes > limits::ARCHIVE_JSON_BYTES_MAX {
            return Err(Error::invalid(format!(
                "more than {} bytes of JSON in an archive of images",
                limits::ARCHIVE_JSON_BYTES_MAX
            )));
        }
        reader.read_to_end(&mut head).map_err(archive::reading)?;
        Ok(Member::Json(head))
    }

    /// A layer of the store that the file's name speaks of. What the file holds does not matter
    /// then: the tree was verified when it was made. One whose bytes the store did not keep is read
    /// again, so that it does.
    fn known_by_name(&mut self, path: &CleanPath) -> Result<Option<Member>> {
        let Some((digest, info)) =
            digest_in_name(path).and_then(|d| self.known.get(&d).map(|info| (d, info)))
        else {
            return Ok(None);
        };
        self.lease.hold(Item::Tree(info.diff_id.clone()));
        for blob in &info.packed {
            self.lease.hold(Item::Blob(blob.digest.clone()));
        }
        // It may have been swept between the look at the store and the lease.
        let Some(info) = self.store.tree_info(&info.diff_id)? else {
            return Ok(None);
        };
        let mut held = info
            .packed
            .iter()
            .filter(|b| self.store.has_blob(&b.digest));
        let known = match digest == info.diff_id {
            true if info.frame_bytes.is_some() => Some(None),
            true => held.next().map(Some),
            false => held.find(|b| b.digest == digest).map(Some),
        };
        Ok(known.map(|packed| Member::Known {
            packed: packed.cloned(),
            info: info.clone(),
        }))
    }

    fn layer(&mut self, content: &mut dyn Read, entry: &Entry, path: &CleanPath) -> Result<Member> {
        let dir = self.staging.layer(self.entries)?;
        let mut told = Told {
            source: content,
            progress: &mut *self.progress,
            name: digest_in_name(path).map_or_else(
                || path.as_path().display().to_string(),
                |digest| digest.short().to_owned(),
            ),
            read_bytes: 0,
            told_bytes: 0,
            total_bytes: entry.size_bytes,
        };
        match layer::unpack(&mut told, &dir, Keep::AsItCame) {
            Ok(unpack) => {
                self.store.pass(Point::ImageLayerRead)?;
                let info = unpack.into();
                Ok(Member::Layer { dir, info })
            }
            // The archive is at fault, but the file may be none of ours. Its space is needed now.
            Err(e) if e.kind() == model::Kind::InvalidParameter => {
                self.staging.discard(&dir)?;
                Ok(Member::Broken(e))
            }
            Err(e) => Err(e),
        }
    }
}

fn known_trees(store: &Store) -> Result<HashMap<Digest, TreeInfo>> {
    let mut known = HashMap::new();
    for info in store.tree_infos()? {
        for blob in &info.packed {
            known.insert(blob.digest.clone(), info.clone());
        }
        known.insert(info.diff_id.clone(), info);
    }
    Ok(known)
}

/// `blobs/sha256/HEX` of an OCI layout, `HEX.tar` of podman: the digest that a name claims.
pub(super) fn digest_in_name(path: &CleanPath) -> Option<Digest> {
    let (_, name) = path.split()?;
    let name = std::str::from_utf8(name).ok()?;
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    digest_of_hex(stem)
}

/// Tells how much was read.
struct Told<'a> {
    source: &'a mut dyn Read,
    progress: &'a mut dyn FnMut(LoadStep),
    name: String,
    read_bytes: u64,
    told_bytes: u64,
    total_bytes: u64,
}

impl Read for Told<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buf)?;
        self.read_bytes += n as u64;
        let ends = self.read_bytes == self.total_bytes && self.told_bytes < self.total_bytes;
        if ends || self.read_bytes - self.told_bytes >= STEP_BYTES {
            self.told_bytes = self.read_bytes;
            (self.progress)(LoadStep::Layer {
                name: self.name.clone(),
                read_bytes: self.read_bytes,
                total_bytes: self.total_bytes,
            });
        }
        Ok(n)
    }
}
