//! Volumes of the local driver: directories, or file systems, that outlive containers.
//!
//! | file | |
//! |---|---|
//! | `catalog` | which there are: create, list, remove, prune |
//! | `aside` | files on their way out: back where the row stays |
//! | `driver` | options: what may be asked, what is to be mounted for them |
//! | `mounts` | mounted when the first needs it, unmounted when the last has gone; parts of volumes |
//! | `coming` | files that come with a container from another daemon |
//! | this one | records in memory, directories |
//!
//! ```text
//! <root>/<name>/_data    a volume's files, or where its file system is mounted
//! <root>/.aside-<n>/<name>  a volume's whose row is about to go: back where it stays
//! <root>/.doomed-<n>     a removed volume's, until they are gone
//! <root>/.coming-<id>/<name>  files of volumes that come with the container of that id
//! <parts>/<id>.<n>       a part of a volume, for a start
//! ```
//!
//! [`Volumes`] knows records and directories, and does what it is told. [`VolumeCatalog`] is the use
//! cases: it writes the ledger, and asks who uses a volume by a function that `engine` gives it
//! ([`Tools::users`]). Nobody removes what a container names: removals hold [`Tools::gate`], which
//! whoever writes a container's row holds for reading.

mod aside;
mod catalog;
mod coming;
mod driver;
mod mounts;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use aside::{Aside, Doomed, remove_doomed, settle};
pub use catalog::{NewVolume, PrunedVolumes, Tools, VolumeCatalog, VolumeUser, VolumeUses};
use model::{Context, Error, Mount, MountSource, Result, Timestamp, VolumeName, VolumeRecord};
pub use mounts::{Bound, Look, unbind};

/// Docker marks the volumes it made up a name for.
pub fn anonymous_label() -> BTreeMap<String, String> {
    BTreeMap::from([("com.docker.volume.anonymous".to_owned(), String::new())])
}

/// The volumes this daemon knows.
#[derive(Debug)]
pub struct Volumes {
    records: RwLock<BTreeMap<VolumeName, VolumeRecord>>,
    /// Those whose rows cannot be read.
    damaged: BTreeSet<String>,
    root: PathBuf,
    /// Lower numbers are what an earlier daemon left.
    first_doomed: u64,
    next_doomed: AtomicU64,
    /// Where parts of volumes are bound.
    parts: PathBuf,
    next_part: AtomicU64,
    mounts: mounts::Mounts,
    filling: Mutex<HashMap<VolumeName, Arc<Mutex<()>>>>,
}

impl Volumes {
    /// The volumes of these records, whose files are under `root`; below `parts`, which need not be
    /// there, parts of them are bound.
    pub fn new(records: Vec<VolumeRecord>, root: PathBuf, parts: PathBuf) -> Self {
        Self::with_damaged(records, BTreeSet::new(), root, parts)
    }

    /// As [`Volumes::new`], where of the volumes `damaged` nothing is known but that they are there: nobody
    /// is given another in their place.
    pub fn with_damaged(
        records: Vec<VolumeRecord>,
        damaged: BTreeSet<String>,
        root: PathBuf,
        parts: PathBuf,
    ) -> Self {
        let records = records.into_iter().map(|r| (r.name.clone(), r)).collect();
        let first_doomed = aside::first_free(&root);
        Self {
            records: RwLock::new(records),
            damaged,
            root,
            first_doomed,
            next_doomed: AtomicU64::new(first_doomed),
            parts,
            next_part: AtomicU64::default(),
            mounts: mounts::Mounts::default(),
            filling: Mutex::default(),
        }
    }

    /// Whether a volume of this name is known.
    pub fn has(&self, name: &VolumeName) -> bool {
        self.read().contains_key(name)
    }

    /// One record.
    pub fn get(&self, name: &str) -> Option<VolumeRecord> {
        self.read().get(name).cloned()
    }

    /// One record that a container counts on.
    ///
    /// # Errors
    /// There is none: 404, or System where the ledger's row of it is damaged.
    pub(crate) fn expect_record(&self, name: &VolumeName) -> Result<VolumeRecord> {
        self.get(name.as_str())
            .ok_or_else(|| match self.is_damaged(name.as_str()) {
                true => Error::system(format!(
                    "nobody knows what volume {name} is: its row in the ledger is damaged"
                )),
                false => Error::not_found(format!("get {name}: no such volume")),
            })
    }

    /// Whether the ledger's row of it cannot be read.
    fn is_damaged(&self, name: &str) -> bool {
        self.damaged.contains(name)
    }

    /// # Errors
    /// Conflict where a damaged row has the name: what is written over it is not kept.
    pub(crate) fn refuse_damaged(&self, name: &VolumeName) -> Result<()> {
        match self.is_damaged(name.as_str()) {
            true => Err(Error::conflict(format!(
                "create {name}: there is a volume of this name, and its row in the ledger is damaged"
            ))),
            false => Ok(()),
        }
    }

    /// All records, by name.
    pub fn all(&self) -> Vec<VolumeRecord> {
        self.read().values().cloned().collect()
    }

    /// Where a volume's files are.
    pub fn data(&self, name: &VolumeName) -> PathBuf {
        self.root.join(name.as_str()).join("_data")
    }

    /// The bytes of a volume's files; 0 where it has none yet.
    ///
    /// # Errors
    /// System: they cannot be looked at.
    pub fn size(&self, name: &VolumeName) -> Result<u64> {
        let data = self.data(name);
        let opened = match sys::beneath::Dir::open(&data) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            other => other.context(format_args!("open {}", data.display()))?,
        };
        let (depth, entries) = (
            model::limits::SIZE_DEPTH_MAX,
            model::limits::SIZE_ENTRIES_MAX,
        );
        let usage = sys::beneath::tree_usage(opened, depth, entries);
        let usage = usage.context(format_args!("measure {}", data.display()))?;
        Ok(usage.bytes)
    }

    /// The records of the volumes of `mounts` that must be made: anonymous ones and named ones nobody
    /// has yet.
    ///
    /// # Errors
    /// In moby's words: a driver or an option that is not known; another container's volume that is
    /// gone.
    pub fn new_in(&self, mounts: &[Mount], now: Timestamp) -> Result<Vec<VolumeRecord>> {
        let mut new: Vec<VolumeRecord> = Vec::new();
        let mut seen = HashSet::new();
        for mount in mounts {
            let MountSource::Volume {
                name,
                anonymous,
                options,
                ..
            } = &mount.source
            else {
                continue;
            };
            driver::check_driver(name.as_str(), &options.driver)?;
            if self.has(name) || seen.contains(name) {
                continue;
            }
            self.refuse_damaged(name)?;
            if options.borrowed {
                return Err(Error::not_found(format!("get {name}: no such volume")));
            }
            driver::check(name.as_str(), &options.driver_options)?;
            let mut labels = options.labels.clone();
            if *anonymous {
                labels.extend(anonymous_label());
            }
            seen.insert(name);
            new.push(VolumeRecord {
                name: name.clone(),
                anonymous: *anonymous,
                created_at: now,
                labels,
                options: options.driver_options.clone(),
            });
        }
        Ok(new)
    }

    /// Makes records visible; the ledger has them already.
    pub fn remember(&self, records: Vec<VolumeRecord>) {
        let mut known = self.write();
        for record in records {
            known.entry(record.name.clone()).or_insert(record);
        }
    }

    /// Forgets records; the ledger did already.
    pub fn forget(&self, names: &[VolumeName]) {
        let mut known = self.write();
        for name in names {
            known.remove(name);
        }
    }

    /// Makes a volume's directory, if it is not there.
    ///
    /// # Errors
    /// What the host says.
    pub fn ensure_data(&self, name: &VolumeName) -> Result<PathBuf> {
        let data = self.data(name);
        std::fs::create_dir_all(&data).context(format_args!("create volume {}", data.display()))?;
        Ok(data)
    }

    /// Takes away the directory of a volume that is not to be, unless something is in it.
    pub(crate) fn remove_empty(&self, name: &VolumeName) {
        let data = self.data(name);
        let _ = std::fs::remove_dir(&data);
        let _ = std::fs::remove_dir(self.root.join(name.as_str()));
    }

    /// Fills a new volume with what the image has at its place, unless something is in it. One
    /// at a time for each volume: a second container must not start on half of it.
    ///
    /// # Errors
    /// What the host says; what was copied by then is not in the volume.
    pub fn fill(&self, name: &VolumeName, copy: impl FnOnce() -> Result<bool>) -> Result<()> {
        let lock = self.filling(name);
        let _only_one = lock.lock().unwrap_or_else(PoisonError::into_inner);
        copy().map(drop)
    }

    fn filling(&self, name: &VolumeName) -> Arc<Mutex<()>> {
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds are of fills that are over.
        filling.retain(|_, lock| Arc::strong_count(lock) > 1);
        filling.entry(name.clone()).or_default().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<VolumeName, VolumeRecord>> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<VolumeName, VolumeRecord>> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}
