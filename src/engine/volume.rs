//! Volumes: the use cases. Nobody removes what a container names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use failpoint::Point;
use model::{Action, Error, Filters, Kind, Result, VolumeName, VolumeRecord};
use rules::Patterns;

use containers::remove_doomed;

use crate::Engine;

/// The filters a list of volumes takes.
const KEYS: &[&str] = &["dangling", "driver", "label", "name"];

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
            labels.extend(volumes::anonymous_label());
        }
        let name = name.unwrap_or_else(|| VolumeName::anonymous((self.shared.host.random)()));
        // Removals hold all of it.
        let _gate = self.shared.images.gate().await;
        let _making = self.inner.making_volumes.lock().await;
        if let Some(known) = self.shared.volumes.get(name.as_str()) {
            return Ok(known);
        }
        let created_at = (self.shared.host.now)();
        let record = VolumeRecord {
            name,
            anonymous,
            created_at,
            labels,
            options,
        };
        let event = self.shared.volume_event(&record.name, &Action::Create);
        let (shared, made) = (self.shared.clone(), record.clone());
        let ledger = self.shared.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || shared.volumes.remember(vec![made.clone()]));
        ledger.put_volume(&record).await?;
        failpoint::reach(Point::VolumeWritten).await?;
        let (shared, name) = (self.shared.clone(), record.name.clone());
        crate::blocking(move || shared.volumes.ensure_data(&name)).await?;
        drop(failpoint::reach(Point::VolumeMade).await);
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
        let records = self.shared.volumes.all();
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
        self.shared.volumes.get(name).ok_or_else(|| {
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
        let gate = self.shared.images.gate_all().await;
        if self
            .shared
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
        let (shared, name) = (self.shared.clone(), record.name.clone());
        let doomed = crate::blocking(move || shared.volumes.doom_data(&name)).await?;
        failpoint::reach(Point::VolumeDoomed).await?;
        let event = self.shared.volume_event(&record.name, &Action::Destroy);
        let (shared, gone) = (self.shared.clone(), record.name.clone());
        let ledger = self.shared.ledger.telling(vec![event]);
        let ledger = ledger.applying(move || shared.volumes.forget(std::slice::from_ref(&gone)));
        ledger.delete_volume(&record.name).await?;
        drop(failpoint::reach(Point::VolumeForgotten).await);
        drop(gate);
        remove_doomed(doomed.into_iter().collect()).await;
        drop(failpoint::reach(Point::VolumeDone).await);
        Ok(())
    }

    /// Where a volume's data are on the host.
    pub fn volume_path(&self, name: &VolumeName) -> PathBuf {
        self.shared.volumes.data(name)
    }

    /// The bytes of a volume's files.
    ///
    /// # Errors
    /// System: they cannot be looked at.
    pub async fn volume_size(&self, name: &VolumeName) -> Result<u64> {
        let (shared, name) = (self.shared.clone(), name.clone());
        crate::blocking(move || shared.volumes.size(&name)).await
    }

    fn volume_user(&self, name: &VolumeName) -> Option<model::ContainerId> {
        let all = self.shared.registry.all();
        all.iter()
            .map(|h| h.view())
            .find(|view| view.uses(name))
            .map(|view| view.id.clone())
    }
}
