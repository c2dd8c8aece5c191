//! Creating: a name, a merged and checked spec, a row. Nothing on the host but what the row
//! names, so a crash in between leaves either nothing or a whole container.

use std::collections::BTreeMap;

use catalog::ImageView;
use failpoint::Point;
use model::{
    Action, ContainerId, ContainerName, ContainerSpec, ContainerState, Error, Event, IdMaps, Kind,
    Mount, MountSource, NamespaceMode, NetworkMode, Platform, Result, UserNamespace, VolumeName,
    VolumeRecord,
};
use spec::CgroupVersion;
use state::ContainerRow;

use crate::Engine;
use crate::container::actor::Actor;
use crate::container::handle::Handle;
use crate::container::wait::Lifecycle;
use crate::container::{CreateContainer, Created, row};
use crate::streams::ContainerStreams;
use crate::volume::anonymous_label;

/// How often a made-up name is tried before giving up.
const NAME_ATTEMPTS: u32 = 16;

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
        let image = self.image(&request.image)?;
        let platform_warning = rules::platform::check(
            &request.image,
            &image.record.config,
            request.platform.as_ref(),
            &Platform::host(sys::host::amd64_level()),
        )?;
        let asked_name = request.name.as_deref().map(str::parse).transpose()?;
        let runtime = self
            .inner
            .runtimes
            .resolve(request.spec.runtime.as_deref())
            .await?;
        let mut spec =
            rules::merge::image_into_spec(&image.record.config, request.spec, request.stop_signal)?;
        let image_volumes = &image.record.config.volumes;
        self.place_volumes(&mut spec.mounts, &request.anonymous_volumes, image_volumes);
        spec.cgroupns_mode
            .get_or_insert_with(|| self.default_cgroupns());
        let _choosing = match request.user_namespace {
            UserNamespace::Auto { .. } | UserNamespace::Mapped(_) => {
                Some(self.inner.ids.choosing().await)
            }
            UserNamespace::Default | UserNamespace::Host => None,
        };
        let (engine, wish) = (self.clone(), request.user_namespace.clone());
        spec.id_maps = crate::blocking(move || engine.id_maps(&wish)).await?;
        let mut warnings = ::spec::check(&spec, &self.inner.facts)?;
        warnings.extend(platform_warning);
        warnings.extend(self.choose_apparmor(&mut spec));
        let asked = spec.clone();
        crate::blocking(move || ::spec::check_bind_sources(&asked)).await?;
        let id = ContainerId::from_bytes((self.inner.host.random)());
        let parent = spec.cgroup_parent.as_deref();
        self.inner.runtimes.cgroups_path(&id, parent)?;
        if spec.hostname.is_empty() {
            spec.hostname = default_hostname(&spec, &id);
        }
        let name = self.reserve_name(asked_name, &id)?;
        let row = ContainerRow {
            id: id.clone(),
            name: name.clone(),
            created_at: (self.inner.host.now)(),
            image_id: image.record.id.clone(),
            image_name: request.image,
            runtime: runtime.to_string(),
            spec,
            echo: request.echo,
            state: ContainerState::Created { failure: None },
            intent: None,
            restart_count: 0,
            health: None,
        };
        if let Err(e) = self.make(row, &image).await {
            self.inner.registry.release(&name, &id);
            return Err(e);
        }
        Ok(Created { id, warnings })
    }

    /// Writes the row, then makes the container visible with a task of its own.
    async fn make(&self, row: ContainerRow, image: &ImageView) -> Result<()> {
        // The image may have been removed since it was looked up; holding the gate keeps it, and
        // the volumes that are there now.
        let _gate = self.inner.images.gate().await;
        if self.image(image.record.id.as_str()).is_err() {
            return Err(Error::not_found(format!(
                "No such image: {}",
                row.image_name
            )));
        }
        // From the look to the row, so that a volume is made once.
        let has_volumes = row.spec.mounts.iter().any(is_volume);
        let _making = match has_volumes {
            true => Some(self.inner.making_volumes.lock().await),
            false => None,
        };
        let new_volumes = self.new_volumes(&row.spec.mounts);
        let view = row::view(&self.inner, &row, &image.record.layers);
        let mut events: Vec<Event> = new_volumes
            .iter()
            .map(|volume| self.inner.volume_event(&volume.name, &Action::Create))
            .collect();
        events.push(self.inner.container_event(&view, &Action::Create));
        let streams = ContainerStreams::of(&view, &self.inner.spill);
        let (handle, inbox) = Handle::new(view, Lifecycle::default(), streams);
        let (inner, made, volumes) = (self.inner.clone(), handle.clone(), new_volumes.clone());
        // Who is told of it finds it there.
        let ledger = self.inner.ledger.telling(events).applying(move || {
            inner.volumes.remember(volumes.clone());
            inner.registry.insert(made.clone());
        });
        failpoint::reach(Point::CreateBegun).await?;
        ledger.insert_container(row, new_volumes).await?;
        drop(failpoint::reach(Point::CreateWritten).await);
        tokio::spawn(Actor::new(self.inner.clone(), handle, inbox).run());
        Ok(())
    }

    fn id_maps(&self, wish: &UserNamespace) -> Result<Option<IdMaps>> {
        let views: Vec<_> = self.inner.registry.all().iter().map(|h| h.view()).collect();
        let used = views.iter().filter_map(|view| view.spec.id_maps.as_ref());
        self.inner.ids.choose(wish, &used.collect::<Vec<_>>())
    }

    /// Fixed at create, so that inspect shows it; a warning where it is not to be had.
    fn choose_apparmor(&self, spec: &mut ContainerSpec) -> Option<String> {
        let asked = spec.apparmor.take();
        let apparmor = &self.inner.apparmor;
        spec.apparmor = apparmor.choose(asked.as_deref(), spec.privileged);
        let wants = asked.is_some_and(|profile| profile != "unconfined");
        let in_vain = wants && !apparmor.is_on();
        in_vain.then(|| "AppArmor is not enabled: the profile is not applied".to_owned())
    }

    /// Docker's default: the host's on cgroup v1, a private one on v2. Fixed at create, so that a
    /// container keeps what inspect has shown.
    fn default_cgroupns(&self) -> NamespaceMode {
        match self.inner.facts.cgroup.version {
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
            self.inner.registry.reserve(&name, id)?;
            return Ok(name);
        }
        for attempt in 0..NAME_ATTEMPTS {
            let name = rules::made_up_name((self.inner.host.random)(), attempt);
            match self.inner.registry.reserve(&name, id) {
                Ok(()) => return Ok(name),
                Err(e) if self.inner.registry.is_taken(&name) => drop(e),
                Err(e) => return Err(e),
            }
        }
        Err(Error::new(
            Kind::System,
            "no free name found: name the container yourself",
        ))
    }

    /// Adds an anonymous volume for every declared path that no mount covers.
    fn place_volumes(&self, mounts: &mut Vec<Mount>, asked: &[String], image: &[String]) {
        for destination in asked.iter().chain(image) {
            let destination = clean_path(destination);
            if mounts
                .iter()
                .any(|m| clean_path(&m.destination) == destination)
            {
                continue;
            }
            let name = VolumeName::anonymous((self.inner.host.random)());
            mounts.push(Mount {
                source: MountSource::Volume {
                    name,
                    anonymous: true,
                    no_copy: false,
                },
                destination,
                read_only: false,
                propagation: model::mount::Propagation::default(),
                mode: String::new(),
            });
        }
    }

    /// The records of volumes that must be made: anonymous ones and named ones nobody has yet.
    fn new_volumes(&self, mounts: &[Mount]) -> Vec<VolumeRecord> {
        let mut new = Vec::new();
        for mount in mounts {
            if let MountSource::Volume {
                name, anonymous, ..
            } = &mount.source
                && !self.inner.volumes.has(name)
                && !new.iter().any(|known: &VolumeRecord| known.name == *name)
            {
                new.push(VolumeRecord {
                    name: name.clone(),
                    anonymous: *anonymous,
                    created_at: (self.inner.host.now)(),
                    labels: if *anonymous {
                        anonymous_label()
                    } else {
                        BTreeMap::new()
                    },
                    options: BTreeMap::new(),
                });
            }
        }
        new
    }
}

fn is_volume(mount: &Mount) -> bool {
    matches!(mount.source, MountSource::Volume { .. })
}

/// The short id; on the host's network or uts the host's name.
fn default_hostname(spec: &ContainerSpec, id: &ContainerId) -> String {
    if spec.network == NetworkMode::Host || spec.uts_mode == NamespaceMode::Host {
        return sys::host::uname().node;
    }
    id.short().to_owned()
}

/// `/a//b/` is `/a/b`; the root stays `/`.
fn clean_path(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .collect();
    format!("/{}", parts.join("/"))
}
