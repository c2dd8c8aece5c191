//! docker-archive: what `docker save` and `podman save` write, read from its `manifest.json`.

use std::collections::HashMap;

use model::{Context, Error, Reference, Result, limits};
use serde::Deserialize;

use super::contents::{Contents, digest_in_name};
use super::{Found, FoundLayer};
use crate::digesting::digest_of;
use crate::json;
use archive::{CleanPath, shown};

/// An element of the list in `manifest.json` (moby `image/tarexport`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default, deserialize_with = "json::list")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "json::list")]
    layers: Vec<String>,
    /// The id of the image it was made from, where that is in the archive too.
    #[serde(default)]
    parent: Option<String>,
}

pub(super) fn images(contents: &Contents) -> Result<Vec<Found>> {
    let manifest = contents.json(&CleanPath::parse(b"manifest.json")?)?;
    let items: Vec<Item> = json::read_list(manifest, "bad manifest.json in the archive")?;
    if items.len() > limits::ARCHIVE_IMAGES_MAX {
        return Err(Error::invalid(format!(
            "{} images in the archive, the most allowed are {}",
            items.len(),
            limits::ARCHIVE_IMAGES_MAX
        )));
    }
    let names = items.iter().map(|item| item.repo_tags.len()).sum::<usize>();
    if names > limits::ARCHIVE_REFERENCES_MAX {
        return Err(Error::invalid(format!(
            "{names} names in the archive, the most allowed are {}",
            limits::ARCHIVE_REFERENCES_MAX
        )));
    }
    let images = items.iter().map(|item| image(contents, item));
    let mut images = super::within_limits(images)?;
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
    let content = |found: &Found| {
        let paths: Vec<_> = found.layers.iter().map(|l| l.path.clone()).collect();
        (digest_of(&found.config), paths)
    };
    // Of two with the same content the first one counts.
    let described: HashMap<_, _> = described.iter().rev().map(|f| (content(f), f)).collect();
    for image in images {
        if let Some(other) = described.get(&content(image)) {
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
    crate::manifest::check_count(item.layers.len())?;
    let layers = item.layers.iter().map(|path| {
        Ok(FoundLayer {
            path: CleanPath::parse(path.as_bytes())?,
            media_type: String::new(),
        })
    });
    let references = item.repo_tags.iter().map(|tag| named(tag));
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
    let reference: Reference = tag.parse().context(format_args!(
        "bad name {} in the archive",
        shown(tag.as_bytes())
    ))?;
    if reference.digest().is_some() {
        return Err(Error::invalid(format!("invalid tag {tag:?}")));
    }
    reference.check_assignable()?;
    Ok(reference)
}
