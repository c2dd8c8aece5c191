//! docker-archive: what `docker save` and `podman save` write, read from its `manifest.json`.

use model::{Context, Error, Reference, Result, limits};
use serde::Deserialize;

use super::contents::{Contents, digest_in_name};
use super::{Found, FoundLayer};
use crate::digesting::digest_of;
use archive::CleanPath;

/// An element of the list in `manifest.json` (moby `image/tarexport`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    /// The id of the image it was made from, where that is in the archive too.
    #[serde(default)]
    parent: Option<String>,
}

pub(super) fn images(contents: &Contents) -> Result<Vec<Found>> {
    let manifest = contents.json(&CleanPath::parse(b"manifest.json")?)?;
    let items: Vec<Item> = serde_json::from_slice(manifest)
        .map_err(|e| Error::invalid(format!("bad manifest.json in the archive: {e}")))?;
    if items.len() > limits::ARCHIVE_IMAGES_MAX {
        return Err(Error::invalid(format!(
            "{} images in the archive, the most allowed are {}",
            items.len(),
            limits::ARCHIVE_IMAGES_MAX
        )));
    }
    let images = items.iter().map(|item| image(contents, item));
    let mut images = images.collect::<Result<Vec<_>>>()?;
    add_manifests(contents, &mut images);
    Ok(images)
}

/// Docker since 25 writes an OCI layout into the same archive. Its manifests are kept, where they say
/// the same; where they do not, or say nothing that can be read, this one counts.
fn add_manifests(contents: &Contents, images: &mut [Found]) {
    if !contents.has("index.json") {
        return;
    }
    let Ok(described) = super::oci::images(contents) else {
        return;
    };
    for image in images {
        let same = |other: &&Found| {
            let paths = |found: &Found| found.layers.iter().map(|l| l.path.clone()).collect();
            let (these, those): (Vec<_>, Vec<_>) = (paths(image), paths(other));
            other.config == image.config && these == those
        };
        if let Some(other) = described.iter().find(same) {
            image.manifest.clone_from(&other.manifest);
            image.layers.clone_from(&other.layers);
        }
    }
}

fn image(contents: &Contents, item: &Item) -> Result<Found> {
    let config_path = CleanPath::parse(item.config.as_bytes())?;
    let config = contents.json(&config_path)?.to_vec();
    // A name that is a digest is a promise.
    let digest = digest_of(&config);
    if digest_in_name(&config_path).is_some_and(|claimed| claimed != digest) {
        return Err(Error::invalid(format!(
            "{} in the archive has the digest {digest}",
            config_path.as_path().display()
        )));
    }
    let layers = item.layers.as_deref().unwrap_or_default();
    let layers = layers.iter().map(|path| {
        Ok(FoundLayer {
            path: CleanPath::parse(path.as_bytes())?,
            media_type: String::new(),
        })
    });
    let references = item.repo_tags.as_deref().unwrap_or_default();
    let references = references.iter().map(|tag| named(tag));
    Ok(Found {
        config,
        layers: layers.collect::<Result<_>>()?,
        references: references.collect::<Result<_>>()?,
        manifest: None,
        parent: item.parent.as_ref().and_then(|id| id.parse().ok()),
    })
}

/// A name of the manifest. None may have a digest: it would be the archive's word against the
/// registry's, whose digest nobody can check here.
fn named(tag: &str) -> Result<Reference> {
    let reference: Reference = tag
        .parse()
        .context(format_args!("bad name {tag:?} in the archive"))?;
    if reference.digest().is_some() {
        return Err(Error::invalid(format!("invalid tag {tag:?}")));
    }
    reference.check_assignable()?;
    Ok(reference)
}
