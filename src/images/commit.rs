//! An image made of another and of what a container has changed in its tree.
//!
//! What [`crate::furnish`] and the OCI runtime put there is no change of the container's: Docker has it in a
//! layer of its own, and so that a layer does not name it, it is left out here as long as nobody touched
//! it. A container that changed nothing gives no layer.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{At, Changed, Layered, Writer, pack_changed};
use failpoint::Point;
use model::image::HistoryEntry;
use model::{Digest, Error, ImageConfig, ImageRecord, Result};
use sys::beneath::{Dir, Kind, Metadata};

use crate::digesting::digest_of;
use crate::layer::{self, Keep, Unpack};
use crate::leases::{Item, Lease};
use crate::load::{self, LoadedImage};
use crate::store::{Staged, Staging, Store, TreeInfo};
use crate::{config, furnish, source};

/// Digest of a tar without an entry, which is two blocks of zeros (moby `layer.DigestSHA256EmptyTar`).
const EMPTY_TAR: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// What a new image is made of.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The image below. It must be held.
    pub base: Arc<ImageRecord>,
    /// What was changed.
    pub changes: Changed,
    /// What containers of it start with.
    pub config: ImageConfig,
    /// Its last step; whether that made a layer is found out.
    pub step: HistoryEntry,
}

pub(crate) fn commit(store: &Arc<Store>, layers_max: usize, wanted: Commit) -> Result<LoadedImage> {
    let Commit {
        base,
        changes: wanted_changes,
        mut config,
        mut step,
    } = wanted;
    let staging = store.stage()?;
    let dir = staging.layer(0)?;
    let lower = base.layers.iter().rev();
    let lower: Vec<_> = lower.map(|layer| store.tree_path(&layer.diff_id)).collect();
    let before = wanted_changes.at_hand();
    let changes = at_hand(before.clone(), &staging)?;
    let below: HashSet<&Digest> = base.layers.iter().map(|l| &l.diff_id).collect();
    if below.len() >= layers_max && !is_empty(&changes, &lower)? {
        return Err(too_deep());
    }
    let unpack = pack_into(&changes, &lower, &dir)?;
    still(&wanted_changes, &before)?;
    store.pass(Point::ImagePacked)?;
    step.empty_layer = unpack.diff_id.as_ref() == EMPTY_TAR;
    let info = TreeInfo::from(unpack);
    let staged = match step.empty_layer {
        true => Vec::new(),
        false => vec![Staged::new(dir, info.clone())],
    };
    config.architecture.clone_from(&base.config.architecture);
    config.variant.clone_from(&base.config.variant);
    config.os.clone_from(&base.config.os);
    config.author.clone_from(&step.author);
    config.created = step.created;
    config.history.clone_from(&base.config.history);
    config.history.push(step);

    let mut lease = Lease::new(store);
    for item in source::items_of(&base) {
        lease.hold(item);
    }
    let mut known = Vec::new();
    for layer in &base.layers {
        let info = store.tree_info(&layer.diff_id)?;
        let info = info
            .ok_or_else(|| Error::system(format!("layer {} is not in the store", layer.diff_id)))?;
        known.push((info, layer.blob.clone()));
    }
    if !staged.is_empty() {
        lease.hold(Item::Tree(info.diff_id.clone()));
        known.push((info, None));
    }
    let diff_ids: Vec<Digest> = known.iter().map(|(i, _)| i.diff_id.clone()).collect();
    let mounted = diff_ids.iter().collect::<HashSet<_>>().len();
    if mounted > layers_max {
        return Err(too_deep());
    }
    let bytes = config::write(&config, &diff_ids)?;
    let id = digest_of(&bytes);
    lease.hold(Item::Blob(id.clone()));
    store.commit(&staging, &staged, &[(id.clone(), bytes)])?;
    let mut record = load::record(id, config, known);
    record.parent = Some(base.id.clone());
    Ok(LoadedImage {
        record,
        references: Vec::new(),
        lease,
    })
}

/// The changes as they are on the disk. A container that never ran has none.
fn at_hand(changes: Changed, staging: &Staging) -> Result<Changed> {
    match changes.dir().symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let none = staging.layer(1)?;
            Ok(Changed::Upper(layer::tree_in(&none)))
        }
        _ => Ok(changes),
    }
}

/// What came with a container becomes part of its copy when that starts, and may have been read meanwhile.
fn still(changes: &Changed, before: &Changed) -> Result<()> {
    match changes.at_hand() == *before {
        true => Ok(()),
        false => Err(Error::conflict(
            "the container was started while it was committed",
        )),
    }
}

/// Docker's words for the same of its own.
fn too_deep() -> Error {
    Error::system("max depth exceeded")
}

/// Whether a layer of the changes would have no entry.
fn is_empty(changes: &Changed, lower: &[PathBuf]) -> Result<bool> {
    let how = Layered {
        left_out: untouched(changes.dir(), lower)?,
        ..Layered::default()
    };
    let began = Cell::new(false);
    let mut out = Writer::new(First(&began));
    let packed = pack_changed(&mut out, changes, how);
    match began.get() {
        true => Ok(false),
        false => packed.map(|()| true),
    }
}

/// Takes nothing, and tells that something came.
struct First<'a>(&'a Cell<bool>);

impl io::Write for First<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        self.0.set(true);
        Err(io::ErrorKind::WriteZero.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Packs the changes and unpacks them at once, through a pipe: the layer is exactly what its archive says.
fn pack_into(changes: &Changed, lower: &[PathBuf], dir: &Path) -> Result<Unpack> {
    let left_out = untouched(changes.dir(), lower)?;
    let (mut reader, writer) = io::pipe().at("make a pipe beside", dir)?;
    let changes = changes.clone();
    let packing = std::thread::Builder::new()
        .name("commit".to_owned())
        .spawn(move || {
            let mut out = Writer::new(BufWriter::with_capacity(128 << 10, writer));
            let how = Layered {
                left_out,
                ..Layered::default()
            };
            pack_changed(&mut out, &changes, how)?;
            out.finish().map(drop).map_err(archive::writing)
        })
        .at("begin to pack beside", dir)?;
    let unpack = layer::unpack(&mut reader, dir, Keep::Plain);
    drop(reader);
    let packed = packing
        .join()
        .map_err(|_| Error::system("packing a layer ended in a panic"))?;
    match (unpack, packed) {
        (Ok(unpack), Ok(())) => Ok(unpack),
        // What was cut off was cut off by this.
        (Ok(_), Err(e)) => Err(e),
        (Err(e), _) if e.kind() == model::Kind::System => Err(e),
        (Err(_), Err(e)) => Err(e),
        (Err(e), Ok(())) => Err(e),
    }
}

/// The entries of the tree `changes` that are there in every container and were not touched.
fn untouched(changes: &Path, lower: &[PathBuf]) -> Result<HashSet<PathBuf>> {
    let root = Dir::open(changes).at("open", changes)?;
    let look = || -> io::Result<HashSet<PathBuf>> {
        // The root's own entry is never part of a layer of Docker's.
        let mut left_out = HashSet::from([PathBuf::new()]);
        if is_placeholder(root.metadata(OsStr::new(".dockerenv"))?.as_ref()) {
            left_out.insert(".dockerenv".into());
        }
        for name in ["proc", "sys", "dev"] {
            if is_empty_dir(&root, name)? && !is_below(lower, name) {
                left_out.insert(name.into());
            }
        }
        let etc = match root.child(OsStr::new("etc")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound || sys::beneath::is_bad_path(&e) => {
                return Ok(left_out);
            }
            other => other?,
        };
        let mut others = 0;
        for name in etc.names()? {
            match is_furnished(&etc, &name)? {
                true => drop(left_out.insert(Path::new("etc").join(&name))),
                false => others += 1,
            }
        }
        if others == 0 && is_same_dir(&etc, lower)? {
            left_out.insert("etc".into());
        }
        Ok(left_out)
    };
    look().at("look at the changes in", changes)
}

/// A file as [`furnish::furnish`] makes it.
fn is_placeholder(found: Option<&Metadata>) -> bool {
    found.is_some_and(|f| {
        f.kind == Kind::File && f.size == 0 && f.mode == furnish::MODE && (f.uid, f.gid) == (0, 0)
    })
}

fn is_furnished(etc: &Dir, name: &OsStr) -> io::Result<bool> {
    let found = etc.metadata(name)?;
    if furnish::FILES.iter().any(|file| name == *file) {
        return Ok(is_placeholder(found.as_ref()));
    }
    let is_link = found.is_some_and(|found| found.kind == Kind::Symlink);
    Ok(name == "mtab" && is_link && etc.read_link(name)? == Path::new(furnish::MTAB))
}

fn is_empty_dir(root: &Dir, name: &str) -> io::Result<bool> {
    match root.child(OsStr::new(name)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound || sys::beneath::is_bad_path(&e) => Ok(false),
        other => Ok(other?.names()?.is_empty()),
    }
}

/// Whether a lower layer has something of that name.
fn is_below(lower: &[PathBuf], name: &str) -> bool {
    lower
        .iter()
        .any(|tree| tree.join(name).symlink_metadata().is_ok())
}

/// Whether the directory is what the layers below have, or furnishing makes.
fn is_same_dir(etc: &Dir, lower: &[PathBuf]) -> io::Result<bool> {
    let found = etc.own_metadata()?;
    let mut below = (furnish::MODE, 0, 0);
    for tree in lower {
        let tree = Dir::open(tree)?;
        if let Some(known) = tree.metadata(OsStr::new("etc"))? {
            if known.kind != Kind::Dir {
                return Ok(false);
            }
            below = (known.mode, known.uid, known.gid);
            break;
        }
    }
    let is_opaque = etc
        .own_xattrs()?
        .iter()
        .any(|(name, _)| name == "trusted.overlay.opaque");
    Ok(!is_opaque && (found.mode, found.uid, found.gid) == below)
}
