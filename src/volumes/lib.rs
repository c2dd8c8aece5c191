//! Volumes of the local driver: directories that outlive containers.
//!
//! ```text
//! <root>/<name>/_data    a volume's files
//! <root>/.doomed-<n>     a removed volume's, until they are gone
//! ```
//!
//! Knows records and directories. Never sees who uses a volume, the ledger or a request: it is
//! told what lives, and what it is told to remove is out of the way at once.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use model::{Context, Result, VolumeName, VolumeRecord};
use sys::beneath::remove_all;

/// The volumes this daemon knows.
#[derive(Debug)]
pub struct Volumes {
    records: RwLock<BTreeMap<VolumeName, VolumeRecord>>,
    root: PathBuf,
    /// Lower numbers are what an earlier daemon left.
    first_doomed: u64,
    next_doomed: AtomicU64,
    filling: Mutex<HashMap<VolumeName, Arc<Mutex<()>>>>,
}

/// What the directories of removed volumes are called until they are gone; no volume's name
/// begins so.
const DOOMED_PREFIX: &str = ".doomed-";

/// The numbers of what is doomed in `dir`; nothing where it cannot be read.
fn doomed_in(dir: &std::path::Path) -> Vec<u64> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix(DOOMED_PREFIX)?.parse().ok()
    };
    entries.filter_map(number).collect()
}

/// The files of a removed volume.
#[derive(Debug)]
#[must_use = "they stay until the next start"]
pub struct Doomed(PathBuf);

impl Doomed {
    /// Takes them away; as long as it takes.
    ///
    /// # Errors
    /// What the host says.
    pub fn remove(self) -> Result<()> {
        remove_all(&self.0)
    }
}

impl Volumes {
    /// The volumes of these records, whose files are under `root`.
    pub fn new(records: Vec<VolumeRecord>, root: PathBuf) -> Self {
        let records = records.into_iter().map(|r| (r.name.clone(), r)).collect();
        let left = doomed_in(&root).into_iter().max();
        let first_doomed = left.map_or(0, |n| n + 1);
        Self {
            records: RwLock::new(records),
            root,
            first_doomed,
            next_doomed: AtomicU64::new(first_doomed),
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

    /// All records, by name.
    pub fn all(&self) -> Vec<VolumeRecord> {
        self.read().values().cloned().collect()
    }

    /// Where a volume's files are.
    pub fn data(&self, name: &VolumeName) -> PathBuf {
        self.root.join(name.as_str()).join("_data")
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

    /// Moves a volume's files out of the way, to be removed by [`Volumes::sweep_doomed`] or
    /// [`Doomed::remove`]: quick, however much there is.
    ///
    /// # Errors
    /// What the host says.
    pub fn doom_data(&self, name: &VolumeName) -> Result<Option<Doomed>> {
        let from = self.root.join(name.as_str());
        let number = self.next_doomed.fetch_add(1, Ordering::Relaxed);
        let to = self.root.join(format!("{DOOMED_PREFIX}{number}"));
        match std::fs::rename(&from, &to) {
            Ok(()) => Ok(Some(Doomed(to))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context(format_args!("remove volume {}", from.display())),
        }
    }

    /// Removes what a daemon before this one moved out of the way. What was doomed by now is
    /// being removed by those who did it.
    ///
    /// # Errors
    /// What the host says.
    pub fn sweep_doomed(&self) -> Result<()> {
        for number in doomed_in(&self.root) {
            if number < self.first_doomed {
                let path = self.root.join(format!("{DOOMED_PREFIX}{number}"));
                Doomed(path).remove()?;
            }
        }
        Ok(())
    }

    /// Fills a new volume with what the image has at its place, unless something is in it. One
    /// at a time for each volume: a second container must not start on half of it.
    ///
    /// # Errors
    /// What the host says; what was copied by then is not in the volume.
    pub fn fill(
        &self,
        name: &VolumeName,
        copy: impl FnOnce(&std::path::Path) -> Result<bool>,
    ) -> Result<()> {
        let lock = self.filling(name);
        let _only_one = lock.lock().unwrap_or_else(PoisonError::into_inner);
        copy(&self.data(name)).map(drop)
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
