//! What a container says by sd_notify(3): a datagram socket of the daemon's in the container's bundle.
//!
//! conmon could relay it (`--sdnotify-socket`), and does not here: it keeps a message that it could not
//! deliver and relays none after that, so a container that spoke while no daemon was there, or faster
//! than it was heard, was mute until its next run. The socket's directory is what the container has
//! mounted, so the next daemon's socket is there for it, too. What it says while no daemon is there, it
//! is told that nobody hears.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Readiness;
use tokio::net::UnixDatagram;
use tokio::time::Instant;

use crate::layout::{make_dir, remove_file};

/// Below the bundle, and what it is called there; the spec mounts the directory.
const DIR: &str = "notify";
const NAME: &str = "notify.sock";
/// Longest message that is read.
const MESSAGE_BYTES_MAX: usize = 4096;
/// Messages read in a row, and the rest after them: one that talks without end costs little.
const MESSAGES_MAX: usize = 16;
const REST: Duration = Duration::from_millis(20);
/// Changes are told no faster: each may be written to the disk.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// A bound socket, and what was heard of it; its name goes with it.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    said: Readiness,
    told: Readiness,
    /// When the next change may be told.
    tell_at: Instant,
    /// When it is listened to again.
    listen_at: Instant,
}

impl NotifySocket {
    /// Binds it in `bundle`, in place of an earlier daemon's. `said` is what is known.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn bind(bundle: &Path, said: Readiness) -> io::Result<Self> {
        let dir = bundle.join(DIR);
        make_dir(&dir)?;
        let path = dir.join(NAME);
        remove_file(&path)?;
        let socket = sys::datagram::bind_open(&dir, NAME)?;
        let now = Instant::now();
        Ok(Self {
            socket,
            path,
            told: said.clone(),
            said,
            tell_at: now,
            listen_at: now,
        })
    }

    /// What it says, when that has changed. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Readiness {
        loop {
            if self.said != self.told {
                // It is not listened to meanwhile: who waits for room in the socket is the container.
                tokio::time::sleep_until(self.tell_at).await;
                self.hear();
                self.told = self.said.clone();
                self.tell_at = Instant::now() + TOLD_EVERY;
                return self.told.clone();
            }
            tokio::time::sleep_until(self.listen_at).await;
            if let Err(e) = self.socket.readable().await {
                tracing::warn!(path = %self.path.display(), error = %e, "a container is not heard any more");
                return std::future::pending().await;
            }
            self.hear();
            self.listen_at = Instant::now() + REST;
        }
    }

    /// What it said last, when nobody was told that.
    pub(crate) fn last_word(mut self) -> Option<Readiness> {
        self.hear();
        (self.said != self.told).then(|| self.said.clone())
    }

    /// Takes in what has come, as far as it is read in a row.
    fn hear(&mut self) {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        for _ in 0..MESSAGES_MAX {
            match self.socket.try_recv(&mut buffer) {
                Ok(bytes) => self.said = self.said.after(&buffer[..bytes]),
                Err(_) => return,
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        if let Err(e) = remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), error = %e, "a socket is left");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_later_one_takes_the_place_and_the_name_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("x".repeat(120));
        let known = Readiness::default().after(b"STATUS=up");
        std::mem::forget(NotifySocket::bind(&bundle, known.clone()).unwrap());
        let mut socket = NotifySocket::bind(&bundle, known).unwrap();
        let (dir, path) = (bundle.join("notify"), bundle.join("notify/notify.sock"));
        let open = std::fs::File::open(&dir).unwrap();
        let short = format!("/proc/self/fd/{}/notify.sock", open.as_raw_fd());
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"READY=1", &short).await.unwrap();
        let said = socket.next().await;
        assert_eq!((said.ready, said.status.as_str()), (true, "up"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o666);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn one_that_talks_without_end_is_told_once_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let mut socket = NotifySocket::bind(dir.path(), Readiness::default()).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender
            .connect(dir.path().join("notify/notify.sock"))
            .unwrap();
        let talk = tokio::spawn(async move {
            for n in 0..30 {
                let text = format!("READY=1\nSTATUS={n}");
                if sender.send(text.as_bytes()).await.is_err() {
                    return;
                }
                sender.send(b"STOPPING=1").await.unwrap();
            }
        });
        let begun = Instant::now();
        let mut told = 0;
        while !talk.is_finished() {
            if tokio::time::timeout(Duration::from_secs(2), socket.next())
                .await
                .is_ok()
            {
                told += 1;
            }
        }
        let seconds = begun.elapsed().as_secs();
        assert!(told <= seconds + 2, "{told} in {seconds} s");
        // The last word counts.
        while let Ok(said) = tokio::time::timeout(Duration::from_secs(2), socket.next()).await {
            socket.told = said;
        }
        assert_eq!(
            (socket.said.ready, socket.said.status.as_str()),
            (false, "29")
        );
    }
}
