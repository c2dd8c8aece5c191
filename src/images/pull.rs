//! Layers as a registry sends them: verified and applied in one pass, and what came is kept over a
//! dropped line and a killed daemon.
//!
//! The bytes go to `root/partial/HEX` while they are applied. When the line ends early they stay
//! there, for whoever asks next: he applies what is there first and then what comes. So a layer's
//! tree is always made by one pass over all of it, and its digest is of what was applied.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use archive::At;
use failpoint::Point;
use model::image::Blob;
use model::{Digest, Error, ImageRecord, Result};

use crate::digesting::digest_of;
use crate::layer::{self, UnpackedBlob};
use crate::leases::{Item, Lease};
use crate::load::{self, LoadedImage, record};
use crate::store::{Staged, Store, TreeInfo, digests_in};
use crate::sweep::Partials;
use crate::{Images, config};

/// How long a beginning is kept that nobody goes on with.
const PARTIAL_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A layer that is wanted: what it comes as, and what it must unpack to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WantedLayer {
    /// As the manifest has it.
    pub blob: Blob,
    /// As the configuration has it.
    pub diff_id: Digest,
}

/// An image that a registry describes.
#[derive(Debug)]
pub struct Described {
    /// Its configuration.
    pub config: Vec<u8>,
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// Its layers, from the bottom up.
    pub layers: Vec<WantedLayer>,
}

impl Described {
    /// Puts what a manifest says and what the configuration says together.
    ///
    /// # Errors
    /// `InvalidParameter`: they do not agree, or the configuration is none.
    pub fn new(manifest: Vec<u8>, config: Vec<u8>, blobs: Vec<Blob>) -> Result<Self> {
        let parsed = config::parse(&config)?;
        if parsed.diff_ids.len() != blobs.len() {
            return Err(mismatch());
        }
        let layers = parsed.diff_ids.into_iter().zip(blobs);
        let layers = layers.map(|(diff_id, blob)| WantedLayer { blob, diff_id });
        Ok(Self {
            config,
            manifest,
            layers: layers.collect(),
        })
    }

    /// The id of the image.
    pub fn id(&self) -> Digest {
        digest_of(&self.config)
    }
}

impl Images {
    /// Holds a layer, whether or not it is here yet.
    pub fn hold_layer(&self, wanted: &WantedLayer) -> Lease {
        let mut lease = Lease::new(&self.store);
        lease.hold(Item::Tree(wanted.diff_id.clone()));
        lease.hold(Item::Blob(wanted.blob.digest.clone()));
        lease
    }

    /// Whether a layer is here with all its bytes, so that it need not be fetched. `lease` holds it,
    /// and what keeps its bytes from now on.
    ///
    /// # Errors
    /// `System`.
    pub fn has_layer(&self, wanted: &WantedLayer, lease: &mut Lease) -> Result<bool> {
        let Some(info) = self.store.tree_info(&wanted.diff_id)? else {
            return Ok(false);
        };
        for blob in &info.packed {
            lease.hold(Item::Blob(blob.digest.clone()));
        }
        let is_kept = |blob: &Blob| self.store.has_blob(&blob.digest);
        Ok(info.frame_bytes.is_some() || info.packed.iter().any(is_kept))
    }

    /// Finds out whether an image can be mounted here, before anything of it is fetched.
    ///
    /// # Errors
    /// `InvalidParameter`: it has more layers than this kernel mounts.
    pub fn check_mountable(&self, image: &Described) -> Result<()> {
        let diff_ids = image.layers.iter().map(|layer| &layer.diff_id);
        load::check_mountable(self.storage.layers_max(), diff_ids)
    }

    /// How many bytes of a layer came before the line ended, for [`Images::pull_layer`] to go on with.
    ///
    /// # Errors
    /// `System`.
    pub fn partial_bytes(&self, wanted: &WantedLayer) -> Result<u64> {
        let path = self.store.partial_path(&wanted.blob.digest);
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            found => Ok(found
                .at("look at", &path)?
                .len()
                .min(wanted.blob.size_bytes)),
        }
    }

    /// Makes a layer of what is here of it, `from` bytes, and of what `rest` brings. Nobody else may be
    /// at the same layer. It is visible and durable afterwards, and must be held.
    ///
    /// # Errors
    /// `System`: it is not what it should be, or `rest` ended early; what came is kept then.
    pub fn pull_layer(&self, wanted: &WantedLayer, from: u64, rest: &mut dyn Read) -> Result<()> {
        self.pull_into(wanted, Some(from), rest)
    }

    /// As [`Images::pull_layer`] from the beginning, beside whoever is at the same layer. Nothing is kept
    /// of what came early.
    ///
    /// # Errors
    /// As [`Images::pull_layer`].
    pub fn pull_layer_apart(&self, wanted: &WantedLayer, all: &mut dyn Read) -> Result<()> {
        self.pull_into(wanted, None, all)
    }

    fn pull_into(
        &self,
        wanted: &WantedLayer,
        from: Option<u64>,
        rest: &mut dyn Read,
    ) -> Result<()> {
        let staging = self.store.stage()?;
        let dir = staging.layer(0)?;
        let packed = layer::packed_in(&dir);
        let path = match from {
            Some(_) => self.store.partial_path(&wanted.blob.digest),
            None => packed.clone(),
        };
        let source = Resumed::open(&path, from.unwrap_or_default(), rest)?;
        let came = layer::unpack_packed(source, &dir);
        let came = came.and_then(|(unpacked, source)| source.finish().map(|()| unpacked));
        let unpacked = match came.and_then(|unpacked| check(wanted, unpacked)) {
            Ok(unpacked) => unpacked,
            // What is wrong will be wrong again, and a full disk needs the room.
            Err(e) if e.kind() == model::Kind::InvalidParameter || is_full(&path) => {
                remove_partial(&path)?;
                return Err(e);
            }
            Err(e) => return Err(e),
        };
        self.store.pass(Point::ImageLayerCame)?;
        let info = TreeInfo {
            diff_id: unpacked.diff_id,
            size_bytes: unpacked.size_bytes,
            tar_bytes: Some(unpacked.tar_bytes),
            frame_bytes: None,
            packed: vec![wanted.blob.clone()],
        };
        let staged = Staged {
            dir,
            info,
            // It stays where a daemon that is killed now finds it again.
            packed: Some(if from.is_some() { path } else { packed }),
        };
        self.store.pass(Point::ImageLayerStaged)?;
        self.store.commit(&staging, &[staged], &[])?;
        self.store.pass(Point::ImageLayerPulled)
    }

    /// Puts an image together whose layers are all here and held. `leases` become the image's.
    ///
    /// # Errors
    /// `System`: a layer is missing.
    pub fn pulled(&self, image: Described, leases: Vec<Lease>) -> Result<LoadedImage> {
        let parsed = config::parse(&image.config)?;
        let (id, manifest) = (image.id(), digest_of(&image.manifest));
        let mut lease = Lease::new(&self.store);
        lease.hold(Item::Blob(id.clone()));
        lease.hold(Item::Blob(manifest.clone()));
        leases.into_iter().for_each(|held| lease.take_over(held));
        let mut known = Vec::with_capacity(image.layers.len());
        let mut all_here = true;
        for WantedLayer { blob, diff_id } in image.layers {
            let info = self.store.tree_info(&diff_id)?.ok_or_else(|| {
                Error::system(format!("layer {diff_id} is gone from the image store"))
            })?;
            // One that was here already may have come as another blob, or as none.
            for other in info.packed.iter().chain([&blob]) {
                lease.hold(Item::Blob(other.digest.clone()));
            }
            all_here &= self.store.has_blob(&blob.digest);
            let here = |blob: &&Blob| self.store.has_blob(&blob.digest);
            let others = info.packed.iter().filter(|_| info.frame_bytes.is_none());
            let blob = [&blob].into_iter().chain(others).find(here).cloned();
            known.push((info, blob));
        }
        // One whose blobs are elsewhere cannot be given on, and its manifest is not kept.
        let kept = all_here.then_some((manifest, image.manifest));
        let config = [(id.clone(), image.config)];
        let blobs: Vec<_> = config.into_iter().chain(kept.clone()).collect();
        self.store.commit(&self.store.stage()?, &[], &blobs)?;
        let record = ImageRecord {
            manifest: kept.map(|(digest, _)| digest),
            ..record(id, parsed.config, known)
        };
        Ok(LoadedImage {
            record,
            references: Vec::new(),
            lease,
        })
    }
}

/// It is what it should be.
fn check(wanted: &WantedLayer, unpacked: UnpackedBlob) -> Result<UnpackedBlob> {
    let expected = &wanted.blob;
    if unpacked.blob != expected.digest || unpacked.blob_bytes != expected.size_bytes {
        return Err(Error::invalid(format!(
            "filesystem layer verification failed for digest {}",
            expected.digest
        )));
    }
    match unpacked.diff_id == wanted.diff_id {
        true => Ok(unpacked),
        false => Err(mismatch()),
    }
}

impl Images {
    /// Whether the store's file system is so full that what nobody needs now is better given up.
    pub fn is_nearly_full(&self) -> bool {
        is_full(self.store.root())
    }
}

/// Whether the file system is so full that a beginning is better given up.
fn is_full(path: &Path) -> bool {
    const LEFT_BYTES: u64 = 16 << 20;
    sys::space::Space::of(path).is_ok_and(|space| space.root_bytes < LEFT_BYTES)
}

fn mismatch() -> Error {
    Error::invalid("layers from manifest don't match image configuration")
}

fn remove_partial(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}

impl Store {
    fn partials_dir(&self) -> PathBuf {
        self.root().join("partial")
    }

    pub(crate) fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.partials_dir().join(digest.hex())
    }

    /// The blobs of which there is a beginning.
    pub(crate) fn partials(&self, which: Partials) -> Result<Vec<Digest>> {
        let mut found = digests_in(&self.partials_dir())?;
        if which == Partials::Old {
            found.retain(|digest| {
                let at = self
                    .partial_path(digest)
                    .metadata()
                    .and_then(|m| m.modified());
                let age = at.map(|at| SystemTime::now().duration_since(at));
                matches!(age, Ok(Ok(age)) if age > PARTIAL_KEPT) || self.has_blob(digest)
            });
        }
        Ok(found)
    }
}

/// What is in a file, and then what comes, which is added to it.
struct Resumed<'a> {
    /// The first of it, until all of that was read.
    before: io::Take<File>,
    rest: &'a mut dyn Read,
    file: BufWriter<File>,
    path: PathBuf,
}

impl<'a> Resumed<'a> {
    fn open(path: &Path, from: u64, rest: &'a mut dyn Read) -> Result<Self> {
        let mut options = File::options();
        let file = options
            .create(true)
            .append(true)
            .open(path)
            .at("open", path)?;
        // A file that is longer than it should be is cut: whoever made it knows no more.
        file.set_len(from).at("cut", path)?;
        let before = File::open(path).at("open", path)?.take(from);
        Ok(Self {
            before,
            rest,
            file: BufWriter::new(file),
            path: path.to_owned(),
        })
    }

    fn finish(mut self) -> Result<()> {
        self.file.flush().at("write", &self.path)
    }
}

impl Read for Resumed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.before.read(buf)?;
        if n > 0 || buf.is_empty() {
            return Ok(n);
        }
        let n = self.rest.read(buf)?;
        let written = self.file.write_all(&buf[..n]).at("write", &self.path);
        written.map_err(archive::carried)?;
        Ok(n)
    }
}
