//! The whole room on real directories and mounts, and what the tests build archives with.

mod archives;
mod commits;
mod copies;
mod exact;
mod hostile;
mod layers;
mod overlays;
mod remains;
mod saves;
mod stores;

use std::io::Write;
use std::path::{Path, PathBuf};

use model::{ImageConfig, ImageRecord};
use serde_json::json;

use crate::digesting::digest_of;
use crate::{Images, LoadedImage};

/// A store in a temporary directory, unmounted when the test ends, however it ends.
pub(super) struct Fixture {
    pub(super) images: Images,
    pub(super) root: PathBuf,
    _temp: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap().join("images");
        Self::at(&root, None, temp)
    }

    /// One that is somewhere else in `temp`.
    pub(super) fn at(
        root: &Path,
        driver: Option<model::StorageDriver>,
        temp: tempfile::TempDir,
    ) -> Self {
        Self {
            images: Images::open(root, driver).unwrap(),
            root: root.to_owned(),
            _temp: temp,
        }
    }

    pub(super) fn load(&self, archive: &[u8]) -> model::Result<Vec<LoadedImage>> {
        self.images.load(&mut &archive[..], &mut |_| {})
    }

    /// Imports one layer and returns the root of its tree.
    pub(super) fn unpack(&self, layer: &[u8]) -> model::Result<PathBuf> {
        let created = "2024-01-01T00:00:00Z".parse().unwrap();
        let image = self
            .images
            .import(&mut &layer[..], ImageConfig::default(), "", created)?;
        Ok(self.tree(&image.record))
    }

    /// The tree of an image's topmost layer.
    pub(super) fn tree(&self, record: &ImageRecord) -> PathBuf {
        let top = record.layers.last().unwrap();
        self.root.join("trees").join(top.diff_id.hex()).join("tree")
    }

    /// The bytes that were changed.
    pub(super) fn size(&self, key: &str, layers: &[model::Layer]) -> u64 {
        let paths = self.images.paths(key, layers).unwrap();
        self.images.changed_size(&paths.changed).unwrap()
    }

    pub(super) fn staged(&self) -> usize {
        std::fs::read_dir(self.root.join("staging"))
            .unwrap()
            .count()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        for mount in sys::mount::below(&self.root).unwrap_or_default() {
            let _ = sys::mount::unmount(&mount.target, true);
        }
    }
}

/// A tar, entry after entry; names go in as they are, however bad.
#[derive(Clone, Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    pub(super) fn entry(mut self, kind: u8, name: &str, link: &str, content: &[u8]) -> Self {
        self.push(kind, name, link, content, |_| {});
        self
    }

    pub(super) fn push(
        &mut self,
        kind: u8,
        name: &str,
        link: &str,
        content: &[u8],
        change: impl FnOnce(&mut tar::Header),
    ) {
        let mut h = tar::Header::new_gnu();
        h.set_size(content.len() as u64);
        h.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        h.set_uid(0);
        h.set_gid(0);
        h.set_mtime(1_000_000);
        let bytes = h.as_mut_bytes();
        bytes[156] = kind;
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
        change(&mut h);
        h.set_cksum();
        self.0.extend_from_slice(h.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub(super) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(b'0', name, "", content)
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.entry(b'5', name, "", b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name, target, b"")
    }

    pub(super) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name, target, b"")
    }

    pub(super) fn device(mut self, kind: u8, name: &str, major: u32, minor: u32) -> Self {
        self.push(kind, name, "", b"", |h| {
            h.set_device_major(major).unwrap();
            h.set_device_minor(minor).unwrap();
        });
        self
    }

    /// Records for the next entry.
    pub(super) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        let mut builder = tar::Builder::new(Vec::new());
        builder
            .append_pax_extensions(records.iter().copied())
            .unwrap();
        let bytes = builder.into_inner().unwrap();
        self.0.extend_from_slice(&bytes[..bytes.len() - 1024]);
        self
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    w.write_all(bytes).unwrap();
    w.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// The configuration of an image with these uncompressed layers.
pub(super) fn config_of(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|l| digest_of(l).to_string()).collect();
    serde_json::to_vec(&json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["sh"], "Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))
    .unwrap()
}

/// A docker-archive as Docker before 25 wrote it, the manifest last.
pub(super) fn docker_archive(layers: &[Vec<u8>], tags: &[&str]) -> Vec<u8> {
    docker_archive_with(layers, &config_of(layers), tags)
}

pub(super) fn docker_archive_with(layers: &[Vec<u8>], config: &[u8], tags: &[&str]) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut names = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        let name = format!("layer{n}/layer.tar");
        tar = tar.dir(&format!("layer{n}/")).file(&name, layer);
        names.push(name);
    }
    let config_name = format!("{}.json", digest_of(config).hex());
    let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
    tar.file(&config_name, config)
        .file("manifest.json", manifest.to_string().as_bytes())
        .end()
}

/// A layer of one file.
pub(super) fn layer_of(name: &str, content: &[u8]) -> Vec<u8> {
    Tar::default().file(name, content).end()
}

pub(super) fn read(path: impl AsRef<Path>) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}
