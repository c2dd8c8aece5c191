//! Whether a container needs the daemon to be there.

use crate::Engine;

impl Engine {
    /// Why the daemon must stay, though no client is there: a container whose end it must act on,
    /// whose health or log it looks after, or that is between two states. `None` when all there is
    /// to know can be found out later.
    pub fn needs_daemon(&self) -> Option<String> {
        let all = self.shared.registry.all().into_iter();
        let needs = all.filter_map(|handle| {
            let view = handle.view();
            let why = match handle.is_busy() {
                true => "is being changed",
                false => rules::needs_daemon(&view.spec, &view.state)?,
            };
            Some(format!("container {} {why}", view.name))
        });
        let kept = self.shared.execs.any_kept();
        let images = self.shared.images.at_work();
        let files = self.inner.files.is_busy();
        let files = files.then_some("an archive is being read");
        let work = images.or(files).map(str::to_owned);
        needs.chain(kept).chain(work).next()
    }

    /// Tells that the configuration was read again.
    pub async fn tell_reload(&self, settings: Vec<(&'static str, String)>) {
        let (inner, shared) = (&self.inner, &self.shared);
        let now = (shared.host.now)();
        let kind = model::EventKind::Daemon;
        let mut event = model::Event::new(
            now,
            kind,
            &model::Action::Reload,
            inner.told.daemon_id.as_str(),
        )
        .with("name", sys::host::uname().node);
        for (key, value) in settings {
            event = event.with(key, value);
        }
        shared.tell(event).await;
    }

    /// The daemon ends: containers go on, and what only the daemon used is taken away.
    pub fn close(&self) {
        self.shared.runtimes.tidy_cgroup();
    }
}
