//! What a client gets to see of a container: immutable pictures, published by its task.

use std::path::PathBuf;
use std::sync::Arc;

use bundles::EtcFiles;
use model::{
    Attachment, ContainerId, ContainerName, ContainerSpec, ContainerState, Digest, Health,
    MountSource, Timestamp, VolumeName,
};

/// An immutable picture of one container, as its task last published it.
#[derive(Debug, Clone)]
pub struct ContainerView {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// When it was made.
    pub created_at: Timestamp,
    /// The image's id.
    pub image_id: Digest,
    /// The image as the client named it.
    pub image_name: String,
    /// The merged request.
    pub spec: Arc<ContainerSpec>,
    /// What the client sent at create.
    pub echo: Arc<[u8]>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// How often a restart policy started it.
    pub restart_count: u32,
    /// What its health checks have found; `None` when it has none.
    pub health: Option<Arc<Health>>,
    /// The OCI runtime's configured name.
    pub runtime: String,
    /// What its run has of networks; `None` between two runs.
    pub attachment: Option<Arc<Attachment>>,
    /// The files behind it.
    pub paths: ContainerPaths,
    /// Its mounts, resolved.
    pub mounts: Vec<MountView>,
}

impl ContainerView {
    /// Whether it names a volume.
    pub fn uses(&self, volume: &VolumeName) -> bool {
        let mut mounts = self.spec.mounts.iter();
        mounts.any(|m| matches!(&m.source, MountSource::Volume { name, .. } if name == volume))
    }

    /// Its row in the ledger cannot be read: nobody knows what it uses.
    pub fn is_damaged(&self) -> bool {
        self.runtime.is_empty()
    }
}

/// The files behind a container, for inspect.
#[derive(Debug, Clone)]
pub struct ContainerPaths {
    /// What is mounted in /etc.
    pub etc: EtcFiles,
    /// The log; `None` with the driver `none`.
    pub log: Option<PathBuf>,
    /// Its root file system.
    pub tree: images::WritablePaths,
}

/// One resolved mount, as inspect shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountView {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: &'static str,
    /// The volume's name.
    pub name: Option<VolumeName>,
    /// Path on the host; empty for tmpfs.
    pub source: String,
    /// Path inside.
    pub destination: String,
    /// The mode string of `-v`.
    pub mode: String,
    /// Writable.
    pub read_write: bool,
    /// Propagation; empty except for binds.
    pub propagation: &'static str,
}

/// One row of a list, newest first.
#[derive(Debug, Clone)]
pub struct ListedContainer {
    /// The container.
    pub view: Arc<ContainerView>,
    /// Its sizes, when asked for.
    pub sizes: Option<Sizes>,
}

/// Disk use of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes in its writable layer.
    pub rw_bytes: u64,
    /// Bytes of its writable layer and its image.
    pub root_fs_bytes: u64,
}
