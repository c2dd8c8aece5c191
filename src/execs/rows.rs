//! What the ledger remembers of a session.

use model::{Error, ExecEnded, ExecId, ExitStatus, Kind, Result};
use state::ExecRow;

use crate::Inner;
use crate::session::Session;

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
        let written = self.tools.ledger.insert_exec(&row).await;
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
        let written = self
            .tools
            .ledger
            .update_exec(&session.id, &session.state())
            .await;
        if let Err(e) = written {
            tracing::warn!(exec = session.id.short(), error = %e, "the ledger was not written");
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
