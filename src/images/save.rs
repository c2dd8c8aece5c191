//! Images as one archive that is both a docker-archive and an OCI layout, as Docker writes it since 25
//! (moby `daemon/internal/image/tarexport`).
//!
//! What an image came with is given on: its manifest and the blobs that names, byte for byte, where they
//! are all here. Otherwise its layers are plain tars, under a manifest that is written here. Each blob is
//! there once, and nothing is kept in memory but JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use archive::{Entry, EntryKind, Writer, writing};
use failpoint::Point;
use model::{Context as _, Digest, ImageRecord, Layer, Reference, Result};
use serde::{Deserialize, Serialize};
use sys::beneath::FileTime;

use crate::Images;
use crate::digesting::digest_of;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// How much is moved at once.
const COPY_BYTES: usize = 128 << 10;

/// An image that is to be saved.
#[derive(Debug, Clone)]
pub struct ToSave {
    /// What is known of it. It must be held.
    pub record: std::sync::Arc<ImageRecord>,
    /// The names to give with it, each with a tag.
    pub references: Vec<Reference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    #[serde(default)]
    media_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

/// An element of `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    /// `null` without one, as Go writes it.
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Digest>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layer_sources: BTreeMap<Digest, Descriptor>,
}

/// What is written of one image.
struct Plan {
    manifest: Vec<u8>,
    media_type: String,
    layers: Vec<Descriptor>,
}

pub(crate) fn save(images: &Images, wanted: &[ToSave], out: &mut dyn Write) -> Result<()> {
    let plans = wanted.iter().map(|image| {
        let title = image.record.id.short().to_owned();
        plan(images, &image.record).context(format_args!("cannot save image {title}"))
    });
    let plans = plans.collect::<Result<Vec<_>>>()?;
    let mut saving = Saving {
        images,
        out: Writer::new(io::BufWriter::with_capacity(COPY_BYTES, out)),
        written: BTreeSet::new(),
    };
    for dir in ["blobs/", "blobs/sha256/"] {
        saving.entry(dir, EntryKind::Dir, 0)?;
    }
    failpoint::hit(Point::ImageHeld)?;
    for (image, plan) in wanted.iter().zip(&plans) {
        saving.image(&image.record, plan)?;
        failpoint::hit(Point::ImageSaved)?;
    }
    saving.json("index.json", &index(wanted, &plans))?;
    saving.json("manifest.json", &items(wanted, &plans))?;
    saving.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let repositories = repositories(wanted);
    if !repositories.is_empty() {
        saving.json("repositories", &repositories)?;
    }
    saving.out.finish().map_err(writing)?;
    Ok(())
}

/// The manifest it came with, if all of that is here, or one of plain layers.
fn plan(images: &Images, record: &ImageRecord) -> Result<Plan> {
    if let Some(plan) = kept(images, record) {
        return Ok(plan);
    }
    let config = images.config_blob(&record.id)?;
    let layers = record.layers.iter().map(|layer| {
        Ok(Descriptor {
            media_type: LAYER.to_owned(),
            digest: layer.diff_id.clone(),
            size: images.layer_tar(layer)?.size_bytes(),
            annotations: None,
        })
    });
    let layers = layers.collect::<Result<Vec<_>>>()?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: Descriptor {
            media_type: CONFIG.to_owned(),
            digest: record.id.clone(),
            size: config.len() as u64,
            annotations: None,
        },
        layers: layers.clone(),
    };
    Ok(Plan {
        manifest: json(&manifest)?,
        media_type: manifest.media_type,
        layers,
    })
}

fn kept(images: &Images, record: &ImageRecord) -> Option<Plan> {
    let bytes = images.read_blob(record.manifest.as_ref()?).ok()?;
    let manifest: Manifest = serde_json::from_slice(&bytes).ok()?;
    let is_here = |(layer, described): (&Layer, &Descriptor)| {
        let size = match described.digest == layer.diff_id {
            true => images.layer_tar(layer).ok()?.size_bytes(),
            false => {
                let blob = layer.blob.as_ref();
                let blob = blob.filter(|blob| blob.digest == described.digest)?;
                images.blob(&blob.digest).ok()?.size_bytes()
            }
        };
        (size == described.size).then_some(())
    };
    let same = manifest.config.digest == record.id
        && manifest.layers.len() == record.layers.len()
        && record
            .layers
            .iter()
            .zip(&manifest.layers)
            .all(|pair| is_here(pair).is_some());
    same.then(|| Plan {
        // A manifest of OCI need not say that it is one.
        media_type: match manifest.media_type.is_empty() {
            true => MANIFEST.to_owned(),
            false => manifest.media_type,
        },
        manifest: bytes,
        layers: manifest.layers,
    })
}

fn index(wanted: &[ToSave], plans: &[Plan]) -> Index {
    let mut manifests = Vec::new();
    for (image, plan) in wanted.iter().zip(plans) {
        let described = |annotations| Descriptor {
            media_type: plan.media_type.clone(),
            digest: digest_of(&plan.manifest),
            size: plan.manifest.len() as u64,
            annotations,
        };
        if image.references.is_empty() {
            manifests.push(described(None));
        }
        for name in &image.references {
            let tag = name.tag().unwrap_or_default();
            let annotations = [
                ("io.containerd.image.name", name.to_string()),
                ("org.opencontainers.image.ref.name", tag.to_owned()),
            ];
            let annotations = annotations.map(|(key, value)| (key.to_owned(), value));
            manifests.push(described(Some(annotations.into())));
        }
    }
    Index {
        schema_version: 2,
        media_type: INDEX,
        manifests,
    }
}

fn items(wanted: &[ToSave], plans: &[Plan]) -> Vec<Item> {
    let saved: BTreeSet<&Digest> = wanted.iter().map(|image| &image.record.id).collect();
    let item = |(image, plan): (&ToSave, &Plan)| {
        let record = &image.record;
        let names: Vec<_> = image.references.iter().map(Reference::familiar).collect();
        let layers = record.layers.iter().zip(&plan.layers);
        // Of what is compressed Docker would take it for a place to fetch it from.
        let plain = layers.filter(|(layer, described)| layer.diff_id == described.digest);
        Item {
            config: place(&record.id),
            repo_tags: (!names.is_empty()).then_some(names),
            layers: plan.layers.iter().map(|l| place(&l.digest)).collect(),
            parent: record.parent.clone().filter(|p| saved.contains(p)),
            layer_sources: plain
                .map(|(layer, described)| (layer.diff_id.clone(), described.clone()))
                .collect(),
        }
    };
    wanted.iter().zip(plans).map(item).collect()
}

/// What Docker before 1.10 reads: a layer by name and tag.
fn repositories(wanted: &[ToSave]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut repositories: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for image in wanted {
        let top = image.record.layers.last();
        for (name, top) in image.references.iter().zip(std::iter::repeat(top)) {
            if let (Some(tag), Some(top)) = (name.tag(), top) {
                let tags = repositories.entry(name.familiar_name()).or_default();
                tags.insert(tag.to_owned(), top.diff_id.hex().to_owned());
            }
        }
    }
    repositories
}

fn place(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| model::Error::system(e.to_string()))
}

/// An archive on its way.
struct Saving<'a, W: Write> {
    images: &'a Images,
    out: Writer<W>,
    /// The blobs that are in it.
    written: BTreeSet<Digest>,
}

impl<W: Write> Saving<'_, W> {
    fn image(&mut self, record: &ImageRecord, plan: &Plan) -> Result<()> {
        let config = self.images.config_blob(&record.id)?;
        self.bytes(&record.id, &config)?;
        for (layer, described) in record.layers.iter().zip(&plan.layers) {
            match described.digest == layer.diff_id {
                true => {
                    let mut tar = self.images.layer_tar(layer)?;
                    self.blob(&described.digest, described.size, &mut tar)?;
                }
                false => {
                    let mut blob = self.images.blob(&described.digest)?;
                    self.blob(&described.digest, described.size, &mut blob)?;
                }
            }
        }
        self.bytes(&digest_of(&plan.manifest), &plan.manifest)
    }

    fn bytes(&mut self, digest: &Digest, mut bytes: &[u8]) -> Result<()> {
        self.blob(digest, bytes.len() as u64, &mut bytes)
    }

    fn blob(&mut self, digest: &Digest, size: u64, content: &mut dyn io::Read) -> Result<()> {
        if !self.written.insert(digest.clone()) {
            return Ok(());
        }
        self.entry(&place(digest), EntryKind::File, size)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut left = size;
        loop {
            let read = match content.read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // What is kept cannot be read: not the client's fault, whatever it is.
                other => other.map_err(|e| match e.downcast::<model::Error>() {
                    Ok(own) => own,
                    Err(e) => model::Error::system(format!("cannot read blob {digest}: {e}")),
                })?,
            };
            left = match left.checked_sub(read as u64) {
                Some(left) if read > 0 => left,
                Some(0) => return Ok(()),
                _ => {
                    return Err(model::Error::system(format!(
                        "blob {digest} is not {size} bytes"
                    )));
                }
            };
            self.out.write_all(&buffer[..read]).map_err(writing)?;
        }
    }

    fn json(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        self.file(name, &json(value)?)
    }

    fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.entry(name, EntryKind::File, content.len() as u64)?;
        self.out.write_all(content).map_err(writing)
    }

    fn entry(&mut self, name: &str, kind: EntryKind, size_bytes: u64) -> Result<()> {
        let mode = match kind {
            EntryKind::Dir => 0o755,
            _ => 0o644,
        };
        let entry = Entry {
            path: name.as_bytes().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            // The same images give the same archive.
            modified: FileTime::default(),
            size_bytes,
            xattrs: Vec::new(),
            segments: None,
        };
        self.out.entry(&entry).map_err(writing)
    }
}
