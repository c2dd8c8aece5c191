//! The whole room on a real ledger and store, without a registry and without containers but made-up ones.

mod records;
mod removals;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use model::{ContainerId, Digest, ImageRecord, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{Catalog, ImageUser, Tools};

/// A clock that does something whenever it is looked at.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub(super) struct Fixture {
    pub(super) catalog: Catalog,
    pub(super) root: PathBuf,
    pub(super) users: Arc<Mutex<Vec<ImageUser>>>,
    _temp: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with_clock(Arc::new(now))
    }

    pub(super) fn with_clock(clock: Clock) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let (ledger, _) = state::Ledger::open(&root.join("ledger"), "boot").unwrap();
        let users: Arc<Mutex<Vec<ImageUser>>> = Arc::default();
        let known = users.clone();
        let tools = Tools {
            ledger,
            store: images::Images::open(&root.join("images"), None).unwrap(),
            registries: registry::Registries::new(registry::Settings::default()),
            users: Arc::new(move || lock(&known).clone()),
            now: clock,
            keep_unknown_trees: false,
        };
        Self {
            catalog: Catalog::new(tools, Vec::new(), Vec::new()),
            root,
            users,
            _temp: temp,
        }
    }

    /// Loads an image of these layers, each of one file.
    pub(super) async fn load(&self, names: &[&str], layers: &[&str]) -> Arc<ImageRecord> {
        let archive = archive(names, layers);
        let id = image_id(layers);
        let mut job = self
            .catalog
            .load(std::io::Cursor::new(archive), true)
            .await
            .unwrap();
        while let Some(step) = job.next().await {
            step.unwrap();
        }
        self.catalog.record(&id).unwrap()
    }

    pub(super) fn is_used(&self, image: &Digest, is_up: bool) -> ContainerId {
        let container = ContainerId::from_bytes([7; 32]);
        lock(&self.users).push(ImageUser {
            container: container.clone(),
            image: image.clone(),
            is_up,
        });
        container
    }

    /// What the ledger has, as the next daemon would find it.
    pub(super) fn kept(&self) -> state::Contents {
        let (_, contents) = state::Ledger::open(&self.root.join("ledger"), "boot").unwrap();
        contents
    }

    pub(super) fn count(&self, dir: &str) -> usize {
        std::fs::read_dir(self.root.join("images").join(dir))
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn now() -> Timestamp {
    "2024-01-01T00:00:00Z".parse().unwrap()
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

fn layer(content: &str) -> Vec<u8> {
    tar_of(&[(&format!("file-{content}"), content.as_bytes())])
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn config(layers: &[&str]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers
        .iter()
        .map(|l| digest_of(&layer(l)).to_string())
        .collect();
    serde_json::to_vec(&json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))
    .unwrap()
}

/// The id of an image that [`Fixture::load`] loads.
pub(super) fn image_id(layers: &[&str]) -> Digest {
    digest_of(&config(layers))
}

/// A docker-archive of one image.
pub(super) fn archive(names: &[&str], layers: &[&str]) -> Vec<u8> {
    let paths: Vec<String> = (0..layers.len())
        .map(|n| format!("{n}/layer.tar"))
        .collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": names, "Layers": paths}]);
    let tars: Vec<Vec<u8>> = layers.iter().map(|l| layer(l)).collect();
    let (config, manifest) = (config(layers), manifest.to_string());
    let mut files: Vec<(&str, &[u8])> = Vec::new();
    files.extend(
        paths
            .iter()
            .zip(&tars)
            .map(|(p, t)| (p.as_str(), t.as_slice())),
    );
    files.push(("config.json", &config));
    files.push(("manifest.json", manifest.as_bytes()));
    tar_of(&files)
}
