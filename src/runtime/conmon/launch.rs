//! Creating a container: from an empty place to a watched process, or to nothing at all.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;

use model::{ContainerId, Context, Error, Kind, Pid, Readiness, Result};
use sys::dir_watch::{Mask, Watch};
use sys::pidfd::PidFd;
use sys::seqpacket::Pipe;
use sys::spawn::{Descriptors, Program, RunError, Started};
use sys::{proc, seqpacket};
use tokio::time::Instant;

use super::args;
use super::pipe::{self, Report};
use super::{CreateTask, Features, Journal};
use crate::checkpoint::with_log;
use crate::cleanup::read_pid_file;
use crate::failure::{self, BundleFacts, Step};
use crate::layout::{BUNDLE_FILES, make_dir, remove_dir, remove_file};
use crate::notify::NotifySocket;
use crate::watched::{Monitor, Parts, Subject, Watched};
use crate::{Runtimes, StartError, Task};

/// How long a conmon that has reported a failure may take to be gone.
const FAILED_CONMON_GRACE: Duration = Duration::from_secs(1);

/// How long a creation waits for a place among the others. All of those at work hang then, and
/// say so at their own deadline.
pub(super) const PLACE_PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no container, before it is told in Docker's words.
pub(super) enum Failure {
    /// The host or conmon.
    Host(Error),
    /// The runtime, in its own words; empty when it had none.
    Runtime(String),
    /// The deadline.
    TimedOut,
    /// Nobody wants it any more.
    GivenUp,
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Host(e)
    }
}

impl Runtimes {
    /// Creates a container under a conmon of its own; its command waits for
    /// [`Runtimes::start`]. On any error nothing is left: no process, no state, no file.
    ///
    /// Not cancel-safe: it is to run in a task of its own, whatever the client does.
    ///
    /// # Errors
    /// In Docker's words, with the exit code it leaves.
    pub async fn create(&self, request: CreateTask) -> Result<Task, StartError> {
        self.create_unless(request, std::future::pending()).await
    }

    /// As [`Runtimes::create`], but not to the deadline: when `given_up` resolves first, the
    /// attempt is killed and cleared away, and the error is a `Conflict`. What has begun is waited
    /// for, so that nothing of it comes after the clearing.
    ///
    /// # Errors
    /// As [`Runtimes::create`].
    pub async fn create_unless(
        &self,
        request: CreateTask,
        given_up: impl Future<Output = ()> + Send,
    ) -> Result<Task, StartError> {
        let mut given_up = pin!(given_up);
        let place = tokio::time::timeout(PLACE_PATIENCE, self.inner.creations.acquire());
        let _place = tokio::select! {
            place = place => place.map_err(|_| crowded("containers are being created"))?.expect("never closed"),
            () = &mut given_up => return Err(self.explain(&request, &Failure::GivenUp)),
        };
        // Before anything is touched: a second conmon steals the socket and fifos of the first.
        self.refuse_used_id(&request).await?;
        let features = self.features().await?;
        self.prepared(&request).await?;
        let deadline = Instant::now() + self.inner.config.create_timeout;
        let failure = match self.launch(&request, features, deadline, given_up).await {
            Ok(task) => return Ok(task),
            Err(failure) => failure,
        };
        let error = self.explain(&request, &failure);
        let grace = match failure {
            Failure::TimedOut | Failure::GivenUp => Duration::ZERO,
            Failure::Host(_) | Failure::Runtime(_) => FAILED_CONMON_GRACE,
        };
        let CreateTask {
            id,
            runtime,
            bundle,
            ..
        } = &request;
        self.clear_attempt(id, runtime, bundle, grace).await;
        Err(error)
    }

    /// An id the runtime knows is refused while it is in use; the rest of a container that has
    /// ended is cleared away.
    async fn refuse_used_id(&self, request: &CreateTask) -> Result<()> {
        let CreateTask { id, runtime, .. } = request;
        let Some(state) = self.state(id, runtime).await? else {
            return Ok(());
        };
        if matches!(
            state.status.as_str(),
            "creating" | "created" | "running" | "paused"
        ) {
            return Err(Error::conflict(format!(
                "container {id} is already {}",
                state.status
            )));
        }
        self.delete(id, runtime, true).await
    }

    /// [`Runtimes::prepare`] off the async threads: a busy disk takes milliseconds.
    async fn prepared(&self, request: &CreateTask) -> Result<()> {
        let (this, request) = (self.clone(), request.clone());
        let done = tokio::task::spawn_blocking(move || this.prepare(&request)).await;
        done.map_err(|e| Error::system(format!("preparing the container failed: {e}")))?
    }

    /// Directories must be there before conmon is: without its persist or exit dir it loses the
    /// exit code without a word. A stale pid file makes a failed start look like a good one.
    fn prepare(&self, request: &CreateTask) -> Result<()> {
        request.journal.as_ref().map_or(Ok(()), Journal::check)?;
        let layout = &self.inner.layout;
        let files = layout.attempt(&request.id);
        for dir in [&files.dir, &layout.persist(&request.id)] {
            remove_dir(dir)
                .and_then(|()| make_dir(dir))
                .context(format_args!("cannot make directory {}", dir.display()))?;
        }
        let in_bundle = BUNDLE_FILES.map(|name| request.bundle.join(name));
        for stale in in_bundle.iter().chain([&layout.exit_file(&request.id)]) {
            remove_file(stale).context(format_args!("cannot remove {}", stale.display()))?;
        }
        Ok(())
    }

    async fn launch(
        &self,
        request: &CreateTask,
        features: Features,
        deadline: Instant,
        mut given_up: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<Task, Failure> {
        let pipes = "cannot make conmon's pipes";
        let (sync, sync_end) = seqpacket::pair().context(pipes)?;
        let (start, start_end) = seqpacket::pair().context(pipes)?;
        let exits = self.watch_exit(&request.id);
        // Before the container is there: what it says first waits in it.
        let notify = match request.notifies {
            true => Some(notify_socket(&request.bundle, Readiness::default())?),
            false => None,
        };
        let conmon = self.conmon_of(request, features, [sync_end, start_end])?;
        let apart = self.apart(request.mounts.clone());
        let started = match apart.is_nothing() {
            // A source that hangs hangs its thread alone; what it starts too late is killed.
            false => tokio::select! {
                started = tokio::time::timeout_at(deadline, conmon.start_apart(apart)) => {
                    started.map_err(|_| Failure::TimedOut)?
                }
                () = &mut given_up => return Err(Failure::GivenUp),
            },
            true => conmon.start(),
        };
        let started = started.map_err(Error::from)?;
        // conmon waits for this byte before it forks. When it is dead already, its complaint says
        // more than the broken pipe.
        let _ = start.send(&[0]).await;
        drop(start);
        detached(started, deadline, &sync, &mut given_up).await?;
        let receive = async {
            tokio::select! {
                received = tokio::time::timeout_at(deadline, sync.receive()) => Some(received),
                () = &mut given_up => None,
            }
        };
        // While the runtime works: the kernel takes as long as 15 ms to move a process.
        let (received, ()) = tokio::join!(receive, self.place_monitor(request));
        let Some(received) = received else {
            return Err(Failure::GivenUp);
        };
        let report = match received {
            Err(_) => return Err(Failure::TimedOut),
            Ok(Err(e)) => {
                return Err(Error::system(format!("cannot read conmon's pipe: {e}")).into());
            }
            Ok(Ok(None)) => return Err(Failure::Runtime(String::new())),
            Ok(Ok(Some(packet))) => pipe::parse(&packet),
        };
        let pid = created(report)?;
        let (init, conmon) = self.identify(&request.id, pid)?;
        give_output(request.output_owner, &request.descriptors, conmon.as_ref())?;
        let parts = Parts {
            subject: self.subject(&request.id, &request.bundle),
            resize_limit: features.resize_limit,
            init,
            monitor: Some(Monitor::new(conmon, Some(sync))),
            exits,
            notify,
            lost: false,
        };
        let (id, runtime) = (request.id.clone(), request.runtime.clone());
        Ok(Task::new(self, id, runtime, Watched::new(parts)))
    }

    fn conmon_of(
        &self,
        request: &CreateTask,
        features: Features,
        [sync, start]: [OwnedFd; 2],
    ) -> Result<Program> {
        let number = |nth| pipe_number(nth, &request.descriptors);
        let pipes = [("_OCI_SYNCPIPE", 0), ("_OCI_STARTPIPE", 1)];
        let conmon = Program::new(self.conmon()?)
            .args(self.arguments(request, features)?)
            .env(self.inner.environment.iter().cloned())
            .env(pipes.map(|(name, nth)| (name, number(nth).to_string())))
            .dir(&request.bundle)
            .fds(3, &request.descriptors)
            // Above all that the runtime is told of: it closes them for the container.
            .and_then(|conmon| conmon.fds(number(pipes.len()), &request.held))
            .context("cannot pass descriptors on")?;
        Ok(conmon.fd(number(0), sync).fd(number(1), start))
    }

    /// A container as what is watched.
    pub(crate) fn subject(&self, id: &ContainerId, bundle: &Path) -> Subject {
        Subject {
            what: format!("container {id}"),
            bundle: bundle.to_owned(),
            exit_file: self.inner.layout.exit_file(id),
            persist: Some(self.inner.layout.persist(id)),
            patience: self.inner.config.exit_file_timeout,
        }
    }

    fn arguments(
        &self,
        request: &CreateTask,
        features: Features,
    ) -> Result<Vec<std::ffi::OsString>> {
        let layout = &self.inner.layout;
        let config = &self.inner.config;
        let runtime = self.program(&request.runtime)?;
        let create = args::Create {
            id: request.id.as_str(),
            bundle: &request.bundle,
            log_path: request.log_path.as_deref(),
            journal: request.journal.as_ref(),
            tty: request.tty,
            stdin: request.stdin,
            runtime: &runtime,
            runtime_root: &layout.oci_root(request.runtime.as_str()),
            runtime_args: self.own_args(&request.runtime),
            json_log: self.takes_json_log(&request.runtime, &runtime),
            files: &layout.attempt(&request.id),
            exit_dir: &layout.exits(),
            persist_dir: &layout.persist(&request.id),
            socket_dir: &layout.sockets(),
            log_level: config.log_level,
            by_systemd: self.inner.placement.by_systemd() && !request.no_cgroups,
            no_cgroups: request.no_cgroups,
            no_pivot: config.no_pivot,
            no_new_keyring: config.no_new_keyring,
            restore: request.restore.as_ref(),
            descriptors: request.descriptors.len(),
            features,
        };
        Ok(create.arguments())
    }

    /// Moves the detached conmon into the conmons' cgroup. The runtime it has started by then
    /// stays behind, which is no matter: it is short-lived and gives the container a cgroup of its
    /// own, by a path that does not depend on where it is itself.
    ///
    /// Best effort: a conmon in the daemon's own cgroup works, but is killed with its service.
    async fn place_monitor(&self, request: &CreateTask) {
        let CreateTask { id, no_cgroups, .. } = request;
        if *no_cgroups {
            return;
        }
        // It has failed already, or is without a pid file: told where its report is read.
        let Some(conmon) = self.find_conmon(id) else {
            return;
        };
        let placed = self
            .inner
            .placement
            .place_monitor(id.as_str(), conmon)
            .await;
        if let Err(e) = placed {
            tracing::warn!(container = %id, error = %e, "conmon stays in the daemon's cgroup");
        }
    }

    /// Opens what conmon reported. The pid counts only when its parent is that very conmon.
    fn identify(&self, id: &ContainerId, pid: Pid) -> Result<(PidFd, Option<PidFd>)> {
        let gone = || {
            Error::system(format!(
                "the first process of container {id} was gone before it could be started"
            ))
        };
        let read = "cannot open the container's first process";
        let init = PidFd::open(pid).context(read)?.ok_or_else(gone)?;
        let stat = proc::stat(pid).context(read)?.ok_or_else(gone)?;
        let files = self.inner.layout.attempt(id);
        let conmon = match read_pid_file(&files.conmon_pidfile) {
            Ok(conmon) => conmon,
            Err(e) => {
                tracing::warn!(container = %id, "{e}: its conmon is watched by its pipe alone");
                return Ok((init, None));
            }
        };
        if stat.parent != conmon.get() {
            return Err(Error::system(format!(
                "conmon reported process {} as the first of container {id}, but its parent is \
                 {} and not conmon ({})",
                pid.get(),
                stat.parent,
                conmon.get()
            )));
        }
        let monitor = PidFd::open(conmon).context("cannot open conmon's process")?;
        Ok((init, monitor))
    }

    /// Subscribes to one exit file; what is there already has to be looked for.
    pub(crate) fn watch_exit(&self, id: &ContainerId) -> Option<Watch> {
        let exits = self.inner.layout.exits();
        let watch = self
            .watcher()?
            .watch_name(&exits, id.as_str().as_ref(), Mask::MOVED_TO);
        watch
            .inspect_err(|e| {
                tracing::warn!(container = %id, error = %e, "the exit file is not watched");
            })
            .ok()
    }

    /// The failure in Docker's words. The runtime's own log knows best: on some versions conmon
    /// has no message, and its message may start with warnings.
    fn explain(&self, request: &CreateTask, failure: &Failure) -> StartError {
        let runtime = request.runtime.as_str();
        let prefix = "failed to create task for container";
        match failure {
            Failure::Host(e) => Error::new(e.kind(), format!("{prefix}: {}", e.message())).into(),
            Failure::TimedOut => Error::system(format!(
                "{prefix}: conmon and {runtime} did not create it within {} s and were killed",
                self.inner.config.create_timeout.as_secs_f32()
            ))
            .into(),
            Failure::GivenUp => Error::conflict(format!(
                "start of container {} was given up: it was to be stopped or removed",
                request.id
            ))
            .into(),
            Failure::Runtime(said) => {
                let log = self.inner.layout.attempt(&request.id).oci_log;
                let logged = read_lossy(&log).and_then(|text| failure::last_logged_error(&text));
                let said = logged.unwrap_or_else(|| failure::plain_text(said));
                if request.restore.is_some() {
                    let said = with_log(&said, &request.bundle, "restore.log");
                    let told = format!("failed to restore the container: {said}");
                    return Error::system(told).into();
                }
                let config = std::fs::read(request.bundle.join("config.json")).unwrap_or_default();
                let facts = BundleFacts::parse(&config);
                failure::start_error(Step::Create, runtime, &said, &facts)
            }
        }
    }
}

/// Where a container of `bundle` is heard; `said` is what is known.
pub(crate) fn notify_socket(bundle: &Path, said: Readiness) -> Result<NotifySocket> {
    let bound = NotifySocket::bind(bundle, said);
    bound.context(format_args!("bind a socket in {}", bundle.display()))
}

/// The descriptor of conmon's pipe number `nth`: after those that are the process's own.
pub(super) fn pipe_number(nth: usize, descriptors: &Descriptors) -> i32 {
    i32::try_from(3 + descriptors.len() + nth).expect("few are passed")
}

/// Gives the pipes that `conmon` has made for its process's output to `owner`.
pub(super) fn give_output(
    owner: Option<(u32, u32)>,
    descriptors: &Descriptors,
    conmon: Option<&PidFd>,
) -> Result<()> {
    let (Some((uid, gid)), Some(conmon)) = (owner, conmon) else {
        return Ok(());
    };
    // Those before are its client's.
    let from = pipe_number(0, descriptors);
    proc::give_pipes(conmon.process().pid, from, uid, gid)
        .context("cannot give the output to its user")
}

/// `what` many are at work and hang.
pub(super) fn crowded(what: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        format!(
            "{} {what} and none comes to an end: try again later",
            model::limits::RUNTIME_CALLS_MAX
        ),
    )
}

/// The pid that conmon reports, or how it failed.
pub(super) fn created(report: Report) -> Result<Pid, Failure> {
    match report {
        Report::Created(pid) => Ok(pid),
        Report::Failed(said) => Err(Failure::Runtime(said.unwrap_or_default())),
        Report::Unreadable(shown) => Err(Failure::Host(Error::system(format!(
            "conmon said something unreadable: {shown}"
        )))),
    }
}

/// As [`detach`], unless it is given up.
async fn detached(
    started: Started,
    deadline: Instant,
    sync: &Pipe,
    given_up: &mut Pin<&mut (impl Future<Output = ()> + Send)>,
) -> Result<(), Failure> {
    let mut detaching = pin!(detach(started, deadline, sync));
    tokio::select! {
        detached = &mut detaching => detached,
        () = given_up => {
            // Killed between its fork and its pid file, it would leave a conmon that nobody
            // finds; one that hangs is killed with its group.
            let _ = tokio::time::timeout(FAILED_CONMON_GRACE, detaching).await;
            Err(Failure::GivenUp)
        }
    }
}

/// Waits for the process we started: conmon forks and it ends, after 3 ms or so.
pub(super) async fn detach(
    started: Started,
    deadline: Instant,
    sync: &Pipe,
) -> Result<(), Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    let done = started.finish(left).await;
    if !done.as_ref().is_ok_and(|done| done.status.success()) {
        // Its fork may be at work all the same, where its pid file could not be written: nobody
        // would find it.
        let _ = tokio::time::timeout(FAILED_CONMON_GRACE, sync.closed()).await;
    }
    match done {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(Failure::Host(Error::system(format!(
            "conmon failed ({}): {}",
            done.status,
            done.message()
        )))),
        Err(RunError::TimedOut { .. }) => Err(Failure::TimedOut),
        Err(e @ RunError::Start { .. }) => Err(Failure::Host(e.into())),
    }
}

/// The end of a runtime's log: the errors are there.
pub(crate) fn read_lossy(path: &Path) -> Option<String> {
    const TAIL_BYTES: u64 = 64 << 10;
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let skip = length.saturating_sub(TAIL_BYTES);
    io_seek(&mut file, skip).ok()?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(&file, TAIL_BYTES), &mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn io_seek(file: &mut std::fs::File, to: u64) -> std::io::Result<u64> {
    std::io::Seek::seek(file, std::io::SeekFrom::Start(to))
}
