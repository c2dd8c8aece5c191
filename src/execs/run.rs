//! From a start to the end of the process.
//!
//! ```text
//!   row: Starting --> process.json, conmon --> streams --> command runs --> row: Running --> task
//!                                                                              ... row: Ended
//! ```

use std::sync::Arc;

use failpoint::Point;
use model::{Error, ExecEnded, ExecRunning, ExecState, Pid, Result};
use runtime::{CreateExec, ExecTask, ExitReport, StartError, StartedExec, Stdin, TaskEvent};
use spec::{ExecInput, exec_process};
use sys::spawn::Descriptors;
use sys::task::blocking;
use tokio::sync::mpsc;

use crate::kept::Kept;
use crate::session::{Command, Session};
use crate::{Inner, Target};

/// Runs a session that was claimed up to where its command runs. It goes on in a task of its own.
///
/// # Errors
/// In Docker's words; the session is over then.
pub(super) async fn start(
    execs: &Arc<Inner>,
    session: &Arc<Session>,
    target: &Target,
    descriptors: Descriptors,
) -> Result<()> {
    if let Err(e) = execs.insert_row(session).await {
        session.publish(ExecState::Ended(execs.never_ran(e.message())));
        session.finish_streams().await;
        return Err(e);
    }
    match launch(execs, session, target, descriptors).await {
        Ok(StartedExec::Running(task)) => {
            let running = ExecRunning {
                process: task.process(),
                monitor: task.monitor(),
            };
            if let Some(kept) = &session.kept {
                kept.keep(&task, execs.tools.runtimes.watcher());
            }
            session.publish(ExecState::Running(running));
            execs.update_row(session).await;
            drop(failpoint::reach(Point::ExecWritten).await);
            watch(execs, session, *task);
            Ok(())
        }
        Ok(StartedExec::Ended(pid, report)) => {
            end(execs, session, Some(pid), &report).await;
            clean_up(execs, session, None).await;
            Ok(())
        }
        Err(failure) => {
            tracing::info!(exec = session.id.short(), error = %failure.error, "exec failed");
            let end = execs.never_ran(failure.error.message());
            session.publish(ExecState::Ended(end));
            execs.update_row(session).await;
            session.finish_streams().await;
            Err(failure.error)
        }
    }
}

async fn launch(
    execs: &Arc<Inner>,
    session: &Arc<Session>,
    target: &Target,
    descriptors: Descriptors,
) -> Result<StartedExec, StartError> {
    failpoint::reach(Point::ExecPromised)
        .await
        .map_err(Error::from)?;
    if let Some(kept) = &session.kept {
        kept.make_dir().await?;
    }
    let (process_json, output_owner) = process_json(execs, session, target).await?;
    let gives_away = execs.tools.runtimes.gives_input_away(&target.runtime);
    let request = CreateExec {
        id: session.id.clone(),
        container: session.container_id.clone(),
        runtime: target.runtime.clone(),
        process_json,
        log_path: session.kept.as_ref().map(Kept::path),
        tty: session.spec.tty,
        stdin: match (session.spec.tty, session.spec.stdin) {
            (true, _) => Stdin::Open,
            (false, true) => Stdin::Once,
            (false, false) if gives_away => Stdin::Once,
            (false, false) => Stdin::Closed,
        },
        no_cgroups: target.spec.no_cgroups,
        output_owner,
        descriptors,
    };
    let prepared = execs.tools.runtimes.prepare_exec(request).await?;
    let connected = async {
        failpoint::reach(Point::ExecPrepared).await?;
        session.hub.connect(&prepared.attach_socket())?;
        Ok::<_, Error>(failpoint::reach(Point::ExecConnected).await?)
    };
    if let Err(e) = connected.await {
        prepared.abandon().await;
        return Err(e.into());
    }
    let started = prepared.start().await;
    drop(failpoint::reach(Point::ExecStarted).await);
    started
}

/// The process object and, in a user namespace, whose its output is to be; its user looked up in the
/// container's root. Blocking work.
async fn process_json(
    execs: &Arc<Inner>,
    session: &Arc<Session>,
    target: &Target,
) -> Result<(Vec<u8>, Option<(u32, u32)>)> {
    let (facts, target) = (execs.tools.facts.clone(), target.clone());
    let exec = session.spec_to_run();
    let (asked, privileged) = (target.spec.apparmor.as_deref(), target.spec.privileged);
    let apparmor = execs.tools.apparmor.ready(asked, privileged).await?;
    blocking(move || {
        let user = spec::user::resolve(&target.rootfs, &exec.user, &target.spec.group_add)?;
        let maps = target.spec.id_maps.as_ref();
        let owner = maps.and_then(|maps| maps.outside(user.uid, user.gid));
        let process = exec_process(&ExecInput {
            container: &target.spec,
            exec: &exec,
            user: &user,
            apparmor: apparmor.as_deref(),
            host: &facts,
        })?;
        Ok((process, owner))
    })
    .await
}

/// The session's task: it ends with its process.
pub(super) fn watch(execs: &Arc<Inner>, session: &Arc<Session>, task: ExecTask) {
    let Some(inbox) = session.take_inbox() else {
        tracing::error!(exec = session.id.short(), "a session has two tasks");
        return;
    };
    let (execs, session) = (execs.clone(), session.clone());
    tokio::spawn(async move { supervise(&execs, &session, task, inbox).await });
}

async fn supervise(
    execs: &Arc<Inner>,
    session: &Arc<Session>,
    mut task: ExecTask,
    mut inbox: mpsc::Receiver<Command>,
) {
    let report = loop {
        tokio::select! {
            // An end that is there is told before it is asked for.
            biased;
            event = task.next_event() => match event {
                // Sessions have no socket for that.
                TaskEvent::Notified(_) => {}
                TaskEvent::Exited(report) => break report,
                TaskEvent::MonitorLost => {
                    tracing::warn!(exec = session.id.short(), "conmon died: the exec runs on without streams");
                    session.finish_streams().await;
                }
            },
            command = inbox.recv() => match command {
                Some(Command::Signal(signal, reply)) => drop(reply.send(task.signal(signal))),
                Some(Command::Resize(height, width, reply)) => match task.ctl() {
                    // Beside what else is to do: conmon may take its time.
                    Ok(ctl) => drop(tokio::spawn(async move {
                        drop(reply.send(ctl.resize(height, width).await));
                    })),
                    Err(e) => drop(reply.send(Err(e))),
                },
                // The session itself holds a sender.
                None => {}
            },
        }
    };
    end(execs, session, Some(task.process().pid), &report).await;
    clean_up(execs, session, Some(task)).await;
}

/// Publishes the end before the streams end: a client that reads the last byte finds the code.
pub(super) async fn end(
    execs: &Arc<Inner>,
    session: &Arc<Session>,
    pid: Option<Pid>,
    report: &ExitReport,
) {
    tracing::debug!(exec = session.id.short(), status = ?report.status, "exec ended");
    drop(failpoint::reach(Point::ExecEnded).await);
    let reason = report.status.reason().unwrap_or_default();
    session.publish(ExecState::Ended(ExecEnded {
        status: report.status.clone(),
        pid,
        finished_at: report.finished_at,
        error: reason.to_owned(),
    }));
    // Whoever asks while a session is being taken back waits for its task: there is none.
    drop(session.take_inbox());
    execs.update_row(session).await;
    drop(failpoint::reach(Point::ExecEndWritten).await);
    session.finish_streams().await;
}

/// Takes away what it has on the host, its conmon having had the time to end.
pub(super) async fn clean_up(execs: &Arc<Inner>, session: &Arc<Session>, task: Option<ExecTask>) {
    if let Some(task) = task {
        task.monitor_gone().await;
    }
    let (runtimes, id) = (execs.tools.runtimes.clone(), session.id.clone());
    let removed = tokio::task::spawn_blocking(move || runtimes.remove_exec_files(&id)).await;
    if let Err(e) = removed {
        tracing::error!(error = %e, "an exec's files were not removed");
    }
    drop(failpoint::reach(Point::ExecCleaned).await);
}
