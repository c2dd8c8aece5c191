//! Where conmon relays what a container says by sd_notify: a datagram socket of its own.
//!
//! conmon names it in each message, so the next daemon's socket at the same place gets those that come
//! then. What is said while no daemon is there is lost: conmon keeps none.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::UnixDatagram;

use crate::layout::{make_dir, remove_file};

/// Longest message that is read; conmon cuts at the same length.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A bound socket; its name goes with it.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Binds it at `path`, in place of an earlier daemon's.
    ///
    /// # Errors
    /// What the kernel says; `InvalidInput` for a path of more than 107 bytes.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            make_dir(dir)?;
        }
        remove_file(path)?;
        Ok(Self {
            socket: UnixDatagram::bind(path)?,
            path: path.to_owned(),
        })
    }

    /// The next message. Cancel-safe.
    pub(crate) async fn next(&self) -> Vec<u8> {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            match self.socket.recv(&mut buffer).await {
                Ok(0) => {}
                Ok(read) => {
                    buffer.truncate(read);
                    return buffer;
                }
                Err(e) => {
                    tracing::warn!(path = %self.path.display(), error = %e, "nothing is heard of a container any more");
                    return std::future::pending().await;
                }
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
    use super::*;

    #[tokio::test]
    async fn a_later_one_takes_the_place_and_the_name_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify/one");
        std::mem::forget(NotifySocket::bind(&path).unwrap());
        let socket = NotifySocket::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"READY=1", &path).await.unwrap();
        assert_eq!(socket.next().await, b"READY=1");
        drop(socket);
        assert!(!path.exists());
        let long = dir.path().join("x".repeat(120));
        assert!(NotifySocket::bind(&long).is_err());
    }
}
