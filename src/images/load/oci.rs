//! OCI image layout (image-layout.md): `index.json`, manifests and blobs by digest.

use model::platform::host_architecture;
use model::{Context, Error, Platform, Reference, Result, limits};
use serde::Deserialize;

use super::contents::Contents;
use super::{Found, FoundLayer};
use crate::digesting::digest_of;
use crate::json;
use crate::manifest::{self, Descriptor, Manifest};
use archive::{CleanPath, shown};

/// Indexes within indexes.
const INDEX_DEPTH_MAX: usize = 4;

/// A full image name, as containerd and Docker write it.
const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// A tag or a name, as skopeo, podman and buildah write it.
const REF_ANNOTATION: &str = "org.opencontainers.image.ref.name";
pub(super) fn images(contents: &Contents) -> Result<Vec<Found>> {
    check_layout(contents)?;
    let bytes = contents.json(&CleanPath::parse(b"index.json")?)?;
    let Manifest::Index(entries) =
        manifest::parse(bytes, "").context("index.json in the archive")?
    else {
        return Err(Error::invalid("index.json in the archive is not an index"));
    };
    let mut entries: Vec<_> = entries.into_iter().filter(Descriptor::is_image).collect();
    if entries.len() > limits::ARCHIVE_IMAGES_MAX {
        return Err(Error::invalid(format!(
            "{} images in the archive, the most allowed are {}",
            entries.len(),
            limits::ARCHIVE_IMAGES_MAX
        )));
    }
    // One image for several platforms without an index of its own: ours, if it is there.
    let host = host();
    let fits = |e: &Descriptor| e.platform().is_none_or(|p| host.rank(&p).is_some());
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
    super::within_limits(entries.iter().map(read))
}

fn check_layout(contents: &Contents) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let bytes = contents.json(&CleanPath::parse(b"oci-layout")?)?;
    let layout: Layout = json::read(bytes, "bad oci-layout in the archive")?;
    if !layout.image_layout_version.starts_with("1.") {
        return Err(Error::invalid(format!(
            "OCI layout of the unknown version {}",
            shown(layout.image_layout_version.as_bytes())
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
    let bytes = entry.json(contents)?;
    match manifest::parse(bytes, &entry.media_type)
        .context(format_args!("manifest {}", entry.digest))?
    {
        Manifest::Index(_) if depth >= INDEX_DEPTH_MAX => Err(Error::invalid(format!(
            "more than {INDEX_DEPTH_MAX} indexes within one another in the archive"
        ))),
        Manifest::Index(entries) => {
            let chosen = choose(contents, entries)?;
            image(contents, &chosen, references, depth + 1)
        }
        Manifest::Image { config, layers } => Ok(Found {
            config: config.json(contents)?.to_vec(),
            layers: layers
                .iter()
                .map(Descriptor::layer)
                .collect::<Result<_>>()?,
            references,
            manifest: Some(bytes.to_vec()),
            parent: None,
        }),
    }
}

/// The image for this host among those that the archive holds; the only one, if there is one.
fn choose(contents: &Contents, entries: Vec<Descriptor>) -> Result<Descriptor> {
    let platforms: Vec<String> = entries
        .iter()
        .filter_map(Descriptor::platform)
        .map(|p| p.to_string())
        .collect();
    let mut held: Vec<Descriptor> = entries
        .into_iter()
        .filter(|e| e.is_image() && e.path().is_ok_and(|path| contents.get(&path).is_some()))
        .collect();
    let host = host();
    let best = (0..held.len())
        .filter_map(|at| Some((host.rank(&held[at].platform()?)?, at)))
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
                shown_some(&platforms)
            }
        ))),
    }
}

/// The first of them: an index can name as many as it likes, of any length.
fn shown_some(platforms: &[String]) -> String {
    const SHOWN_MAX: usize = 16;
    const SHOWN_CHARS_MAX: usize = 64;
    let first = platforms.iter().take(SHOWN_MAX);
    let mut first: Vec<String> = first
        .map(|platform| platform.chars().take(SHOWN_CHARS_MAX).collect())
        .collect();
    if platforms.len() > SHOWN_MAX {
        first.push(format!("and {} more", platforms.len() - SHOWN_MAX));
    }
    first.join(", ")
}

fn host() -> Platform {
    Platform::host(sys::host::amd64_level())
}

impl Descriptor {
    fn path(&self) -> Result<CleanPath> {
        CleanPath::parse(format!("blobs/sha256/{}", self.digest()?.hex()).as_bytes())
    }

    fn layer(&self) -> Result<FoundLayer> {
        Ok(FoundLayer {
            path: self.path()?,
            media_type: self.media_type.clone(),
        })
    }

    /// The JSON blob it describes, verified.
    fn json<'a>(&self, contents: &'a Contents) -> Result<&'a [u8]> {
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
            let reference: Reference = name.parse().context(format_args!(
                "bad name {} in the archive",
                shown(name.as_bytes())
            ))?;
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
