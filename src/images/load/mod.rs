//! Archives of images: docker-archive and OCI layout, read in one pass.
//!
//! The manifest may come last, and usually does. So whatever looks like a layer is unpacked into
//! staging as it passes, before anybody knows whether and where it belongs; a tree does not
//! depend on what lies below it. Nothing is written twice, and nothing is visible before every
//! digest was checked.

mod contents;
mod docker;
mod oci;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use model::image::Blob;
use model::{Context, Digest, Error, ImageConfig, ImageRecord, Layer, Reference, Result, limits};
use sha2::{Digest as _, Sha256};
use sys::overlay::OverlayApi;

use crate::config;
use crate::digesting::digest_of;
use crate::leases::{Item, Lease};
use crate::store::{Staged, Store, TreeInfo};
use archive::{CleanPath, shown};
use contents::{Contents, Member};
use failpoint::Point;

/// What a load has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadStep {
    /// A layer is being read.
    Layer {
        /// What to call it: the start of its digest where its name gives one.
        name: String,
        /// Bytes of it read so far.
        read_bytes: u64,
        /// Its size in the archive.
        total_bytes: u64,
    },
}

/// An image whose content is in the store, visible and durable.
#[derive(Debug)]
pub struct LoadedImage {
    /// What the ledger is to keep.
    pub record: ImageRecord,
    /// The names that the archive gives it.
    pub references: Vec<Reference>,
    /// Keeps its content from a sweep; to be dropped when the record is in the ledger.
    pub lease: Lease,
}

/// An image that an archive describes, before its layers were looked at.
#[derive(Debug)]
struct Found {
    config: Vec<u8>,
    layers: Vec<FoundLayer>,
    references: Vec<Reference>,
    /// The manifest that names them, where they have one.
    manifest: Option<Vec<u8>>,
    /// The image it was made from, as the archive says.
    parent: Option<Digest>,
}

/// A layer that an archive names.
#[derive(Debug, Clone)]
struct FoundLayer {
    path: CleanPath,
    /// What its manifest says it is; empty where nothing does.
    media_type: String,
}

/// Layers that are to become visible, by their directories in staging.
type StagedLayers = BTreeMap<PathBuf, Staged>;

pub(crate) fn load(
    store: &Arc<Store>,
    layers_max: usize,
    source: &mut dyn Read,
    progress: &mut dyn FnMut(LoadStep),
) -> Result<Vec<LoadedImage>> {
    let staging = store.stage()?;
    let mut reading = Lease::new(store);
    let contents = contents::read(store, &staging, &mut reading, source, progress)?;
    store.pass(Point::ImageArchiveRead)?;
    let found = if contents.has("manifest.json") {
        docker::images(&contents)?
    } else if contents.has("index.json") {
        oci::images(&contents)?
    } else {
        return Err(Error::invalid(
            "not an archive of images: neither manifest.json nor index.json is in it",
        ));
    };
    let mut loaded: Vec<LoadedImage> = Vec::new();
    let mut staged = StagedLayers::new();
    let mut blobs = Vec::new();
    let mut parents = Vec::new();
    for image in found {
        let (record, lease) = resolve(store, layers_max, &contents, &image, &mut staged)
            .context(format_args!("cannot load {}", title(&image)))?;
        parents.extend(image.parent.map(|parent| (record.id.clone(), parent)));
        blobs.push((record.id.clone(), image.config));
        blobs.extend(record.manifest.clone().zip(image.manifest));
        match loaded.iter_mut().find(|l| l.record.id == record.id) {
            Some(same) => same.references.extend(image.references),
            None => loaded.push(LoadedImage {
                record,
                references: image.references,
                lease,
            }),
        }
    }
    for image in &mut loaded {
        let mut seen = BTreeSet::new();
        image.references.retain(|r| seen.insert(r.clone()));
    }
    for (id, parent) in &parents {
        link(&mut loaded, id, parent)?;
    }
    let staged: Vec<_> = staged.into_values().collect();
    store.commit(&staging, &staged, &blobs)?;
    Ok(loaded)
}

/// Writes down which image another one was made from, where both are in the archive and their histories say
/// the same (moby `tarexport`, `checkValidParent`). A history is needed: it is what rules circles out.
fn link(loaded: &mut [LoadedImage], id: &Digest, parent: &Digest) -> Result<()> {
    let history = |id: &Digest| {
        let image = loaded.iter().find(|image| image.record.id == *id);
        image.map(|image| image.record.config.history.as_slice())
    };
    let (Some(own), Some(before)) = (history(id), history(parent)) else {
        return Ok(());
    };
    match own.split_last() {
        None => return Ok(()),
        Some((_, rest)) if rest == before => {}
        Some(_) => {
            return Err(Error::invalid(format!(
                "image {parent} is not a valid parent for {id}"
            )));
        }
    }
    let image = loaded.iter_mut().find(|image| image.record.id == *id);
    if let Some(image) = image {
        image.record.parent = Some(parent.clone());
    }
    Ok(())
}

/// The images that an archive describes, as long as they do not take more memory than all of its JSON may:
/// a thousand of them can be of one large configuration.
fn within_limits(images: impl Iterator<Item = Result<Found>>) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut bytes = 0;
    for image in images {
        let image = image?;
        bytes += image.config.len() + image.manifest.as_ref().map_or(0, Vec::len);
        if bytes as u64 > limits::ARCHIVE_JSON_BYTES_MAX {
            return Err(Error::invalid(format!(
                "images with more than {} bytes of configuration in one archive",
                limits::ARCHIVE_JSON_BYTES_MAX
            )));
        }
        found.push(image);
    }
    Ok(found)
}

/// Checks that the archive or the store has every layer the configuration names, and notes those
/// that are still in staging in `staged`.
fn resolve(
    store: &Arc<Store>,
    layers_max: usize,
    contents: &Contents,
    image: &Found,
    staged: &mut StagedLayers,
) -> Result<(ImageRecord, Lease)> {
    let parsed = config::parse(&image.config)?;
    if parsed.diff_ids.len() != image.layers.len() {
        return Err(Error::invalid(format!(
            "the configuration names {} layers, the manifest {}",
            parsed.diff_ids.len(),
            image.layers.len()
        )));
    }
    check_mountable(layers_max, &parsed.diff_ids)?;
    let mut lease = Lease::new(store);
    let id = digest_of(&image.config);
    lease.hold(Item::Blob(id.clone()));
    let manifest = image.manifest.as_deref().map(digest_of);
    if let Some(digest) = &manifest {
        lease.hold(Item::Blob(digest.clone()));
    }
    let mut layers = Vec::new();
    for (diff_id, layer) in parsed.diff_ids.iter().zip(&image.layers) {
        lease.hold(Item::Tree(diff_id.clone()));
        layers.push(one_layer(
            store, contents, layer, diff_id, &mut lease, staged,
        )?);
    }
    let mut record = record(id, parsed.config, layers);
    record.manifest = manifest;
    Ok((record, lease))
}

/// Finds out whether an image of these layers can be mounted. Better now than when a container starts.
pub(crate) fn check_mountable<'a>(
    layers_max: usize,
    diff_ids: impl IntoIterator<Item = &'a Digest>,
) -> Result<()> {
    // A layer that comes twice is mounted once.
    let mounted = diff_ids.into_iter().collect::<BTreeSet<_>>().len();
    if mounted <= layers_max {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "image of {mounted} layers, the most this kernel can mount are {}; Linux 6.8 and younger \
         mount {}",
        layers_max,
        OverlayApi::Fsopen.layers_max()
    )))
}

/// What is known of a layer, and the blob that is kept of it where it came as one.
fn one_layer(
    store: &Arc<Store>,
    contents: &Contents,
    layer: &FoundLayer,
    diff_id: &Digest,
    lease: &mut Lease,
    staged: &mut StagedLayers,
) -> Result<(TreeInfo, Option<Blob>)> {
    let (mut info, brought) = match (find(contents, layer, diff_id), store.tree_info(diff_id)?) {
        (Ok(Brought { dir, info, packed }), _) => {
            if let Some(dir) = dir {
                let new = || Staged::new(dir.clone(), info.clone());
                staged.entry(dir.clone()).or_insert_with(new);
            }
            (info.clone(), packed.cloned())
        }
        // Whatever the archive has instead of it.
        (Err(_), Some(info)) => (info, None),
        (Err(e), None) => return Err(e),
    };
    for blob in brought.iter().chain(&info.packed) {
        lease.hold(Item::Blob(blob.digest.clone()));
    }
    let mut blob = brought;
    if blob.is_none() && info.frame_bytes.is_none() {
        info.packed.retain(|b| store.has_blob(&b.digest));
        blob = info.packed.first().cloned();
    }
    // Docker's own names for the same things are kept.
    let named = ["gzip", "zstd"]
        .iter()
        .any(|p| layer.media_type.ends_with(p));
    if let (Some(blob), true) = (&mut blob, named) {
        blob.media_type.clone_from(&layer.media_type);
    }
    Ok((info, blob))
}

/// A layer that the archive brought.
struct Brought<'a> {
    /// Where it is staged, unless the store had it.
    dir: Option<&'a PathBuf>,
    info: &'a TreeInfo,
    packed: Option<&'a Blob>,
}

/// The layer of the archive, one with this digest.
fn find<'a>(contents: &'a Contents, layer: &FoundLayer, diff_id: &Digest) -> Result<Brought<'a>> {
    let name = shown(layer.path.as_bytes());
    let brought = match contents.get(&layer.path) {
        Some(Member::Layer { dir, info }) => Brought {
            dir: Some(dir),
            info,
            packed: info.packed.first(),
        },
        Some(Member::Known { info, packed }) => Brought {
            dir: None,
            info,
            packed: packed.as_ref(),
        },
        Some(Member::Broken(e)) => return Err(e.clone()).context(format_args!("layer {name}")),
        Some(Member::Json(_) | Member::Other) => {
            return Err(Error::invalid(format!("layer {name} is not a tar archive")));
        }
        None => {
            return Err(Error::invalid(format!(
                "layer {name} is not in the archive"
            )));
        }
    };
    if brought.info.diff_id != *diff_id {
        return Err(Error::invalid(format!(
            "layer {name} has the digest {}, the configuration says {diff_id}",
            brought.info.diff_id
        )));
    }
    Ok(brought)
}

/// The record of an image with these layers, from the bottom up, and the blobs they are kept as.
pub(crate) fn record(
    id: Digest,
    config: ImageConfig,
    known: Vec<(TreeInfo, Option<Blob>)>,
) -> ImageRecord {
    let mut layers: Vec<Layer> = Vec::with_capacity(known.len());
    for (info, blob) in known {
        layers.push(Layer {
            chain_id: chain_id(layers.last().map(|l| &l.chain_id), &info.diff_id),
            diff_id: info.diff_id,
            size_bytes: info.size_bytes,
            blob,
        });
    }
    ImageRecord {
        id,
        size_bytes: layers.iter().map(|l| l.size_bytes).sum(),
        layers,
        config,
        manifest: None,
        parent: None,
        tagged_at: None,
    }
}

/// OCI image spec, config.md, "Layer ChainID".
fn chain_id(below: Option<&Digest>, diff_id: &Digest) -> Digest {
    match below {
        None => diff_id.clone(),
        Some(below) => Digest::from_sha256(Sha256::digest(format!("{below} {diff_id}")).into()),
    }
}

fn title(image: &Found) -> String {
    match image.references.first() {
        Some(reference) => reference.familiar(),
        None => digest_of(&image.config).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        let diff = |n| Digest::from_sha256([n; 32]);
        let first = chain_id(None, &diff(1));
        assert_eq!(first, diff(1));
        let second = chain_id(Some(&first), &diff(2));
        let text = format!("{} {}", diff(1), diff(2));
        assert_eq!(second, digest_of(text.as_bytes()));
    }
}
