//! SOCK_SEQPACKET pairs: conmon's sync, start and attach pipes.
//!
//! One message is one packet, so a reader never has to look for the end of a line. This file
//! moves packets; what they mean is the business of `runtime`.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio_seqpacket::UnixSeqpacket;

/// Largest packet taken from a pipe. conmon reads at most 8191 bytes of a runtime's error output
/// and escapes it for JSON, which makes at most six bytes of each.
pub const PACKET_BYTES_MAX: usize = 64 << 10;

/// The daemon's end of a pair.
#[derive(Debug)]
pub struct Pipe {
    socket: UnixSeqpacket,
}

/// A connected pair: the daemon's end, non-blocking, and the child's end, which stays blocking
/// because conmon waits on it with a plain `read`. Both are close-on-exec; the child's end
/// reaches a child only through an explicit mapping.
///
/// # Errors
/// What `socketpair(2)` says; EMFILE above all.
pub fn pair() -> io::Result<(Pipe, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    let socket = UnixSeqpacket::try_from(ours)?;
    Ok((Pipe { socket }, theirs))
}

impl Pipe {
    /// The next packet; `None` when every copy of the other end is closed. Cancel-safe.
    ///
    /// # Errors
    /// What `recvmsg(2)` says, and `InvalidData` for a packet above [`PACKET_BYTES_MAX`].
    pub async fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let message = match self.socket.recv(&mut buffer).await {
            Ok(message) => message,
            // The other end died with our packets unread: it is gone just the same.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(e) => return Err(e),
        };
        if message.truncated() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("packet longer than {PACKET_BYTES_MAX} bytes"),
            ));
        }
        buffer.truncate(message.bytes_read());
        Ok((!buffer.is_empty()).then_some(buffer))
    }

    /// Resolves when every copy of the other end is closed; packets that come are dropped. Takes
    /// no buffer worth mentioning, so thousands can wait. Cancel-safe.
    pub async fn closed(&self) {
        let mut buffer = [0; 64];
        loop {
            match self.socket.recv(&mut buffer).await {
                Ok(message) if message.bytes_read() > 0 => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// `BrokenPipe` when the other end is closed.
    pub async fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.send(packet).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn packets_keep_their_borders_and_a_closed_end_is_none() {
        let (ours, theirs) = pair().unwrap();
        rustix::io::write(&theirs, b"one").unwrap();
        rustix::io::write(&theirs, b"two").unwrap();
        assert_eq!(ours.receive().await.unwrap().unwrap(), b"one");
        assert_eq!(ours.receive().await.unwrap().unwrap(), b"two");
        ours.send(b"x").await.unwrap();
        assert_eq!(rustix::io::read(&theirs, &mut [0; 8]).unwrap(), 1);
        rustix::io::write(&theirs, &[b'z'; 100]).unwrap();
        drop(theirs);
        ours.closed().await;
        assert_eq!(ours.receive().await.unwrap(), None);
        let gone = ours.send(b"y").await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn the_childs_end_blocks_and_both_are_close_on_exec() {
        let (ours, theirs) = pair().unwrap();
        let flags = rustix::fs::fcntl_getfl(&theirs).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
        for end in [
            rustix::io::fcntl_getfd(&theirs).unwrap(),
            rustix::io::fcntl_getfd(&ours.socket).unwrap(),
        ] {
            assert!(end.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }
}
