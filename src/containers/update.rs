//! Other limits and another restart policy for a container that is there.
//!
//! ```text
//!   row: new, old pending --> runtime: forward --> row: new      a daemon that dies in between
//!                                  |                             leaves the rest to the next one
//!                             runtime: back    --> row: old
//! ```
//! The kernel holds a container's limits, the row promises them. Both sides are in the row before the
//! runtime is called, so that whoever finds them there can make them one again: forward where the
//! kernel takes the new limits, else back. Without a process there is nothing but the row.

use std::sync::Arc;

use failpoint::Point;
use model::{Action, ContainerSpec, ContainerState, Error, PendingUpdate, Pid, Resources, Result};
use rules::{Operation, RunEnd};
use runtime::RuntimeName;
use tokio_util::sync::CancellationToken;

use crate::actor::{Actor, Done, answer};
use crate::handle::Reply;
use crate::{ContainerView, Shared, UpdateContainer, check};

/// An update for which the runtime is called.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the container is to be.
    to: ContainerSpec,
    /// What it was, and goes back to.
    before: PendingUpdate,
    runtime: RuntimeName,
    /// What the runtime is told.
    forward: Vec<u8>,
    /// What undoes that.
    back: Option<Vec<u8>>,
    /// Whether that undoes all of it.
    goes_back: bool,
    /// An earlier one came to no end: the kernel may have any of its limits.
    in_doubt: bool,
}

/// How that came out.
#[derive(Debug)]
pub(crate) enum Updated {
    /// The kernel has the new limits, or there is nothing left that could have any.
    Made,
    /// It was not made.
    Failed {
        error: Error,
        /// Whether the kernel has again what it had.
        is_undone: bool,
    },
}

impl Actor {
    /// Begins an update; without a process it is done with that.
    pub(crate) async fn begin_update(&mut self, request: UpdateContainer, reply: Reply<()>) {
        if let Err(e) = self.try_update(request).await {
            answer(reply, Err(self.cannot_update(&e)));
        } else if self.is_busy() {
            self.updating.reply = Some(reply);
        } else {
            answer(reply, Ok(()));
        }
    }

    async fn try_update(&mut self, request: UpdateContainer) -> Result<()> {
        let view = self.view();
        let to = updated(&view, request, &self.engine.facts)?;
        let before = PendingUpdate {
            resources: view.spec.resources.clone(),
            restart_policy: view.spec.restart_policy.clone(),
            is_news: true,
        };
        let Some((plan, init)) = self.plan(to.clone(), before.clone())? else {
            return self.write_spec(to, true).await;
        };
        let promise = ContainerSpec {
            pending_update: Some(Box::new(before)),
            ..to
        };
        let ledger = &self.engine.ledger;
        ledger.update_container_spec(&view.id, &promise).await?;
        self.call(plan, init);
        Ok(())
    }

    /// Takes up an update that another daemon had begun. It is known whether the container runs.
    pub(crate) async fn take_up_update(&mut self) {
        let spec = &self.view().spec;
        let Some(before) = spec.pending_update.as_deref().cloned() else {
            return;
        };
        let (to, is_news) = ((**spec).clone(), before.is_news);
        match self.plan(to.clone(), before) {
            Ok(Some((plan, init))) => self.call(plan, init),
            Ok(None) => drop(self.write_spec(to, is_news).await),
            Err(e) => tracing::error!(error = %e, "an update that was begun is not taken up"),
        }
    }

    /// What the runtime is to be told, and the first process; `None` when there is nothing to tell, or
    /// nobody whom it would concern.
    fn plan(&self, to: ContainerSpec, before: PendingUpdate) -> Result<Option<(Plan, Pid)>> {
        let Some(task) = &self.task else {
            return Ok(None);
        };
        let view = self.view();
        let runtime = self.engine.runtime_of(&view)?;
        let no_pids_limit = self.engine.runtimes.no_pids_limit(&runtime);
        let facts = &self.engine.facts;
        let document =
            |from: &[&Resources], to| spec::update_document(from, to, facts, no_pids_limit);
        let pending = view.spec.pending_update.as_deref();
        let mut from = vec![&view.spec.resources];
        from.extend(pending.map(|pending| &pending.resources));
        let Some(forward) = document(&from, &to.resources) else {
            return Ok(None);
        };
        from.push(&to.resources);
        let back = document(&from, &before.resources);
        let goes_back = spec::can_go_back(&from, &before.resources);
        let in_doubt = pending.is_some();
        let plan = Plan {
            to,
            before,
            runtime,
            forward,
            back,
            goes_back,
            in_doubt,
        };
        Ok(Some((plan, task.init().pid)))
    }

    fn call(&mut self, plan: Plan, init: Pid) {
        let (ended, plan) = (CancellationToken::new(), Arc::new(plan));
        self.updating.ended = ended.clone();
        self.updating.plan = Some(plan.clone());
        let (engine, view) = (self.engine.clone(), self.view());
        self.begin(async move {
            Done::Update(tokio::select! {
                called = plan.call(&engine, &view, init) => called,
                // There is nothing left that the runtime could change.
                () = ended.cancelled() => Updated::Made,
            })
        });
    }

    /// Takes in what the runtime made of it.
    pub(crate) async fn conclude_update(&mut self, updated: Updated) {
        let Some(plan) = self.updating.plan.take() else {
            return;
        };
        drop(failpoint::reach(Point::UpdateDone).await);
        let result = match updated {
            // One that has ended meanwhile gets the new limits at its next start.
            Updated::Made => self.take_in(&plan).await,
            Updated::Failed { error, is_undone } => {
                // Without a process the kernel has none.
                let is_undone = is_undone || self.task.is_none();
                self.keep_what_was(&plan, is_undone).await;
                Err(error)
            }
        };
        let result = result.map_err(|e| self.cannot_update(&e));
        match self.updating.reply.take() {
            Some(reply) => answer(reply, result),
            None => drop(result.inspect_err(|e| tracing::error!(error = %e, "an update failed"))),
        }
    }

    /// The update under way, if there is one, was lost: nobody knows how far it had come.
    pub(crate) async fn lose_update(&mut self, reason: &str) {
        let error = Error::system(format!("an operation of the daemon failed: {reason}"));
        let lost = Updated::Failed {
            error,
            is_undone: false,
        };
        self.conclude_update(lost).await;
    }

    /// Writes what holds. The picture follows the kernel also where the ledger cannot be written; it has
    /// both sides then, and the next daemon finds out which holds.
    async fn take_in(&mut self, plan: &Plan) -> Result<()> {
        let (to, before) = (plan.to.clone(), plan.before.clone());
        let written = self.write_spec(to.clone(), before.is_news).await;
        if written.is_err() {
            let spec = ContainerSpec {
                pending_update: Some(Box::new(before)),
                ..to
            };
            self.handle.publish(with_spec(&self.view(), spec));
        }
        written
    }

    /// Writes that nothing has changed. Not written is no great harm: the next daemon tries it again.
    async fn keep_what_was(&mut self, plan: &Plan, is_undone: bool) {
        let (to, before) = (plan.to.clone(), plan.before.clone());
        let not_made = PendingUpdate {
            resources: to.resources,
            restart_policy: to.restart_policy,
            is_news: false,
        };
        let spec = ContainerSpec {
            resources: before.resources,
            restart_policy: before.restart_policy,
            pending_update: (!is_undone).then(|| Box::new(not_made)),
            ..to
        };
        let view = self.view();
        if let Err(e) = self
            .engine
            .ledger
            .update_container_spec(&view.id, &spec)
            .await
        {
            tracing::error!(error = %e, "the ledger was not written");
        }
        self.handle.publish(with_spec(&view, spec));
    }

    /// Writes what the container is from now on, tells of it, and acts on it.
    async fn write_spec(&mut self, mut spec: ContainerSpec, is_news: bool) -> Result<()> {
        spec.pending_update = None;
        let view = with_spec(&self.view(), spec);
        let event = self.engine.container_event(&view, &Action::Update);
        let events = is_news.then_some(event).into_iter().collect();
        let (handle, published) = (self.handle.clone(), view.clone());
        let ledger = self.engine.ledger.telling(events);
        let ledger = ledger.applying(move || handle.publish(published.clone()));
        ledger.update_container_spec(&view.id, &view.spec).await?;
        drop(failpoint::reach(Point::UpdateWritten).await);
        self.follow_new_policy().await;
        Ok(())
    }

    /// The policy counts from now on, also for a start that is to come.
    async fn follow_new_policy(&mut self) {
        let view = self.view();
        if let ContainerState::Restarting(restarting) = &view.state {
            let end = RunEnd {
                code: restarting.last.status.code(),
                by_request: restarting.last.by_request,
                // The start that is to come is counted already.
                restarts: view.restart_count.saturating_sub(1),
            };
            if !rules::starts_again(&view.spec.restart_policy, end) {
                self.rest(restarting.last.clone(), vec![]).await;
            }
        } else if self.wants_end(&view.state) {
            // Whoever wanted its end did so when no policy had to know.
            self.write_wish().await;
        }
    }

    /// Docker's sentence around a refusal (moby `errCannotUpdate`).
    fn cannot_update(&self, e: &Error) -> Error {
        let id = self.handle.id();
        Error::new(e.kind(), format!("Cannot update container {id}: {e}"))
    }
}

/// An update under way.
#[derive(Debug, Default)]
pub(crate) struct Updating {
    /// The container has ended.
    pub(crate) ended: CancellationToken,
    /// What it is; nothing between updates.
    plan: Option<Arc<Plan>>,
    /// Who asked for it; nobody when it is taken up from another daemon.
    reply: Option<Reply<()>>,
}

impl Plan {
    /// Calls the runtime, and once more to undo what it would not do.
    async fn call(&self, engine: &Shared, view: &ContainerView, init: Pid) -> Updated {
        let update = async |document: &[u8]| {
            let runtimes = &engine.runtimes;
            runtimes.update(&view.id, &self.runtime, document).await
        };
        let has_room = self.has_room(engine, view, init);
        let is_untouched = has_room.is_err() && !self.in_doubt;
        let forward = async {
            has_room?;
            failpoint::reach(Point::UpdatePromised).await?;
            update(&self.forward).await
        };
        let Err(error) = forward.await else {
            return Updated::Made;
        };
        let undone = match &self.back {
            Some(back) if !is_untouched => update(back).await,
            _ => Ok(()),
        };
        if let Err(e) = &undone {
            tracing::error!(id = view.id.short(), error = %e, "the limits cannot be set back");
        }
        let is_undone = is_untouched || undone.is_ok() && self.goes_back;
        Updated::Failed { error, is_undone }
    }

    /// Whether the kernel would kill to make room.
    fn has_room(&self, engine: &Shared, view: &ContainerView, init: Pid) -> Result<()> {
        let memory = |r: &Resources| (r.memory_bytes, r.memory_swap_bytes);
        let to = &self.to.resources;
        if memory(to) == memory(&self.before.resources) {
            return Ok(());
        }
        // Nobody knows what the kernel has: any limit may be a lower one.
        let unlimited = Resources::default();
        let before = match self.in_doubt {
            true => &unlimited,
            false => &self.before.resources,
        };
        match engine.runtimes.memory_at_stake(&view.id, init)? {
            Some(used_bytes) => rules::update::has_room(before, to, used_bytes),
            None => Ok(()),
        }
    }
}

/// What a container is to be, when it may.
fn updated(
    view: &ContainerView,
    request: UpdateContainer,
    facts: &spec::HostFacts,
) -> Result<ContainerSpec> {
    check(view, Operation::Update)?;
    let now = &*view.spec;
    if now.no_cgroups && request.resources != Resources::default() {
        return Err(Error::conflict(
            "it has no cgroup, without which it can have no limits",
        ));
    }
    if let Some(policy) = &request.restart_policy {
        rules::update::restart_policy(now.auto_remove, policy)?;
    }
    let together = rules::update::limits(&now.resources, &request.resources)?;
    // What no create would pass would fail the next start.
    let mut resources = spec::limits(&together, facts)?.in_force;
    // Docker shows that it was taken away.
    resources.pids_limit = resources
        .pids_limit
        .or_else(|| together.pids_limit.filter(|limit| *limit == 0));
    Ok(ContainerSpec {
        resources,
        restart_policy: match request.restart_policy {
            Some(policy) => policy,
            None => now.restart_policy.clone(),
        },
        ..now.clone()
    })
}

fn with_spec(view: &ContainerView, spec: ContainerSpec) -> ContainerView {
    ContainerView {
        spec: Arc::new(spec),
        ..view.clone()
    }
}
