//! Whether a container needs the daemon to be there.

use model::{ContainerState, RestartPolicy};

use crate::Engine;
use crate::container::ContainerView;

impl Engine {
    /// Why the daemon must stay, though no client is there: a container whose end it must act on,
    /// whose health or log it looks after, or that is between two states. `None` when all there is
    /// to know can be found out later.
    pub fn needs_daemon(&self) -> Option<String> {
        let all = self.inner.registry.all().into_iter();
        let needs = all.filter_map(|handle| {
            let view = handle.view();
            let why = match handle.is_busy() {
                true => "is being changed",
                false => why(&view)?,
            };
            Some(format!("container {} {why}", view.name))
        });
        let kept = self.inner.execs.any_kept();
        let upload = self.inner.images.uploads().is_busy();
        let upload = upload.then(|| "an image is being read".to_owned());
        needs.chain(kept).chain(upload).next()
    }

    /// Tells that the configuration was read again.
    pub async fn tell_reload(&self, settings: Vec<(&'static str, String)>) {
        let inner = &self.inner;
        let now = (inner.host.now)();
        let kind = model::EventKind::Daemon;
        let mut event =
            model::Event::new(now, kind, &model::Action::Reload, inner.daemon_id.as_str())
                .with("name", sys::host::uname().node);
        for (key, value) in settings {
            event = event.with(key, value);
        }
        inner.tell(event).await;
    }
}

fn why(view: &ContainerView) -> Option<&'static str> {
    let spec = &view.spec;
    match &view.state {
        ContainerState::Restarting(_) => Some("is to be started again"),
        ContainerState::Removing | ContainerState::Lost { .. } => Some("is not at rest"),
        ContainerState::Running(_) if spec.restart_policy != RestartPolicy::No => {
            Some("has a restart policy")
        }
        ContainerState::Running(_) if spec.auto_remove => Some("is to be removed at its end"),
        ContainerState::Running(_) if spec.health_check.is_some() => Some("has a health check"),
        ContainerState::Running(_) if spec.log.limits().is_ok_and(|limits| limits.is_some()) => {
            Some("has a log with limits")
        }
        // It would be started by the next daemon, against a client's wish.
        ContainerState::Exited(_)
            if rules::starts_with_daemon(&spec.restart_policy, &view.state) =>
        {
            Some("starts with the daemon")
        }
        ContainerState::Running(_)
        | ContainerState::Created { .. }
        | ContainerState::Exited(_)
        | ContainerState::Dead { .. } => None,
    }
}
