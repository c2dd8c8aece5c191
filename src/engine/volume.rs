//! Volumes of the local driver: directories that outlive containers.
//!
//! They live in the engine until they deserve a room: the records are the ledger's, the
//! directories are plain, and the only rule is that nobody removes what a container names.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use model::{Context, Error, Filters, Kind, MountSource, Result, VolumeName, VolumeRecord};
use rules::Patterns;

use crate::Engine;
use crate::container::ContainerView;
use crate::layout::{Layout, remove_dir};

/// The filters a list of volumes takes.
const KEYS: &[&str] = &["dangling", "driver", "label", "name"];

/// The volumes this daemon knows.
#[derive(Debug)]
pub(crate) struct Volumes {
    records: RwLock<BTreeMap<VolumeName, VolumeRecord>>,
    layout: Layout,
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
pub(crate) struct Doomed(PathBuf);

impl Doomed {
    /// Takes them away; as long as it takes.
    pub(crate) fn remove(self) -> Result<()> {
        remove_dir(&self.0)
    }
}

impl Volumes {
    pub(crate) fn new(records: Vec<VolumeRecord>, layout: Layout) -> Self {
        let records = records.into_iter().map(|r| (r.name.clone(), r)).collect();
        let left = doomed_in(&layout.volumes()).into_iter().max();
        let first_doomed = left.map_or(0, |n| n + 1);
        Self {
            records: RwLock::new(records),
            layout,
            first_doomed,
            next_doomed: AtomicU64::new(first_doomed),
            filling: Mutex::default(),
        }
    }

    /// Whether a volume of this name is known.
    pub(crate) fn has(&self, name: &VolumeName) -> bool {
        self.read().contains_key(name)
    }

    /// Makes records visible; the ledger has them already.
    pub(crate) fn remember(&self, records: Vec<VolumeRecord>) {
        let mut known = self.write();
        for record in records {
            known.entry(record.name.clone()).or_insert(record);
        }
    }

    /// Forgets records; the ledger did already.
    pub(crate) fn forget(&self, names: &[VolumeName]) {
        let mut known = self.write();
        for name in names {
            known.remove(name);
        }
    }

    /// Makes a volume's directory, if it is not there.
    pub(crate) fn ensure_data(&self, name: &VolumeName) -> Result<PathBuf> {
        let data = self.layout.volume_data(name);
        std::fs::create_dir_all(&data).context(format_args!("create volume {}", data.display()))?;
        Ok(data)
    }

    /// Moves a volume's files out of the way, to be removed by [`Volumes::sweep_doomed`] or
    /// [`Doomed::remove`]: quick, however much there is.
    pub(crate) fn doom_data(&self, name: &VolumeName) -> Result<Option<Doomed>> {
        let from = self.layout.volume(name);
        let number = self.next_doomed.fetch_add(1, Ordering::Relaxed);
        let to = self
            .layout
            .volumes()
            .join(format!("{DOOMED_PREFIX}{number}"));
        match std::fs::rename(&from, &to) {
            Ok(()) => Ok(Some(Doomed(to))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context(format_args!("remove volume {}", from.display())),
        }
    }

    /// Removes what a daemon before this one moved out of the way. What was doomed by now is
    /// being removed by those who did it.
    pub(crate) fn sweep_doomed(&self) -> Result<()> {
        for number in doomed_in(&self.layout.volumes()) {
            if number < self.first_doomed {
                let path = self
                    .layout
                    .volumes()
                    .join(format!("{DOOMED_PREFIX}{number}"));
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
    pub(crate) fn fill(
        &self,
        name: &VolumeName,
        copy: impl FnOnce(&std::path::Path) -> Result<bool>,
    ) -> Result<()> {
        let lock = self.filling(name);
        let _only_one = lock.lock().unwrap_or_else(PoisonError::into_inner);
        copy(&self.layout.volume_data(name)).map(drop)
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

/// Docker marks the volumes it made up a name for.
pub(crate) fn anonymous_label() -> BTreeMap<String, String> {
    BTreeMap::from([("com.docker.volume.anonymous".to_owned(), String::new())])
}

/// Whether a container names a volume.
pub(crate) fn uses(view: &ContainerView, volume: &VolumeName) -> bool {
    view.spec
        .mounts
        .iter()
        .any(|m| matches!(&m.source, MountSource::Volume { name, .. } if name == volume))
}

impl Engine {
    /// Makes a volume, or returns the one of that name. `None` makes up a name.
    ///
    /// # Errors
    /// Driver options, which are not built yet; what the host says.
    pub async fn create_volume(
        &self,
        name: Option<VolumeName>,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeRecord> {
        if !options.is_empty() {
            return Err(Error::not_implemented(
                "DriverOpts is not implemented by moored yet",
            ));
        }
        let engine = self.clone();
        crate::to_the_end(async move { engine.make_volume(name, labels, options).await }).await
    }

    async fn make_volume(
        &self,
        name: Option<VolumeName>,
        mut labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeRecord> {
        let anonymous = name.is_none();
        if anonymous {
            labels.extend(anonymous_label());
        }
        let name = name.unwrap_or_else(|| VolumeName::anonymous((self.inner.host.random)()));
        if let Some(known) = self.inner.volumes.read().get(&name) {
            return Ok(known.clone());
        }
        // Removals hold all of it.
        let _gate = self.inner.images.gate().await;
        let created_at = (self.inner.host.now)();
        let record = VolumeRecord {
            name,
            anonymous,
            created_at,
            labels,
            options,
        };
        self.inner.ledger.put_volume(&record).await?;
        let (inner, name) = (self.inner.clone(), record.name.clone());
        crate::blocking(move || inner.volumes.ensure_data(&name)).await?;
        self.inner.volumes.remember(vec![record.clone()]);
        Ok(record)
    }

    /// The volumes that `filters` select, by name.
    ///
    /// # Errors
    /// Bad filters.
    pub fn list_volumes(&self, filters: &Filters) -> Result<Vec<VolumeRecord>> {
        filters.check_keys(KEYS)?;
        let dangling = filters.flag("dangling")?;
        let names = Patterns::new(filters, "name");
        let records: Vec<VolumeRecord> = self.inner.volumes.read().values().cloned().collect();
        Ok(records
            .into_iter()
            .filter(|r| names.matches(r.name.as_str()))
            .filter(|r| filters.any("driver", |d| d == "local") && filters.match_labels(&r.labels))
            .filter(|r| dangling.is_none_or(|wanted| wanted == self.volume_user(&r.name).is_none()))
            .collect())
    }

    /// One volume.
    ///
    /// # Errors
    /// `get x: no such volume`.
    pub fn volume(&self, name: &str) -> Result<VolumeRecord> {
        let records = self.inner.volumes.read();
        records.get(name).cloned().ok_or_else(|| {
            let shown: String = name.chars().take(256).collect();
            Error::not_found(format!("get {shown}: no such volume"))
        })
    }

    /// Removes a volume and its files.
    ///
    /// # Errors
    /// 404 unless forced; 409 when a container has it.
    pub async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let (engine, name) = (self.clone(), name.to_owned());
        crate::to_the_end(async move { engine.unmake_volume(&name, force).await }).await
    }

    async fn unmake_volume(&self, name: &str, force: bool) -> Result<()> {
        let record = match self.volume(name) {
            Err(e) if force && e.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        // Creates hold the gate while they write their row, so no container can come to name the
        // volume between the question and the removal.
        let gate = self.inner.images.gate_all().await;
        if self
            .inner
            .registry
            .all()
            .iter()
            .any(|h| h.view().is_damaged())
        {
            return Err(Error::conflict(format!(
                "remove {name}: a container's row is damaged, and it may be the one that uses \
                 this volume: remove that container first"
            )));
        }
        if let Some(user) = self.volume_user(&record.name) {
            return Err(Error::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                user.as_str()
            )));
        }
        // The row last: killed in between, the volume is still there to be removed again.
        let (inner, name) = (self.inner.clone(), record.name.clone());
        let doomed = crate::blocking(move || inner.volumes.doom_data(&name)).await?;
        self.inner.ledger.delete_volume(&record.name).await?;
        self.inner.volumes.forget(&[record.name]);
        drop(gate);
        match doomed {
            Some(doomed) => crate::blocking(move || doomed.remove()).await,
            None => Ok(()),
        }
    }

    /// Where a volume's data are on the host.
    pub fn volume_path(&self, name: &VolumeName) -> PathBuf {
        self.inner.layout.volume_data(name)
    }

    fn volume_user(&self, name: &VolumeName) -> Option<model::ContainerId> {
        let all = self.inner.registry.all();
        all.iter()
            .map(|h| h.view())
            .find(|view| uses(view, name))
            .map(|view| view.id.clone())
    }
}
