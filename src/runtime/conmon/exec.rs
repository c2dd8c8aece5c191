//! An exec from an empty place to a watched process, or to nothing at all.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::{ContainerId, Context, Error, ExecId, Pid, Result};
use sys::dir_watch::{Mask, Watch};
use sys::pidfd::PidFd;
use sys::seqpacket::{self, Pipe};
use sys::spawn::Program;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Features;
use super::args;
use super::launch::{
    Failure, PLACE_PATIENCE, created, crowded, detach, give_output, pipe_number, read_lossy,
};
use super::pipe;
use crate::cleanup::read_pid_file;
use crate::exec::host_fault;
use crate::exit::{ExitFile, ExitReport};
use crate::failure::{self, BundleFacts, Step};
use crate::layout::{make_dir, remove_dir};
use crate::watched::{Monitor, Parts, Watched};
use crate::{CreateExec, ExecTask, Runtimes, StartError};

/// An exec whose conmon listens and whose command does not run yet.
///
/// conmon takes the end of its start pipe for the start byte, so one that is not to be started
/// must be given up with [`PreparedExec::abandon`], never only dropped.
#[derive(Debug)]
pub struct PreparedExec {
    runtimes: Runtimes,
    request: CreateExec,
    features: Features,
    sync: Pipe,
    start: Pipe,
    exits: Option<Watch>,
    deadline: Instant,
    _place: OwnedSemaphorePermit,
}

/// A command that was started.
#[derive(Debug)]
pub enum StartedExec {
    /// It runs.
    Running(Box<ExecTask>),
    /// It had ended before it could be looked at.
    Ended(Pid, ExitReport),
}

impl Runtimes {
    /// Starts a conmon for an exec, up to where its attach socket listens. On an error nothing is
    /// left. Not cancel-safe: it is to run in a task of its own.
    ///
    /// # Errors
    /// In Docker's words.
    pub async fn prepare_exec(&self, request: CreateExec) -> Result<PreparedExec, StartError> {
        let starts = self.inner.exec_starts.clone();
        let place = tokio::time::timeout(PLACE_PATIENCE, starts.acquire_owned());
        let place = place
            .await
            .map_err(|_| crowded("execs are being started"))?
            .expect("never closed");
        let features = self.features().await?;
        let (this, prepared) = (self.clone(), request.clone());
        let made = tokio::task::spawn_blocking(move || this.make_exec_files(&prepared)).await;
        made.map_err(|e| Error::system(format!("preparing the exec failed: {e}")))?
            .map_err(|e| host_fault(&e))?;
        let deadline = Instant::now() + self.inner.config.create_timeout;
        // Held until a failed attempt is cleared away: conmon takes its end for the word to go.
        let (start, start_end) = seqpacket::pair()
            .context("cannot make conmon's pipes")
            .map_err(|e| host_fault(&e))?;
        let launched = self
            .launch_exec(&request, features, deadline, (&start, start_end))
            .await;
        match launched {
            Ok((sync, exits)) => Ok(PreparedExec {
                runtimes: self.clone(),
                request,
                features,
                sync,
                start,
                exits,
                deadline,
                _place: place,
            }),
            Err(failure) => Err(self.give_exec_up(&request, &failure).await),
        }
    }

    /// Directories and the process object. Files of an earlier attempt would make a failed start
    /// look like a good one.
    fn make_exec_files(&self, request: &CreateExec) -> Result<()> {
        let files = self.inner.layout.exec(&request.id);
        let exits = self.inner.layout.exec_exit_dir(&request.id);
        for dir in [&files.dir, &exits] {
            remove_dir(dir)
                .and_then(|()| make_dir(dir))
                .context(format_args!("cannot make directory {}", dir.display()))?;
        }
        let path = Self::exec_process_file(&files.dir);
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(&request.process_json))
            .context(format_args!("cannot write {}", path.display()))
    }

    async fn launch_exec(
        &self,
        request: &CreateExec,
        features: Features,
        deadline: Instant,
        (start, start_end): (&Pipe, OwnedFd),
    ) -> Result<(Pipe, Option<Watch>), Failure> {
        let pipes = "cannot make conmon's pipes";
        let (sync, sync_end) = seqpacket::pair().context(pipes)?;
        let (attach, attach_end) = seqpacket::pair().context(pipes)?;
        let exits = self.watch_exec_exit(&request.id, &request.container);
        let files = self.inner.layout.exec(&request.id);
        let number = |nth| pipe_number(nth, &request.descriptors);
        let variables = [
            ("_OCI_SYNCPIPE", number(0).to_string()),
            ("_OCI_STARTPIPE", number(1).to_string()),
            ("_OCI_ATTACHPIPE", number(2).to_string()),
        ];
        let conmon = Program::new(self.conmon()?)
            .args(self.exec_arguments(request, features)?)
            .env(self.inner.environment.iter().cloned())
            .env(variables)
            .dir(&files.dir)
            .fds(3, &request.descriptors)
            .context("cannot pass descriptors on")?
            .fd(number(0), sync_end)
            .fd(number(1), start_end)
            .fd(number(2), attach_end);
        let apart = self.apart(None);
        let started = match apart.is_nothing() {
            false => conmon.start_apart(apart).await,
            true => conmon.start(),
        };
        let started = started.map_err(Error::from)?;
        // When it is dead already, its complaint says more than the broken pipe.
        let _ = start.send(&[0]).await;
        detach(started, deadline, &sync).await?;
        if !request.no_cgroups {
            self.place_exec_monitor(&request.id, &request.container);
        }
        match tokio::time::timeout_at(deadline, attach.receive()).await {
            Err(_) => Err(Failure::TimedOut),
            Ok(Err(e)) => Err(Error::system(format!("cannot read conmon's pipe: {e}")).into()),
            // It ended before its socket was there; why is on the other pipe, or nowhere.
            Ok(Ok(None)) => Err(failed_report(&sync, deadline).await),
            Ok(Ok(Some(_))) => {
                let conmon = self.find_exec_conmon(&request.id);
                give_output(request.output_owner, &request.descriptors, conmon.as_ref())?;
                Ok((sync, exits))
            }
        }
    }

    fn exec_arguments(
        &self,
        request: &CreateExec,
        features: Features,
    ) -> Result<Vec<std::ffi::OsString>> {
        let layout = &self.inner.layout;
        let files = layout.exec(&request.id);
        let runtime = self.program(&request.runtime)?;
        let exec = args::Exec {
            container: request.container.as_str(),
            id: request.id.as_str(),
            process: &Self::exec_process_file(&files.dir),
            log_path: request.log_path.as_deref(),
            tty: request.tty,
            stdin: request.stdin,
            runtime: &runtime,
            runtime_root: &layout.oci_root(request.runtime.as_str()),
            runtime_args: self.own_args(&request.runtime),
            json_log: self.takes_json_log(&request.runtime, &runtime),
            files: &files,
            exit_dir: &layout.exec_exit_dir(&request.id),
            socket_dir: &layout.sockets(),
            log_level: self.inner.config.log_level.quiet_in_sessions(),
            by_systemd: self.inner.placement.by_systemd() && !request.no_cgroups,
            descriptors: request.descriptors.len(),
            features,
        };
        Ok(exec.arguments())
    }

    /// Moves conmon out of the daemon's cgroup. Nobody waits: the kernel takes milliseconds, and a
    /// conmon that has ended by then needs no place.
    fn place_exec_monitor(&self, id: &ExecId, container: &ContainerId) {
        let (this, id, container) = (self.clone(), id.clone(), container.clone());
        tokio::spawn(async move {
            let Some(conmon) = this.find_exec_conmon(&id) else {
                return;
            };
            let placed = this
                .inner
                .placement
                .place_monitor(container.as_str(), conmon)
                .await;
            if let Err(e) = placed {
                tracing::warn!(exec = %id, error = %e, "an exec's conmon stays in the daemon's cgroup");
            }
        });
    }

    pub(crate) fn watch_exec_exit(&self, id: &ExecId, container: &ContainerId) -> Option<Watch> {
        let dir = self.inner.layout.exec_exit_dir(id);
        let watch = self
            .watcher()?
            .watch_name(&dir, container.as_str().as_ref(), Mask::MOVED_TO);
        watch
            .inspect_err(|e| tracing::warn!(exec = %id, error = %e, "the exit file is not watched"))
            .ok()
    }

    async fn give_exec_up(&self, request: &CreateExec, failure: &Failure) -> StartError {
        let error = self.explain_exec(request, failure);
        self.discard_exec(&request.id).await;
        error
    }

    fn explain_exec(&self, request: &CreateExec, failure: &Failure) -> StartError {
        let runtime = request.runtime.as_str();
        let fault = |error: Error| StartError {
            exit_code: 126,
            error: host_fault(&error),
        };
        match failure {
            Failure::Host(e) => fault(e.clone()),
            Failure::TimedOut | Failure::GivenUp => fault(Error::system(format!(
                "conmon and {runtime} did not start it within {} s and were killed",
                self.inner.config.create_timeout.as_secs_f32()
            ))),
            Failure::Runtime(said) => {
                let log = self.inner.layout.exec(&request.id).oci_log;
                let logged = read_lossy(&log).and_then(|text| failure::last_logged_error(&text));
                let said = logged.unwrap_or_else(|| failure::plain_text(said));
                let facts = BundleFacts::of_process(&request.process_json);
                failure::start_error(Step::Exec, runtime, &said, &facts)
            }
        }
    }
}

impl PreparedExec {
    /// conmon's attach socket, which listens.
    pub fn attach_socket(&self) -> PathBuf {
        let files = self.runtimes.inner.layout.exec(&self.request.id);
        files.dir.join("attach")
    }

    /// Starts the command. On an error nothing is left: a process that had come to be is killed.
    ///
    /// # Errors
    /// In Docker's words, with the exit code it leaves: 126.
    pub async fn start(self) -> Result<StartedExec, StartError> {
        let _ = self.start.send(&[0]).await;
        let reported = report(&self.sync, self.deadline).await.and_then(created);
        // The runtime has read it, or never will.
        self.runtimes.remove_process_file(&self.request.id);
        let Self {
            runtimes,
            request,
            features,
            sync,
            exits,
            ..
        } = self;
        let pid = match reported {
            Ok(pid) => pid,
            Err(failure) => return Err(runtimes.give_exec_up(&request, &failure).await),
        };
        let subject = runtimes.exec_subject(&request.id, &request.container);
        let conmon_pidfile = runtimes.inner.layout.exec(&request.id).conmon_pidfile;
        let (init, conmon) = match identify(pid, &conmon_pidfile) {
            Ok(Some(found)) => found,
            Ok(None) => {
                // A short command: its conmon is about to write the exit file, and then ends.
                let patience = runtimes.inner.config.exit_file_timeout;
                let _ = tokio::time::timeout(patience, sync.closed()).await;
                return match ended(&subject.exit_file) {
                    Ok(report) => Ok(StartedExec::Ended(pid, report)),
                    Err(e) => Err(runtimes.give_exec_up(&request, &e.into()).await),
                };
            }
            Err(e) => return Err(runtimes.give_exec_up(&request, &e.into()).await),
        };
        let parts = Parts {
            subject,
            resize_limit: features.resize_limit,
            init,
            monitor: Some(Monitor::new(conmon, Some(sync))),
            exits,

            notify: None,
            lost: false,
        };
        let task = ExecTask::new(Watched::new(parts));
        Ok(StartedExec::Running(Box::new(task)))
    }

    /// Gives it up: conmon is killed before it could take the closed pipe for a start.
    pub async fn abandon(self) {
        self.runtimes.discard_exec(&self.request.id).await;
    }
}

/// One packet of the sync pipe.
async fn report(sync: &Pipe, deadline: Instant) -> Result<pipe::Report, Failure> {
    match tokio::time::timeout_at(deadline, sync.receive()).await {
        Err(_) => Err(Failure::TimedOut),
        Ok(Err(e)) => Err(Error::system(format!("cannot read conmon's pipe: {e}")).into()),
        // conmon 2.2 says nothing of a failed exec: only the runtime's log does.
        Ok(Ok(None)) => Err(Failure::Runtime(String::new())),
        Ok(Ok(Some(packet))) => Ok(pipe::parse(&packet)),
    }
}

/// Why a conmon ended before it was ready.
async fn failed_report(sync: &Pipe, deadline: Instant) -> Failure {
    match report(sync, deadline).await {
        Ok(pipe::Report::Failed(said)) => Failure::Runtime(said.unwrap_or_default()),
        Ok(_) => Failure::Runtime(String::new()),
        Err(failure) => failure,
    }
}

/// The process conmon reported, and conmon. `None` when it is gone: a pid counts only while its
/// parent is that conmon.
fn identify(pid: Pid, conmon_pidfile: &Path) -> Result<Option<(PidFd, Option<PidFd>)>> {
    let read = "cannot open the exec's process";
    let (Some(init), Some(stat)) = (
        PidFd::open(pid).context(read)?,
        sys::proc::stat(pid).context(read)?,
    ) else {
        return Ok(None);
    };
    let conmon = match read_pid_file(conmon_pidfile) {
        Ok(conmon) => conmon,
        Err(e) => {
            tracing::warn!("{e}: an exec's conmon is watched by its pipe alone");
            return Ok(Some((init, None)));
        }
    };
    if stat.parent != conmon.get() {
        return Ok(None);
    }
    let monitor = PidFd::open(conmon).context("cannot open conmon's process")?;
    Ok(Some((init, monitor)))
}

fn ended(exit_file: &Path) -> Result<ExitReport> {
    let read = ExitFile::read(exit_file);
    let file = read.context(format_args!("cannot read {}", exit_file.display()))?;
    let (status, finished_at) = match file {
        Some(file) => (file.status, file.written_at),
        None => (
            model::ExitStatus::Unknown(model::ExitReason::MonitorDied),
            model::Timestamp::now(),
        ),
    };
    Ok(ExitReport {
        status,
        finished_at,
        oom_killed: false,
    })
}
