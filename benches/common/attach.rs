//! conmon's attach socket, read and written by hand: plain blocking calls, as the fastest client
//! would make them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::floor::DEADLINE;

/// A connection. Packets to the container hold at most 32,768 bytes; those from it a type byte
/// (2 stdout, 3 stderr) and at most 8192.
#[derive(Debug)]
pub struct Attach {
    socket: OwnedFd,
}

impl Attach {
    /// The path goes through `/proc/self/fd`, because `sun_path` is short.
    pub(crate) fn connect(path: &Path) -> Self {
        let node = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .expect("conmon listens");
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", node.as_raw_fd()))
            .expect("a short path");
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        set_socket_timeout(&socket, Timeout::Recv, Some(DEADLINE)).expect("it is a socket");
        rustix::net::connect(&socket, &address).expect("conmon listens");
        Self { socket }
    }

    /// One packet's length; 0 is the end.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub fn recv(&self, buffer: &mut [u8]) -> usize {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((length, _)) => return length,
                // conmon ended with input unread: told once, before what still waits.
                Err(Errno::CONNRESET) => {}
                Err(e) => panic!("reading conmon's attach socket: {e}"),
            }
        }
    }

    /// Sends one packet.
    ///
    /// # Panics
    /// When conmon is gone.
    pub fn send(&self, packet: &[u8]) {
        rustix::net::send(&self.socket, packet, SendFlags::NOSIGNAL).expect("conmon reads");
    }

    /// Ends the container's stdin.
    ///
    /// # Panics
    /// When conmon is gone.
    pub fn end_input(&self) {
        rustix::net::shutdown(&self.socket, Shutdown::Write).expect("conmon is there");
    }
}
