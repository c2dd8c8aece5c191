//! Archives of images: docker-archive and OCI layout, read in one pass.
//!
//! The manifest may come last, and usually does. So whatever looks like a layer is unpacked into
//! staging as it passes, before anybody knows whether and where it belongs; a tree does not
//! depend on what lies below it. Nothing is written twice, and nothing is visible before every
//! digest was checked.

mod contents;
mod docker;
mod oci;

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Context, Digest, Error, ImageConfig, ImageRecord, Layer, Reference, Result};
use sha2::{Digest as _, Sha256};
use sys::overlay::OverlayApi;

use crate::compression::digest_of;
use crate::config;
use crate::store::{Item, Lease, Store, TreeInfo};
use archive::{CleanPath, shown};
use contents::{Contents, Member};

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
    layers: Vec<CleanPath>,
    references: Vec<Reference>,
}

pub(crate) fn load(
    store: &Arc<Store>,
    overlay: OverlayApi,
    source: &mut dyn Read,
    progress: &mut dyn FnMut(LoadStep),
) -> Result<Vec<LoadedImage>> {
    let staging = store.stage()?;
    let mut reading = Lease::new(store);
    let contents = contents::read(store, &staging, &mut reading, source, progress)?;
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
    let mut trees: HashMap<Digest, (PathBuf, TreeInfo)> = HashMap::new();
    let mut blobs = Vec::new();
    for image in found {
        let (record, lease) = resolve(store, overlay, &contents, &image, &mut trees)
            .context(format_args!("cannot load {}", title(&image)))?;
        blobs.push((record.id.clone(), image.config));
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
    let trees: Vec<_> = trees.into_values().collect();
    store.commit(&trees, &blobs)?;
    Ok(loaded)
}

/// Checks that the archive or the store has every layer the configuration names, and notes those
/// that are still in staging in `trees`.
fn resolve(
    store: &Arc<Store>,
    overlay: OverlayApi,
    contents: &Contents,
    image: &Found,
    trees: &mut HashMap<Digest, (PathBuf, TreeInfo)>,
) -> Result<(ImageRecord, Lease)> {
    let parsed = config::parse(&image.config)?;
    if parsed.diff_ids.len() != image.layers.len() {
        return Err(Error::invalid(format!(
            "the configuration names {} layers, the manifest {}",
            parsed.diff_ids.len(),
            image.layers.len()
        )));
    }
    // A layer that comes twice is mounted once. Better now than when a container starts.
    let mounted = parsed.diff_ids.iter().collect::<BTreeSet<_>>().len();
    if mounted > overlay.layers_max() {
        return Err(Error::invalid(format!(
            "image of {mounted} layers, the most this kernel can mount are {}; Linux 6.8 and \
             younger mount {}",
            overlay.layers_max(),
            OverlayApi::Fsopen.layers_max()
        )));
    }
    let mut lease = Lease::new(store);
    let id = digest_of(&image.config);
    lease.hold(Item::Blob(id.clone()));
    let mut infos = Vec::new();
    for (diff_id, path) in parsed.diff_ids.iter().zip(&image.layers) {
        lease.hold(Item::Tree(diff_id.clone()));
        let info = match store.tree_info(diff_id)? {
            Some(info) => info,
            None => staged(contents, path, diff_id, trees)?,
        };
        infos.push(info);
    }
    Ok((record(id, parsed.config, infos), lease))
}

fn staged(
    contents: &Contents,
    path: &CleanPath,
    diff_id: &Digest,
    trees: &mut HashMap<Digest, (PathBuf, TreeInfo)>,
) -> Result<TreeInfo> {
    let name = shown(path.as_bytes());
    let (dir, info) = match contents.get(path) {
        Some(Member::Layer { dir, info }) => (Some(dir), info),
        Some(Member::Known(info)) => (None, info),
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
    if info.diff_id != *diff_id {
        return Err(Error::invalid(format!(
            "layer {name} has the digest {}, the configuration says {diff_id}",
            info.diff_id
        )));
    }
    if let Some(dir) = dir {
        trees.insert(diff_id.clone(), (dir.clone(), info.clone()));
    }
    Ok(info.clone())
}

/// The record of an image with these layers, from the bottom up.
pub(crate) fn record(id: Digest, config: ImageConfig, infos: Vec<TreeInfo>) -> ImageRecord {
    let mut layers: Vec<Layer> = Vec::with_capacity(infos.len());
    for info in infos {
        layers.push(Layer {
            chain_id: chain_id(layers.last().map(|l| &l.chain_id), &info.diff_id),
            diff_id: info.diff_id,
            size_bytes: info.size_bytes,
            blob: None,
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
