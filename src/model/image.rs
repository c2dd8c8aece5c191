//! What an image says about the containers made from it, and what the ledger keeps about it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::health::HealthCheck;

/// The ledger's row about one image. Its tags are rows of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The image id: the digest of its configuration blob.
    pub id: Digest,
    /// The layers from the bottom up.
    pub layers: Vec<Layer>,
    /// The sum of the layers' unpacked sizes.
    pub size_bytes: u64,
    /// What its configuration says.
    pub config: ImageConfig,
    // What follows is absent from rows that older daemons wrote.
    /// The manifest it came with, whose bytes the store keeps so that they can be sent on; `None`
    /// for an image that was made here or came without.
    #[serde(default)]
    pub manifest: Option<Digest>,
    /// The image it was made from here, by a commit.
    #[serde(default)]
    pub parent: Option<Digest>,
    /// When it was given a name last.
    #[serde(default)]
    pub tagged_at: Option<Timestamp>,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Digest of the uncompressed tar (OCI image spec, config.md `rootfs.diff_ids`): the name of
    /// the unpacked tree, which does not depend on what lies below it.
    pub diff_id: Digest,
    /// Digest over this layer and all below it (OCI image spec, "Layer ChainID").
    pub chain_id: Digest,
    /// Sum of the sizes of its regular files.
    pub size_bytes: u64,
    /// The compressed tar it came as, which the store keeps; `None` where it came as a plain one,
    /// which can be written again from the tree. Absent from rows that older daemons wrote.
    #[serde(default)]
    pub blob: Option<Blob>,
}

/// Bytes by digest, as a manifest describes them (OCI image spec, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blob {
    /// Of the bytes.
    pub digest: Digest,
    /// How many they are.
    pub size_bytes: u64,
    /// What they are.
    pub media_type: String,
}

/// The parts of the OCI image configuration that the engine acts on or shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was built; `None` where the configuration does not say.
    pub created: Option<Timestamp>,
    /// Who built it.
    pub author: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v8` and the like.
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// Default command line prefix; `None` when absent, which Docker shows as `null`.
    pub entrypoint: Option<Vec<String>>,
    /// Default command; `None` when absent.
    pub cmd: Option<Vec<String>>,
    /// `KEY=value` in order.
    pub env: Vec<String>,
    /// `user[:group]`.
    pub user: String,
    /// Working directory; empty is `/`.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Declared ports, `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Declared volumes: absolute paths.
    pub volumes: Vec<String>,
    /// Signal for `stop`; empty is SIGTERM.
    pub stop_signal: String,
    /// Build steps, newest last.
    pub history: Vec<HistoryEntry>,
    // What follows is absent from rows that older daemons wrote.
    /// How to find out whether a container is well; `None` when the image does not say.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    /// What a build on this image does first: Dockerfile instructions.
    #[serde(default)]
    pub on_build: Vec<String>,
    /// What a build runs shell forms with; empty is `/bin/sh -c`.
    #[serde(default)]
    pub shell: Vec<String>,
    /// The version of the engine that made it, where that was a Docker that says so.
    #[serde(default)]
    pub docker_version: String,
}

/// One build step (OCI image spec, config.md `history`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub created: Option<Timestamp>,
    /// The command.
    pub created_by: String,
    /// A comment.
    pub comment: String,
    /// The step made no layer.
    pub empty_layer: bool,
    // What follows is absent from rows that older daemons wrote.
    /// Who did it.
    #[serde(default)]
    pub author: String,
}
