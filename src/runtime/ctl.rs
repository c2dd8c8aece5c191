//! The way to a conmon that runs: its `ctl` fifo.
//!
//! conmon 2.1.x reads only the first line of what it finds there, so one message at a time is in
//! it, and the next waits until that was read.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
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
    /// Whose resize is next: the last that was asked for must be the last that is told.
    turn: Mutex<()>,
    writing: std::sync::Mutex<()>,
}

impl Ctl {
    /// With `resize_limit`, conmon ignores sizes above [`RESIZE_MAX`].
    pub(crate) fn new(what: String, fifo: PathBuf, resize_limit: bool) -> Self {
        let shared = Arc::new(Shared {
            what,
            fifo,
            size_max: if resize_limit { RESIZE_MAX } else { u16::MAX },
            turn: Mutex::default(),
            writing: std::sync::Mutex::default(),
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

    /// Whether conmon has read all that it was told. Does not wait.
    ///
    /// # Errors
    /// Conflict when conmon is gone.
    pub fn is_idle(&self) -> Result<bool> {
        let empty = sys::fifo::is_empty(&self.shared.fifo);
        empty.map_err(|e| self.cannot("ask", &e))
    }

    /// Makes conmon open its log anew, unless it has something to read yet: false then. It has
    /// done it when the log is there. Does not wait. Never to be told twice: a log that conmon has
    /// opened anew is emptied when it opens it anew again.
    ///
    /// # Errors
    /// Conflict when conmon is gone.
    pub fn reopen_log(&self) -> Result<bool> {
        match self.write("2 0 0\n") {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(self.cannot("rotate the log of", &e)),
        }
    }

    async fn send(&self, message: &str, verb: &str) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        let _turn = self.shared.turn.lock().await;
        loop {
            match self.write(message) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && Instant::now() < give_up => {
                    tokio::time::sleep(PAUSE).await;
                }
                sent => return sent.map_err(|e| self.cannot(verb, &e)),
            }
        }
    }

    /// One at a time: that the fifo is empty must hold until it is written to.
    fn write(&self, message: &str) -> io::Result<()> {
        let writing = self.shared.writing.lock();
        let _writing = writing.unwrap_or_else(PoisonError::into_inner);
        sys::fifo::write_message(&self.shared.fifo, message.as_bytes())
    }

    fn cannot(&self, verb: &str, e: &io::Error) -> Error {
        let Shared { what, fifo, .. } = &*self.shared;
        match e.kind() {
            io::ErrorKind::NotFound => Error::conflict(format!("{what} is not running")),
            io::ErrorKind::WouldBlock => Error::new(
                Kind::Unavailable,
                format!(
                    "cannot {verb} {what}: its conmon does not read {}",
                    fifo.display()
                ),
            ),
            _ => Error::system(format!("cannot {verb} {what}: {e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn sizes_are_cut_to_what_conmon_takes() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("ctl");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let mut options = std::fs::OpenOptions::new();
        let mut conmon = options.read(true).write(true).open(&fifo).unwrap();
        for (resize_limit, told) in [(false, "1 65535 80\n"), (true, "1 1000 80\n")] {
            let ctl = Ctl::new("container x".to_owned(), fifo.clone(), resize_limit);
            ctl.resize(u16::MAX, 80).await.unwrap();
            let mut read = vec![0; told.len()];
            conmon.read_exact(&mut read).unwrap();
            assert_eq!(String::from_utf8(read).unwrap(), told);
        }
    }
}
