//! Creating: a name, a merged and checked spec, a row. Nothing on the host but what the row
//! names, so a crash in between leaves either nothing or a whole container.

use std::sync::Arc;

use catalog::ImageView;
use failpoint::Point;
use model::{
    Action, ContainerId, ContainerName, ContainerSpec, ContainerState, Error, Event, IdMaps,
    IpcMode, Joins, Kind, Mount, NamespaceMode, NetworkMode, PidMode, Platform, Result,
    UserNamespace, VolumeName, VolumesFrom,
};
use spec::CgroupVersion;
use state::ContainerRow;
use tokio::sync::MutexGuard;

use crate::Engine;
use crate::container::{ContainerView, CreateContainer, Created};

/// How often a made-up name is tried before giving up.
const NAME_ATTEMPTS: u32 = 16;

/// A container that is all but written.
#[derive(Debug)]
pub(crate) struct Planned<'a> {
    pub(crate) row: ContainerRow,
    pub(crate) image: ImageView,
    /// For its client.
    pub(crate) warnings: Vec<String>,
    /// Keeps its ids from others.
    _choosing: Option<MutexGuard<'a, ()>>,
}

impl Engine {
    /// Makes a container. It does not run yet.
    ///
    /// # Errors
    /// `No such image: x` (404), a name in use (409), a spec that cannot be (400), and what the
    /// host says when the row cannot be written.
    pub async fn create_container(&self, request: CreateContainer) -> Result<Created> {
        let engine = self.clone();
        crate::to_the_end(async move { engine.create(request).await }).await
    }

    async fn create(&self, request: CreateContainer) -> Result<Created> {
        let id = ContainerId::from_bytes((self.shared.host.random)());
        let mut planned = self.plan(request, id.clone()).await?;
        let (name, warnings) = (
            planned.row.name.clone(),
            std::mem::take(&mut planned.warnings),
        );
        if let Err(e) = self.make(planned, Vec::new()).await {
            self.shared.registry.release(&name, &id);
            return Err(e);
        }
        Ok(Created { id, warnings })
    }

    /// Finds out what a container is to be. Its name is taken then.
    pub(crate) async fn plan(
        &self,
        request: CreateContainer,
        id: ContainerId,
    ) -> Result<Planned<'_>> {
        let image = self.images().find(&request.image)?;
        let platform_warning = rules::platform::check(
            &request.image,
            &image.record.config,
            request.platform.as_ref(),
            &Platform::host(sys::host::amd64_level()),
        )?;
        let driver = self.images().store().driver();
        rules::storage_options::check(&request.storage_options, driver)?;
        let asked_name = request.name.as_deref().map(str::parse).transpose()?;
        let runtime = self
            .shared
            .runtimes
            .resolve(request.spec.runtime.as_deref(), request.spec.no_cgroups)
            .await?;
        let mut spec =
            rules::merge::image_into_spec(&image.record.config, request.spec, request.stop_signal)?;
        spec.mounts = self.with_borrowed(spec.mounts, &request.volumes_from)?;
        let (image_volumes, random) = (&image.record.config.volumes, &*self.shared.host.random);
        let declared = request.declared_volumes.iter().chain(image_volumes);
        let (asked, driver) = (request.anonymous_volumes, &request.volume_driver);
        rules::place_volumes(&mut spec.mounts, asked, declared, driver, random);
        let cgroupns = self.default_cgroupns(spec.no_cgroups);
        spec.cgroupns_mode.get_or_insert(cgroupns);
        let choosing = self.choosing(&request.user_namespace).await;
        let (engine, wish) = (self.clone(), request.user_namespace.clone());
        spec.id_maps = crate::blocking(move || engine.id_maps(&wish)).await?;
        self.join(&request.joins, &mut spec)?;
        self.find_networks(&mut spec, request.endpoints)?;
        let mut warnings = self.hold(&mut spec)?;
        warnings.extend(platform_warning);
        let asked = spec.clone();
        crate::blocking(move || ::spec::check_bind_sources(&asked)).await?;
        let parent = spec.cgroup_parent.as_deref();
        self.shared.runtimes.cgroups_path(&id, parent)?;
        if spec.hostname.is_empty() {
            spec.hostname = default_hostname(&spec, &id);
        }
        let name = self.reserve_name(asked_name, &id)?;
        let row = ContainerRow {
            id,
            name,
            created_at: (self.shared.host.now)(),
            image_id: image.record.id.clone(),
            image_name: request.image,
            runtime: runtime.to_string(),
            spec,
            echo: request.echo,
            state: ContainerState::Created { failure: None },
            intent: None,
            restart_count: 0,
            health: None,
            attachment: None,
        };
        Ok(Planned {
            row,
            image,
            warnings,
            _choosing: choosing,
        })
    }

    /// Checks what is asked for, and leaves what this host can give; the answer is what it cannot.
    fn hold(&self, spec: &mut ContainerSpec) -> Result<Vec<String>> {
        let limits = ::spec::check(spec, &self.shared.facts)?;
        spec.resources = limits.in_force;
        let mut warnings = limits.warnings;
        warnings.extend(self.choose_policies(spec)?);
        Ok(warnings)
    }

    /// Writes the row, then makes the container visible with a task of its own. The files of the
    /// volumes in `coming` are there, and nobody has volumes of these names.
    pub(crate) async fn make(&self, planned: Planned<'_>, coming: Vec<VolumeName>) -> Result<()> {
        let Planned { row, image, .. } = &planned;
        // The image may have been removed since it was looked up; holding the gate keeps it, and
        // the volumes that are there now.
        let _gate = self.shared.images.gate().await;
        if self.images().find(image.record.id.as_str()).is_err() {
            return Err(Error::not_found(format!(
                "No such image: {}",
                row.image_name
            )));
        }
        // From the look to the row, so that a volume is made once.
        let has_volumes = row.spec.mounts.iter().any(Mount::is_volume);
        let _making = match has_volumes {
            true => Some(self.inner.volumes.making().await),
            false => None,
        };
        coming
            .iter()
            .try_for_each(|volume| self.expect_new(volume))?;
        let new_volumes = self
            .shared
            .volumes
            .new_in(&row.spec.mounts, (self.shared.host.now)())?;
        let newcomer = self.shared.newcomer(row, &image.record.layers);
        let mut events: Vec<Event> = new_volumes
            .iter()
            .map(|volume| self.shared.volume_event(&volume.name, &Action::Create))
            .collect();
        let view = newcomer.handle().view();
        events.push(self.shared.container_event(&view, &Action::Create));
        let (shared, made) = (self.shared.clone(), newcomer.handle().clone());
        let volumes = new_volumes.clone();
        // Who is told of it finds it there.
        let ledger = self.shared.ledger.telling(events).applying(move || {
            shared.volumes.remember(volumes.clone());
            if !coming.is_empty()
                && let Err(e) = shared.volumes.arrived(made.id())
            {
                // The next daemon tries again.
                tracing::error!(id = made.id().short(), error = %e, "a volume has not got its files");
            }
            shared.registry.insert(made.clone());
        });
        failpoint::reach(Point::CreateBegun).await?;
        ledger
            .insert_container(planned.row.clone(), new_volumes)
            .await?;
        drop(failpoint::reach(Point::CreateWritten).await);
        newcomer.begin();
        Ok(())
    }

    /// A container's own mounts with what it takes from others, as they are now.
    fn with_borrowed(&self, own: Vec<Mount>, from: &[VolumesFrom]) -> Result<Vec<Mount>> {
        let mut borrowed = rules::Borrowed::default();
        for from in from {
            // In moby's status (`registerMountPoints`).
            let other = self.container(&from.container);
            let other = other.map_err(|e| Error::invalid(e.message()))?;
            if other.is_damaged() {
                return Err(Error::conflict(format!(
                    "nobody knows what container {} mounts: its row in the ledger is damaged",
                    from.container
                )));
            }
            borrowed.take(&other.spec.mounts, from.read_only)?;
        }
        let mut all = borrowed.below(own);
        rules::tell_of_unmounts(&mut all, self.shared.layout.data_root())?;
        Ok(all)
    }

    /// Keeps others from the ids that a container is to have for itself.
    async fn choosing(&self, wish: &UserNamespace) -> Option<MutexGuard<'_, ()>> {
        match wish {
            UserNamespace::Auto { .. } | UserNamespace::Mapped(_) => {
                Some(self.inner.ids.choosing().await)
            }
            UserNamespace::Default | UserNamespace::Host => None,
        }
    }

    fn id_maps(&self, wish: &UserNamespace) -> Result<Option<IdMaps>> {
        let views = self.shared.registry.views();
        let used = views.iter().filter_map(|view| view.spec.id_maps.as_ref());
        self.inner.ids.choose(wish, &used.collect::<Vec<_>>())
    }

    /// Finds the containers whose namespaces it is to have. Whether they run counts at its start.
    fn join(&self, joins: &Joins, spec: &mut ContainerSpec) -> Result<()> {
        let find = |name: &String| -> Result<Arc<ContainerView>> {
            // Not 404, which tells clients to pull the image (moby `getPIDContainer`).
            let found = self.shared.registry.find(name);
            Ok(found.map_err(|e| Error::invalid(e.message()))?.view())
        };
        let pid = joins.pid.as_ref().map(find).transpose()?;
        let ipc = joins.ipc.as_ref().map(find).transpose()?;
        let network = joins.network.as_ref().map(find).transpose()?;
        // A pid or ipc namespace belongs to a user namespace, and so do those in it.
        let mut donors = pid.iter().chain(&ipc).chain(&network);
        if let Some(other) = donors.find(|donor| donor.spec.id_maps != spec.id_maps) {
            return Err(Error::invalid(format!(
                "cannot join the namespaces of container {}: the two have other ids behind theirs",
                other.id
            )));
        }
        if let Some(donor) = pid {
            spec.pid_mode = PidMode::Container(donor.id.clone());
        }
        if let Some(donor) = ipc {
            spec.ipc_mode = IpcMode::Container(donor.id.clone());
        }
        if let Some(donor) = network {
            // Its files in /etc are the other's, too.
            spec.hostname = donor.spec.hostname.clone();
            spec.domainname = donor.spec.domainname.clone();
            spec.network = NetworkMode::Container(donor.id.clone());
        }
        Ok(())
    }

    /// Profile and labels.
    fn choose_policies(&self, spec: &mut ContainerSpec) -> Result<Vec<String>> {
        let views = self.shared.registry.views();
        let used = views.iter().filter_map(|view| view.spec.selinux.as_ref());
        let joined = [spec.pid_mode.donor(), spec.ipc_mode.donor()].map(Option::<&_>::cloned);
        let is_joined = |id: &ContainerId| joined.iter().flatten().any(|joined| joined == id);
        let donors = views.iter().filter(|view| is_joined(&view.id));
        let donors: Vec<_> = donors
            .filter_map(|view| view.spec.selinux.as_ref())
            .collect();
        let (apparmor, selinux) = (&self.shared.apparmor, &self.shared.selinux);
        confine::choose(
            apparmor,
            selinux,
            spec,
            &donors,
            used,
            &*self.shared.host.random,
        )
    }

    /// Docker's default: the host's on cgroup v1, a private one on v2. Fixed at create, so that a
    /// container keeps what inspect has shown.
    fn default_cgroupns(&self, no_cgroups: bool) -> NamespaceMode {
        match self.shared.facts.cgroup.version {
            _ if no_cgroups => NamespaceMode::Host,
            CgroupVersion::V1 => NamespaceMode::Host,
            CgroupVersion::V2 => NamespaceMode::Private,
        }
    }

    /// Takes the asked-for name, or makes one up.
    fn reserve_name(
        &self,
        asked: Option<ContainerName>,
        id: &ContainerId,
    ) -> Result<ContainerName> {
        if let Some(name) = asked {
            self.shared.registry.reserve(&name, id)?;
            return Ok(name);
        }
        for attempt in 0..NAME_ATTEMPTS {
            let name = rules::made_up_name((self.shared.host.random)(), attempt);
            match self.shared.registry.reserve(&name, id) {
                Ok(()) => return Ok(name),
                Err(e) if self.shared.registry.is_taken(&name) => drop(e),
                Err(e) => return Err(e),
            }
        }
        Err(Error::new(
            Kind::System,
            "no free name found: name the container yourself",
        ))
    }
}

/// The short id; on the host's network or uts the host's name.
fn default_hostname(spec: &ContainerSpec, id: &ContainerId) -> String {
    if spec.network == NetworkMode::Host || spec.uts_mode == NamespaceMode::Host {
        return sys::host::uname().node;
    }
    id.short().to_owned()
}
