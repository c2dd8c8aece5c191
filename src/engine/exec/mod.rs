//! Exec sessions: a further process in a running container, as a thing of its own that can be
//! listed, waited for, signalled and attached to again.
//!
//! | file | |
//! |---|---|
//! | `registry` | finding a session; how many there may be and how long they are kept |
//! | `session` | one session: its state, its streams, its mailbox |
//! | `run` | from a start to the end of the process |
//! | `recover` | taking sessions back when the daemon starts |
//! | this one | the use cases, seen from outside |
//!
//! A session's process has a conmon of its own, so it survives the daemon as the container does.
//! Its row is written when it is started, before the first effect on the host.

mod recover;
mod registry;
mod run;
mod session;

use std::sync::Arc;
use std::time::Duration;

use model::{ContainerId, Error, ExecId, ExecSpec, ExecState, Kind, Result, Signal, limits};
use rules::Operation;
use streams::Want;
use streams::detach::{DEFAULT_KEYS, Detector};

pub(crate) use registry::Execs;
use session::{Command, Session};

use crate::attach::Form;
use crate::container::{WaitOutcome, check, check_as};
use crate::{AttachInput, AttachOutput, Attachment, Engine};

/// A session as clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecView {
    /// Its id.
    pub id: ExecId,
    /// Its container.
    pub container_id: ContainerId,
    /// What it was asked to be.
    pub spec: ExecSpec,
    /// Where it is in its life.
    pub state: ExecState,
}

/// How a session is started.
#[derive(Debug, Clone, Default)]
pub struct StartExec {
    /// Nobody attaches.
    pub detach: bool,
    /// The client takes raw output; otherwise frames.
    pub tty: bool,
    /// The terminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
}

impl Engine {
    /// Makes a session in a running container. Nothing runs yet.
    ///
    /// # Errors
    /// 404; 409 when the container does not run or is paused; 400 for an empty command; too many
    /// sessions.
    pub async fn create_exec(&self, container: &str, mut spec: ExecSpec) -> Result<ExecId> {
        let view = self.container(container)?;
        check_as(&view, container, Operation::Exec)?;
        check_spec(&spec)?;
        if spec.user.is_empty() {
            spec.user.clone_from(&view.spec.user);
        }
        let id = ExecId::from_bytes((self.inner.host.random)());
        let created_at = (self.inner.host.now)();
        let session = Session::new(&self.inner, id.clone(), view.id.clone(), created_at, spec);
        if let Some(evicted) = self.inner.execs.insert(session)? {
            let inner = self.inner.clone();
            tokio::spawn(async move { inner.forget_session(&evicted).await });
        }
        Ok(id)
    }

    /// One session.
    ///
    /// # Errors
    /// `No such exec instance: x`.
    pub fn exec(&self, id: &str) -> Result<ExecView> {
        Ok(self.inner.execs.find(id)?.view())
    }

    /// The sessions of a container that are not over, for its inspect.
    pub fn open_execs(&self, container: &ContainerId) -> Vec<ExecId> {
        self.inner.execs.open_ids(container)
    }

    /// The sessions of a container, oldest first.
    ///
    /// # Errors
    /// 404.
    pub fn container_execs(&self, container: &str) -> Result<Vec<ExecView>> {
        let view = self.container(container)?;
        let sessions = self.inner.execs.of(&view.id);
        Ok(sessions.iter().map(|s| s.view()).collect())
    }

    /// Whether a session can be started now: what is answered before the connection is taken
    /// over.
    ///
    /// # Errors
    /// 404; 409 when the container does not run or is paused.
    pub fn check_exec(&self, id: &str) -> Result<()> {
        let session = self.inner.execs.find(id)?;
        let container = self.container(session.container_id.as_str())?;
        check(&container, Operation::Exec)
    }

    /// Starts a session; attached unless it is to be detached. What the command writes first
    /// reaches the one who is attached. The command runs on whatever becomes of the client.
    ///
    /// # Errors
    /// 404; 409 when it was started already, or the container does not run; what the runtime said
    /// when the command could not be run, with the exit code 126 in its state.
    pub async fn start_exec(&self, id: &str, request: StartExec) -> Result<Option<Attachment>> {
        let session = self.inner.execs.find(id)?;
        let container = self.container(session.container_id.as_str())?;
        check(&container, Operation::Exec)?;
        // Attached first: from the claim on there is a start to be brought to an end.
        let attachment = match request.detach {
            true => None,
            false => Some(attach_to(&session, request.tty)?),
        };
        session.claim(request.console_size)?;
        let (inner, run) = (self.inner.clone(), session.clone());
        let started =
            crate::to_the_end(async move { run::start(&inner, &run, &container).await }).await;
        if let Err(e) = &started {
            session.give_up(self.inner.never_ran(e.message()));
        }
        started.map(|()| attachment)
    }

    /// Attaches to a session that is to start or runs.
    ///
    /// # Errors
    /// 404; 409 when it is over.
    pub fn attach_exec(&self, id: &str) -> Result<Attachment> {
        let session = self.inner.execs.find(id)?;
        let attachment = attach_to(&session, session.spec.tty)?;
        // Asked after: one that ends from now on ends the attachment.
        if session.state().ended().is_some() {
            return Err(Error::conflict(format!("exec {id} is over")));
        }
        Ok(attachment)
    }

    /// Changes the size of a session's terminal; before its start the size it will have.
    ///
    /// # Errors
    /// 404 when it is not there or over.
    pub async fn resize_exec(&self, id: &str, height: u16, width: u16) -> Result<()> {
        let session = self.inner.execs.find(id)?;
        if session.resize_before_start(height, width) {
            return Ok(());
        }
        session.started().await;
        let resized = session.ask(|reply| Command::Resize(height, width, reply));
        resized.await.map_err(|e| match e.kind() {
            Kind::Conflict => not_there(&session.id),
            _ => e,
        })
    }

    /// A wait for a session's end.
    ///
    /// # Errors
    /// 404.
    pub fn wait_exec(&self, id: &str) -> Result<impl Future<Output = WaitOutcome> + Send + use<>> {
        let session = self.inner.execs.find(id)?;
        Ok(async move { session.ended().await })
    }

    /// Sends a signal to a session's process.
    ///
    /// # Errors
    /// 404; 409 when it does not run.
    pub async fn kill_exec(&self, id: &str, signal: Signal) -> Result<()> {
        let session = self.inner.execs.find(id)?;
        session.started().await;
        session.ask(|reply| Command::Signal(signal, reply)).await
    }

    /// Ends a session's process: SIGTERM, and SIGKILL when `grace` is over. One that has ended is
    /// no error.
    ///
    /// # Errors
    /// 404; 409 when it was not started; a process that survives SIGKILL.
    pub async fn stop_exec(&self, id: &str, grace: Duration) -> Result<()> {
        let session = self.inner.execs.find(id)?;
        crate::to_the_end(async move { stop(&session, grace).await }).await
    }

    /// Forgets a session; with `force` its process is killed first.
    ///
    /// # Errors
    /// 404; 409 when it runs and `force` is not set.
    pub async fn remove_exec(&self, id: &str, force: bool) -> Result<()> {
        let session = self.inner.execs.find(id)?;
        let inner = self.inner.clone();
        crate::to_the_end(async move {
            let removed = || inner.never_ran("removed before it was started");
            if !session.retire(removed()) {
                if !force {
                    return Err(Error::conflict(format!(
                        "exec {} is running: stop it before removing or force remove",
                        session.id
                    )));
                }
                stop(&session, Duration::ZERO).await?;
            }
            inner.execs.remove(&session.id);
            inner.forget_session(&session).await;
            Ok(())
        })
        .await
    }
}

async fn stop(session: &Session, grace: Duration) -> Result<()> {
    session.started().await;
    if matches!(session.state(), ExecState::Created) {
        return Err(Error::conflict(format!(
            "exec {} is not running",
            session.id
        )));
    }
    for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, limits::KILL_TIMEOUT)] {
        if signal == Signal::TERM && grace.is_zero() {
            continue;
        }
        match session.ask(|reply| Command::Signal(signal, reply)).await {
            // It has ended, and its code is on the way.
            Err(e) if e.kind() == Kind::Conflict => {
                session.ended().await;
                return Ok(());
            }
            sent => sent?,
        }
        if tokio::time::timeout(patience, session.ended())
            .await
            .is_ok()
        {
            return Ok(());
        }
    }
    Err(Error::system(format!(
        "exec {} did not end within {} s of SIGKILL: its container is paused, or it is in \
         uninterruptible sleep (state D)",
        session.id,
        limits::KILL_TIMEOUT.as_secs()
    )))
}

/// A client of a session's streams, with those that it was made for. Raw where the client says it
/// has a terminal, whatever the session has, as in Docker.
fn attach_to(session: &Arc<Session>, raw: bool) -> Result<Attachment> {
    let spec = &session.spec;
    let live = session.hub.subscribe(Want {
        stdout: spec.stdout,
        stderr: spec.stderr,
    })?;
    let keys = match &spec.detach_keys {
        Some(keys) => streams::detach::parse(keys)?,
        None => DEFAULT_KEYS.to_vec(),
    };
    let writer = spec.stdin.then(|| session.hub.stdin()).flatten();
    let input =
        writer.map(|writer| AttachInput::new(writer, spec.tty.then(|| Detector::new(&keys))));
    Ok(Attachment {
        tty: raw,
        output: AttachOutput::live(live, Form::of(spec.tty, raw)),
        input,
    })
}

fn check_spec(spec: &ExecSpec) -> Result<()> {
    if spec.args.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    let lists = [("Cmd", &spec.args), ("Env", &spec.env)];
    for (name, list) in lists {
        if list.len() > limits::SPEC_LIST_MAX {
            return Err(Error::invalid(format!(
                "{name} has {} entries: at most {} are taken",
                list.len(),
                limits::SPEC_LIST_MAX
            )));
        }
    }
    let words = [&spec.working_dir, &spec.user];
    let texts = || spec.args.iter().chain(&spec.env).chain(words);
    if texts().map(String::len).sum::<usize>() > limits::EXEC_SPEC_BYTES_MAX {
        return Err(Error::invalid(format!(
            "command and environment have more than {} bytes",
            limits::EXEC_SPEC_BYTES_MAX
        )));
    }
    if texts().any(|text| text.contains('\0')) {
        return Err(Error::invalid("an exec must not contain a NUL byte"));
    }
    if let Some(keys) = &spec.detach_keys {
        streams::detach::parse(keys)?;
    }
    Ok(())
}

/// Docker's words for a process that is gone (moby: containerd's).
fn not_there(id: &ExecId) -> Error {
    Error::not_found(format!("process does not exist {id}: not found"))
}
