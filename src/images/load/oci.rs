//! OCI image layout (image-layout.md): `index.json`, manifests and blobs by digest.

use std::collections::BTreeMap;

use model::platform::host_architecture;
use model::{Context, Digest, Error, Reference, Result, limits};
use serde::Deserialize;

use super::contents::Contents;
use super::{Found, FoundLayer};
use crate::compression::digest_of;
use archive::CleanPath;

/// Indexes within indexes.
const INDEX_DEPTH_MAX: usize = 4;

/// A full image name, as containerd and Docker write it.
const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// A tag or a name, as skopeo, podman and buildah write it.
const REF_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// On what describes another manifest (an attestation) and is no image.
const ABOUT_ANNOTATION: &str = "vnd.docker.reference.type";

const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
}

/// An index or a manifest; which of the two, its fields and its media type must agree on, or two
/// readers could see two images in one blob (CVE-2021-41190).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u64,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

enum Checked {
    Index(Vec<Descriptor>),
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
}

pub(super) fn images(contents: &Contents) -> Result<Vec<Found>> {
    check_layout(contents)?;
    let bytes = contents.json(&CleanPath::parse(b"index.json")?)?;
    let Checked::Index(entries) = check(bytes, "").context("index.json in the archive")? else {
        return Err(Error::invalid("index.json in the archive is not an index"));
    };
    let mut entries: Vec<_> = entries.into_iter().filter(is_image).collect();
    if entries.len() > limits::ARCHIVE_IMAGES_MAX {
        return Err(Error::invalid(format!(
            "{} images in the archive, the most allowed are {}",
            entries.len(),
            limits::ARCHIVE_IMAGES_MAX
        )));
    }
    // One image for several platforms without an index of its own: ours, if it is there.
    let fits = |e: &Descriptor| e.platform.as_ref().is_none_or(|p| p.rank().is_some());
    if entries.iter().any(fits) {
        entries.retain(fits);
    }
    if entries.is_empty() {
        return Err(Error::invalid("there is no image in the archive"));
    }
    let read = |entry: &Descriptor| {
        let references = entry.names()?;
        image(contents, entry, references, 0)
    };
    entries.iter().map(read).collect()
}

fn check_layout(contents: &Contents) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let bytes = contents.json(&CleanPath::parse(b"oci-layout")?)?;
    let layout: Layout = serde_json::from_slice(bytes)
        .map_err(|e| Error::invalid(format!("bad oci-layout in the archive: {e}")))?;
    if !layout.image_layout_version.starts_with("1.") {
        return Err(Error::invalid(format!(
            "OCI layout of the unknown version {:?}",
            layout.image_layout_version
        )));
    }
    Ok(())
}

fn image(
    contents: &Contents,
    entry: &Descriptor,
    references: Vec<Reference>,
    depth: usize,
) -> Result<Found> {
    let bytes = entry.blob(contents)?;
    match check(bytes, &entry.media_type).context(format_args!("manifest {}", entry.digest))? {
        Checked::Index(_) if depth >= INDEX_DEPTH_MAX => Err(Error::invalid(format!(
            "more than {INDEX_DEPTH_MAX} indexes within one another in the archive"
        ))),
        Checked::Index(entries) => {
            let chosen = choose(contents, entries)?;
            image(contents, &chosen, references, depth + 1)
        }
        Checked::Image { config, layers } => Ok(Found {
            config: config.blob(contents)?.to_vec(),
            layers: layers
                .iter()
                .map(Descriptor::layer)
                .collect::<Result<_>>()?,
            references,
            manifest: Some(bytes.to_vec()),
        }),
    }
}

fn check(bytes: &[u8], described_as: &str) -> Result<Checked> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|e| Error::invalid(format!("bad JSON: {e}")))?;
    let kinds = [described_as, &document.media_type];
    if document.schema_version == 1 || kinds.iter().any(|k| k.starts_with(SCHEMA_1)) {
        return Err(Error::invalid(
            "image manifests of version 1 are not supported: push or save the image again with a \
             program younger than 2017",
        ));
    }
    let named = |kind: &[&str]| {
        kinds
            .iter()
            .filter(|k| !k.is_empty())
            .all(|k| kind.contains(k))
    };
    match (document.manifests, document.config, document.layers) {
        (Some(manifests), None, None) if named(&INDEX_TYPES) => Ok(Checked::Index(manifests)),
        (None, Some(config), Some(layers)) if named(&MANIFEST_TYPES) => {
            if !config.media_type.is_empty() && !CONFIG_TYPES.contains(&config.media_type.as_str())
            {
                return Err(Error::invalid(format!(
                    "not a container image: its configuration is of type {:?}",
                    config.media_type
                )));
            }
            Ok(Checked::Image { config, layers })
        }
        _ => Err(Error::invalid(format!(
            "its fields are neither those of an index nor of an image manifest, or not of its \
             media type ({:?})",
            kinds.iter().find(|k| !k.is_empty()).unwrap_or(&"")
        ))),
    }
}

const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const CONFIG_TYPES: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// The image for this host among those that the archive holds; the only one, if there is one.
fn choose(contents: &Contents, entries: Vec<Descriptor>) -> Result<Descriptor> {
    let platforms: Vec<String> = entries
        .iter()
        .filter_map(|e| e.platform.as_ref())
        .map(|p| format!("{}/{}", p.os, p.architecture))
        .collect();
    let mut held: Vec<Descriptor> = entries
        .into_iter()
        .filter(|e| is_image(e) && e.path().is_ok_and(|path| contents.get(&path).is_some()))
        .collect();
    let best = (0..held.len())
        .filter_map(|at| Some((held[at].platform.as_ref()?.rank()?, at)))
        .min();
    match best {
        Some((_, at)) => Ok(held.swap_remove(at)),
        None if held.len() == 1 => Ok(held.swap_remove(0)),
        None => Err(Error::invalid(format!(
            "no image for linux/{} in the archive's index, which names {}",
            host_architecture(),
            if platforms.is_empty() {
                "no platform".to_owned()
            } else {
                platforms.join(", ")
            }
        ))),
    }
}

fn is_image(entry: &Descriptor) -> bool {
    let about = entry.annotation(ABOUT_ANNOTATION).is_some();
    let unknown = entry.platform.as_ref().is_some_and(|p| p.os == "unknown");
    let named = INDEX_TYPES.contains(&entry.media_type.as_str())
        || MANIFEST_TYPES.contains(&entry.media_type.as_str())
        || entry.media_type.starts_with(SCHEMA_1)
        || entry.media_type.is_empty();
    !about && !unknown && named
}

impl Descriptor {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name).map(String::as_str)
    }

    fn path(&self) -> Result<CleanPath> {
        let digest: Digest = self.digest.parse()?;
        CleanPath::parse(format!("blobs/sha256/{}", digest.hex()).as_bytes())
    }

    fn layer(&self) -> Result<FoundLayer> {
        Ok(FoundLayer {
            path: self.path()?,
            media_type: self.media_type.clone(),
        })
    }

    /// The JSON blob it describes, verified.
    fn blob<'a>(&self, contents: &'a Contents) -> Result<&'a [u8]> {
        let bytes = contents.json(&self.path()?)?;
        let digest = digest_of(bytes);
        if digest.as_ref() != self.digest || bytes.len() as u64 != self.size {
            return Err(Error::invalid(format!(
                "blob {} of {} bytes in the archive has the digest {digest} and {} bytes",
                self.digest,
                self.size,
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    /// The names it is given. A bare tag names no repository, so it gives none.
    fn names(&self) -> Result<Vec<Reference>> {
        let bare = |name: &&str| !name.contains(['/', ':', '@']);
        let name = self
            .annotation(NAME_ANNOTATION)
            .or_else(|| self.annotation(REF_ANNOTATION).filter(|n| !bare(n)));
        let parse = |name: &str| {
            let reference: Reference = name
                .parse()
                .context(format_args!("bad name {name:?} in the archive"))?;
            // Whoever starts NAME@DIGEST relies on what the digest is of.
            if reference
                .digest()
                .is_some_and(|d| d.as_ref() != self.digest)
            {
                return Err(Error::invalid(format!(
                    "invalid name {name:?} in the archive: it is of {}",
                    self.digest
                )));
            }
            reference.check_assignable()?;
            Ok(reference)
        };
        name.map(parse).into_iter().collect()
    }
}

impl Platform {
    /// How well it fits this host, 0 best; `None` for not at all.
    fn rank(&self) -> Option<u8> {
        if !matches!(self.os.as_str(), "linux" | "") || self.architecture != host_architecture() {
            return None;
        }
        // The baseline runs everywhere; variants of arm and of amd64 may not.
        Some(match (self.architecture.as_str(), self.variant.as_str()) {
            (_, "") | ("arm64", "v8") | ("arm", "v7") | ("amd64", "v1") => 0,
            _ => 1,
        })
    }
}
