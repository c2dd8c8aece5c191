//! The hub: one attach connection to conmon, any number of clients.
//!
//! conmon serves its attach clients with blocking writes from its only thread: one that does not
//! read stops the container and its log. So nobody but the hub connects. Its reading task drains
//! the connection whatever the clients do. What a client has not taken yet waits in memory, then
//! in an unlinked file, each up to a limit; one that lets more wait is closed with an error. The
//! container never waits for a client.
//!
//! ```text
//!              connect(path)              somebody listens, or stdin is Once
//!   Waiting ------------------> Listening ----------------------------------> Connected
//!      ^        resume(path)        ^                                          |     |
//!      |                            +---- nobody listens, after IDLE_LINGER ---+     | EOF
//!      |                                                                             v
//!      +---------------------------- finished() ----------------------------------- Gone
//! ```
//!
//! conmon closes the container's stdin when a client leaves, unless it was started with
//! `--leave-stdin-open`, and with that flag nobody can close it. Hence [`StdinPolicy`]: with
//! `Once` the hub connects before the container runs and stays to the end, for its disconnect is
//! the EOF; otherwise it is connected only while somebody listens, because a stopped daemon that
//! holds a connection stops the container.
//!
//! A hub belongs to a container, not to a run: clients may come before the start and wait for
//! it, and those that come after an exit wait for the next.

mod backlog;
mod client;
mod drain;
mod history;
mod ring;
mod stdin;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Error, Kind, Result, limits};
use sys::attach_socket::{self, AttachWriter};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::backlog::SpillOptions;
use self::client::Client;
pub use self::client::{Subscription, Want};
use self::history::History;
pub use self::history::{HistoryBudget, HistoryOptions};
pub use self::stdin::{AfterEof, StdinClosed, StdinWriter};

/// How long an ended container's connection may take to reach its end before it is cut. conmon
/// closes it before it writes the exit file; only a conmon that was stopped or hangs takes longer.
const FINISH_DRAIN: Duration = Duration::from_secs(2);
/// How long a connection stays when the last client has left: conmon may not have read yet what
/// that client sent, and a connection that closes with output unread takes such input with it.
const IDLE_LINGER: Duration = Duration::from_secs(1);

/// What the container's stdin is, and so what conmon was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdinPolicy {
    /// There is one, which ends when the run connects: nobody writes to it. For processes that must
    /// not be given the host's /dev/null.
    Ended,
    /// No stdin.
    None,
    /// Docker's StdinOnce without a terminal, conmon without `--leave-stdin-open`: the first
    /// client that ends its input ends the container's.
    Once,
    /// Every terminal, and OpenStdin without StdinOnce; conmon with `--leave-stdin-open`: it
    /// never ends.
    Keep,
}

/// What a hub is told once.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The container has a terminal: output is raw, not framed.
    pub tty: bool,
    /// What its stdin is.
    pub stdin: StdinPolicy,
    /// Bytes that may wait in memory for one client: [`limits::CLIENT_RING_BYTES`].
    pub ring_bytes: usize,
    /// Where the rest waits; `None` is nowhere.
    pub spill: Option<SpillOptions>,
    /// Keep the last output for those who come back. The hub is connected all the time then.
    pub history: Option<HistoryOptions>,
}

/// A container's hub; clones are the same hub. Costs a few hundred bytes while nobody listens.
#[derive(Debug, Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: HubOptions,
    state: Mutex<State>,
    /// The connection came, or it is certain that it will not.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Counts runs: who belongs to an earlier one has no say in this one.
    epoch: u64,
    run: Run,
    clients: Vec<Arc<Client>>,
    /// A client ended the input of this run (only with [`StdinPolicy::Once`]).
    stdin_ended: bool,
    /// Of this run.
    history: Option<Box<History>>,
}

/// How far this run is; the module's head has the diagram.
#[derive(Debug)]
enum Run {
    Waiting,
    Listening(PathBuf),
    Connected(Arc<Connection>),
    Gone,
}

#[derive(Debug)]
struct Connection {
    path: PathBuf,
    writer: AttachWriter,
    /// The clients changed: the reading task looks whether it is still needed.
    look: Notify,
    /// Cancelled when the reading task has ended: nothing more comes, nothing more goes.
    gone: CancellationToken,
}

impl Hub {
    /// A hub of a container that is not running.
    pub fn new(options: HubOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                state: Mutex::new(State {
                    epoch: 0,
                    run: Run::Waiting,
                    clients: Vec::new(),
                    stdin_ended: false,
                    history: None,
                }),
                changed: Notify::new(),
            }),
        }
    }

    /// A run begins: conmon listens at `attach_socket` and the container does not run yet. The
    /// hub connects now when a client waits, stdin is `Once` or there is a history, else when the
    /// first client comes.
    /// Calling it twice in a run is harmless. Does not block; needs a tokio runtime.
    ///
    /// # Errors
    /// [`Kind::System`] when the socket cannot be connected to.
    pub fn connect(&self, attach_socket: &Path) -> Result<()> {
        let mut state = self.shared.lock();
        if matches!(state.run, Run::Connected(_)) {
            return Ok(());
        }
        state.run = Run::Listening(attach_socket.to_owned());
        state.history = self.shared.options.history.clone().map(History::new);
        if self.shared.stays_connected(&state) || !state.clients.is_empty() {
            self.open(&mut state)
                .map_err(|e| cannot_connect(attach_socket, &e))?;
        }
        Ok(())
    }

    /// A container was found running when the daemon started: as [`Hub::connect`], but only a
    /// client makes it connect, and there is no history of what came before. With `Once`, conmon has closed the stdin when the daemon before
    /// us went, and nobody can open it again.
    pub fn resume(&self, attach_socket: &Path) {
        let mut state = self.shared.lock();
        state.run = Run::Listening(attach_socket.to_owned());
        state.stdin_ended = self.shared.options.stdin == StdinPolicy::Once;
        if state.clients.is_empty() {
            return;
        }
        // Those who came before it was found.
        if let Err(e) = self.open(&mut state) {
            tracing::warn!("{}", cannot_connect(attach_socket, &e));
            if is_gone(&e) {
                state.run = Run::Gone;
            }
        }
    }

    /// The container has ended. Returns when the last byte was handed out; each subscription
    /// then ends as soon as its client has taken what waits for it. Clients that come later wait
    /// for the next run.
    pub async fn finished(&self) {
        let connection = match &self.shared.lock().run {
            Run::Connected(connection) => Some(Arc::clone(connection)),
            _ => None,
        };
        if let Some(connection) = connection {
            let drained = connection.gone.cancelled();
            if tokio::time::timeout(FINISH_DRAIN, drained).await.is_err() {
                tracing::warn!(
                    socket = %connection.path.display(),
                    "conmon did not close the attach connection of an ended container; cut"
                );
            }
        }
        let (before, clients) = {
            let mut state = self.shared.lock();
            state.epoch += 1;
            state.stdin_ended = false;
            state.history = None;
            let before = std::mem::replace(&mut state.run, Run::Waiting);
            (before, std::mem::take(&mut state.clients))
        };
        if let Run::Connected(cut) = before {
            cut.look.notify_one();
        }
        for client in clients {
            client.finish();
        }
        self.shared.changed.notify_waiters();
    }

    /// A new client of the output; with nothing wanted, one that is only there for its stdin. It
    /// gets what is written from now on.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when [`limits::ATTACH_CLIENTS_MAX`] are there already, and
    /// [`Kind::System`] when conmon is there but cannot be connected to.
    pub fn subscribe(&self, want: Want) -> Result<Subscription> {
        self.join(&mut self.shared.lock(), want)
    }

    /// A client that has `offset` bytes of this run's output: it gets what came after those, as
    /// far as it is kept, then what comes. Also the offset at which that begins.
    ///
    /// # Errors
    /// As [`Hub::subscribe`]; Conflict where no history is kept, nothing runs, or it was started by
    /// an earlier daemon; `InvalidParameter` for an offset beyond the output.
    pub fn subscribe_since(&self, offset: u64) -> Result<(Subscription, u64)> {
        let mut state = self.shared.lock();
        let Some(history) = &state.history else {
            return Err(Error::conflict(
                "its output was not kept: it cannot be attached to at an offset",
            ));
        };
        let (want, end) = (history.want(), history.end());
        if offset > end {
            return Err(Error::invalid(format!(
                "invalid offset {offset}: it has written {end} bytes"
            )));
        }
        let subscription = self.join(&mut state, want)?;
        let framed = !self.shared.options.tty;
        let history = state.history.as_ref();
        let begin = history.map_or(end, |history| {
            history.since(offset, |stream, bytes| {
                // It has less than a client's memory takes.
                let _ = subscription.client().push(stream, bytes, framed);
            })
        });
        Ok((subscription, begin))
    }

    fn join(&self, state: &mut State, want: Want) -> Result<Subscription> {
        if state.clients.len() >= limits::ATTACH_CLIENTS_MAX {
            return Err(Error::new(
                Kind::Unavailable,
                format!(
                    "too many clients are attached (at most {})",
                    limits::ATTACH_CLIENTS_MAX
                ),
            ));
        }
        if let Run::Listening(path) = &state.run {
            let path = path.clone();
            match self.open(state) {
                Ok(()) => {}
                // conmon is gone and the word of it on its way, as `finished`.
                Err(e) if is_gone(&e) => state.run = Run::Gone,
                Err(e) => return Err(cannot_connect(&path, &e)),
            }
        }
        let options = &self.shared.options;
        let client = Client::new(want, options.ring_bytes, options.spill.clone());
        let client = Arc::new(client);
        state.clients.push(Arc::clone(&client));
        if let Run::Connected(connection) = &state.run {
            connection.look.notify_one();
        }
        Ok(Subscription::new(Arc::clone(&self.shared), client))
    }

    /// A writer to the container's stdin, for one client that also holds a [`Subscription`].
    /// `None` where there is no stdin.
    pub fn stdin(&self) -> Option<StdinWriter> {
        let takes = matches!(
            self.shared.options.stdin,
            StdinPolicy::Once | StdinPolicy::Keep
        );
        takes.then(|| StdinWriter::new(Arc::clone(&self.shared)))
    }

    /// `Listening` to `Connected`. Under the lock, so that there is one connection at most; a
    /// second one that closes again would end the container's stdin. It does not block.
    fn open(&self, state: &mut State) -> io::Result<()> {
        let Run::Listening(path) = &state.run else {
            return Ok(());
        };
        let (reader, writer) = attach_socket::connect(path)?;
        if state.stdin_ended || self.shared.options.stdin == StdinPolicy::Ended {
            writer.shutdown()?;
        }
        let connection = Arc::new(Connection {
            path: path.clone(),
            writer,
            look: Notify::new(),
            gone: CancellationToken::new(),
        });
        state.run = Run::Connected(Arc::clone(&connection));
        tokio::spawn(drain::run(Arc::clone(&self.shared), connection, reader));
        self.shared.changed.notify_waiters();
        Ok(())
    }
}

impl Shared {
    /// Whether there is a connection to the end, clients or not.
    fn stays_connected(&self, state: &State) -> bool {
        matches!(self.options.stdin, StdinPolicy::Once | StdinPolicy::Ended)
            || state.history.is_some()
    }

    /// No code panics while holding the lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_current(&self, connection: &Arc<Connection>) -> bool {
        matches!(&self.run, Run::Connected(current) if Arc::ptr_eq(current, connection))
    }
}

fn cannot_connect(path: &Path, e: &io::Error) -> Error {
    Error::system(format!(
        "connect to conmon's attach socket: {}: {e}",
        path.display()
    ))
}

fn is_gone(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}
