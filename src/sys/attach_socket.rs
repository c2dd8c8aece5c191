//! conmon's attach socket: a SEQPACKET connection to a path of any length.
//!
//! One packet is one write of the container: a type byte and at most 8192 bytes. This file moves
//! packets and says when the other side is gone; what the type byte means, and when stdin may be
//! closed, is decided by its callers.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use tokio_seqpacket::UnixSeqpacket;

/// Connects to the socket at `path`; the two halves may be used by two tasks at once. The
/// connection closes when both halves are dropped.
///
/// The path goes through `/proc/self/fd`, because `sun_path` holds 107 bytes and data roots can
/// be longer (conmon binds the same way). It never blocks: a listener whose queue is full is
/// `WouldBlock`. Must be called inside a tokio runtime.
///
/// # Errors
/// `NotFound` and `ConnectionRefused` when nobody listens there any more.
pub fn connect(path: &Path) -> io::Result<(AttachReader, AttachWriter)> {
    let node = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", node.as_raw_fd()))?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&socket, &address)?;
    let socket = Arc::new(UnixSeqpacket::try_from(socket)?);
    Ok((
        AttachReader {
            socket: Arc::clone(&socket),
        },
        AttachWriter { socket },
    ))
}

/// The receiving half.
#[derive(Debug)]
pub struct AttachReader {
    socket: Arc<UnixSeqpacket>,
}

impl AttachReader {
    /// Receives one packet into `buffer` and returns its length; 0 is the end.
    ///
    /// conmon leaves with ECONNRESET when it ends with input of ours unread. Linux tells that
    /// before the packets that still wait, and once (`__skb_try_recv_datagram`): so a reset is
    /// passed over, and what the container wrote last comes after it, then the end.
    ///
    /// A packet larger than `buffer` is cut, so offer
    /// [`model::limits::ATTACH_PACKET_BYTES_MAX`]. Cancel safe.
    ///
    /// # Errors
    /// What `recvmsg(2)` says.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket.recv(buffer).await {
                Ok(message) => return Ok(message.bytes_read()),
                // The kernel has cleared it; the next call says what is left.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// The sending half; clones send on the same connection.
#[derive(Debug, Clone)]
pub struct AttachWriter {
    socket: Arc<UnixSeqpacket>,
}

impl AttachWriter {
    /// Sends `packet` whole, and waits while the other side does not take more. Cancel safe: it
    /// is sent or it is not.
    ///
    /// An empty packet would read as the end on the other side, so none is ever sent. Packets
    /// above [`model::limits::STDIN_PACKET_BYTES_MAX`] lose their tail in conmon: split before.
    ///
    /// # Errors
    /// `BrokenPipe` or `ConnectionReset` when the other side is gone.
    pub async fn send(&self, packet: &[u8]) -> io::Result<()> {
        if packet.is_empty() {
            return Ok(());
        }
        // A seqpacket is taken whole or not at all, so the length says nothing.
        self.socket.send(packet).await.map(drop)
    }

    /// Ends this direction (SHUT_WR), after what was sent. The other direction stays open. A
    /// connection that is gone already is no error.
    ///
    /// # Errors
    /// What `shutdown(2)` says.
    pub fn shutdown(&self) -> io::Result<()> {
        match rustix::net::shutdown(&*self.socket, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvFlags, SendFlags, accept_with, bind, listen};
    use std::os::fd::OwnedFd;

    /// A listening SEQPACKET socket below a directory whose path is longer than `sun_path`.
    fn listener() -> (tempfile::TempDir, std::path::PathBuf, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let node = rustix::fs::open(&deep, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let short = format!("/proc/self/fd/{}/attach", node.as_raw_fd());
        bind(&socket, &SocketAddrUnix::new(short).unwrap()).unwrap();
        listen(&socket, 10).unwrap();
        (dir, deep.join("attach"), socket)
    }

    fn accept(listener: &OwnedFd) -> OwnedFd {
        accept_with(listener, SocketFlags::CLOEXEC).unwrap()
    }

    #[tokio::test]
    async fn packets_keep_their_borders_both_ways() {
        let (_dir, path, listener) = listener();
        let (reader, writer) = connect(&path).unwrap();
        let peer = accept(&listener);
        for packet in [&b"\x02one"[..], b"\x03two"] {
            rustix::net::send(&peer, packet, SendFlags::empty()).unwrap();
        }
        let mut buffer = [0; 64];
        assert_eq!(reader.recv(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer[..4], b"\x02one");
        assert_eq!(reader.recv(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer[..4], b"\x03two");

        writer.send(b"in").await.unwrap();
        writer.send(b"").await.unwrap();
        writer.send(b"put").await.unwrap();
        writer.shutdown().unwrap();
        let mut got = Vec::new();
        loop {
            let (n, _) = rustix::net::recv(&peer, &mut buffer[..], RecvFlags::empty()).unwrap();
            if n == 0 {
                break;
            }
            got.push(buffer[..n].to_vec());
        }
        assert_eq!(got, [b"in".to_vec(), b"put".to_vec()]);
    }

    #[tokio::test]
    async fn a_reset_comes_after_the_last_packets_and_is_an_end() {
        let (_dir, path, listener) = listener();
        let (reader, writer) = connect(&path).unwrap();
        let peer = accept(&listener);
        writer.send(b"never read").await.unwrap();
        for packet in [&b"\x02last"[..], b"\x02words"] {
            rustix::net::send(&peer, packet, SendFlags::empty()).unwrap();
        }
        drop(peer);
        let mut buffer = [0; 64];
        assert_eq!(reader.recv(&mut buffer).await.unwrap(), 5);
        assert_eq!(reader.recv(&mut buffer).await.unwrap(), 6);
        assert_eq!(reader.recv(&mut buffer).await.unwrap(), 0);
        assert!(writer.send(b"more").await.is_err());
        writer.shutdown().unwrap();
    }

    #[tokio::test]
    async fn nobody_there_is_told_apart() {
        let (_dir, path, listener) = listener();
        drop(listener);
        let refused = connect(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
