//! Manifests and indexes: what they say, wherever they came from (OCI image spec, manifest.md and
//! image-index.md; Docker's manifest v2 schema 2).

use std::collections::BTreeMap;

use archive::shown;
use model::image::Blob;
use model::{Digest, Error, Platform, Result, limits};
use serde::{Deserialize, Serialize};

use crate::json;

/// On what describes another manifest (an attestation) and is no image.
const ABOUT_ANNOTATION: &str = "vnd.docker.reference.type";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1";
const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFEST_TYPES: [&str; 2] = [OCI_MANIFEST, DOCKER_MANIFEST];
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The last three are of old registries, which knew no better (moby `defaultImageTypes`).
const CONFIG_TYPES: [&str; 5] = [
    OCI_CONFIG,
    DOCKER_CONFIG,
    "application/octet-stream",
    "application/json",
    "text/html",
];
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// What Docker calls the manifest of an image that it made.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// And a compressed layer of it.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// What a manifest or an index says of something else (OCI image spec, descriptor.md).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is; empty where nothing is said.
    #[serde(default)]
    pub media_type: String,
    /// Of its bytes. An index may name things by digests that nobody here knows.
    pub digest: String,
    /// How many they are.
    pub size: u64,
    #[serde(default, deserialize_with = "json::object_or_none")]
    platform: Option<RawPlatform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
struct RawPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub enum Manifest {
    /// One image for each of several platforms.
    Index(Vec<Descriptor>),
    /// One image.
    Image {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, from the bottom up.
        layers: Vec<Descriptor>,
    },
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
    #[serde(default, deserialize_with = "json::objects_or_none")]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "json::object_or_none")]
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "json::objects_or_none")]
    layers: Option<Vec<Descriptor>>,
}

/// Reads what a server sent as `content_type`. Of what they do not know servers say what they like, so
/// only a media type of manifests or indexes counts.
///
/// # Errors
/// As [`parse`].
pub fn parse_sent(bytes: &[u8], content_type: &str) -> Result<Manifest> {
    match is_media_type(content_type) {
        true => parse(bytes, content_type),
        false => parse(bytes, ""),
    }
}

/// Whether something is a media type of manifests or indexes.
pub fn is_media_type(text: &str) -> bool {
    INDEX_TYPES.contains(&text) || MANIFEST_TYPES.contains(&text) || text.starts_with(SCHEMA_1)
}

/// Reads what was `described_as` that media type; empty where nothing was said.
///
/// # Errors
/// `InvalidParameter`: neither a manifest of an image nor an index, or one that is not what it is said
/// to be.
pub fn parse(bytes: &[u8], described_as: &str) -> Result<Manifest> {
    let document: Document = json::read(bytes, "bad JSON")?;
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
        (Some(manifests), None, None) if named(&INDEX_TYPES) => Ok(Manifest::Index(manifests)),
        (None, Some(config), Some(layers)) if named(&MANIFEST_TYPES) => {
            if !config.media_type.is_empty() && !CONFIG_TYPES.contains(&config.media_type.as_str())
            {
                return Err(Error::invalid(format!(
                    "not a container image: its configuration is of type {}",
                    shown(config.media_type.as_bytes())
                )));
            }
            check_count(layers.len())?;
            Ok(Manifest::Image { config, layers })
        }
        _ => Err(Error::invalid(format!(
            "its fields are neither those of an index nor of an image manifest, or not of its \
             media type ({})",
            shown(
                kinds
                    .iter()
                    .find(|k| !k.is_empty())
                    .unwrap_or(&"")
                    .as_bytes()
            )
        ))),
    }
}

/// No more layers than an image may have.
pub(crate) fn check_count(layers: usize) -> Result<()> {
    match layers <= limits::IMAGE_LAYERS_MAX {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "image of {layers} layers, the most allowed are {}",
            limits::IMAGE_LAYERS_MAX
        ))),
    }
}

/// What a manifest is called, which one without a name of its own is by its bytes.
///
/// # Errors
/// As [`parse`].
pub fn media_type(bytes: &[u8]) -> Result<String> {
    let document: Document = json::read(bytes, "bad JSON")?;
    Ok(match document.media_type.is_empty() {
        true => MANIFEST_TYPES[0].to_owned(),
        false => document.media_type,
    })
}

/// The image of an index that fits best where `host` is.
pub fn choose<'a>(entries: &'a [Descriptor], host: &Platform) -> Option<&'a Descriptor> {
    let ranked = entries.iter().filter(|entry| entry.is_image());
    let ranked = ranked.filter_map(|entry| Some((host.rank(&entry.platform()?)?, entry)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
}

impl Descriptor {
    /// Something that this store can name.
    ///
    /// # Errors
    /// `InvalidParameter`: a digest of another kind, or none.
    pub fn digest(&self) -> Result<Digest> {
        self.digest.parse()
    }

    /// The same as what the store keeps.
    ///
    /// # Errors
    /// As [`Descriptor::digest`]; more bytes than a layer may have.
    pub fn blob(&self) -> Result<Blob> {
        let digest = self.digest()?;
        if self.size > limits::LAYER_BYTES_MAX {
            return Err(Error::invalid(format!(
                "blob {digest} of {} bytes, the most allowed are {}",
                self.size,
                limits::LAYER_BYTES_MAX
            )));
        }
        Ok(Blob {
            digest,
            size_bytes: self.size,
            media_type: self.media_type.clone(),
        })
    }

    /// The platform it is for, where that is said.
    pub fn platform(&self) -> Option<Platform> {
        let raw = self.platform.as_ref()?;
        Some(Platform {
            os: match raw.os.is_empty() {
                true => "linux".to_owned(),
                false => raw.os.clone(),
            },
            architecture: raw.architecture.clone(),
            variant: raw.variant.clone(),
        })
    }

    /// Whether it may be an image, or an index of some.
    pub fn is_image(&self) -> bool {
        let about = self.annotation(ABOUT_ANNOTATION).is_some();
        let unknown = self.platform.as_ref().is_some_and(|p| p.os == "unknown");
        let named = INDEX_TYPES.contains(&self.media_type.as_str())
            || MANIFEST_TYPES.contains(&self.media_type.as_str())
            || self.media_type.starts_with(SCHEMA_1)
            || self.media_type.is_empty();
        !about && !unknown && named
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name).map(String::as_str)
    }
}

/// A manifest that is written here, in the order of Docker's own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u64,
    media_type: &'a str,
    config: Described<'a>,
    layers: Vec<Described<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a str,
}

/// The manifest of an image with this configuration and these layers: Docker's where all of them are
/// compressed with gzip, which is all that one may name, else that of OCI. Either has its own words for
/// the same things, and registries refuse a mixture.
///
/// # Errors
/// None in practice.
pub fn write(config: &Digest, config_bytes: u64, layers: &[Blob]) -> Result<Vec<u8>> {
    let packing = |layer: &Blob| match layer.media_type.as_str() {
        text if text.ends_with("zstd") => "application/vnd.oci.image.layer.v1.tar+zstd",
        text if text.ends_with("gzip") => "application/vnd.oci.image.layer.v1.tar+gzip",
        _ => "application/vnd.oci.image.layer.v1.tar",
    };
    let is_docker = layers
        .iter()
        .all(|layer| layer.media_type.ends_with("gzip"));
    let (media_type, config_type) = match is_docker {
        true => (DOCKER_MANIFEST, DOCKER_CONFIG),
        false => (OCI_MANIFEST, OCI_CONFIG),
    };
    let described = |layer| Described {
        media_type: if is_docker {
            DOCKER_LAYER
        } else {
            packing(layer)
        },
        size: layer.size_bytes,
        digest: layer.digest.as_str(),
    };
    let written = Written {
        schema_version: 2,
        media_type,
        config: Described {
            media_type: config_type,
            size: config_bytes,
            digest: config.as_str(),
        },
        layers: layers.iter().map(described).collect(),
    };
    serde_json::to_vec_pretty(&written).map_err(|e| Error::system(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(platform: &str, extra: &str) -> String {
        let parts: Vec<&str> = platform.split('/').collect();
        format!(
            r#"{{"mediaType":"{}","digest":"{}","size":2,"platform":{{"os":"{}","architecture":"{}","variant":"{}"}}{extra}}}"#,
            MANIFEST_TYPES[0],
            Digest::from_sha256([u8::try_from(platform.len()).unwrap(); 32]),
            parts[0],
            parts[1],
            parts.get(2).unwrap_or(&""),
        )
    }

    fn index(entries: &[String]) -> Vec<Descriptor> {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            entries.join(",")
        );
        match parse(text.as_bytes(), INDEX_TYPES[0]).unwrap() {
            Manifest::Index(entries) => entries,
            Manifest::Image { .. } => panic!("an index"),
        }
    }

    #[test]
    fn the_newest_variant_that_runs_is_chosen() {
        let entries = index(&[
            entry("linux/arm64", ""),
            entry("linux/amd64", ""),
            entry("linux/amd64/v3", ""),
            entry("windows/amd64", ""),
        ]);
        let chosen = |text: &str| {
            let host = Platform::parse(text).unwrap();
            choose(&entries, &host).and_then(|e| Some(e.platform()?.to_string()))
        };
        assert_eq!(chosen("linux/amd64/v4").as_deref(), Some("linux/amd64/v3"));
        assert_eq!(chosen("linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(chosen("linux/arm64/v8").as_deref(), Some("linux/arm64"));
        assert_eq!(chosen("linux/s390x"), None);
    }

    #[test]
    fn what_is_about_an_image_is_none() {
        let about = r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;
        let entries = index(&[entry("linux/amd64", about), entry("unknown/unknown", "")]);
        let host = Platform::parse("linux/amd64").unwrap();
        assert!(choose(&entries, &host).is_none());
    }

    #[test]
    fn what_is_written_is_read() {
        let digest = Digest::from_sha256([1; 32]);
        let layer = Blob {
            digest: digest.clone(),
            size_bytes: 7,
            media_type: DOCKER_LAYER.to_owned(),
        };
        let bytes = write(&digest, 3, std::slice::from_ref(&layer)).unwrap();
        assert_eq!(media_type(&bytes).unwrap(), DOCKER_MANIFEST);
        let Manifest::Image { config, layers } = parse(&bytes, DOCKER_MANIFEST).unwrap() else {
            panic!("an image");
        };
        assert_eq!((config.digest().unwrap(), config.size), (digest, 3));
        assert_eq!(layers[0].blob().unwrap(), layer);
        let zstd = Blob {
            media_type: "application/vnd.oci.image.layer.v1.tar+zstd".to_owned(),
            ..layer.clone()
        };
        let id = Digest::from_sha256([1; 32]);
        let mixed = write(&id, 3, &[layer, zstd]).unwrap();
        assert_eq!(media_type(&mixed).unwrap(), OCI_MANIFEST);
        let Manifest::Image { layers, .. } = parse(&mixed, OCI_MANIFEST).unwrap() else {
            panic!("an image");
        };
        let types = layers
            .iter()
            .map(|l| l.media_type.rsplit('+').next().unwrap());
        assert_eq!(types.collect::<Vec<_>>(), ["gzip", "zstd"]);
    }

    #[test]
    fn a_document_of_two_kinds_is_none() {
        for bad in [
            r#"{"schemaVersion":1}"#,
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{"digest":"x","size":1},"layers":[]}"#,
            "[]",
            "{",
        ] {
            assert!(parse(bad.as_bytes(), "").is_err(), "{bad}");
        }
        let manifests = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(parse(manifests, MANIFEST_TYPES[0]).is_err());
    }
}
