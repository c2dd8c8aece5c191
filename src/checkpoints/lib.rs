//! What a container was at a moment: directories of CRIU's images, kept beside the container.
//!
//! ```text
//! <container>/checkpoints/<name>/             CRIU's images, and manifest.json
//!                        /.making-<name>/     one that is being made, or was when the daemon died
//! ```
//!
//! A checkpoint is whole or not there: it is made under another name, flushed, and renamed. CRIU goes
//! on when the daemon dies, and may have ended the container by then, so the next daemon finishes what
//! was dumped ([`Unfinished`]). The manifest says of which container, image and kernel it is and what
//! each file holds; what does not fit is refused before a process is made of it. With its container's
//! files it can be sent to another daemon ([`Outgoing`], [`Incoming`]). Whether a checkpoint may be
//! made now, and what becomes of its container, is the engine's business.

mod dump;
mod manifest;
mod transfer;
mod view;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use model::{CheckpointName, Context, Error, Kind, Result, Timestamp};
use runtime::CriuOptions;
use sys::beneath::remove_all;
use sys::durable::{FileSystem, rename_new, sync_dir};

pub use dump::{Request, thaw};
pub use manifest::Origin;
pub use transfer::{Exported, ExportedVolume, Files, Head, Incoming, Outgoing, Places};
pub use view::{CheckpointView, DumpStatistics};

use manifest::Manifest;

/// Of one that is being removed; what is left of it goes with the next of that name, or with the
/// container.
const DOOMED: &str = ".removing-";

/// CRIU's log, beside its images, and what it says last where all went well.
const LOG: &str = "dump.log";
const DUMPED: &str = "Dumping finished successfully";

/// Of one that is being made; no name begins with a dot.
const MAKING: &str = ".making-";

/// The checkpoints of one container.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    dir: PathBuf,
    /// As its client calls it, for messages.
    container: String,
}

/// A checkpoint that is being made. [`Making::finish`] makes it one. Dropped, as at the daemon's end, it
/// stays for the next daemon to settle: CRIU may be at work.
#[derive(Debug)]
pub struct Making {
    of: Checkpoints,
    name: CheckpointName,
    images: PathBuf,
    manifest: Manifest,
    /// Told of writes that fail from the beginning on.
    disk: Option<FileSystem>,
}

/// A checkpoint that a daemon did not live to finish.
#[derive(Debug)]
pub struct Unfinished(Making);

/// How a dump ended that a daemon did not live to finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpEnd {
    /// There is a checkpoint, and its container ended with it.
    Stopped,
    /// There is a checkpoint, and its container goes on.
    WentOn,
    /// There is no checkpoint.
    Failed,
}

/// A checkpoint to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// CRIU's images.
    pub images: PathBuf,
    /// As it was made; a restore must say the same.
    pub options: CriuOptions,
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

    /// Begins one, whose manifest has no files yet.
    ///
    /// # Errors
    /// Conflict when there is one of that name, or will be.
    pub(crate) fn begin(&self, name: &CheckpointName, manifest: Manifest) -> Result<Making> {
        if self.dir.join(name.as_str()).exists() {
            return Err(Error::conflict(format!(
                "checkpoint with name {name} already exists for container {}",
                self.container
            )));
        }
        let images = self.dir.join(format!("{MAKING}{name}"));
        if Manifest::read(&images).is_ok() {
            return Err(Error::conflict(format!(
                "checkpoint with name {name} is being made for container {}",
                self.container
            )));
        }
        remove_all(&images)?;
        make_dir(&images)?;
        let disk = FileSystem::watch(&images);
        let making = Making {
            of: self.clone(),
            name: name.clone(),
            disk: Some(disk.context(format_args!("open {}", images.display()))?),
            images,
            manifest,
        };
        let written = making.manifest.write(&making.images);
        written.context(format_args!("write {}", making.images.display()))?;
        Ok(making)
    }

    /// Those that a daemon before this one did not finish.
    pub fn unfinished(&self) -> Vec<Unfinished> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let unfinished = |entry: fs::DirEntry| {
            let images = entry.path();
            let name = entry.file_name();
            let name = name.to_str()?.strip_prefix(MAKING)?.parse().ok()?;
            // One without a manifest had not begun: the next attempt removes it.
            let manifest = Manifest::read(&images).ok()?;
            Some(Unfinished(Making {
                of: self.clone(),
                name,
                // Who wrote it is gone, and with it what the kernel had to tell.
                disk: FileSystem::watch(&images).ok(),
                images,
                manifest,
            }))
        };
        entries.filter_map(unfinished).collect()
    }

    /// Looks whether a checkpoint can be restored where `here` is so.
    ///
    /// # Errors
    /// NotFound, in Docker's words; Conflict when it is of something else; System when a file is
    /// missing or not what it was.
    pub fn open(&self, name: &CheckpointName, here: &Origin) -> Result<Checkpoint> {
        let (images, manifest) = self.manifest(name)?;
        manifest.origin.expect_same(name, here)?;
        manifest.check(&images).map_err(|e| damaged(name, &e))?;
        Ok(Checkpoint {
            images,
            options: manifest.options,
        })
    }

    /// The run that a checkpoint has ended, by its start; `None` where it went on.
    ///
    /// # Errors
    /// As [`Checkpoints::view`].
    pub fn ended_run(&self, name: &CheckpointName) -> Result<Option<Timestamp>> {
        Ok(self.manifest(name)?.1.ended_run)
    }

    /// Where one's images are, and what they must be.
    fn manifest(&self, name: &CheckpointName) -> Result<(PathBuf, Manifest)> {
        let images = self.place(name);
        if !images.is_dir() {
            return Err(self.missing(name));
        }
        let manifest = Manifest::read(&images).map_err(|e| damaged(name, &e))?;
        Ok((images, manifest))
    }

    /// The same, and they are.
    fn whole(&self, name: &CheckpointName) -> Result<(PathBuf, Manifest)> {
        let (images, manifest) = self.manifest(name)?;
        match manifest.check(&images) {
            // Removed meanwhile.
            Err(_) if !images.is_dir() => Err(self.missing(name)),
            checked => checked
                .map(|()| (images, manifest))
                .map_err(|e| damaged(name, &e)),
        }
    }

    fn place(&self, name: &CheckpointName) -> PathBuf {
        self.dir.join(name.as_str())
    }

    /// Makes the directory in which the images of one are to be that comes from elsewhere.
    ///
    /// # Errors
    /// What the host says.
    pub fn make_place(&self, name: &CheckpointName) -> Result<PathBuf> {
        let place = self.place(name);
        make_dir(&place)?;
        Ok(place)
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
        // Out of sight at once: a death in the middle leaves no half of one.
        let doomed = self.dir.join(format!("{DOOMED}{name}"));
        remove_all(&doomed)?;
        fs::rename(&dir, &doomed).context(format_args!("rename {}", dir.display()))?;
        remove_all(&doomed)
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
    /// What the disk says. It is still being made then.
    pub fn finish(&mut self) -> Result<()> {
        let shown = self.images.display().to_string();
        let filled = self.manifest.fill(&self.images);
        filled.context(format_args!("read {shown}"))?;
        self.manifest
            .write(&self.images)
            .and_then(|()| match &self.disk {
                Some(disk) => disk.sync(),
                None => FileSystem::watch(&self.images)?.sync(),
            })
            .context(format_args!("write {shown}"))?;
        let place = self.of.dir.join(self.name.as_str());
        let renamed = rename_new(&self.images, &place).context(format_args!("rename {shown}"))?;
        if !renamed {
            return Err(Error::conflict(format!(
                "checkpoint with name {} already exists for container {}",
                self.name, self.of.container
            )));
        }
        sync_dir(&self.of.dir).context(format_args!("flush {}", self.of.dir.display()))
    }

    /// Takes it away.
    ///
    /// # Errors
    /// What the disk says.
    pub fn discard(self) -> Result<()> {
        remove_all(&self.images)
    }
}

impl Unfinished {
    /// What it is called.
    pub fn name(&self) -> &CheckpointName {
        &self.0.name
    }

    /// To be called when nobody dumps any more: finishes it where the dump came to its end, and
    /// removes it where not.
    ///
    /// # Errors
    /// As [`Making::finish`].
    pub fn conclude(mut self) -> Result<DumpEnd> {
        let log = fs::read(self.0.images.join(LOG)).unwrap_or_default();
        if String::from_utf8_lossy(&log).contains(DUMPED) {
            let end = match self.0.manifest.ended_run {
                Some(_) => DumpEnd::Stopped,
                None => DumpEnd::WentOn,
            };
            return self.0.finish().map(|()| end);
        }
        self.0.discard().map(|()| DumpEnd::Failed)
    }
}

fn make_dir(dir: &Path) -> Result<()> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.context(format_args!("make directory {}", dir.display()))
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
        let options = CriuOptions {
            tcp_established: true,
            ..CriuOptions::default()
        };
        let manifest = Manifest::new(origin(), options, None);
        let mut making = checkpoints.begin(&name, manifest).unwrap();
        fs::write(making.images().join("core-1.img"), "registers").unwrap();
        fs::create_dir(making.images().join("more")).unwrap();
        fs::write(making.images().join("more/pages.img"), "memory").unwrap();
        making.finish().unwrap();
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
        let again = begin(&checkpoints, &name).unwrap_err();
        assert_eq!(again.kind(), Kind::Conflict);
        checkpoints.remove(&name).unwrap();
        assert_eq!(checkpoints.list().unwrap(), []);
        assert_eq!(
            checkpoints.remove(&name).unwrap_err().kind(),
            Kind::NotFound
        );
    }

    fn begin(checkpoints: &Checkpoints, name: &CheckpointName) -> Result<Making> {
        let manifest = Manifest::new(origin(), CriuOptions::default(), None);
        checkpoints.begin(name, manifest)
    }

    #[test]
    fn what_was_not_finished_is_finished_by_the_next_or_gone() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(dir.path(), "it");
        let dumped = "(00.1) Dumping finished successfully\n";
        let run = Some(Timestamp::now());
        for (name, ended_run, log, end) in [
            ("dumped", run, dumped, DumpEnd::Stopped),
            ("beside", None, dumped, DumpEnd::WentOn),
            ("half", run, "(00.1) Dumping\n", DumpEnd::Failed),
        ] {
            let name: CheckpointName = name.parse().unwrap();
            let manifest = Manifest::new(origin(), CriuOptions::default(), ended_run);
            let making = checkpoints.begin(&name, manifest).unwrap();
            fs::write(making.images().join("core-1.img"), "x").unwrap();
            fs::write(making.images().join(LOG), log).unwrap();
            drop(making);
            assert_eq!(checkpoints.list().unwrap(), []);
            let e = checkpoints.open(&name, &origin()).unwrap_err();
            assert!(
                e.message().ends_with("does not exist for container it"),
                "{e}"
            );
            let e = begin(&checkpoints, &name).unwrap_err();
            assert!(e.message().contains("is being made"), "{e}");
            let mut unfinished = checkpoints.unfinished();
            assert_eq!(unfinished.len(), 1);
            assert_eq!(unfinished[0].name(), &name);
            assert_eq!(unfinished.remove(0).conclude().unwrap(), end);
            let is_one = end != DumpEnd::Failed;
            assert_eq!(checkpoints.open(&name, &origin()).is_ok(), is_one);
            if is_one {
                checkpoints.remove(&name).unwrap();
            }
        }
        let name = "failed".parse().unwrap();
        begin(&checkpoints, &name).unwrap().discard().unwrap();
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
