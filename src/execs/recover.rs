//! Taking sessions back when the daemon starts, and forgetting those that were kept long enough.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::{ContainerId, ExecId, ExecState};
use runtime::{AdoptExec, AdoptedExec};
use state::ExecRow;

use crate::session::Session;
use crate::{Execs, Inner, kept, run};

/// How often sessions are looked through for those that were kept long enough.
const EXPIRY_PERIOD: Duration = Duration::from_secs(30);
/// How often the host is asked again when it could not say what became of a session.
const ASK_AGAIN_PERIOD: Duration = Duration::from_secs(5);

impl Execs {
    /// The sessions of which there are files, of whatever daemon.
    pub async fn files_left(&self) -> BTreeSet<ExecId> {
        let runtimes = self.inner.tools.runtimes.clone();
        let found = tokio::task::spawn_blocking(move || runtimes.exec_files()).await;
        found.unwrap_or_default()
    }

    /// Takes the sessions of an earlier daemon back. Those of an earlier boot are over and gone.
    /// Each is looked for in a task of its own, so nobody waits; until it is found it shows as
    /// it was last known.
    ///
    /// `left` is what [`Execs::files_left`] said before anything was begun; `lives` says whether
    /// there is such a container.
    pub async fn recover(
        &self,
        rows: Vec<ExecRow>,
        left: BTreeSet<ExecId>,
        same_boot: bool,
        lives: impl Fn(&ContainerId) -> bool,
    ) {
        let mut strangers = left;
        for row in rows {
            if !same_boot || !lives(&row.container_id) {
                let (inner, id) = (self.inner.clone(), row.id.clone());
                tokio::spawn(async move { inner.delete_row(&id).await });
                continue;
            }
            strangers.remove(&row.id);
            let session = Session::new(
                &self.inner.tools,
                row.id.clone(),
                row.container_id.clone(),
                row.created_at,
                row.spec,
            );
            match self.inner.registry.insert(session.clone()) {
                Ok(None) => {}
                Ok(Some(evicted)) => self.inner.forget(&evicted).await,
                Err(e) => {
                    tracing::error!(exec = row.id.short(), error = %e, "not taken back");
                    continue;
                }
            }
            let (process, monitor) = match &row.state {
                ExecState::Created => continue,
                ExecState::Ended(_) => {
                    session.publish(row.state);
                    if let Some(kept) = &session.kept {
                        kept.look();
                        kept.finish();
                    }
                    self.remove_left_files(session);
                    continue;
                }
                ExecState::Starting => (None, None),
                ExecState::Running(running) => (Some(running.process), running.monitor),
            };
            session.publish(row.state);
            let request = AdoptExec {
                id: row.id,
                container: row.container_id,
                process,
                monitor,
            };
            let inner = self.inner.clone();
            tokio::spawn(async move { take_back(&inner, &session, request).await });
        }
        self.discard_strangers(strangers);
        self.sweep_logs();
        self.expire_execs();
    }

    /// A daemon that was killed between the end of a session and its clean-up left its files.
    fn remove_left_files(&self, session: Arc<Session>) {
        let inner = self.inner.clone();
        tokio::spawn(async move { run::clean_up(&inner, &session, None).await });
    }

    /// Files that no row names are of sessions of an earlier boot, or of containers that are gone.
    fn discard_strangers(&self, strangers: BTreeSet<ExecId>) {
        let runtimes = self.inner.tools.runtimes.clone();
        tokio::spawn(async move {
            for id in strangers {
                runtimes.discard_exec(&id).await;
            }
        });
    }

    /// Removes logs of sessions that nobody knows any more: of an earlier boot, or whose row is
    /// damaged. A session is known before it has a log.
    fn sweep_logs(&self) {
        let inner = self.inner.clone();
        drop(tokio::task::spawn_blocking(move || {
            for (id, dir) in kept::log_dirs(&inner.tools.containers) {
                if !inner.registry.has(&id)
                    && let Err(e) = std::fs::remove_dir_all(&dir)
                {
                    tracing::warn!(dir = %dir.display(), error = %e, "an exec's log is left");
                }
            }
        }));
    }

    /// Forgets sessions some time after their end, as long as the engine is there.
    fn expire_execs(&self) {
        let weak = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(EXPIRY_PERIOD).await;
                let Some(inner) = weak.upgrade() else { return };
                let now = (inner.tools.now)();
                for session in inner.registry.take_expired(now) {
                    inner.forget(&session).await;
                }
            }
        });
    }
}

/// Kills the process of a health check that an earlier daemon began, and forgets it.
fn end_probe(execs: &Arc<Inner>, session: &Arc<Session>) {
    let (inner, id) = (execs.clone(), session.id.clone());
    tokio::spawn(async move {
        let removed = Execs { inner }.remove(id.as_str(), true).await;
        if let Err(e) = removed {
            tracing::warn!(exec = id.short(), error = %e, "an old health check runs on");
        }
    });
}

/// Finds out what became of a session. While the host cannot say, it is asked again: what may be
/// alive is not declared over.
async fn take_back(execs: &Arc<Inner>, session: &Arc<Session>, request: AdoptExec) {
    let pid = request.process.map(|process| process.pid);
    let adopted = loop {
        match execs.tools.runtimes.adopt_exec(request.clone()).await {
            Ok(adopted) => break adopted,
            Err(e) => {
                tracing::error!(exec = session.id.short(), error = %e, "an exec cannot be found out about: asking again");
                tokio::time::sleep(ASK_AGAIN_PERIOD).await;
            }
        }
    };
    match adopted {
        AdoptedExec::Running(task) => {
            session.hub.resume(&task.attach_socket());
            if let Some(kept) = &session.kept {
                kept.keep(&task, execs.tools.runtimes.watcher());
            }
            session.publish(ExecState::Running(model::ExecRunning {
                process: task.process(),
                monitor: task.monitor(),
            }));
            execs.update_row(session).await;
            run::watch(execs, session, *task);
            if session.spec.is_probe {
                // Nobody waits for its result any more.
                end_probe(execs, session);
            }
        }
        AdoptedExec::Exited(report) => {
            run::end(execs, session, pid, &report).await;
            run::clean_up(execs, session, None).await;
        }
    }
}
