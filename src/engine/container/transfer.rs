//! Checkpoints with their containers, from one daemon to another.
//!
//! Sending reads what is at rest, and looks again at the end whether it was. What comes is brought
//! below a claimed id first; the row is written when all of it is there, so a death in the middle
//! leaves files that no row names, and nothing else.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use checkpoints::{
    CheckpointView, Checkpoints, Exported, ExportedVolume, Files, Head, Incoming, Origin, Places,
};
use model::{
    CheckpointName, ContainerId, ContainerState, Context, Error, Exited, Kind, Mount, MountSource,
    Result, Timestamp, UserNamespace, VolumeName,
};
use tokio::io::AsyncRead;
use tokio::runtime::Handle;
use transfer::{Download, Upload};

use crate::Engine;
use crate::container::create::Planned;
use crate::container::{ContainerView, CreateContainer};

/// What of a container stays out of an archive.
#[derive(Debug, Clone, Copy, Default)]
pub struct Without {
    /// Its changes.
    pub rootfs: bool,
    /// The files of its volumes.
    pub volumes: bool,
}

/// A container that comes with a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct ImportContainer {
    /// Its name; `None` is the one it had.
    pub name: Option<String>,
    /// What is left out, though it is in the archive.
    pub without: Without,
}

/// A container has come.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Its id, as it was.
    pub id: ContainerId,
    /// The checkpoint to start it from.
    pub checkpoint: CheckpointName,
    /// As of a create.
    pub warnings: Vec<String>,
}

impl Engine {
    /// What there is to tell of a checkpoint.
    ///
    /// # Errors
    /// 404 for either.
    pub async fn checkpoint(
        &self,
        reference: &str,
        name: CheckpointName,
    ) -> Result<CheckpointView> {
        let checkpoints = self.shared.checkpoints_of(&*self.container(reference)?);
        crate::blocking(move || checkpoints.view(&name)).await
    }

    /// Sends a checkpoint with its container's files. `request` makes the create request by which there
    /// is another such container.
    ///
    /// # Errors
    /// 404 for either; 409 when the container has run since, unless its files stay out; 501 for what cannot
    /// be taken in there; System when the checkpoint is damaged.
    pub async fn export_checkpoint(
        &self,
        reference: &str,
        name: CheckpointName,
        without: Without,
        request: impl Fn(&ContainerView) -> Result<Vec<u8>> + Send + 'static,
    ) -> Result<Download> {
        let handle = self.shared.registry.find(reference)?;
        let view = handle.view();
        let request = request(&view)?;
        if !without.volumes {
            refuse_parts(&view)?;
        }
        let checkpoints = self.shared.checkpoints_of(&view);
        let (of, cp) = (checkpoints.clone(), name.clone());
        let ended_run = crate::blocking(move || of.ended_run(&cp)).await?;
        let mut files = Files::default();
        let bare =
            without.rootfs && (without.volumes || !view.spec.mounts.iter().any(Mount::is_volume));
        if !bare {
            let last = at_rest(&handle, ended_run, &name).await?;
            if !without.rootfs {
                files.changes = Some((view.paths.tree.changed.clone(), last));
            }
            if !without.volumes {
                files.volumes = self.volumes_to_export(&view);
            }
        }
        let look = Handle::current();
        self.inner
            .downloads
            .begin(move |out| {
                let named = (view.name.clone(), view.image_name.clone());
                let outgoing = checkpoints.outgoing(&name, named, &request, files)?;
                outgoing.write(out, || match bare {
                    true => Ok(()),
                    false => look.block_on(at_rest(&handle, ended_run, &name)).map(drop),
                })
            })
            .await
    }

    /// Takes in a container with a checkpoint. It does not run yet. `translate` makes a create of the
    /// request it was made with.
    ///
    /// # Errors
    /// A bad archive (400); 404 when its image is not here; 409 when its id, name or a volume is taken,
    /// or the kernel is another; what a create says.
    pub async fn import_container(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        request: ImportContainer,
        translate: impl FnOnce(&Exported) -> Result<(CreateContainer, Vec<String>)> + Send + 'static,
    ) -> Result<Imported> {
        let engine = self.clone();
        crate::to_the_end(async move {
            let upload = engine.shared.images.uploads().open(archive).await?;
            let incoming = crate::blocking(move || Incoming::open(upload)).await?;
            let (create, told) = translate(&incoming.head.container)?;
            let mut imported = engine.import(incoming, request, create).await?;
            imported.warnings.extend(told);
            Ok(imported)
        })
        .await
    }

    async fn import(
        &self,
        incoming: Incoming<Upload>,
        request: ImportContainer,
        create: CreateContainer,
    ) -> Result<Imported> {
        let head = incoming.head.clone();
        let id = head.origin.container.clone();
        let here = Origin {
            kernel: sys::host::uname().release,
            ..head.origin.clone()
        };
        head.origin.expect_same(&head.checkpoint, &here)?;
        let _claim = self.shared.registry.claim(&id)?;
        let mut planned = self.plan_import(&head, &request, create).await?;
        // Where the name means another image here, or none, it has its id.
        let named = self.images().find(&head.container.image);
        if named.is_ok_and(|image| image.record.id == head.origin.image) {
            planned.row.image_name.clone_from(&head.container.image);
        }
        if let (Some(last), false) = (&head.container.last_run, request.without.rootfs) {
            planned.row.state = ContainerState::Exited(Exited {
                by_request: true,
                by_checkpoint: true,
                error: String::new(),
                ..last.clone()
            });
        }
        let name = planned.row.name.clone();
        let warnings = std::mem::take(&mut planned.warnings);
        let brought = match self.volumes_of(&head, &request, &planned) {
            Ok(volumes) => {
                self.bring(incoming, planned, request.without, volumes)
                    .await
            }
            Err(e) => Err(e),
        };
        if let Err(e) = brought {
            self.shared.registry.release(&name, &id);
            self.take_away(&id).await;
            return Err(e);
        }
        Ok(Imported {
            id,
            checkpoint: head.checkpoint,
            warnings,
        })
    }

    async fn plan_import(
        &self,
        head: &Head,
        request: &ImportContainer,
        mut create: CreateContainer,
    ) -> Result<Planned<'_>> {
        if self.shared.selinux.is_on() {
            // CRIU gives the processes the labels of before, and the files have new ones.
            return Err(Error::not_implemented(
                "an import where containers have SELinux labels is not implemented by moored yet",
            ));
        }
        let image = head.origin.image.to_string();
        let name = &head.container.image;
        create.name = request
            .name
            .clone()
            .or_else(|| Some(head.container.name.to_string()));
        create.image.clone_from(&image);
        // One that has ids of its own cannot be dumped.
        match create.user_namespace {
            UserNamespace::Default if self.inner.ids.remaps() => {
                return Err(Error::conflict(
                    "the container has the host's ids, and userns-remap is set here",
                ));
            }
            UserNamespace::Default | UserNamespace::Host => {}
            _ => {
                return Err(Error::invalid(
                    "a container with ids of its own has no checkpoint",
                ));
            }
        }
        create.spec.runtime = Some(head.origin.runtime.clone());
        match self.plan(create, head.origin.container.clone()).await {
            Err(e) if e.kind() == Kind::NotFound => {
                Err(e).context(format_args!("the container needs its image {name}"))
            }
            planned => planned,
        }
    }

    /// Puts everything in its place, then makes the container.
    async fn bring(
        &self,
        incoming: Incoming<Upload>,
        planned: Planned<'_>,
        without: Without,
        volumes: HashMap<usize, VolumeName>,
    ) -> Result<()> {
        let (engine, id) = (self.clone(), planned.row.id.clone());
        let coming: Vec<VolumeName> = volumes.values().cloned().collect();
        crate::blocking(move || {
            let checkpoints = Checkpoints::of(&engine.shared.layout.container(&id), id.short());
            let store = engine.shared.images.store();
            engine.remove_all_of(&id)?;
            let places = Places {
                images: checkpoints.make_place(&incoming.head.checkpoint)?,
                upper: match without.rootfs || incoming.head.container.last_run.is_none() {
                    true => None,
                    false => Some(store.place_of_changes(id.as_str())?),
                },
                volumes: engine.places_of(&id, &volumes)?,
            };
            incoming.unpack(&places)?;
            engine.shared.volumes.expect(volumes.values())
        })
        .await?;
        self.make(planned, coming).await
    }
}

impl Engine {
    /// After a daemon's death: volumes get the files that have come with a container whose row was
    /// written. To be called before one of them is started.
    pub(crate) async fn finish_imports(&self) {
        let shared = self.shared.clone();
        let arrive = move || {
            for id in shared.volumes.all_coming() {
                if shared.registry.has_id(id.as_str())
                    && let Err(e) = shared.volumes.arrived(&id)
                {
                    tracing::error!(id = id.short(), error = %e, "its volumes have not got all files");
                }
            }
            Ok(())
        };
        drop(crate::blocking(arrive).await);
    }
}

impl Engine {
    /// Each volume of a container once, with its first place in it.
    fn volumes_to_export(&self, view: &ContainerView) -> Vec<(ExportedVolume, PathBuf)> {
        let mut seen = HashSet::new();
        let volumes = view.spec.mounts.iter().filter_map(ExportedVolume::of);
        // One with options is made of them again there.
        let ours = |name: &VolumeName| !self.shared.volumes.is_mounted_on_use(name);
        let once = volumes.filter(|(name, _)| ours(name) && seen.insert(*name));
        once.map(|(name, told)| (told, self.shared.volumes.data(name)))
            .collect()
    }

    /// Removes what has come with containers that no row names; each is claimed meanwhile, so that none
    /// can come to have it.
    pub(crate) fn sweep_imports(&self) -> Result<()> {
        let mut left = self.shared.volumes.all_coming();
        let dirs = std::fs::read_dir(self.shared.layout.containers()).into_iter();
        left.extend(
            dirs.flatten()
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse::<ContainerId>().ok()),
        );
        for id in left {
            if let Ok(_claim) = self.shared.registry.claim(&id) {
                tracing::info!(
                    id = id.short(),
                    "removing files of a container that has no row"
                );
                self.remove_all_of(&id)?;
            }
        }
        Ok(())
    }

    /// The volumes that come, by their numbers in the archive.
    fn volumes_of(
        &self,
        head: &Head,
        request: &ImportContainer,
        planned: &Planned<'_>,
    ) -> Result<HashMap<usize, VolumeName>> {
        if request.without.volumes {
            return Ok(HashMap::new());
        }
        let volumes = head.container.volumes_in(&planned.row.spec.mounts)?;
        volumes
            .values()
            .try_for_each(|name| self.expect_new(name))?;
        Ok(volumes)
    }

    /// # Errors
    /// Conflict when there is such a volume.
    pub(crate) fn expect_new(&self, volume: &VolumeName) -> Result<()> {
        match self.shared.volumes.has(volume) {
            true => Err(Error::conflict(format!(
                "there is a volume {volume}: remove it, or import with ignoreVolumes=1"
            ))),
            false => Ok(()),
        }
    }

    fn places_of(
        &self,
        id: &ContainerId,
        volumes: &HashMap<usize, VolumeName>,
    ) -> Result<HashMap<usize, PathBuf>> {
        if volumes.is_empty() {
            return Ok(HashMap::new());
        }
        let dir = self.shared.volumes.coming(id)?;
        let place = |(number, name): (&usize, &VolumeName)| {
            let place = dir.join(name.as_str());
            std::fs::create_dir(&place).context(format_args!("create {}", place.display()))?;
            Ok((*number, place))
        };
        volumes.iter().map(place).collect()
    }

    /// Removes what an import has brought that did not come to its end.
    async fn take_away(&self, id: &ContainerId) {
        let (engine, gone) = (self.clone(), id.clone());
        if let Err(e) = crate::blocking(move || engine.remove_all_of(&gone)).await {
            tracing::warn!(id = id.short(), error = %e, "parts of a failed import are left");
        }
    }

    /// Removes what is on the disk of a container that has no row.
    pub(crate) fn remove_all_of(&self, id: &ContainerId) -> Result<()> {
        self.shared.images.store().remove_writable(id.as_str())?;
        self.shared.layout.remove_container_dirs(id)?;
        self.shared.volumes.remove_coming(id)
    }
}

/// An archive has whole volumes, and a container that has a part of one is not to take the rest along.
fn refuse_parts(view: &ContainerView) -> Result<()> {
    let is_part = |mount: &&Mount| matches!(&mount.source, MountSource::Volume { options, .. } if options.subpath.is_some());
    match view.spec.mounts.iter().find(is_part) {
        Some(mount) => Err(Error::not_implemented(format!(
            "the export of a container with VolumeOptions.Subpath (at {}) is not implemented by moored \
             yet: export with ignoreVolumes=1",
            mount.destination
        ))),
        None => Ok(()),
    }
}

/// The last run of a container, when its files are those of a checkpoint: that run has ended with it.
async fn at_rest(
    container: &containers::Handle,
    ended_run: Option<Timestamp>,
    name: &CheckpointName,
) -> Result<Exited> {
    let view = container.look().await?;
    if let ContainerState::Exited(last) = &view.state
        && Some(last.started_at) == ended_run
    {
        return Ok(last.clone());
    }
    Err(Error::conflict(format!(
        "the files of container {} may not be those of checkpoint {name} any more: it did not end with \
         it, or has run since. Make a checkpoint with which it ends, or export with ignoreRootFS=1 \
         and ignoreVolumes=1",
        view.name
    )))
}
