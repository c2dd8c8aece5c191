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
use model::image::Blob;
use model::{Digest, Error, ImageRecord, Result};

use crate::compression::digest_of;
use crate::layer;
use crate::load::{LoadedImage, record};
use crate::store::{Item, Lease, Store, TreeInfo, digests_in};
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

    /// Whether a layer is here, so that it need not be fetched. It must be held.
    ///
    /// # Errors
    /// `System`.
    pub fn has_layer(&self, wanted: &WantedLayer) -> Result<bool> {
        Ok(self.store.tree_info(&wanted.diff_id)?.is_some())
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
        let staging = self.store.stage()?;
        let dir = staging.layer(0)?;
        let path = self.store.partial_path(&wanted.blob.digest);
        let source = Resumed::open(&path, from, rest)?;
        let came = layer::unpack_packed(source, &dir);
        let unpacked = came.and_then(|(unpacked, source)| source.finish().map(|()| unpacked));
        let unpacked = match unpacked {
            Ok(unpacked) => unpacked,
            Err(e) => {
                // What is wrong will be wrong again.
                if e.kind() == model::Kind::InvalidParameter {
                    remove_partial(&path)?;
                }
                return Err(e);
            }
        };
        let expected = &wanted.blob;
        if unpacked.blob != expected.digest || unpacked.blob_bytes != expected.size_bytes {
            remove_partial(&path)?;
            return Err(Error::system(format!(
                "filesystem layer verification failed for digest {}",
                expected.digest
            )));
        }
        if unpacked.diff_id != wanted.diff_id {
            remove_partial(&path)?;
            return Err(mismatch());
        }
        let packed = layer::packed_in(&dir);
        std::fs::rename(&path, &packed).at("rename", &path)?;
        let info = TreeInfo {
            diff_id: unpacked.diff_id,
            size_bytes: unpacked.size_bytes,
            tar_bytes: Some(unpacked.tar_bytes),
            frame_bytes: None,
            packed: vec![expected.clone()],
        };
        self.store.commit(&[(dir, info)], &[])
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
        for WantedLayer { blob, diff_id } in image.layers {
            let info = self.store.tree_info(&diff_id)?.ok_or_else(|| {
                Error::system(format!("layer {diff_id} is gone from the image store"))
            })?;
            // One that was here already may have come as another blob, or as none.
            let blob = self
                .store
                .has_blob(&blob.digest)
                .then_some(blob)
                .or_else(|| {
                    let other = info.packed.iter().find(|b| self.store.has_blob(&b.digest));
                    other.filter(|_| info.frame_bytes.is_none()).cloned()
                });
            if let Some(blob) = &blob {
                lease.hold(Item::Blob(blob.digest.clone()));
            }
            known.push((info, blob));
        }
        self.store.commit(
            &[],
            &[
                (id.clone(), image.config),
                (manifest.clone(), image.manifest),
            ],
        )?;
        let record = ImageRecord {
            manifest: Some(manifest),
            ..record(id, parsed.config, known)
        };
        Ok(LoadedImage {
            record,
            references: Vec::new(),
            lease,
        })
    }
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
    fn partials(&self) -> PathBuf {
        self.root().join("partial")
    }

    pub(crate) fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.partials().join(digest.hex())
    }

    /// Removes beginnings that nobody went on with for a day, or all that nobody holds.
    pub(crate) fn remove_partials(&self, all: bool) -> Result<u64> {
        let mut removed = 0;
        for digest in digests_in(&self.partials())? {
            let path = self.partial_path(&digest);
            let leases = self.leases();
            let Ok(found) = path.metadata() else {
                continue;
            };
            let age = found
                .modified()
                .map(|at| SystemTime::now().duration_since(at));
            let is_old = matches!(age, Ok(Ok(age)) if age > PARTIAL_KEPT);
            if (all || is_old) && !leases.contains_key(&Item::Blob(digest)) {
                remove_partial(&path)?;
                removed += found.len();
            }
        }
        Ok(removed)
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
