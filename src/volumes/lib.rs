//! Volumes of the local driver: directories that outlive containers.
//!
//! ```text
//! <root>/<name>/_data    a volume's files
//! <root>/.doomed-<n>     a removed volume's, until they are gone
//! <root>/.coming-<id>/<name>  files of volumes that come with the container of that id
//! ```
//!
//! Knows records and directories. Never sees who uses a volume, the ledger or a request: it is
//! told what lives, and what it is told to remove is out of the way at once.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use model::{
    ContainerId, Context, Mount, MountSource, Result, Timestamp, VolumeName, VolumeRecord,
};
use sys::beneath::remove_all;

/// Docker marks the volumes it made up a name for.
pub fn anonymous_label() -> BTreeMap<String, String> {
    BTreeMap::from([("com.docker.volume.anonymous".to_owned(), String::new())])
}

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

/// What the directories are called in which files of volumes are before there are the volumes.
const COMING_PREFIX: &str = ".coming-";

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
    pub fn new_in(&self, mounts: &[Mount], now: Timestamp) -> Vec<VolumeRecord> {
        let mut new = Vec::new();
        for mount in mounts {
            if let MountSource::Volume {
                name, anonymous, ..
            } = &mount.source
                && !self.has(name)
                && !new.iter().any(|known: &VolumeRecord| known.name == *name)
            {
                new.push(VolumeRecord {
                    name: name.clone(),
                    anonymous: *anonymous,
                    created_at: now,
                    labels: match anonymous {
                        true => anonymous_label(),
                        false => BTreeMap::new(),
                    },
                    options: BTreeMap::new(),
                });
            }
        }
        new
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

    /// A directory for the files of volumes that come with a container, each in a directory of its
    /// name. Made anew.
    ///
    /// # Errors
    /// What the host says.
    pub fn coming(&self, container: &ContainerId) -> Result<PathBuf> {
        let dir = self.root.join(format!("{COMING_PREFIX}{container}"));
        self.remove_coming(container)?;
        std::fs::create_dir(&dir).context(format_args!("create {}", dir.display()))?;
        Ok(dir)
    }

    /// Makes room for volumes whose files come: what can fail fails before the ledger has them.
    ///
    /// # Errors
    /// What the host says.
    pub fn expect<'a>(&self, names: impl IntoIterator<Item = &'a VolumeName>) -> Result<()> {
        names.into_iter().try_for_each(|name| {
            let dir = self.root.join(name.as_str());
            std::fs::create_dir_all(&dir).context(format_args!("create {}", dir.display()))
        })
    }

    /// Gives volumes their files that came with a container; the ledger has both. Quick, however much
    /// there is. What an earlier call has done stays.
    ///
    /// # Errors
    /// What the host says, also when a volume has files by now: those that came stay where they are. A
    /// later call goes on.
    pub fn arrived(&self, container: &ContainerId) -> Result<()> {
        let dir = self.root.join(format!("{COMING_PREFIX}{container}"));
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.context(format_args!("read {}", dir.display()))?,
        };
        for entry in entries {
            let entry = entry.context(format_args!("read {}", dir.display()))?;
            let volume = self.root.join(entry.file_name());
            let data = volume.join("_data");
            std::fs::create_dir_all(&volume)
                .and_then(|()| std::fs::rename(entry.path(), &data))
                .context(format_args!(
                    "move {} to {}",
                    entry.path().display(),
                    data.display()
                ))?;
        }
        std::fs::remove_dir(&dir).context(format_args!("remove {}", dir.display()))
    }

    /// The containers with which files of volumes come, or came before a daemon's death.
    pub fn all_coming(&self) -> Vec<ContainerId> {
        let entries = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten();
        let id = |entry: std::fs::DirEntry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix(COMING_PREFIX)?.parse().ok()
        };
        entries.filter_map(id).collect()
    }

    /// Removes what came with a container that is not to be.
    ///
    /// # Errors
    /// What the host says.
    pub fn remove_coming(&self, container: &ContainerId) -> Result<()> {
        let dir = self.root.join(format!("{COMING_PREFIX}{container}"));
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            // The room that was made for it; with anything in it, it stays.
            let _ = std::fs::remove_dir(self.root.join(entry.file_name()));
        }
        remove_all(&dir)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_came_with_a_container_arrives_once_and_only_with_it() {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(Vec::new(), root.path().to_owned());
        let [one, two] = [[1; 32], [2; 32]].map(ContainerId::from_bytes);
        let bring = |id: &ContainerId, name: &str| {
            let dir = volumes.coming(id).unwrap();
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("file"), id.as_str()).unwrap();
        };
        bring(&one, "left");
        // Of an attempt that was cut short.
        bring(&one, "data");
        bring(&two, "other");
        volumes.expect(&["other".parse().unwrap()]).unwrap();
        let mut all = volumes.all_coming();
        all.sort();
        assert_eq!(all, [one.clone(), two.clone()]);
        volumes.arrived(&one).unwrap();
        volumes.remove_coming(&two).unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join(name).join("_data/file"));
        assert_eq!(read("data").unwrap(), one.as_str());
        assert!(read("left").is_err() && read("other").is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        volumes.arrived(&one).unwrap();
        // What a volume has stays, and what came stays where it is.
        bring(&two, "data");
        assert!(volumes.arrived(&two).is_err());
        assert_eq!(read("data").unwrap(), one.as_str());
        assert_eq!(volumes.all_coming(), std::slice::from_ref(&two));
        fs::remove_dir_all(root.path().join("data/_data")).unwrap();
        volumes.arrived(&two).unwrap();
        assert_eq!(read("data").unwrap(), two.as_str());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
