//! The way to a container from outside its task: its published picture and its mailbox.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use checkpoints::DumpEnd;
use model::{
    CheckpointName, ContainerId, ContainerName, ContainerState, EndpointConfig, Error, Event, Kind,
    Result, Signal,
};
use runtime::Task;
use sys::spawn::Descriptors;
use tokio::sync::{mpsc, oneshot, watch};

use crate::connect::Connect;
use crate::wait::{Lifecycle, Waiter};
use crate::{
    Change, CheckpointContainer, ContainerView, RemoveContainer, StopContainer, UpdateContainer,
    WaitCondition,
};
use stdio::ContainerStreams;

/// Where an answer goes. Nobody listening any more is no reason not to finish.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// What was found out about a container: its state and, when it runs, its process.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) state: ContainerState,
    pub(crate) task: Option<Box<Task>>,
    /// What is to be told of it.
    pub(crate) events: Vec<Event>,
    pub(crate) restart_count: u32,
    /// A client's restart was cut short: it is to be started.
    pub(crate) again: bool,
    /// A client had asked for the end of the present run.
    pub(crate) by_request: bool,
}

/// What can be asked of a container's task.
#[derive(Debug)]
pub(crate) enum Message {
    /// With what its first process has open besides its streams.
    Start(Descriptors, Reply<Change>),
    Stop(StopContainer, Reply<Change>),
    Restart(StopContainer, Reply<Change>),
    Kill(Signal, Reply<()>),
    Pause(Reply<()>),
    Unpause(Reply<()>),
    Checkpoint(CheckpointContainer, Reply<()>),
    /// A start out of a checkpoint.
    Restore(CheckpointName, Reply<Change>),
    Resize(u16, u16, Reply<()>),
    /// What it is when nothing is under way.
    Look(Reply<Arc<ContainerView>>),
    Rename(ContainerName, Reply<()>),
    Update(Box<UpdateContainer>, Reply<()>),
    Connect(Box<Connect>, Reply<()>),
    /// The network as the client named it, and whether one that is gone will do.
    Disconnect(String, bool, Reply<()>),
    Remove(RemoveContainer, Reply<()>),
    /// Recovery's: what became of a lost container.
    Found(Box<Found>),
    /// Recovery's: a dump that another daemon had begun is over.
    DumpEnded(DumpEnd),
    /// Recovery's: the container runs, and its health is to be looked at again.
    TakeBack,
    /// Recovery's: an update that another daemon had begun is to be taken up.
    TakeUpUpdate,
    /// The task's own: the start half of all restarts that waited for one exit.
    StartAgain(Vec<Reply<Change>>),
}

impl Message {
    /// Answers with an error.
    pub(crate) fn refuse(self, error: Error) {
        match self {
            Self::Start(_, reply)
            | Self::Stop(_, reply)
            | Self::Restart(_, reply)
            | Self::Restore(_, reply) => {
                drop(reply.send(Err(error)));
            }
            Self::Kill(_, reply)
            | Self::Pause(reply)
            | Self::Unpause(reply)
            | Self::Checkpoint(_, reply)
            | Self::Resize(_, _, reply)
            | Self::Rename(_, reply)
            | Self::Update(_, reply)
            | Self::Connect(_, reply)
            | Self::Disconnect(_, _, reply)
            | Self::Remove(_, reply) => drop(reply.send(Err(error))),
            Self::Look(reply) => drop(reply.send(Err(error))),
            Self::Found(_) | Self::TakeBack | Self::TakeUpUpdate | Self::DumpEnded(_) => {}
            Self::StartAgain(replies) => {
                for reply in replies {
                    drop(reply.send(Err(error.clone())));
                }
            }
        }
    }
}

/// One container, seen from outside its task.
#[derive(Debug)]
pub struct Handle {
    view: RwLock<Arc<ContainerView>>,
    lifecycle: watch::Sender<Lifecycle>,
    mailbox: mpsc::Sender<Message>,
    /// Its task has something to do, or waits for something.
    busy: AtomicBool,
    /// Its streams: they belong to the container, not to its task.
    pub streams: ContainerStreams,
    id: ContainerId,
}

impl Handle {
    /// A handle on `view`; the receiver is the task's end of the mailbox.
    pub(crate) fn new(
        view: ContainerView,
        lifecycle: Lifecycle,
        streams: ContainerStreams,
    ) -> (Arc<Self>, mpsc::Receiver<Message>) {
        let (mailbox, inbox) = mpsc::channel(model::limits::CONTAINER_QUEUE_MAX);
        let id = view.id.clone();
        let (lifecycle, _) = watch::channel(lifecycle);
        let view = RwLock::new(Arc::new(view));
        (
            Arc::new(Self {
                view,
                lifecycle,
                mailbox,
                busy: AtomicBool::new(false),
                streams,
                id,
            }),
            inbox,
        )
    }

    /// Its id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The picture last published.
    pub fn view(&self) -> Arc<ContainerView> {
        self.view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Publishes a picture. Only the container's own task calls this.
    pub(crate) fn publish(&self, view: ContainerView) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// Whether its task has something to do, or waits for something.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) || self.mailbox.capacity() < self.mailbox.max_capacity()
    }

    /// Only the container's own task calls this.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// Changes what waiters see. Only the container's own task calls this.
    pub(crate) fn advance(&self, change: impl FnOnce(&mut Lifecycle)) {
        self.lifecycle.send_modify(change);
    }

    /// Arms a wait.
    pub fn wait(&self, condition: WaitCondition) -> Waiter {
        Waiter::new(self.lifecycle.subscribe(), condition)
    }

    /// Sends one message and waits for its answer. The work goes on when the caller gives up.
    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.mailbox
            .send(message(reply))
            .await
            .map_err(|_| self.gone())?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Tells the task what recovery has found out. A task that is gone needs it no more.
    pub(crate) async fn tell(&self, found: Found) {
        drop(self.mailbox.send(Message::Found(Box::new(found))).await);
    }

    /// Tells the task that a dump is over which another daemon had begun.
    pub(crate) async fn tell_dump_ended(&self, end: DumpEnd) {
        drop(self.mailbox.send(Message::DumpEnded(end)).await);
    }

    /// No answer: the task has ended, for the container was removed meanwhile; or it lost the
    /// request, which is a defect.
    fn gone(&self) -> Error {
        if !self.mailbox.is_closed() {
            return Error::system(format!(
                "an operation on container {} ended early: the daemon's log has more",
                self.id
            ));
        }
        Error::new(Kind::NotFound, format!("No such container: {}", self.id))
    }
}

/// What it can be asked.
impl Handle {
    /// Starts it; `descriptors` are what its first process has open besides its streams.
    ///
    /// # Errors
    /// A refusal, what of the container or the host is in the way, or that it is gone.
    pub async fn start(&self, descriptors: Descriptors) -> Result<Change> {
        self.ask(|reply| Message::Start(descriptors, reply)).await
    }

    /// Starts it out of a checkpoint.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub async fn restore(&self, checkpoint: CheckpointName) -> Result<Change> {
        self.ask(|reply| Message::Restore(checkpoint, reply)).await
    }

    /// Makes a checkpoint of it.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub async fn checkpoint(&self, request: CheckpointContainer) -> Result<()> {
        self.ask(|reply| Message::Checkpoint(request, reply)).await
    }

    /// Stops it: its stop signal, and SIGKILL after the grace.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub async fn stop(&self, request: StopContainer) -> Result<Change> {
        self.ask(|reply| Message::Stop(request, reply)).await
    }

    /// Stops it if it runs, and starts it.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub async fn restart(&self, request: StopContainer) -> Result<Change> {
        self.ask(|reply| Message::Restart(request, reply)).await
    }

    /// Sends its first process a signal.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub async fn kill(&self, signal: Signal) -> Result<()> {
        self.ask(|reply| Message::Kill(signal, reply)).await
    }

    /// Freezes its processes.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub async fn pause(&self) -> Result<()> {
        self.ask(Message::Pause).await
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub async fn unpause(&self) -> Result<()> {
        self.ask(Message::Unpause).await
    }

    /// Gives its terminal another size, in rows and columns.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub async fn resize(&self, height: u16, width: u16) -> Result<()> {
        self.ask(|reply| Message::Resize(height, width, reply))
            .await
    }

    /// What it is when nothing is under way.
    ///
    /// # Errors
    /// It is gone.
    pub async fn look(&self) -> Result<Arc<ContainerView>> {
        self.ask(Message::Look).await
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// As [`Handle::start`]; another container has the name.
    pub async fn rename(&self, name: ContainerName) -> Result<()> {
        self.ask(|reply| Message::Rename(name, reply)).await
    }

    /// Gives it other limits, another restart policy.
    ///
    /// # Errors
    /// As [`Handle::start`]; limits that exclude each other or those it has, what the runtime says.
    /// Then nothing has changed.
    pub async fn update(&self, request: UpdateContainer) -> Result<()> {
        self.ask(|reply| Message::Update(Box::new(request), reply))
            .await
    }

    /// Connects it to a network.
    ///
    /// # Errors
    /// As [`Handle::start`]; in moby's words, what cannot be asked for there.
    pub async fn connect(&self, network: &str, config: EndpointConfig) -> Result<()> {
        let network = network.to_owned();
        let request = Box::new(Connect { network, config });
        self.ask(|reply| Message::Connect(request, reply)).await
    }

    /// Takes it off a network; with `force` also off one that is gone.
    ///
    /// # Errors
    /// As [`Handle::start`]; it is not on that network.
    pub async fn disconnect(&self, network: &str, force: bool) -> Result<()> {
        let network = network.to_owned();
        self.ask(|reply| Message::Disconnect(network, force, reply))
            .await
    }

    /// Removes it.
    ///
    /// # Errors
    /// As [`Handle::start`].
    pub async fn remove(&self, request: RemoveContainer) -> Result<()> {
        self.ask(|reply| Message::Remove(request, reply)).await
    }
}
