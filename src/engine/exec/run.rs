//! From a start to the end of the process.
//!
//! ```text
//!   row: Starting --> process.json, conmon --> streams --> command runs --> row: Running --> task
//!                                                                              ... row: Ended
//! ```

use std::sync::Arc;

use model::{Error, ExecEnded, ExecRunning, ExecState, ExitStatus, Kind, Pid, Result};
use runtime::{CreateExec, ExecTask, ExitReport, StartError, StartedExec, Stdin, TaskEvent};
use spec::{ExecInput, exec_process};
use state::ExecRow;
use tokio::sync::mpsc;

use super::session::{Command, Session};
use crate::Inner;
use crate::container::ContainerView;

/// The exit code of a session whose command never came to run (moby `ContainerExecStart`).
const EXIT_CODE_NOT_RUN: u8 = 126;

/// Runs a session that was claimed up to where its command runs. It goes on in a task of its own.
///
/// # Errors
/// In Docker's words; the session is over then.
pub(super) async fn start(
    engine: &Arc<Inner>,
    session: &Arc<Session>,
    container: &Arc<ContainerView>,
) -> Result<()> {
    let started = match engine.insert_exec(session).await {
        Ok(()) => launch(engine, session, container).await,
        Err(e) => Err(e.into()),
    };
    match started {
        Ok(StartedExec::Running(task)) => {
            let running = ExecRunning {
                process: task.process(),
                monitor: task.monitor(),
            };
            session.publish(ExecState::Running(running));
            engine.update_exec(session).await;
            watch(engine, session, *task);
            Ok(())
        }
        Ok(StartedExec::Ended(pid, report)) => {
            end(engine, session, Some(pid), &report).await;
            clean_up(engine, session, None).await;
            Ok(())
        }
        Err(failure) => {
            tracing::info!(exec = session.id.short(), error = %failure.error, "exec failed");
            let end = engine.never_ran(failure.error.message());
            session.publish(ExecState::Ended(end));
            engine.update_exec(session).await;
            session.hub.finished().await;
            Err(failure.error)
        }
    }
}

async fn launch(
    engine: &Arc<Inner>,
    session: &Arc<Session>,
    container: &Arc<ContainerView>,
) -> Result<StartedExec, StartError> {
    let runtime = engine.runtime_of(container)?;
    let request = CreateExec {
        id: session.id.clone(),
        container: container.id.clone(),
        runtime,
        process_json: process_json(engine, session, container).await?,
        tty: session.spec.tty,
        stdin: match (session.spec.tty, session.spec.stdin) {
            (true, _) => Stdin::Open,
            (false, true) => Stdin::Once,
            (false, false) => Stdin::Closed,
        },
    };
    let prepared = engine.runtimes.prepare_exec(request).await?;
    if let Err(e) = session.hub.connect(&prepared.attach_socket()) {
        prepared.abandon().await;
        return Err(e.into());
    }
    prepared.start().await
}

/// The process object, its user looked up in the container's root. Blocking work.
async fn process_json(
    engine: &Arc<Inner>,
    session: &Arc<Session>,
    container: &Arc<ContainerView>,
) -> Result<Vec<u8>> {
    let (engine, container) = (engine.clone(), container.clone());
    let exec = session.spec_to_run();
    crate::blocking(move || {
        let rootfs = &container.paths.merged;
        let user = spec::user::resolve(rootfs, &exec.user, &container.spec.group_add)?;
        exec_process(&ExecInput {
            container: &container.spec,
            exec: &exec,
            user: &user,
            host: &engine.facts,
        })
    })
    .await
}

/// The session's task: it ends with its process.
pub(super) fn watch(engine: &Arc<Inner>, session: &Arc<Session>, task: ExecTask) {
    let Some(inbox) = session.take_inbox() else {
        tracing::error!(exec = session.id.short(), "a session has two tasks");
        return;
    };
    let (engine, session) = (engine.clone(), session.clone());
    tokio::spawn(async move { supervise(&engine, &session, task, inbox).await });
}

async fn supervise(
    engine: &Arc<Inner>,
    session: &Arc<Session>,
    mut task: ExecTask,
    mut inbox: mpsc::Receiver<Command>,
) {
    let report = loop {
        tokio::select! {
            // An end that is there is told before it is asked for.
            biased;
            event = task.next_event() => match event {
                TaskEvent::Exited(report) => break report,
                TaskEvent::MonitorLost => {
                    tracing::warn!(exec = session.id.short(), "conmon died: the exec runs on without streams");
                    session.hub.finished().await;
                }
            },
            command = inbox.recv() => match command {
                Some(Command::Signal(signal, reply)) => drop(reply.send(task.signal(signal))),
                Some(Command::Resize(height, width, reply)) => {
                    drop(reply.send(task.resize(height, width)));
                }
                // The session itself holds a sender.
                None => {}
            },
        }
    };
    end(engine, session, Some(task.process().pid), &report).await;
    clean_up(engine, session, Some(task)).await;
}

/// Publishes the end before the streams end: a client that reads the last byte finds the code.
pub(super) async fn end(
    engine: &Arc<Inner>,
    session: &Arc<Session>,
    pid: Option<Pid>,
    report: &ExitReport,
) {
    tracing::debug!(exec = session.id.short(), status = ?report.status, "exec ended");
    let reason = report.status.reason().unwrap_or_default();
    session.publish(ExecState::Ended(ExecEnded {
        status: report.status.clone(),
        pid,
        finished_at: report.finished_at,
        error: reason.to_owned(),
    }));
    // Whoever asks while a session is being taken back waits for its task: there is none.
    drop(session.take_inbox());
    engine.update_exec(session).await;
    session.hub.finished().await;
}

/// Takes away what it has on the host, its conmon having had the time to end.
pub(super) async fn clean_up(engine: &Arc<Inner>, session: &Arc<Session>, task: Option<ExecTask>) {
    if let Some(task) = task {
        task.monitor_gone().await;
    }
    let (runtimes, id) = (engine.runtimes.clone(), session.id.clone());
    let removed = tokio::task::spawn_blocking(move || runtimes.remove_exec_files(&id)).await;
    if let Err(e) = removed {
        tracing::error!(error = %e, "an exec's files were not removed");
    }
}

impl Inner {
    /// Writes a session's row, before anything of it is on the host.
    ///
    /// # Errors
    /// Conflict when its container is gone; what the ledger says.
    async fn insert_exec(&self, session: &Session) -> Result<()> {
        let row = ExecRow {
            id: session.id.clone(),
            container_id: session.container_id.clone(),
            created_at: session.created_at,
            spec: session.spec.clone(),
            state: session.state(),
        };
        let written = self.ledger.insert_exec(&row).await;
        written.map_err(|e| match e.kind() {
            Kind::NotFound => Error::conflict(format!(
                "container {} is being removed",
                session.container_id
            )),
            _ => e,
        })
    }

    /// Writes what became of it. Not written is no harm: the next daemon looks for its process.
    pub(super) async fn update_exec(&self, session: &Session) {
        let written = self.ledger.update_exec(&session.id, &session.state()).await;
        if let Err(e) = written {
            tracing::warn!(exec = session.id.short(), error = %e, "the ledger was not written");
        }
    }

    /// The end of a session whose command never ran.
    pub(super) fn never_ran(&self, why: &str) -> ExecEnded {
        ExecEnded {
            status: ExitStatus::Known(EXIT_CODE_NOT_RUN),
            pid: None,
            finished_at: (self.host.now)(),
            error: why.to_owned(),
        }
    }

    /// Lets go of a session that nobody finds any more: those who wait for it are told, and its
    /// row goes.
    pub(super) async fn forget_session(&self, session: &Session) {
        session.retire(self.never_ran("forgotten before it was started"));
        session.hub.finished().await;
        self.forget_exec_row(&session.id).await;
    }

    /// Lets go of the sessions of a container that is gone; their rows went with its own.
    pub(crate) async fn forget_execs_of(&self, container: &model::ContainerId) {
        for session in self.execs.take_of(container) {
            session.retire(self.never_ran("its container was removed"));
            session.hub.finished().await;
        }
    }

    /// Removes a row; one that cannot go is left for the next start.
    pub(super) async fn forget_exec_row(&self, id: &model::ExecId) {
        if let Err(e) = self.ledger.delete_exec(id).await {
            tracing::warn!(exec = id.short(), error = %e, "its row is left for the next start");
        }
    }
}
