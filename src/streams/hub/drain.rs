//! The task that reads an attach connection to its end, however slow the clients are.

use std::sync::Arc;

use model::limits;
use sys::attach_socket::AttachReader;
use tokio::time::Instant;

use super::client::{Client, Kept};
use super::{Connection, IDLE_LINGER, Run, Shared};
use crate::stdcopy::StreamId;

/// Reads until the other side ends, the hub has another connection, or nobody needs this one.
pub(super) async fn run(shared: Arc<Shared>, connection: Arc<Connection>, reader: AttachReader) {
    let mut buffer = vec![0; limits::ATTACH_PACKET_BYTES_MAX];
    // When to close for want of clients.
    let mut close_at: Option<Instant> = None;
    loop {
        let linger = async {
            match close_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A flood of output must not keep an unneeded connection: the flood comes last.
            biased;
            () = connection.look.notified() => match shared.needs(&connection) {
                Need::Keep => close_at = None,
                Need::Linger => close_at = Some(Instant::now() + IDLE_LINGER),
                Need::Replaced => break,
            },
            () = linger => {
                if shared.close_idle(&connection) {
                    break;
                }
                close_at = None;
            }
            received = reader.recv(&mut buffer) => {
                let length = received.unwrap_or_else(|e| {
                    tracing::warn!(error = %e, socket = %connection.path.display(), "attach connection failed");
                    0
                });
                if length == 0 {
                    break;
                }
                let Some(full) = shared.deliver(&connection, &buffer[..length]) else {
                    break;
                };
                for client in full {
                    client.write_out().await;
                }
            }
        }
    }
    shared.connection_ended(&connection);
}

/// Whether a connection is still needed.
enum Need {
    Keep,
    Linger,
    Replaced,
}

impl Shared {
    /// Hands one packet to all clients; those whose memory is full by then. `None` when this
    /// connection is no longer the hub's.
    fn deliver(&self, connection: &Arc<Connection>, packet: &[u8]) -> Option<Vec<Arc<Client>>> {
        let mut full = Vec::new();
        let mut state = self.lock();
        if !state.is_current(connection) {
            return None;
        }
        let (kind, payload) = (packet[0], &packet[1..]);
        let Some(stream) = stream(kind) else {
            tracing::warn!(kind, socket = %connection.path.display(), "unknown packet from conmon skipped");
            return Some(full);
        };
        if payload.is_empty() {
            return Some(full);
        }
        if let Some(history) = &mut state.history {
            history.push(stream, payload);
        }
        let framed = !self.options.tty;
        let before = state.clients.len();
        state
            .clients
            .retain(|client| match client.push(stream, payload, framed) {
                Kept::Yes => true,
                Kept::WriteOut => {
                    full.push(Arc::clone(client));
                    true
                }
                Kept::No => false,
            });
        if state.clients.is_empty() && before > 0 {
            connection.look.notify_one();
        }
        Some(full)
    }

    fn needs(&self, connection: &Arc<Connection>) -> Need {
        let state = self.lock();
        if !state.is_current(connection) {
            Need::Replaced
        } else if state.clients.is_empty() && !self.stays_connected(&state) {
            Need::Linger
        } else {
            Need::Keep
        }
    }

    /// Back to `Listening` if still nobody came.
    fn close_idle(&self, connection: &Arc<Connection>) -> bool {
        let mut state = self.lock();
        let idle = state.is_current(connection) && state.clients.is_empty();
        if idle {
            state.run = Run::Listening(connection.path.clone());
        }
        idle
    }

    fn connection_ended(&self, connection: &Arc<Connection>) {
        let mut state = self.lock();
        if state.is_current(connection) {
            state.run = Run::Gone;
        }
        drop(state);
        connection.gone.cancel();
        self.changed.notify_waiters();
    }
}

/// conmon's type byte (`STDOUT_PIPE` 2, `STDERR_PIPE` 3; its 1 is stdin and is never sent).
fn stream(kind: u8) -> Option<StreamId> {
    match kind {
        2 => Some(StreamId::Stdout),
        3 => Some(StreamId::Stderr),
        _ => None,
    }
}
