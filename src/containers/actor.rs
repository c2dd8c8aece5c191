//! The task that owns one container.
//!
//! Only this task writes the container's row and publishes its picture. Signals (kill, stop, the
//! kill half of a forced removal) are acted on at once, whatever else is under way; everything
//! that takes time on the host runs as the one job of the container while the mailbox stays
//! open, and what must wait for the job queues behind it.
//!
//! ```text
//!            mailbox --> receive --+-- signals: at once
//!                                  +-- queue --> begin --> job --> conclude --> publish
//!   task (conmon, init) --> observe (exit, monitor lost) --> cleanup job
//!   stop's grace over   --> escalate (SIGKILL)
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use model::{ContainerState, Error, HealthResult, Intent, Kind, Result, limits};
use rules::Operation;
use runtime::{Restore, Task, TaskEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::checkpoint::Checkpointing;
use crate::connect::Connected;
use crate::handle::{Handle, Message, Reply};
use crate::health::Checks;
use crate::policy::{StartCause, StartDue, due};
use crate::record::Unwritten;
use crate::refusal::check;
use crate::start::{How, Started};
use crate::update::{Updated, Updating};
use crate::{Change, ContainerView, RemoveContainer};

/// How long a start may go on once somebody wants the container killed or removed.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// How a job ended, with what its requester is owed.
#[derive(Debug)]
pub(crate) enum Done {
    /// A start: the running task, or the failure with its exit code.
    Start(Box<Started>, Vec<Reply<Change>>),
    /// What an exit left behind is gone, or was tried to.
    Cleanup,
    /// It panicked: a defect of ours, and nobody knows what it left.
    Lost(String),
    /// Paused or thawed.
    Freeze {
        paused: bool,
        result: Result<()>,
        reply: Reply<()>,
    },
    /// The runtime was told of other limits.
    Update(Updated),
    /// On other networks.
    Connected(Box<Connected>),
    /// Dumped.
    Checkpoint {
        result: Result<()>,
        reply: Reply<()>,
    },
    /// A checkpoint to restore was looked at.
    Opened(Result<Restore>, Reply<Change>),
    /// A removal.
    Remove {
        result: Result<()>,
        intent: Intent,
        replies: Vec<Reply<()>>,
    },
}

/// A start under way.
#[derive(Debug)]
pub(crate) struct Starting {
    /// Gives it up.
    pub(crate) cancel: CancellationToken,
    /// When to give it up, once somebody wants the container gone.
    pub(crate) give_up_at: Option<Instant>,
    /// What it is for.
    pub(crate) cause: StartCause,
}

/// What happens when the process has ended.
#[derive(Debug)]
pub(crate) enum AfterExit {
    /// Tell the one who stopped it.
    Answer(Reply<Change>),
    /// Tell the one who killed it.
    Killed(Reply<()>),
    /// Start it again.
    Restart(Reply<Change>),
    /// Remove it.
    Remove(RemoveContainer, Reply<()>),
}

impl AfterExit {
    /// Whether it was a stop, by itself or for a restart.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(self, Self::Answer(_) | Self::Restart(_))
    }
}

/// A stop under way.
#[derive(Debug)]
pub(crate) struct Stopping {
    /// When to act next; `None` waits for ever.
    pub(crate) deadline: Option<Instant>,
    /// SIGKILL was sent: the next deadline gives up.
    pub(crate) killed: bool,
}

/// The task's own state.
pub(crate) struct Actor {
    pub(crate) engine: Arc<Shared>,
    pub(crate) handle: Arc<Handle>,
    inbox: mpsc::Receiver<Message>,
    /// conmon and init, while init lives.
    pub(crate) task: Option<Task>,
    /// Work on the host that takes time, in a task of its own: should it panic, this one lives.
    job: Option<JoinHandle<Done>>,
    pub(crate) starting: Option<Starting>,
    queue: VecDeque<Message>,
    /// A run is over and to be cleaned up as soon as no job is under way: `true` when the exit
    /// is in the ledger.
    pub(crate) cleanup_due: Option<bool>,
    pub(crate) stopping: Option<Stopping>,
    /// It is to be thawed when the job under way, a freeze or an update perhaps, is done.
    pub(crate) thaw_due: bool,
    pub(crate) after_exit: Vec<AfterExit>,
    /// What the ledger did not take, to be written again.
    pub(crate) unwritten: Option<Unwritten>,
    /// A start that is to come by itself.
    pub(crate) start_due: Option<StartDue>,
    /// The last pause between two runs.
    pub(crate) delay: Option<Duration>,
    /// How often the restart policy has started it since a client did.
    pub(crate) restart_count: u32,
    /// A client wants its present run ended.
    pub(crate) ends_by_request: bool,
    /// It is being dumped.
    pub(crate) checkpoint: Option<Checkpointing>,
    pub(crate) checks: Checks,
    pub(crate) updating: Updating,
}

impl Actor {
    /// The task of a container that does not run.
    pub(crate) fn new(
        engine: Arc<Shared>,
        handle: Arc<Handle>,
        inbox: mpsc::Receiver<Message>,
    ) -> Self {
        let restart_count = handle.view().restart_count;
        Self {
            engine,
            handle,
            inbox,
            task: None,
            job: None,
            starting: None,
            queue: VecDeque::new(),
            cleanup_due: None,
            stopping: None,
            thaw_due: false,
            after_exit: Vec::new(),
            unwritten: None,
            start_due: None,
            delay: None,
            restart_count,
            ends_by_request: false,
            checkpoint: None,
            checks: Checks::default(),
            updating: Updating::default(),
        }
    }

    /// Runs until the container is removed or the daemon ends.
    #[tracing::instrument(name = "container", skip_all, fields(id = self.handle.id().short()))]
    pub(crate) async fn run(mut self) {
        loop {
            self.begin_queued().await;
            self.handle.set_busy(self.has_work());
            let recovered = self.engine.recovered.clone();
            let start_at = self.start_due.map(|due| due.at);
            // Events of the process come before requests: a request that arrives with an exit
            // finds the container exited.
            tokio::select! {
                biased;
                event = next_event(&mut self.task) => self.observe(event).await,
                done = next_done(&mut self.job) => {
                    self.job = None;
                    if self.conclude(done).await {
                        return;
                    }
                }
                () = until(self.stopping.as_ref().and_then(|s| s.deadline)) => {
                    self.escalate().await;
                }
                () = until(self.starting.as_ref().and_then(|s| s.give_up_at)) => {
                    self.give_start_up();
                }
                () = due(recovered.clone(), start_at), if self.job.is_none() => {
                    self.begin_due_start().await;
                }
                () = due(recovered, self.checks.due), if self.checks.running.is_none() => {
                    self.begin_check();
                }
                result = next_result(&mut self.checks.running) => {
                    self.conclude_check(result).await;
                }
                () = until(self.unwritten.as_ref().map(|u| u.again_at)) => {
                    self.write_again().await;
                }
                message = self.inbox.recv() => match message {
                    Some(message) => self.receive(message).await,
                    None => return,
                },
            }
        }
    }

    /// The picture last published.
    pub(crate) fn view(&self) -> Arc<ContainerView> {
        self.handle.view()
    }

    /// Signals are acted on now, the rest waits for its turn.
    async fn receive(&mut self, message: Message) {
        let busy_starting = self.starting.is_some();
        match message {
            Message::Kill(signal, reply) if !busy_starting => self.kill(signal, reply).await,
            Message::Stop(request, reply) if !busy_starting => {
                self.stop(request, AfterExit::Answer(reply)).await;
            }
            Message::Restart(request, reply) if self.task.is_some() && !busy_starting => {
                self.stop(request, AfterExit::Restart(reply)).await;
            }
            Message::Remove(request, reply) if request.force && self.task.is_some() => {
                self.kill_for_removal(request, reply).await;
            }
            Message::Remove(request, reply) if self.is_being_removed() => {
                let operation = Operation::Remove {
                    force: request.force,
                };
                answer(reply, check(&self.view(), operation));
            }
            Message::Resize(height, width, reply) => self.resize(height, width, reply),
            message => self.enqueue(message),
        }
    }

    /// Lets a request wait for its turn, unless too many do.
    fn enqueue(&mut self, message: Message) {
        if ends_a_start(&message)
            && let Some(starting) = &mut self.starting
        {
            let soon = Instant::now() + START_PATIENCE;
            starting.give_up_at.get_or_insert(soon);
        }
        if self.queue.len() < limits::CONTAINER_QUEUE_MAX {
            self.queue.push_back(message);
        } else {
            message.refuse(self.too_many_wait());
        }
    }

    /// What those are told for whom there is no place.
    pub(crate) fn too_many_wait(&self) -> Error {
        Error::new(
            Kind::Unavailable,
            format!(
                "{} requests wait for container {} already: try again later",
                limits::CONTAINER_QUEUE_MAX,
                self.handle.id()
            ),
        )
    }

    /// A start that hangs must not hold up those who want the container gone.
    fn give_start_up(&mut self) {
        if let Some(starting) = &mut self.starting {
            starting.give_up_at = None;
            starting.cancel.cancel();
        }
    }

    fn is_being_removed(&self) -> bool {
        self.view().state == ContainerState::Removing
    }

    /// Begins what waits, as long as no job is under way.
    async fn begin_queued(&mut self) {
        while self.job.is_none() {
            if let Some(recorded) = self.cleanup_due.take() {
                self.begin_cleanup(recorded);
                return;
            }
            let Some(message) = self.queue.pop_front() else {
                return;
            };
            match message {
                Message::Start(descriptors, reply) => {
                    self.begin_start_as(How::with(descriptors), vec![reply], StartCause::Start)
                        .await;
                }
                Message::Restore(name, reply) => self.begin_restore(name, reply),
                Message::DumpEnded(end) => self.take_dump_end(end).await,
                Message::Checkpoint(request, reply) => self.begin_checkpoint(request, reply).await,
                Message::StartAgain(replies) => {
                    self.begin_start(replies, StartCause::Restart).await
                }
                Message::Pause(reply) => self.begin_freeze(true, reply).await,
                Message::Unpause(reply) => self.begin_freeze(false, reply).await,
                Message::Look(reply) => answer(reply, Ok(self.view())),
                Message::Rename(name, reply) => {
                    let result = self.rename(name).await;
                    answer(reply, result);
                }
                Message::Update(request, reply) => self.begin_update(*request, reply).await,
                Message::Connect(request, reply) => self.begin_connect(*request, reply).await,
                Message::Disconnect(network, force, reply) => {
                    self.begin_disconnect(network, force, reply).await;
                }
                Message::Restart(_, reply) if self.task.is_none() => {
                    self.begin_start(vec![reply], StartCause::Restart).await;
                }
                Message::Remove(request, reply) if self.task.is_none() || !request.force => {
                    self.begin_remove(request, reply).await;
                }
                Message::Found(found) => self.take_up(*found).await,
                Message::TakeBack => self.take_back_checks().await,
                Message::TakeUpUpdate => self.take_up_update().await,
                message => self.receive(message).await,
            }
        }
    }

    /// Whether there is anything that the end of the daemon would cut short.
    fn has_work(&self) -> bool {
        self.job.is_some()
            || self.stopping.is_some()
            || self.start_due.is_some()
            || self.unwritten.is_some()
            || !self.after_exit.is_empty()
            || !self.queue.is_empty()
    }

    /// Whether a job is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Makes `job` the container's job.
    pub(crate) fn begin(&mut self, job: impl Future<Output = Done> + Send + 'static) {
        self.take_over(tokio::spawn(job));
    }

    /// Makes a job that was begun before this task the container's job.
    pub(crate) fn take_over(&mut self, job: JoinHandle<Done>) {
        debug_assert!(self.job.is_none(), "one job at a time");
        self.job = Some(job);
    }

    /// Puts a request in front of all others.
    pub(crate) fn begin_next(&mut self, message: Message) {
        self.queue.push_front(message);
    }

    /// Takes those out of the queue who wait for a removal, too: one removal serves them all.
    /// Also whether one of them wants the anonymous volumes gone.
    pub(crate) fn join_removals(&mut self) -> (Vec<Reply<()>>, bool) {
        let (mut replies, mut volumes) = (Vec::new(), false);
        for message in std::mem::take(&mut self.queue) {
            match message {
                Message::Remove(request, reply) => {
                    volumes |= request.volumes;
                    replies.push(reply);
                }
                other => self.queue.push_back(other),
            }
        }
        (replies, volumes)
    }

    /// Takes a finished job in. True when the container is gone.
    async fn conclude(&mut self, done: Done) -> bool {
        let was_thaw = matches!(done, Done::Freeze { paused: false, .. });
        match done {
            Done::Start(started, replies) => {
                let starting = self.starting.take();
                // Somebody wanted it gone.
                self.ends_by_request |= starting.as_ref().is_some_and(|s| s.cancel.is_cancelled());
                let cause = starting.map(|starting| starting.cause);
                self.conclude_start(*started, replies, cause).await;
            }
            Done::Cleanup => self.carry_on_after_exit(),
            Done::Lost(reason) => self.lose_job(&reason).await,
            Done::Freeze {
                paused,
                result,
                reply,
            } => {
                let result = self.conclude_freeze(paused, result).await;
                answer(reply, result);
            }
            Done::Update(updated) => self.conclude_update(updated).await,
            Done::Checkpoint { result, reply } => self.conclude_checkpoint(result, reply).await,
            Done::Connected(connected) => self.conclude_connect(*connected).await,
            Done::Opened(restore, reply) => self.conclude_open(restore, reply).await,
            Done::Remove {
                result,
                intent,
                replies,
            } => return self.conclude_remove(&result, intent, replies).await,
        }
        self.thaw_when_due(was_thaw).await;
        false
    }

    /// A job panicked. Its intent stays in the ledger, so the next daemon finds out what it left;
    /// a container that runs runs on.
    async fn lose_job(&mut self, reason: &str) {
        tracing::error!(reason, "a job of this container ended early");
        self.lose_update(reason).await;
        let intent = match self.starting.take() {
            Some(starting) => Some(starting.cause.intent()),
            None if self.is_being_removed() => Some(Intent::Removing { volumes: false }),
            None => None,
        };
        // A clean-up that was lost takes no exit code with it.
        if self.task.is_some() || intent.is_none() {
            self.carry_on_after_exit();
            return;
        }
        let reason = format!("an operation of the daemon failed: {reason}");
        self.handle
            .advance(|l| l.removal_error = Some(reason.clone()));
        let dead = ContainerState::Dead { reason };
        drop(self.set_state(dead, intent, vec![]).await);
        self.carry_on_after_exit();
    }
}

/// Sends an answer; nobody waiting for it any more is fine.
pub(crate) fn answer<T>(reply: Reply<T>, result: Result<T>) {
    drop(reply.send(result));
}

/// Whether a request means that the container should not be running.
fn ends_a_start(message: &Message) -> bool {
    matches!(
        message,
        Message::Kill(model::Signal::KILL, _)
            | Message::Stop(..)
            | Message::Remove(RemoveContainer { force: true, .. }, _)
    )
}

async fn next_event(task: &mut Option<Task>) -> TaskEvent {
    match task {
        Some(task) => task.next_event().await,
        None => std::future::pending().await,
    }
}

async fn next_done(job: &mut Option<JoinHandle<Done>>) -> Done {
    match job {
        Some(job) => job.await.unwrap_or_else(|e| Done::Lost(e.to_string())),
        None => std::future::pending().await,
    }
}

/// `None` when the check panicked.
async fn next_result(check: &mut Option<JoinHandle<HealthResult>>) -> Option<HealthResult> {
    match check {
        Some(check) => check.await.ok(),
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The longest a killed process is waited for.
pub(crate) fn kill_deadline() -> Instant {
    Instant::now() + limits::KILL_TIMEOUT
}
