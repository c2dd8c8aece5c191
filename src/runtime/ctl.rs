//! The way to a conmon that runs: its `ctl` fifo.
//!
//! conmon 2.1.x reads only the first line of what it finds there, so one message at a time is in
//! it, and the next waits until that was read.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Error, Kind, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Largest size of a terminal that conmon 2.2 takes.
const RESIZE_MAX: u16 = 1000;
/// How long conmon may take to read the message before.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often that is looked for.
const PAUSE: Duration = Duration::from_millis(2);

/// What can be asked of a conmon; clones are the same conmon's.
#[derive(Debug, Clone)]
pub struct Ctl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `container ID` or `exec ID`, for messages.
    what: String,
    fifo: PathBuf,
    size_max: u16,
    turn: Mutex<()>,
}

impl Ctl {
    /// With `resize_limit`, conmon ignores sizes above [`RESIZE_MAX`].
    pub(crate) fn new(what: String, fifo: PathBuf, resize_limit: bool) -> Self {
        let shared = Arc::new(Shared {
            what,
            fifo,
            size_max: if resize_limit { RESIZE_MAX } else { u16::MAX },
            turn: Mutex::default(),
        });
        Self { shared }
    }

    /// Sets the size of the terminal, before or after the start.
    ///
    /// # Errors
    /// Conflict when conmon is gone; Unavailable when it does not read.
    pub async fn resize(&self, height: u16, width: u16) -> Result<()> {
        let most = self.shared.size_max;
        let message = format!("1 {} {}\n", height.min(most), width.min(most));
        self.send(&message, "resize").await
    }

    /// Makes conmon open its log anew. When this returns it has been told; it has done it when
    /// the log is there. To be told again only when it has read the word and not done it: an
    /// opened log that is opened anew is emptied.
    ///
    /// # Errors
    /// As [`Ctl::resize`].
    pub async fn reopen_log(&self) -> Result<()> {
        self.send("2 0 0\n", "rotate the log of").await
    }

    async fn send(&self, message: &str, verb: &str) -> Result<()> {
        let _turn = self.shared.turn.lock().await;
        let Shared { what, fifo, .. } = &*self.shared;
        let give_up = Instant::now() + PATIENCE;
        loop {
            match sys::fifo::write_message(fifo, message.as_bytes()) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(Error::conflict(format!("{what} is not running")));
                }
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => {
                    return Err(Error::system(format!("cannot {verb} {what}: {e}")));
                }
                Err(_) if Instant::now() > give_up => {
                    let why = format!(
                        "cannot {verb} {what}: its conmon does not read {}",
                        fifo.display()
                    );
                    return Err(Error::new(Kind::Unavailable, why));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}
