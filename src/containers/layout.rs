//! Where things are on disk. One place knows the names; everybody else asks.
//!
//! ```text
//! <data-root>/ledger.db            what was promised (state)
//!             images/              blobs, trees, writable layers (images)
//!             containers/<id>/     container.log  hosts  hostname  resolv.conf
//!             volumes/<name>/_data a volume's files
//! <run-root>/bundles/<id>/         config.json, conmon's sockets and pid files
//!            netns/<id>            a container's network namespace, pinned (networks)
//!            networks/             locks, the name server's files (network)
//!            own-mounts/           empty, but for programs of user namespaces (bundles)
//!            exits/  persist/  oci/  what runtime keeps (runtime)
//! ```

use std::path::{Path, PathBuf};

use model::ContainerId;
use sys::beneath::remove_all;

/// The directories of one daemon.
#[derive(Debug, Clone)]
pub struct Layout {
    data_root: PathBuf,
    run_root: PathBuf,
}

impl Layout {
    /// The directories below these two.
    pub fn new(data_root: &Path, run_root: &Path) -> Self {
        Self {
            data_root: data_root.to_owned(),
            run_root: run_root.to_owned(),
        }
    }

    /// What must survive a reboot.
    pub fn data_root(&self) -> &Path {
        &self.data_root
    }

    /// The ledger's file.
    pub fn ledger(&self) -> PathBuf {
        self.data_root.join("ledger.db")
    }

    /// The root of the images room.
    pub fn images(&self) -> PathBuf {
        self.data_root.join("images")
    }

    /// Unlinked files of output that waits for slow clients.
    pub fn spill(&self) -> PathBuf {
        self.data_root.join("spill")
    }

    /// All containers' directories.
    pub fn containers(&self) -> PathBuf {
        self.data_root.join("containers")
    }

    /// What a container keeps over reboots, beside its writable layer.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// A container's log.
    pub fn log(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("container.log")
    }

    /// A container's bundle, as the OCI runtime spec calls it.
    pub fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.run_root.join("bundles").join(id.as_str())
    }

    /// Where a container in a user namespace has mounts that nobody else sees.
    pub fn own_mounts(&self) -> PathBuf {
        self.run_root.join("own-mounts")
    }

    /// Parts of volumes that starts need.
    pub fn parts(&self) -> PathBuf {
        self.run_root.join("parts")
    }

    /// Where network namespaces are pinned.
    pub fn namespaces(&self) -> PathBuf {
        self.run_root.join("netns")
    }

    /// What the programs that make networks keep.
    pub fn networks(&self) -> PathBuf {
        self.run_root.join("networks")
    }

    /// All volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data_root.join("volumes")
    }
}

impl Layout {
    /// Removes what a container has here; what is not there is fine.
    ///
    /// # Errors
    /// What the host says.
    pub fn remove_container_dirs(&self, id: &ContainerId) -> model::Result<()> {
        for dir in [self.container(id), self.bundle(id)] {
            remove_all(&dir)?;
        }
        Ok(())
    }
}
