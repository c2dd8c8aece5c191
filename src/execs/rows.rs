//! What the ledger remembers of a session.

use model::{Action, Error, Event, EventKind, ExecEnded, ExecId, ExitStatus, Kind, Result};
use state::ExecRow;

use crate::session::Session;
use crate::{Inner, command_line};

/// The exit code of a session whose command never came to run (moby `ContainerExecStart`).
const EXIT_CODE_NOT_RUN: u8 = 126;

impl Inner {
    /// Writes a session's row, before anything of it is on the host.
    ///
    /// # Errors
    /// Conflict when its container is gone; what the ledger says.
    pub(crate) async fn insert_row(&self, session: &Session) -> Result<()> {
        let row = ExecRow {
            id: session.id.clone(),
            container_id: session.container_id.clone(),
            created_at: session.created_at,
            spec: session.spec.clone(),
            state: session.state(),
        };
        let action = Action::ExecStart(command_line(&session.spec));
        let events = self.event(session, &action).into_iter().collect();
        let ledger = self.tools.ledger.telling(events);
        let written = ledger.insert_exec(&row).await;
        written.map_err(|e| match e.kind() {
            Kind::NotFound => Error::conflict(format!(
                "container {} is being removed",
                session.container_id
            )),
            _ => e,
        })
    }

    /// Writes what became of it. Not written is no harm: the next daemon looks for its process.
    pub(crate) async fn update_row(&self, session: &Session) {
        let state = session.state();
        let end = state.ended().and_then(|ended| {
            let code = ended.status.code().to_string();
            let event = self.event(session, &Action::ExecDie)?;
            Some(event.with("exitCode", code))
        });
        let ledger = self.tools.ledger.telling(end.into_iter().collect());
        let written = ledger.update_exec(&session.id, &state).await;
        if let Err(e) = written {
            tracing::warn!(exec = session.id.short(), error = %e, "the ledger was not written");
        }
    }

    /// An event of a session: one of its container's, with the session's id. None when the
    /// container is gone.
    fn event(&self, session: &Session, action: &Action) -> Option<Event> {
        let container = &session.container_id;
        let attributes = (self.tools.describe)(container)?;
        let now = (self.tools.now)();
        let mut event = Event::new(now, EventKind::Container, action, container.as_str());
        event.attributes = attributes;
        Some(event.with("execID", session.id.as_str()))
    }

    /// Tells of what is no change of its row, in its place among what else happens.
    pub(crate) async fn tell(&self, session: &Session, action: &Action) {
        if let Some(event) = self.event(session, action)
            && let Err(e) = self.tools.ledger.tell_soon(vec![event]).await
        {
            tracing::error!(exec = session.id.short(), error = %e, "an event was not kept");
        }
    }

    /// The end of a session whose command never ran.
    pub(crate) fn never_ran(&self, why: &str) -> ExecEnded {
        ExecEnded {
            status: ExitStatus::Known(EXIT_CODE_NOT_RUN),
            pid: None,
            finished_at: (self.tools.now)(),
            error: why.to_owned(),
        }
    }

    /// Lets go of a session that nobody finds any more: those who wait for it are told, and its
    /// row goes.
    pub(crate) async fn forget(&self, session: &Session) {
        session.retire(self.never_ran("forgotten before it was started"));
        session.finish_streams().await;
        if let Some(kept) = &session.kept {
            kept.remove().await;
        }
        self.delete_row(&session.id).await;
    }

    /// Removes a row; one that cannot go is left for the next start.
    pub(crate) async fn delete_row(&self, id: &ExecId) {
        if let Err(e) = self.tools.ledger.delete_exec(id).await {
            tracing::warn!(exec = id.short(), error = %e, "its row is left for the next start");
        }
    }
}
