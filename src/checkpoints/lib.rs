//! What a container was at a moment: directories of CRIU's images, kept beside the container.
//!
//! ```text
//! <container>/checkpoints/<name>/             CRIU's images, and manifest.json
//!                        /.making-<name>/     one that is being made, or was when the daemon died
//! ```
//!
//! A checkpoint is whole or not there: it is made under another name, flushed, and renamed. The
//! manifest says of which container, image and kernel it is and what each file holds; what does not
//! fit is refused before a process is made of it. Knows files only: who dumps and restores is the
//! runtime's business, whether that is allowed now the engine's.

mod manifest;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use model::{CheckpointName, Context, Error, Kind, Result};
use sys::beneath::remove_all;
use sys::durable::{rename_new, sync_dir, sync_file_system};

pub use manifest::{Options, Origin};

use manifest::Manifest;

/// Of one that is being made; no name begins with a dot.
const MAKING: &str = ".making-";

/// The checkpoints of one container.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    dir: PathBuf,
    /// As its client calls it, for messages.
    container: String,
}

/// A checkpoint that is being made. [`Making::finish`] makes it one; dropped, nothing is left.
#[derive(Debug)]
#[must_use = "it is removed"]
pub struct Making {
    of: Checkpoints,
    name: CheckpointName,
    images: PathBuf,
    done: bool,
}

/// A checkpoint to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// CRIU's images.
    pub images: PathBuf,
    /// As it was made; a restore must say the same.
    pub options: Options,
}

impl Checkpoints {
    /// Those below the directory of a container, which messages call `name`.
    pub fn of(container_dir: &Path, name: &str) -> Self {
        Self {
            dir: container_dir.join("checkpoints"),
            container: name.to_owned(),
        }
    }

    /// Their names, in order.
    ///
    /// # Errors
    /// System, naming the directory.
    pub fn list(&self) -> Result<Vec<CheckpointName>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context(format_args!("read {}", self.dir.display()))?,
        };
        let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        let mut names: Vec<_> = entries.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    /// Begins one. What an attempt under that name has left goes.
    ///
    /// # Errors
    /// Conflict when there is one of that name.
    pub fn begin(&self, name: &CheckpointName) -> Result<Making> {
        if self.dir.join(name.as_str()).exists() {
            return Err(Error::conflict(format!(
                "checkpoint with name {name} already exists for container {}",
                self.container
            )));
        }
        let images = self.dir.join(format!("{MAKING}{name}"));
        remove_all(&images)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&images)
            .context(format_args!("make directory {}", images.display()))?;
        Ok(Making {
            of: self.clone(),
            name: name.clone(),
            images,
            done: false,
        })
    }

    /// Looks whether a checkpoint can be restored where `here` is so.
    ///
    /// # Errors
    /// NotFound, in Docker's words; Conflict when it is of something else; System when a file is
    /// missing or not what it was.
    pub fn open(&self, name: &CheckpointName, here: &Origin) -> Result<Checkpoint> {
        let images = self.dir.join(name.as_str());
        if !images.is_dir() {
            return Err(self.missing(name));
        }
        let manifest = Manifest::read(&images).map_err(|e| damaged(name, &e))?;
        manifest.origin.expect_same(name, here)?;
        manifest.check(&images).map_err(|e| damaged(name, &e))?;
        Ok(Checkpoint {
            images,
            options: manifest.options,
        })
    }

    /// Removes one.
    ///
    /// # Errors
    /// NotFound, in Docker's words.
    pub fn remove(&self, name: &CheckpointName) -> Result<()> {
        let dir = self.dir.join(name.as_str());
        if !dir.exists() {
            return Err(self.missing(name));
        }
        remove_all(&dir)
    }

    fn missing(&self, name: &CheckpointName) -> Error {
        Error::new(
            Kind::NotFound,
            format!(
                "checkpoint {name} does not exist for container {}",
                self.container
            ),
        )
    }
}

impl Making {
    /// Where CRIU's images are to be.
    pub fn images(&self) -> &Path {
        &self.images
    }

    /// Makes it a checkpoint, which survives a loss of power. Reads every file once.
    ///
    /// # Errors
    /// What the disk says. Nothing is left then.
    pub fn finish(mut self, origin: Origin, options: Options) -> Result<()> {
        let shown = self.images.display().to_string();
        let manifest = Manifest::of(&self.images, origin, options);
        let manifest = manifest.context(format_args!("read {shown}"))?;
        manifest
            .write(&self.images)
            .and_then(|()| sync_file_system(&self.images))
            .context(format_args!("write {shown}"))?;
        let place = self.of.dir.join(self.name.as_str());
        let renamed = rename_new(&self.images, &place).context(format_args!("rename {shown}"))?;
        if !renamed {
            return Err(Error::conflict(format!(
                "checkpoint with name {} already exists for container {}",
                self.name, self.of.container
            )));
        }
        self.done = true;
        sync_dir(&self.of.dir).context(format_args!("flush {}", self.of.dir.display()))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.done {
            // What stays goes with the next attempt or with the container.
            let _ = remove_all(&self.images);
        }
    }
}

fn damaged(name: &CheckpointName, e: &io::Error) -> Error {
    Error::system(format!("checkpoint {name} is damaged: {e}"))
}

#[cfg(test)]
mod tests {
    use model::{ContainerId, Digest};

    use super::*;

    fn origin() -> Origin {
        Origin {
            container: ContainerId::from_bytes([1; 32]),
            image: Digest::from_sha256([2; 32]),
            kernel: "6.1".to_owned(),
            runtime: "runc".to_owned(),
        }
    }

    fn made(dir: &Path) -> (Checkpoints, CheckpointName) {
        let checkpoints = Checkpoints::of(dir, "it");
        let name: CheckpointName = "one".parse().unwrap();
        let making = checkpoints.begin(&name).unwrap();
        fs::write(making.images().join("core-1.img"), "registers").unwrap();
        fs::create_dir(making.images().join("more")).unwrap();
        fs::write(making.images().join("more/pages.img"), "memory").unwrap();
        let options = Options {
            tcp_established: true,
            ..Options::default()
        };
        making.finish(origin(), options).unwrap();
        (checkpoints, name)
    }

    #[test]
    fn one_is_made_listed_opened_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (checkpoints, name) = made(dir.path());
        assert_eq!(checkpoints.list().unwrap(), std::slice::from_ref(&name));
        let opened = checkpoints.open(&name, &origin()).unwrap();
        assert!(opened.images.join("core-1.img").exists());
        assert!(opened.options.tcp_established && !opened.options.file_locks);
        let again = checkpoints.begin(&name).unwrap_err();
        assert_eq!(again.kind(), Kind::Conflict);
        checkpoints.remove(&name).unwrap();
        assert_eq!(checkpoints.list().unwrap(), []);
        assert_eq!(
            checkpoints.remove(&name).unwrap_err().kind(),
            Kind::NotFound
        );
    }

    #[test]
    fn what_was_not_finished_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(dir.path(), "it");
        let name: CheckpointName = "half".parse().unwrap();
        let making = checkpoints.begin(&name).unwrap();
        fs::write(making.images().join("core-1.img"), "x").unwrap();
        // A daemon that dies drops nothing.
        std::mem::forget(making);
        assert_eq!(checkpoints.list().unwrap(), []);
        let e = checkpoints.open(&name, &origin()).unwrap_err();
        assert_eq!(
            e.message(),
            "checkpoint half does not exist for container it"
        );
        let making = checkpoints.begin(&name).unwrap();
        assert!(!making.images().join("core-1.img").exists());
        drop(making);
        assert_eq!(
            fs::read_dir(dir.path().join("checkpoints"))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn what_is_of_something_else_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let (checkpoints, name) = made(dir.path());
        let refused = |change: fn(&mut Origin)| {
            let mut here = origin();
            change(&mut here);
            let e = checkpoints.open(&name, &here).unwrap_err();
            assert_eq!(e.kind(), Kind::Conflict, "{e}");
            e.message().to_owned()
        };
        let said = refused(|o| o.container = ContainerId::from_bytes([9; 32]));
        assert!(said.contains("is of container 0101"), "{said}");
        assert!(refused(|o| o.image = Digest::from_sha256([9; 32])).contains("image sha256:0202"));
        assert!(refused(|o| o.kernel = "6.2".to_owned()).contains("kernel 6.1, and this is 6.2"));
        assert!(refused(|o| o.runtime = "crun".to_owned()).contains("runc"));
    }

    #[test]
    fn damage_is_told() {
        for damage in [
            |dir: &Path| fs::write(dir.join("core-1.img"), "registerz").unwrap(),
            |dir: &Path| fs::write(dir.join("core-1.img"), "reg").unwrap(),
            |dir: &Path| fs::remove_file(dir.join("more/pages.img")).unwrap(),
            |dir: &Path| fs::write(dir.join("manifest.json"), "{").unwrap(),
            |dir: &Path| fs::remove_file(dir.join("manifest.json")).unwrap(),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let (checkpoints, name) = made(dir.path());
            damage(&dir.path().join("checkpoints/one"));
            let e = checkpoints.open(&name, &origin()).unwrap_err();
            assert!(
                e.message().starts_with("checkpoint one is damaged: "),
                "{e}"
            );
        }
    }
}
