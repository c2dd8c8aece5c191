//! Which volumes there are: the use cases. Nobody removes what a container names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use failpoint::Point;
use model::{
    Action, ContainerId, Error, Event, EventKind, Filters, Kind, Result, Timestamp, VolumeName,
    VolumeRecord,
};
use rules::Patterns;
use sys::task::{blocking, to_the_end};
use tokio::sync::{MutexGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{Volumes, anonymous_label, driver, remove_doomed, settle};

/// The filters a list of volumes takes.
const LIST_KEYS: &[&str] = &["dangling", "driver", "label", "name"];

/// The filters a prune takes.
const PRUNE_KEYS: &[&str] = &["all", "label", "label!"];

/// A container, as far as volumes go.
#[derive(Debug, Clone)]
pub struct VolumeUser {
    /// Its id.
    pub container: ContainerId,
    /// The volumes it names.
    pub volumes: Vec<VolumeName>,
    /// Its row cannot be read: it may name any.
    pub is_damaged: bool,
}

/// What the catalog is made with.
#[derive(Clone)]
pub struct Tools {
    /// Where records are.
    pub ledger: state::Ledger,
    /// Records in memory and directories.
    pub volumes: Arc<Volumes>,
    /// The containers there are.
    pub users: Arc<dyn Fn() -> Vec<VolumeUser> + Send + Sync>,
    /// Held for reading by whoever is about to write a row that names a volume; for writing by whoever
    /// removes one.
    pub gate: Arc<RwLock<()>>,
    /// Wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// For names.
    pub random: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}

/// The volumes of the daemon: a cheap handle, cloned freely.
#[derive(Debug, Clone)]
pub struct VolumeCatalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tools: Tools,
    /// Held from the look whether a volume is there to the moment it is.
    making: tokio::sync::Mutex<()>,
    /// Held by the one prune there may be.
    pruning: tokio::sync::Mutex<()>,
}

/// A volume to be made.
#[derive(Debug, Clone, Default)]
pub struct NewVolume {
    /// As the client wrote it; `None` makes up a name. Docker looks for the driver first.
    pub name: Option<String>,
    /// The driver's name; nothing was said where it is empty.
    pub driver: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// What a prune of volumes did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrunedVolumes {
    /// The names of those that are gone.
    pub removed: Vec<VolumeName>,
    /// What their files took.
    pub space_reclaimed_bytes: u64,
}

/// How many containers use which volume, at one moment.
#[derive(Debug, Default)]
pub struct VolumeUses(BTreeMap<VolumeName, Vec<ContainerId>>);

impl VolumeUses {
    /// The containers that use it.
    pub fn of(&self, name: &VolumeName) -> &[ContainerId] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

impl VolumeCatalog {
    /// The volumes that the ledger knows.
    pub fn new(tools: Tools) -> Self {
        Self {
            inner: Arc::new(Inner {
                tools,
                making: tokio::sync::Mutex::default(),
                pruning: tokio::sync::Mutex::default(),
            }),
        }
    }

    fn volumes(&self) -> &Arc<Volumes> {
        &self.inner.tools.volumes
    }

    /// Held from the look whether a volume is there to the moment it is: one is made once.
    pub async fn making(&self) -> MutexGuard<'_, ()> {
        self.inner.making.lock().await
    }

    /// An event of a volume.
    pub fn event(&self, name: &VolumeName, action: &Action) -> Event {
        let now = (self.inner.tools.now)();
        Event::new(now, EventKind::Volume, action, name.as_str()).with("driver", "local")
    }

    /// Makes a volume, or returns the one of that name.
    ///
    /// # Errors
    /// In moby's words: a driver or an option that is not known; what the host says.
    pub async fn create(&self, new: NewVolume) -> Result<VolumeRecord> {
        let catalog = self.clone();
        to_the_end(async move { catalog.make(new).await }).await
    }

    async fn make(&self, new: NewVolume) -> Result<VolumeRecord> {
        let tools = &self.inner.tools;
        let (anonymous, mut labels) = (new.name.is_none(), new.labels);
        if anonymous {
            labels.extend(anonymous_label());
        }
        let made_up = || VolumeName::anonymous((tools.random)()).to_string();
        let name = new.name.unwrap_or_else(made_up);
        driver::check_driver(&name, &new.driver)?;
        let name: VolumeName = name.parse()?;
        // Removals hold all of it.
        let _gate = tools.gate.read().await;
        let _making = self.making().await;
        if let Some(known) = self.volumes().get(name.as_str()) {
            return Ok(known);
        }
        self.volumes().refuse_damaged(&name)?;
        driver::check(name.as_str(), &new.options)?;
        let record = VolumeRecord {
            name,
            anonymous,
            created_at: (tools.now)(),
            labels,
            options: new.options,
        };
        // First, so that a volume that is known has it.
        let (volumes, name) = (self.volumes().clone(), record.name.clone());
        blocking(move || volumes.ensure_data(&name)).await?;
        if let Err(e) = self.write(&record).await {
            let (volumes, name) = (self.volumes().clone(), record.name);
            drop(
                blocking(move || {
                    volumes.remove_empty(&name);
                    Ok(())
                })
                .await,
            );
            return Err(e);
        }
        drop(failpoint::reach(Point::VolumeWritten).await);
        Ok(record)
    }

    async fn write(&self, record: &VolumeRecord) -> Result<()> {
        failpoint::reach(Point::VolumeMade).await?;
        let event = self.event(&record.name, &Action::Create);
        let (volumes, made) = (self.volumes().clone(), record.clone());
        let ledger = self.inner.tools.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || volumes.remember(vec![made.clone()]));
        ledger.put_volume(record).await
    }

    /// The volumes that `filters` select, by name.
    ///
    /// # Errors
    /// Bad filters.
    pub fn list(&self, filters: &Filters) -> Result<Vec<VolumeRecord>> {
        filters.check_keys(LIST_KEYS)?;
        let dangling = filters.flag("dangling")?;
        let (names, uses) = (Patterns::new(filters, "name"), self.uses());
        let records = self.volumes().all();
        Ok(records
            .into_iter()
            .filter(|r| names.matches(r.name.as_str()))
            .filter(|r| filters.any("driver", |d| d == "local") && filters.match_labels(&r.labels))
            .filter(|r| dangling.is_none_or(|wanted| wanted == uses.of(&r.name).is_empty()))
            .collect())
    }

    /// One volume.
    ///
    /// # Errors
    /// `get x: no such volume`.
    pub fn get(&self, name: &str) -> Result<VolumeRecord> {
        self.volumes().get(name).ok_or_else(|| {
            let shown: String = name.chars().take(256).collect();
            Error::not_found(format!("get {shown}: no such volume"))
        })
    }

    /// Where a volume's data are on the host.
    pub fn path(&self, name: &VolumeName) -> PathBuf {
        self.volumes().data(name)
    }

    /// The bytes of a volume's files.
    ///
    /// # Errors
    /// System: they cannot be looked at.
    pub async fn size(&self, name: &VolumeName) -> Result<u64> {
        let (volumes, name) = (self.volumes().clone(), name.clone());
        blocking(move || volumes.size(&name)).await
    }

    /// Who uses what.
    pub fn uses(&self) -> VolumeUses {
        let mut uses = VolumeUses::default();
        for user in (self.inner.tools.users)() {
            for name in user.volumes {
                let of = uses.0.entry(name).or_default();
                if of.last() != Some(&user.container) {
                    of.push(user.container.clone());
                }
            }
        }
        uses
    }

    /// Removes a volume and its files.
    ///
    /// # Errors
    /// 404 unless forced; 409 when a container has it.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let (catalog, name) = (self.clone(), name.to_owned());
        to_the_end(async move {
            let gate = catalog.inner.tools.gate.clone().write_owned().await;
            // Who waited for another's removal finds it done.
            let record = match catalog.get(&name) {
                Err(e) if force && e.kind() == Kind::NotFound => return Ok(()),
                other => other?,
            };
            catalog.unmake(&record.name, gate).await
        })
        .await
    }

    /// Creates hold the gate while they write their row, so no container can come to name the volume
    /// between the question and the removal.
    async fn unmake(&self, name: &VolumeName, gate: OwnedRwLockWriteGuard<()>) -> Result<()> {
        self.refuse_unknown_users(&format!("remove {name}"))?;
        let users: Vec<String> = self
            .uses()
            .of(name)
            .iter()
            .map(ToString::to_string)
            .collect();
        if !users.is_empty() {
            return Err(Error::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        // The row last: killed in between, the volume is still there to be removed again.
        let (volumes, going) = (self.volumes().clone(), name.clone());
        let aside = blocking(move || volumes.set_aside(&[going])).await?;
        let doomed = settle(aside, self.forget(name).await).await?;
        drop(failpoint::reach(Point::VolumeForgotten).await);
        drop(gate);
        remove_doomed(doomed).await;
        drop(failpoint::reach(Point::VolumeDone).await);
        Ok(())
    }

    /// # Errors
    /// 409: nobody knows what volumes a container has. It may be any.
    fn refuse_unknown_users(&self, wanted: &str) -> Result<()> {
        let mut users = (self.inner.tools.users)().into_iter();
        match users.any(|user| user.is_damaged) {
            true => Err(Error::conflict(format!(
                "{wanted}: a container's row is damaged, and it may be the one that uses this volume: \
                 remove that container first"
            ))),
            false => Ok(()),
        }
    }

    async fn forget(&self, name: &VolumeName) -> Result<()> {
        failpoint::reach(Point::VolumeDoomed).await?;
        let event = self.event(name, &Action::Destroy);
        let (volumes, gone) = (self.volumes().clone(), name.clone());
        let ledger = self.inner.tools.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || volumes.forget(std::slice::from_ref(&gone)));
        ledger.delete_volume(name).await
    }

    /// Removes the anonymous volumes that no container uses, or with `all` all such, as far as `filters`
    /// select them. One with options takes no space here, and stays (moby `VolumesService.Prune`).
    ///
    /// # Errors
    /// Bad filters; 409 when another is at it, or a container's row is damaged.
    pub async fn prune(&self, filters: Filters) -> Result<PrunedVolumes> {
        let catalog = self.clone();
        to_the_end(async move { catalog.prune_all(&filters).await }).await
    }

    async fn prune_all(&self, filters: &Filters) -> Result<PrunedVolumes> {
        let running = |_| Error::conflict("a prune operation is already running");
        let _only = self.inner.pruning.try_lock().map_err(running)?;
        let all = takes_named(filters)?;
        filters.check_keys(PRUNE_KEYS)?;
        self.refuse_unknown_users("prune")?;
        let (anonymous, uses) = (anonymous_label(), self.uses());
        let is_selected = |record: &VolumeRecord| {
            let is_anonymous = || anonymous.keys().all(|key| record.labels.contains_key(key));
            record.options.is_empty()
                && uses.of(&record.name).is_empty()
                && filters.match_labels(&record.labels)
                && (all || is_anonymous())
        };
        let mut pruned = PrunedVolumes::default();
        for record in self.volumes().all().into_iter().filter(is_selected) {
            if !pruned.removed.is_empty() {
                failpoint::reach(Point::PruneNext).await?;
            }
            let bytes = self.size(&record.name).await.unwrap_or_else(|e| {
                tracing::warn!(volume = %record.name, error = %e, "not measured");
                0
            });
            let gate = self.inner.tools.gate.clone().write_owned().await;
            // Somebody else may have removed it, and even made another.
            if self.volumes().get(record.name.as_str()).as_ref() != Some(&record) {
                continue;
            }
            match self.unmake(&record.name, gate).await {
                Ok(()) => {
                    pruned.removed.push(record.name);
                    pruned.space_reclaimed_bytes += bytes;
                }
                // One that cannot go does not keep the others.
                Err(e) if e.kind() == Kind::Conflict => {}
                Err(e) => tracing::warn!(volume = %record.name, error = %e, "not pruned"),
            }
        }
        let now = (self.inner.tools.now)();
        let event = Event::new(now, EventKind::Volume, &Action::Prune, "");
        let event = event.with("reclaimed", pruned.space_reclaimed_bytes.to_string());
        self.inner.tools.ledger.tell_soon(vec![event]).await?;
        Ok(pruned)
    }
}

/// Whether volumes with a name are meant, too (moby `withPrune`).
fn takes_named(filters: &Filters) -> Result<bool> {
    let values: Vec<&str> = filters.values("all").collect();
    match values.as_slice() {
        [] => Ok(false),
        ["1" | "t" | "T" | "true" | "TRUE" | "True"] => Ok(true),
        ["0" | "f" | "F" | "false" | "FALSE" | "False"] => Ok(false),
        [other] => Err(Error::invalid(format!(
            "invalid filter 'all': strconv.ParseBool: parsing {other:?}: invalid syntax"
        ))),
        more => Err(Error::invalid(format!(
            "invalid filter 'all=[{}]': only one value is expected",
            more.join(" ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that is used by what `is_damaged` tells.
    fn catalog(root: &std::path::Path, is_damaged: bool) -> VolumeCatalog {
        let (ledger, contents) = state::Ledger::open(&root.join("ledger.db"), "boot").unwrap();
        let volumes = Volumes::new(contents.volumes, root.join("volumes"), root.join("parts"));
        VolumeCatalog::new(Tools {
            ledger,
            volumes: Arc::new(volumes),
            users: Arc::new(move || {
                vec![VolumeUser {
                    container: ContainerId::from_bytes([1; 32]),
                    volumes: Vec::new(),
                    is_damaged,
                }]
            }),
            gate: Arc::default(),
            now: Arc::new(|| Timestamp::UNIX_EPOCH),
            random: Arc::new(|| [1; 32]),
        })
    }

    fn named(name: &str) -> NewVolume {
        NewVolume {
            name: Some(name.to_owned()),
            ..NewVolume::default()
        }
    }

    #[tokio::test]
    async fn one_that_has_no_directory_is_not_there() {
        let temp = tempfile::tempdir().unwrap();
        let known = catalog(temp.path(), false);
        std::fs::create_dir(temp.path().join("volumes")).unwrap();
        let in_the_way = temp.path().join("volumes/vol");
        std::fs::write(&in_the_way, "").unwrap();
        known.create(named("vol")).await.unwrap_err();
        assert_eq!(known.list(&Filters::default()).unwrap(), []);
        drop(known);
        std::fs::remove_file(in_the_way).unwrap();
        let known = catalog(temp.path(), false);
        assert_eq!(known.list(&Filters::default()).unwrap(), []);
        let made = known.create(named("vol")).await.unwrap();
        assert!(known.path(&made.name).is_dir());
    }

    #[tokio::test]
    async fn nothing_is_pruned_where_nobody_knows_who_uses_what() {
        let temp = tempfile::tempdir().unwrap();
        let known = catalog(temp.path(), true);
        known.create(NewVolume::default()).await.unwrap();
        let e = known.prune(Filters::default()).await.unwrap_err();
        assert_eq!(e.kind(), Kind::Conflict);
        let why = "prune: a container's row is damaged";
        assert!(e.message().starts_with(why), "{e}");
        let all = known.list(&Filters::default()).unwrap();
        let e = known.remove(all[0].name.as_str(), true).await.unwrap_err();
        assert!(e.message().contains("row is damaged"), "{e}");
    }

    #[test]
    fn a_prune_takes_named_volumes_only_when_it_is_told_to() {
        let with = |values: &[&str]| {
            let mut filters = Filters::default();
            for value in values {
                filters.insert("all", *value);
            }
            takes_named(&filters).map_err(|e| e.message().to_owned())
        };
        assert_eq!(with(&[]), Ok(false));
        assert_eq!(with(&["1"]), Ok(true));
        assert_eq!(with(&["false"]), Ok(false));
        assert_eq!(
            with(&["yes"]).unwrap_err(),
            r#"invalid filter 'all': strconv.ParseBool: parsing "yes": invalid syntax"#
        );
        assert_eq!(
            with(&["0", "1"]).unwrap_err(),
            "invalid filter 'all=[0 1]': only one value is expected"
        );
    }
}
