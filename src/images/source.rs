//! What the store keeps, given on byte for byte: a layer's tar, a blob as it came.
//!
//! A tar that is written again is checked against its digest on the way, and one that differs ends with
//! an error instead of an end. Whoever reads holds what he reads with a [`Lease`].

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use archive::{At, Replay, Unpacked, carried};
use model::{Blob, Digest, Error, ImageRecord, Layer, Result};
use sha2::{Digest as _, Sha256};

use crate::leases::{Item, Lease};
use crate::store::{Store, TreeInfo, digests_in};

/// The uncompressed tar of a layer, the bytes that its diff_id is of.
#[derive(Debug)]
pub struct LayerTar {
    from: From,
    diff_id: Digest,
    tar_bytes: u64,
    hash: Sha256,
    read_bytes: u64,
}

enum From {
    Frame(Box<Replay>),
    Packed(Box<Unpacked<File>>),
    /// It was given out whole, and is what it should be.
    Done,
}

impl std::fmt::Debug for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Frame(_) => "Frame",
            Self::Packed(_) => "Packed",
            Self::Done => "Done",
        })
    }
}

/// A blob as it came, checked like a layer's tar.
#[derive(Debug)]
pub struct BlobFile {
    file: File,
    size_bytes: u64,
    digest: Digest,
    /// Of what was read; `None` when that was all.
    hash: Option<Sha256>,
    left_bytes: u64,
}

/// What the store takes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreUsage {
    /// The files of all layers.
    pub trees_bytes: u64,
    /// What the tars of layers had beside that.
    pub frames_bytes: u64,
    /// Configurations, manifests, compressed layers.
    pub blobs_bytes: u64,
}

impl LayerTar {
    pub(crate) fn open(store: &Store, layer: &Layer) -> Result<Self> {
        let info = store
            .tree_info(&layer.diff_id)?
            .ok_or_else(|| Error::system(format!("layer {} is not in the store", layer.diff_id)))?;
        let packed = layer.blob.iter().chain(&info.packed);
        let mut packed = packed.filter(|blob| store.has_blob(&blob.digest));
        let from = match (info.frame_bytes, packed.next()) {
            (Some(_), _) => From::Frame(Box::new(Replay::open(&store.layer_dir(&info.diff_id))?)),
            (None, Some(blob)) => {
                let path = store.blob_path(&blob.digest);
                let file = File::open(&path).at("open", &path)?;
                From::Packed(Box::new(Unpacked::new(file)?))
            }
            (None, None) => return Err(not_kept(&info.diff_id)),
        };
        let Some(tar_bytes) = info.tar_bytes else {
            return Err(not_kept(&info.diff_id));
        };
        Ok(Self {
            from,
            diff_id: info.diff_id,
            tar_bytes,
            hash: Sha256::new(),
            read_bytes: 0,
        })
    }

    /// How many bytes it is.
    pub fn size_bytes(&self) -> u64 {
        self.tar_bytes
    }

    /// It is the tar it should be.
    fn check(&mut self) -> Result<()> {
        let hash = std::mem::take(&mut self.hash);
        let digest = Digest::from_sha256(hash.finalize().into());
        if digest != self.diff_id || self.read_bytes != self.tar_bytes {
            return Err(Error::system(format!(
                "layer {} is damaged: what is kept of it has the digest {digest} and {} bytes \
                 instead of {}",
                self.diff_id, self.read_bytes, self.tar_bytes
            )));
        }
        self.from = From::Done;
        Ok(())
    }
}

impl Read for LayerTar {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n = match &mut self.from {
            From::Frame(replay) => replay.read(buf)?,
            From::Packed(unpacked) => unpacked.read(buf)?,
            From::Done => return Ok(0),
        };
        self.hash.update(&buf[..n]);
        self.read_bytes += n as u64;
        // Who reads as many bytes as it says must not miss the word about them.
        if n == 0 || self.read_bytes == self.tar_bytes {
            self.check().map_err(carried)?;
        }
        Ok(n)
    }
}

fn not_kept(diff_id: &Digest) -> Error {
    Error::conflict(format!(
        "the archive of layer {diff_id} was not kept by the daemon that loaded it: load the image \
         again"
    ))
}

impl BlobFile {
    pub(crate) fn open(store: &Store, digest: &Digest) -> Result<Self> {
        let path = store.blob_path(digest);
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::not_found(format!(
                    "no blob {digest} in the image store"
                )));
            }
            other => other.at("open", &path)?,
        };
        let size_bytes = file.metadata().at("look at", &path)?.len();
        Ok(Self {
            file,
            size_bytes,
            digest: digest.clone(),
            hash: Some(Sha256::new()),
            left_bytes: size_bytes,
        })
    }

    /// How many bytes it is.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Read for BlobFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n = self.file.read(buf)?;
        let Some(mut hash) = self.hash.take() else {
            return Ok(n);
        };
        hash.update(&buf[..n]);
        self.left_bytes = self.left_bytes.saturating_sub(n as u64);
        // Who reads as many bytes as it says must not miss the word about them.
        if n > 0 && self.left_bytes > 0 {
            self.hash = Some(hash);
            return Ok(n);
        }
        if Digest::from_sha256(hash.finalize().into()) != self.digest {
            return Err(carried(Error::system(format!(
                "blob {} is damaged: its content is not what its name says",
                self.digest
            ))));
        }
        Ok(n)
    }
}

/// What a layer is called as a blob, here or elsewhere: what it came as first.
pub(crate) fn known_blobs(store: &Store, layer: &Layer) -> Result<Vec<Blob>> {
    let info = store.tree_info(&layer.diff_id)?;
    let mut known: Vec<Blob> = layer.blob.iter().cloned().collect();
    for blob in info.into_iter().flat_map(|info| info.packed) {
        if known.iter().all(|other| other.digest != blob.digest) {
            known.push(blob);
        }
    }
    Ok(known)
}

/// Whether all that is kept of an image is there, so that it can be mounted and given on.
pub(crate) fn is_whole(store: &Store, record: &ImageRecord) -> bool {
    let is_here = |layer: &Layer| {
        let Ok(Some(info)) = store.tree_info(&layer.diff_id) else {
            return false;
        };
        let mut blobs = layer.blob.iter().chain(&info.packed);
        let has_tar = info.frame_bytes.is_some() || blobs.any(|b| store.has_blob(&b.digest));
        has_tar && store.tree_path(&layer.diff_id).is_dir()
    };
    let mut named = [Some(&record.id), record.manifest.as_ref()]
        .into_iter()
        .flatten();
    record.layers.iter().all(is_here) && named.all(|blob| store.has_blob(blob))
}

/// Holds all that is kept of an image.
pub(crate) fn hold(store: &Arc<Store>, record: &ImageRecord) -> Lease {
    let mut lease = Lease::new(store);
    for item in items_of(record) {
        lease.hold(item);
    }
    lease
}

/// What a record names: its configuration and manifest, its trees, and the blobs they came as.
pub(crate) fn items_of(record: &ImageRecord) -> impl Iterator<Item = Item> {
    let blobs = record.layers.iter().filter_map(|l| l.blob.as_ref());
    let blobs = blobs.map(|blob| &blob.digest);
    let blobs = blobs.chain([&record.id]).chain(&record.manifest);
    let trees = record.layers.iter().map(|l| Item::Tree(l.diff_id.clone()));
    blobs.cloned().map(Item::Blob).chain(trees)
}

pub(crate) fn usage(store: &Store) -> Result<StoreUsage> {
    let mut usage = StoreUsage::default();
    for info in store.tree_infos()? {
        usage.trees_bytes += info.size_bytes;
        usage.frames_bytes += frame_bytes(store, &info)?;
    }
    for digest in digests_in(&store.blobs())? {
        // One that was swept meanwhile takes nothing.
        let found = store.blob_path(&digest).metadata();
        usage.blobs_bytes += found.map_or(0, |found| found.len());
    }
    Ok(usage)
}

/// Of a layer's frame, and of what its entries replaced.
fn frame_bytes(store: &Store, info: &TreeInfo) -> Result<u64> {
    use model::limits::{SIZE_DEPTH_MAX, SIZE_ENTRIES_MAX};
    let extra = archive::FramePlaces::of(&store.layer_dir(&info.diff_id)).extra;
    let replaced = match sys::beneath::Dir::open(&extra) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        other => {
            let dir = other.at("open", &extra)?;
            let usage = sys::beneath::tree_usage(dir, SIZE_DEPTH_MAX, SIZE_ENTRIES_MAX);
            usage.at("read", &extra)?.bytes
        }
    };
    Ok(info.frame_bytes.unwrap_or_default() + replaced)
}
