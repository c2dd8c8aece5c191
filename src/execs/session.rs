//! One session: its state, published to all who wait; its streams; the way to its process.

use std::sync::{Arc, Mutex, PoisonError};

use model::{
    ContainerId, Error, ExecEnded, ExecId, ExecSpec, ExecState, Result, Signal, Timestamp,
    WaitOutcome, limits,
};
use streams::{HistoryOptions, Hub, HubOptions, StdinPolicy, Want};
use tokio::sync::{mpsc, oneshot, watch};

use crate::kept::Kept;
use crate::{ExecView, Tools};

/// Where an answer goes.
pub(crate) type Reply = oneshot::Sender<Result<()>>;

/// What can be asked of a running session's task.
#[derive(Debug)]
pub(crate) enum Command {
    Signal(Signal, Reply),
    Resize(u16, u16, Reply),
}

/// A session, seen from outside its task.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: ExecId,
    pub(crate) container_id: ContainerId,
    pub(crate) created_at: Timestamp,
    pub(crate) spec: ExecSpec,
    pub(crate) hub: Hub,
    /// Its log, when its output is kept.
    pub(crate) kept: Option<Kept>,
    state: watch::Sender<ExecState>,
    /// The terminal's first size, as last asked for.
    console_size: Mutex<Option<(u16, u16)>>,
    commands: mpsc::Sender<Command>,
    /// The task's end of it, until there is one.
    inbox: Mutex<Option<mpsc::Receiver<Command>>>,
}

impl Session {
    pub(crate) fn new(
        tools: &Tools,
        id: ExecId,
        container_id: ContainerId,
        created_at: Timestamp,
        spec: ExecSpec,
    ) -> Arc<Self> {
        let want = wanted(&spec);
        let kept = spec
            .keep_output
            .then(|| Kept::new(&tools.containers, &container_id, &id, want));
        let history = (kept.is_none() && (want.stdout || want.stderr)).then(|| HistoryOptions {
            want,
            bytes_max: limits::EXEC_HISTORY_BYTES,
            budget: tools.histories.clone(),
        });
        let options = HubOptions {
            tty: spec.tty,
            stdin: stdin_policy(&spec),
            ring_bytes: limits::CLIENT_RING_BYTES,
            spill: Some(tools.spill.clone()),
            history,
        };
        let (commands, inbox) = mpsc::channel(limits::CONTAINER_QUEUE_MAX);
        Arc::new(Self {
            id,
            container_id,
            created_at,
            console_size: Mutex::new(spec.console_size),
            spec,
            hub: Hub::new(options),
            kept,
            state: watch::channel(ExecState::Created).0,
            commands,
            inbox: Mutex::new(Some(inbox)),
        })
    }

    pub(crate) fn view(&self) -> ExecView {
        ExecView {
            id: self.id.clone(),
            container_id: self.container_id.clone(),
            spec: self.spec.clone(),
            state: self.state(),
            lost_bytes: self.kept.as_ref().map(Kept::lost_bytes),
        }
    }

    /// Which of its streams clients get.
    pub(crate) fn wanted(&self) -> Want {
        wanted(&self.spec)
    }

    /// Its output has come to its end: clients get what is left.
    pub(crate) async fn finish_streams(&self) {
        if let Some(kept) = &self.kept {
            kept.finish();
        }
        self.hub.finished().await;
    }

    pub(crate) fn state(&self) -> ExecState {
        self.state.borrow().clone()
    }

    pub(crate) fn finished_at(&self) -> Option<Timestamp> {
        self.state.borrow().ended().map(|ended| ended.finished_at)
    }

    /// Publishes a state. Only who claimed the session does.
    pub(crate) fn publish(&self, state: ExecState) {
        self.state.send_replace(state);
    }

    /// From made to starting, once.
    ///
    /// # Errors
    /// Docker's words for one that was started before.
    pub(crate) fn claim(&self, console_size: Option<(u16, u16)>) -> Result<()> {
        let mut size = self.size();
        let mut refusal = None;
        self.state.send_if_modified(|state| {
            let words = match state {
                ExecState::Created => {
                    *state = ExecState::Starting;
                    return true;
                }
                ExecState::Starting | ExecState::Running(_) => "is already running",
                ExecState::Ended(_) => "has already run",
            };
            let message = format!("Error: Exec command {} {words}", self.id);
            refusal = Some(Error::conflict(message));
            false
        });
        match refusal {
            Some(error) => Err(error),
            None => {
                if console_size.is_some() {
                    *size = console_size;
                }
                Ok(())
            }
        }
    }

    /// Ends one that is in none of the states in which something is on the host, for good: nobody
    /// can start it after that. False for one that is starting or runs; those are ended by their
    /// process.
    pub(crate) fn retire(&self, end: ExecEnded) -> bool {
        let mut is_over = true;
        self.state.send_if_modified(|state| match state {
            ExecState::Created => {
                *state = ExecState::Ended(end);
                true
            }
            ExecState::Starting | ExecState::Running(_) => {
                is_over = false;
                false
            }
            ExecState::Ended(_) => false,
        });
        is_over
    }

    /// Ends one whose start was cut short by a fault of ours.
    pub(crate) fn give_up(&self, end: ExecEnded) {
        self.state.send_if_modified(|state| {
            let starting = matches!(state, ExecState::Starting);
            if starting {
                *state = ExecState::Ended(end);
            }
            starting
        });
    }

    /// What is to run, with the size that was asked for last.
    pub(crate) fn spec_to_run(&self) -> ExecSpec {
        ExecSpec {
            console_size: *self.size(),
            ..self.spec.clone()
        }
    }

    /// Remembers a size for the start; false when that is over.
    pub(crate) fn resize_before_start(&self, height: u16, width: u16) -> bool {
        // The lock is the claim's, too: a size that is taken here is one the start sees.
        let mut size = self.size();
        let created = matches!(*self.state.borrow(), ExecState::Created);
        if created {
            *size = Some((height, width));
        }
        created
    }

    /// Resolves when it is known whether the process came to run.
    pub(crate) async fn started(&self) {
        let mut state = self.state.subscribe();
        let known = |state: &ExecState| !matches!(state, ExecState::Starting);
        drop(state.wait_for(known).await);
    }

    /// Resolves with its end.
    pub(crate) async fn ended(&self) -> WaitOutcome {
        let mut state = self.state.subscribe();
        let over = state.wait_for(|state| state.ended().is_some()).await;
        let ended = over.as_ref().ok().and_then(|state| state.ended());
        WaitOutcome {
            status_code: ended.map_or(-1, |ended| ended.status.code()),
            error: ended.map(|e| e.error.clone()).filter(|e| !e.is_empty()),
        }
    }

    /// Asks the session's task.
    pub(crate) async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<()> {
        let not_running = || Error::conflict(format!("exec {} is not running", self.id));
        if self.state.borrow().running().is_none() {
            return Err(not_running());
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| not_running())?;
        answer.await.map_err(|_| not_running())?
    }

    /// The task's end of the mailbox; to be taken once.
    pub(crate) fn take_inbox(&self) -> Option<mpsc::Receiver<Command>> {
        self.inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn size(&self) -> std::sync::MutexGuard<'_, Option<(u16, u16)>> {
        self.console_size
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that were asked for; of one whose output is kept for later all, when none was.
fn wanted(spec: &ExecSpec) -> Want {
    let all = spec.keep_output && !spec.stdout && !spec.stderr;
    Want {
        stdout: spec.stdout || all,
        stderr: spec.stderr || all,
    }
}

/// An exec's stdin ends with its client, unless it is a terminal's.
fn stdin_policy(spec: &ExecSpec) -> StdinPolicy {
    match (spec.stdin, spec.tty) {
        (_, true) => StdinPolicy::Keep,
        (true, false) => StdinPolicy::Once,
        // Where the runtime would give the host's /dev/null away there is one; elsewhere there is none
        // to be ended.
        (false, false) => StdinPolicy::Ended,
    }
}
