//! Where things are on disk. One place knows the names; everybody else asks.
//!
//! ```text
//! <data-root>/ledger.db            what was promised (state)
//!             images/              blobs, trees, writable layers (images)
//!             containers/<id>/     container.log  hosts  hostname  resolv.conf
//!             volumes/<name>/_data a volume's files
//! <run-root>/bundles/<id>/         config.json, conmon's sockets and pid files
//!            exits/  persist/  oci/  what runtime keeps (runtime)
//! ```

use std::path::{Path, PathBuf};

use model::{ContainerId, VolumeName};
use sys::beneath::{Dir, remove_tree};

/// The directories of one daemon.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    data_root: PathBuf,
    run_root: PathBuf,
}

impl Layout {
    pub(crate) fn new(data_root: &Path, run_root: &Path) -> Self {
        Self {
            data_root: data_root.to_owned(),
            run_root: run_root.to_owned(),
        }
    }

    /// What must survive a reboot.
    pub(crate) fn data_root(&self) -> &Path {
        &self.data_root
    }

    /// The ledger's file.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.data_root.join("ledger.db")
    }

    /// The root of the images room.
    pub(crate) fn images(&self) -> PathBuf {
        self.data_root.join("images")
    }

    /// Unlinked files of output that waits for slow clients.
    pub(crate) fn spill(&self) -> PathBuf {
        self.data_root.join("spill")
    }

    /// All containers' directories.
    pub(crate) fn containers(&self) -> PathBuf {
        self.data_root.join("containers")
    }

    /// What a container keeps over reboots, beside its writable layer.
    pub(crate) fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// A container's log.
    pub(crate) fn log(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("container.log")
    }

    /// A container's bundle, as the OCI runtime spec calls it.
    pub(crate) fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.run_root.join("bundles").join(id.as_str())
    }

    /// All volumes.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.data_root.join("volumes")
    }

    /// A volume's directory.
    pub(crate) fn volume(&self, name: &VolumeName) -> PathBuf {
        self.volumes().join(name.as_str())
    }

    /// A volume's files.
    pub(crate) fn volume_data(&self, name: &VolumeName) -> PathBuf {
        self.volume(name).join("_data")
    }
}

impl Layout {
    /// Removes what a container has here; what is not there is fine.
    pub(crate) fn remove_container_dirs(&self, id: &ContainerId) -> model::Result<()> {
        for dir in [self.container(id), self.bundle(id)] {
            remove_dir(&dir)?;
        }
        Ok(())
    }
}

/// Removes a directory and all in it; not there is fine. Containers write into volumes, so not by
/// `remove_dir_all`: it recurses, and a tree that is deep enough ends the daemon.
pub(crate) fn remove_dir(dir: &Path) -> model::Result<()> {
    use model::Context as _;
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(model::Error::system(format!(
            "{} cannot be removed",
            dir.display()
        )));
    };
    let removed = Dir::open(parent).and_then(|parent| remove_tree(&parent, name));
    match removed {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other
            .map(drop)
            .context(format_args!("remove {}", dir.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_deeper_than_any_stack_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let volume = temp.path().join("v");
        std::fs::create_dir(&volume).unwrap();
        let mut deepest = Dir::open(&volume).unwrap();
        for _ in 0..5000 {
            deepest.mkdir("d".as_ref()).unwrap();
            deepest = deepest.child("d".as_ref()).unwrap();
        }
        drop(deepest);
        // In proportion to the 2 MiB of the daemon's threads and what a container can make.
        let remove = move || remove_dir(&volume).map(|()| volume.exists());
        let worker = std::thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(remove);
        assert!(!worker.unwrap().join().unwrap().unwrap());
        remove_dir(&temp.path().join("absent")).unwrap();
    }
}
