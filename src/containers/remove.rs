//! Removing: the intent, then everything the container has on the host, then its row.
//!
//! Every step can be done again, so recovery finishes a removal that was cut short by doing it
//! once more from the start.

use std::sync::Arc;

use failpoint::Point;
use model::{Action, ContainerState, Error, Event, Intent, Kind, MountSource, Result, VolumeName};
use rules::Operation;

use crate::Shared;
use crate::actor::{Actor, Done, answer};
use crate::handle::Reply;
use crate::refusal::check;
use crate::{ContainerView, RemoveContainer};

impl Actor {
    /// Begins a removal, for all who wait for one.
    pub(crate) async fn begin_remove(&mut self, request: RemoveContainer, reply: Reply<()>) {
        let view = self.view();
        let operation = Operation::Remove {
            force: request.force,
        };
        if let Err(e) = check(&view, operation) {
            answer(reply, Err(e));
            return;
        }
        let (mut replies, joined) = self.join_removals();
        replies.push(reply);
        let volumes = request.volumes || joined;
        let intent = Intent::Removing { volumes };
        if let Err(e) = self.promise(ContainerState::Removing, intent).await {
            // Whoever waits for the end of a `--rm` container waits for this.
            self.handle
                .advance(|l| l.removal_error = Some(e.message().to_owned()));
            for reply in replies {
                answer(reply, Err(e.clone()));
            }
            return;
        }
        self.start_due = None;
        self.handle.advance(|l| l.removal_error = None);
        let (engine, handle) = (self.engine.clone(), self.handle.clone());
        self.begin(async move {
            handle.streams.finish().await;
            handle.streams.close_log().await;
            engine.execs.close_logs_of(&view.id).await;
            let result = engine.remove_container_files(&view, volumes).await;
            Done::Remove {
                result,
                intent,
                replies,
            }
        });
    }

    /// True when the container is gone.
    pub(crate) async fn conclude_remove(
        &mut self,
        result: &Result<()>,
        intent: Intent,
        replies: Vec<Reply<()>>,
    ) -> bool {
        match result {
            Ok(()) => {
                self.engine.registry.remove(&self.handle);
                self.engine.networks.abandon(self.handle.id());
                self.handle.advance(|l| l.removed = true);
                self.engine.tidy_soon();
                tracing::info!("removed");
            }
            Err(e) => {
                tracing::error!(error = %e, "removal failed");
                let dead = ContainerState::Dead {
                    reason: e.message().to_owned(),
                };
                // The intent stays: the next daemon tries again.
                drop(self.set_state(dead, Some(intent), vec![]).await);
                self.handle
                    .advance(|l| l.removal_error = Some(e.message().to_owned()));
            }
        }
        for reply in replies {
            answer(reply, result.clone());
        }
        result.is_ok()
    }
}

impl Shared {
    /// Takes away everything a container has, its row last.
    pub(crate) async fn remove_container_files(
        self: &Arc<Self>,
        view: &ContainerView,
        volumes: bool,
    ) -> Result<()> {
        failpoint::reach(Point::RemovePromised).await?;
        self.refuse_strangers(view)?;
        // What the runtime still knows may run: its row must not go before it.
        self.clean_up_run(view, true).await?;
        failpoint::reach(Point::RemoveCleaned).await?;
        let (engine, id) = (self.clone(), view.id.clone());
        crate::blocking(move || {
            engine.images.store().remove_writable(id.as_str())?;
            failpoint::hit(Point::RemoveLayerGone)?;
            engine.layout.remove_container_dirs(&id)?;
            Ok(failpoint::hit(Point::RemoveFilesGone)?)
        })
        .await?;
        // Nobody may come to name a volume between the question who does and its end.
        let has_volumes = volumes && !self.anonymous_volumes(view).is_empty();
        let gate = match has_volumes {
            true => Some(self.images.gate_all().await),
            false => None,
        };
        let names = match has_volumes {
            true => self.anonymous_volumes(view),
            false => Vec::new(),
        };
        let (engine, going) = (self.clone(), names.clone());
        let aside = crate::blocking(move || engine.volumes.set_aside(&going)).await?;
        let written = self.forget_container(view, names).await;
        let doomed = ::volumes::settle(aside, written).await?;
        self.execs.forget_of(&view.id).await;
        drop(gate);
        // From here on it is gone: what cannot go now is swept when the daemon starts.
        drop(failpoint::reach(Point::RemoveWritten).await);
        ::volumes::remove_doomed(doomed).await;
        drop(failpoint::reach(Point::RemoveDone).await);
        Ok(())
    }

    /// Takes a container's row away, and those of the volumes that go with it.
    async fn forget_container(
        self: &Arc<Self>,
        view: &ContainerView,
        volumes: Vec<VolumeName>,
    ) -> Result<()> {
        failpoint::reach(Point::RemoveVolumesDoomed).await?;
        let mut events: Vec<Event> = volumes
            .iter()
            .map(|name| self.volume_event(name, &Action::Destroy))
            .collect();
        events.push(self.container_event(view, &Action::Destroy));
        let (inner, gone_volumes) = (self.clone(), volumes.clone());
        let gone = self.registry.find(view.id.as_str()).ok();
        let ledger = self.ledger.telling(events).applying(move || {
            inner.volumes.forget(&gone_volumes);
            gone.iter().for_each(|handle| inner.registry.remove(handle));
        });
        match ledger.delete_container(&view.id, volumes).await {
            Err(e) if e.kind() == Kind::NotFound => Ok(()),
            written => written,
        }
    }

    /// A runtime that is configured no more cannot be told to let go of the container, which may
    /// run on.
    fn refuse_strangers(&self, view: &ContainerView) -> Result<()> {
        match self.runtimes.unconfigured_of(&view.id).as_slice() {
            [] => Ok(()),
            [name, ..] => Err(Error::system(format!(
                "the runtime {name} has container {} and is configured no more: configure it \
                 again, then remove the container",
                view.id
            ))),
        }
    }

    /// The anonymous volumes that only this container has; none while nobody knows what some container
    /// has, as its row is damaged. They can be pruned when that one is gone.
    fn anonymous_volumes(&self, view: &ContainerView) -> Vec<VolumeName> {
        let all = self.registry.all();
        if all.iter().any(|other| other.view().is_damaged()) {
            return Vec::new();
        }
        let own = view.spec.mounts.iter().filter_map(|m| match &m.source {
            MountSource::Volume {
                name,
                anonymous: true,
                ..
            } => Some(name.clone()),
            _ => None,
        });
        own.filter(|name| {
            !all.iter().any(|other| {
                let other = other.view();
                other.id != view.id && other.uses(name)
            })
        })
        .collect()
    }
}
