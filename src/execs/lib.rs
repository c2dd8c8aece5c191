//! Exec sessions: a further process in a running container, as a thing of its own that can be
//! listed, waited for, signalled and attached to again.
//!
//! | file | |
//! |---|---|
//! | `registry` | finding a session; how many there may be and how long they are kept |
//! | `session` | one session: its state, its streams, its mailbox |
//! | `attach` | clients of its streams |
//! | `kept` | the log of a session whose output is kept |
//! | `probe` | health checks |
//! | `run` | from a start to the end of the process |
//! | `recover` | taking sessions back when the daemon starts |
//! | `rows` | what the ledger remembers of them |
//! | this one | what can be done with a session |
//!
//! A session's process has a conmon of its own, so it survives the daemon as the container does.
//! Its row is written when it is started, before the first effect on the host.
//!
//! This room does not find containers and does not know whether one runs: it is given a
//! [`Target`] by `engine`, which asks before.

mod attach;
mod kept;
mod probe;
mod recover;
mod registry;
mod rows;
mod run;
mod session;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{
    Action, ContainerId, ContainerSpec, Error, ExecId, ExecSpec, ExecState, Kind, Result, Signal,
    Timestamp, WaitOutcome, limits,
};
use runtime::{RuntimeName, Runtimes};
use streams::{Attachment, HistoryBudget, SpillOptions};
use sys::spawn::Descriptors;
use sys::task::to_the_end;

use attach::{attach_since, attach_to, attach_to_kept, while_it_runs};
pub use probe::Probed;
use registry::Registry;
use session::{Command, Session};

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
    /// Bytes of its output that were kept and are no more; `None` when it is not kept.
    pub lost_bytes: Option<u64>,
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
    /// What the process has open besides its streams, from 3 up.
    pub descriptors: Descriptors,
}

/// The container that a session is to run in; it runs and is not paused.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it was asked to be. It is read, and never changed.
    pub spec: Arc<ContainerSpec>,
    /// Its root file system, as the host sees it.
    pub rootfs: PathBuf,
    /// Its OCI runtime.
    pub runtime: RuntimeName,
}

/// Tells the attributes of a container's events.
pub type Describe = Arc<dyn Fn(&ContainerId) -> Option<BTreeMap<String, String>> + Send + Sync>;

/// What sessions are made with.
#[derive(Clone)]
pub struct Tools {
    /// conmon and the OCI runtimes.
    pub runtimes: Runtimes,
    /// Where their rows are.
    pub ledger: state::Ledger,
    /// The profiles of their containers.
    pub apparmor: confine::AppArmor,
    /// What the process object depends on.
    pub facts: Arc<spec::HostFacts>,
    /// Where the output of clients waits that do not read.
    pub spill: SpillOptions,
    /// What the last output of running sessions is held in.
    pub histories: HistoryBudget,
    /// The containers' directories, for logs of sessions.
    pub containers: PathBuf,
    /// What events say of a container: its labels, image and name. `None` when it is gone.
    pub describe: Describe,
    /// Wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// 32 unpredictable bytes, for ids.
    pub random: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}

/// All sessions of the daemon: a cheap handle, cloned freely.
#[derive(Debug, Clone)]
pub struct Execs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tools: Tools,
    registry: Registry,
    places: probe::Places,
}

impl Execs {
    /// No sessions yet.
    pub fn new(tools: Tools) -> Self {
        let registry = Registry::default();
        let inner = Arc::new(Inner {
            tools,
            registry,
            places: probe::Places::default(),
        });
        Self { inner }
    }

    /// Makes a session in a container. Nothing runs yet.
    ///
    /// # Errors
    /// 400 for an empty command; too many sessions.
    pub async fn create(&self, container: ContainerId, spec: ExecSpec) -> Result<ExecId> {
        check_spec(&spec)?;
        let tools = &self.inner.tools;
        let id = ExecId::from_bytes((tools.random)());
        let session = Session::new(tools, id.clone(), container, (tools.now)(), spec);
        if let Some(evicted) = self.inner.registry.insert(session.clone())? {
            let inner = self.inner.clone();
            tokio::spawn(async move { inner.forget(&evicted).await });
        }
        let action = Action::ExecCreate(command_line(&session.spec));
        self.inner.tell(&session, &action).await;
        Ok(id)
    }

    /// One session.
    ///
    /// # Errors
    /// `No such exec instance: x`.
    pub fn find(&self, id: &str) -> Result<ExecView> {
        Ok(self.inner.registry.find(id)?.view())
    }

    /// The container of a session.
    ///
    /// # Errors
    /// 404.
    pub fn container_of(&self, id: &str) -> Result<ContainerId> {
        Ok(self.inner.registry.find(id)?.container_id.clone())
    }

    /// The sessions of a container that are not over, for its inspect.
    pub fn open_ids(&self, container: &ContainerId) -> Vec<ExecId> {
        self.inner.registry.open_ids(container)
    }

    /// The sessions of a container, oldest first.
    pub fn of(&self, container: &ContainerId) -> Vec<ExecView> {
        let sessions = self.inner.registry.of(container);
        sessions.iter().map(|s| s.view()).collect()
    }

    /// Starts a session; attached unless it is to be detached. What the command writes first
    /// reaches the one who is attached. The command runs on whatever becomes of the client.
    ///
    /// # Errors
    /// 404; 409 when it was started already; what the runtime said when the command could not be
    /// run, with the exit code 126 in its state.
    pub async fn start(
        &self,
        id: &str,
        target: Target,
        request: StartExec,
    ) -> Result<Option<Attachment>> {
        let session = self.inner.registry.find(id)?;
        // Attached first: from the claim on there is a start to be brought to an end.
        let attachment = match request.detach {
            true => None,
            false => Some(attach_to(&self.inner, &session, request.tty)?),
        };
        session.claim(request.console_size)?;
        let (inner, run) = (self.inner.clone(), session.clone());
        let started =
            to_the_end(async move { run::start(&inner, &run, &target, request.descriptors).await })
                .await;
        if let Err(e) = &started {
            session.give_up(self.inner.never_ran(e.message()));
        }
        started.map(|()| attachment)
    }

    /// Attaches to a session that is to start or runs: with `since` to its output from that byte
    /// on, as far as it is there, and to one whose output is kept also when it is over.
    ///
    /// # Errors
    /// 404; 409 when it is over, or with `since` was not started, or was started by an earlier
    /// daemon and its output is not kept; 400 when it has written less than `since`.
    pub async fn attach(&self, id: &str, since: Option<u64>) -> Result<Attachment> {
        let session = self.inner.registry.find(id)?;
        let Some(since) = since else {
            return while_it_runs(&session, attach_to(&self.inner, &session, session.spec.tty));
        };
        session.started().await;
        if matches!(session.state(), ExecState::Created) {
            return Err(Error::conflict(format!("exec {id} is not running")));
        }
        match &session.kept {
            Some(kept) => {
                let watcher = self.inner.tools.runtimes.watcher();
                attach_to_kept(&self.inner, &session, kept, since, watcher).await
            }
            None => while_it_runs(&session, attach_since(&self.inner, &session, since)),
        }
    }

    /// Changes the size of a session's terminal; before its start the size it will have.
    ///
    /// # Errors
    /// 404 when it is not there or over.
    pub async fn resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        let session = self.inner.registry.find(id)?;
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
    pub fn wait(&self, id: &str) -> Result<impl Future<Output = WaitOutcome> + Send + use<>> {
        let session = self.inner.registry.find(id)?;
        Ok(async move { session.ended().await })
    }

    /// Sends a signal to a session's process.
    ///
    /// # Errors
    /// 404; 409 when it does not run.
    pub async fn kill(&self, id: &str, signal: Signal) -> Result<()> {
        let session = self.inner.registry.find(id)?;
        session.started().await;
        session.ask(|reply| Command::Signal(signal, reply)).await
    }

    /// Ends a session's process: SIGTERM, and SIGKILL when `grace` is over. One that has ended is
    /// no error.
    ///
    /// # Errors
    /// 404; 409 when it was not started; a process that survives SIGKILL.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<()> {
        let session = self.inner.registry.find(id)?;
        to_the_end(async move { stop(&session, grace).await }).await
    }

    /// Forgets a session; with `force` its process is killed first.
    ///
    /// # Errors
    /// 404; 409 when it runs and `force` is not set.
    pub async fn remove(&self, id: &str, force: bool) -> Result<()> {
        let session = self.inner.registry.find(id)?;
        let inner = self.inner.clone();
        to_the_end(async move {
            if !session.retire(inner.never_ran("removed before it was started")) {
                if !force {
                    return Err(Error::conflict(format!(
                        "exec {} is running: stop it before removing or force remove",
                        session.id
                    )));
                }
                stop(&session, Duration::ZERO).await?;
            }
            inner.registry.remove(&session.id);
            inner.forget(&session).await;
            Ok(())
        })
        .await
    }

    /// Ends all changes to logs of a container's sessions: its directory is to be removed.
    pub async fn close_logs_of(&self, container: &ContainerId) {
        for session in self.inner.registry.of(container) {
            if let Some(kept) = &session.kept {
                kept.close().await;
            }
        }
    }

    /// A session whose log must be kept within its limits, if there is one.
    pub fn any_kept(&self) -> Option<String> {
        let mut found = None;
        self.inner.registry.for_each(|session| {
            if session.kept.is_some() && matches!(session.state(), ExecState::Running(_)) {
                found = Some(format!("the output of exec {} is kept", session.id));
            }
        });
        found
    }

    /// Notes that what sessions write now is not kept: the disk is full.
    pub fn note_full_disk(&self) {
        self.inner.registry.for_each(|session| {
            if let (Some(kept), ExecState::Running(_)) = (&session.kept, session.state()) {
                kept.note_loss();
            }
        });
    }

    /// Lets go of the sessions of a container that is gone; their rows went with its own.
    pub async fn forget_of(&self, container: &ContainerId) {
        for session in self.inner.registry.take_of(container) {
            session.retire(self.inner.never_ran("its container was removed"));
            session.finish_streams().await;
        }
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

/// The command as events tell it: moby puts a blank behind one without arguments, too.
fn command_line(spec: &ExecSpec) -> String {
    let (command, args) = spec.args.split_first().expect("checked when it was made");
    format!("{command} {}", args.join(" "))
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
