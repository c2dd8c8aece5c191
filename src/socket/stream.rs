//! One connection: bytes in both directions, who is at the other end, and how much of what was
//! sent it has read.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::hang_up::{HangUp, register};
use crate::passed::Passed;

/// Who connected, as the kernel noted at `connect` (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process; `None` when it is outside our pid namespace.
    pub pid: Option<i32>,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// A connected unix stream. `shutdown` (of `AsyncWriteExt`) is a half-close: the peer reads
/// end-of-file and may go on writing. Dropping it closes both directions.
#[derive(Debug)]
pub struct Stream {
    io: UnixStream,
    peer: Peer,
    passed: Passed,
}

impl Stream {
    /// # Errors
    /// When the kernel does not tell who connected.
    pub(crate) fn new(io: UnixStream) -> io::Result<Self> {
        let credentials = io.peer_cred()?;
        let peer = Peer {
            pid: credentials.pid(),
            uid: credentials.uid(),
            gid: credentials.gid(),
        };
        Ok(Self {
            io,
            peer,
            passed: Passed::default(),
        })
    }

    /// Two connected streams, for tests of the rooms above.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = UnixStream::pair()?;
        Ok((Self::new(a)?, Self::new(b)?))
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The descriptors that come with what is read. Those of a stream that is split are closed.
    pub fn passed(&self) -> Passed {
        self.passed.clone()
    }

    /// A watch that tells when the peer is gone.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn hang_up(&self) -> io::Result<HangUp> {
        HangUp::new(self)
    }

    /// Waits until the peer has read everything that was sent, at most `limit`. True when it has.
    ///
    /// Not a poll: the kernel signals "writable" again each time the peer takes a buffer off
    /// the queue (`sock_wfree`), so each signal is a reason to look at the queue once more. The
    /// look goes through a registration of its own, because clearing the stream's own
    /// writability would make a later write wait for a signal that does not come.
    pub async fn drained(&self, limit: Duration) -> bool {
        if matches!(unsent_bytes(self.as_fd()), Ok(0)) {
            return true;
        }
        let Ok(watch) = register(self, Interest::WRITABLE) else {
            return false;
        };
        let emptied = watch.async_io(Interest::WRITABLE, |fd| match unsent_bytes(fd.as_fd())? {
            0 => Ok(()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        });
        matches!(tokio::time::timeout(limit, emptied).await, Ok(Ok(())))
    }

    /// Two halves for two tasks. Dropping the writing half is a half-close.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.io.into_split()
    }
}

/// Takes no more from the peer: it gets EPIPE from now on, and what it has sent is thrown away.
/// To be called before a socket is closed that the peer may be writing to: one that is closed
/// with input in it gives the peer ECONNRESET, in the place of the end after the last bytes.
pub async fn end_input(reader: &mut OwnedReadHalf) {
    // It fails when the peer is gone, and then there is nobody to reset.
    let _ = rustix::net::shutdown(AsRef::<UnixStream>::as_ref(reader), Shutdown::Read);
    let mut thrown_away = vec![0; 16 << 10];
    while matches!(reader.read(&mut thrown_away).await, Ok(1..)) {}
}

/// What the peer has not read yet, with the kernel's overhead; 0 means it has read everything.
fn unsent_bytes(fd: BorrowedFd<'_>) -> io::Result<i32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ) writes one int to the pointer, which is valid for the call.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if rc == 0 {
        Ok(bytes)
    } else {
        Err(io::Error::last_os_error())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.io.poll_read_ready(cx))?;
            let read = self.io.try_io(Interest::READABLE, || {
                self.passed.read(self.io.as_fd(), buf.initialize_unfilled())
            });
            match read {
                Ok(bytes) => {
                    buf.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::AsyncWriteExt;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn is_pending(f: impl Future<Output = ()>) -> bool {
        // Two rounds of the scheduler are enough for an event that already happened.
        tokio::time::timeout(Duration::from_millis(50), f)
            .await
            .is_err()
    }

    #[tokio::test]
    async fn the_peer_of_a_pair_is_this_process() {
        let (a, _b) = Stream::pair().unwrap();
        assert_eq!(a.peer().pid, i32::try_from(std::process::id()).ok());
        assert_eq!(a.peer().uid, rustix::process::geteuid().as_raw());
        assert_eq!(a.peer().gid, rustix::process::getegid().as_raw());
    }

    #[tokio::test]
    async fn a_half_close_is_no_hang_up_and_a_close_is() {
        let (a, mut b) = Stream::pair().unwrap();
        let watch = a.hang_up().unwrap();
        b.write_all(b"data").await.unwrap();
        b.shutdown().await.unwrap();
        assert!(is_pending(watch.wait()).await);
        drop(b);
        tokio::time::timeout(SOON, watch.wait()).await.unwrap();
        tokio::time::timeout(SOON, watch.wait()).await.unwrap();
        assert_eq!(
            rustix::io::ioctl_fionread(&a).unwrap(),
            4,
            "the watch reads nothing"
        );
    }

    #[tokio::test]
    async fn drained_is_signalled_the_moment_the_peer_reads() {
        let (mut a, mut b) = Stream::pair().unwrap();
        assert!(a.drained(Duration::ZERO).await, "nothing was sent");
        a.write_all(b"head").await.unwrap();
        assert!(!a.drained(Duration::from_millis(20)).await);

        let reader = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let mut head = [0; 4];
            b.read_exact(&mut head).await.unwrap();
            (b, Instant::now())
        });
        assert!(a.drained(SOON).await);
        let (mut b, read_at) = reader.await.unwrap();
        assert!(read_at.elapsed() < Duration::from_secs(1));

        // The stream's own readiness is untouched: writing goes on after a drain that ran out.
        a.write_all(b"more").await.unwrap();
        assert!(!a.drained(Duration::from_millis(1)).await);
        a.write_all(b"!").await.unwrap();
        let mut rest = [0; 5];
        b.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"more!");
    }

    #[tokio::test]
    async fn a_peer_that_goes_away_ends_the_drain() {
        let (mut a, b) = Stream::pair().unwrap();
        a.write_all(b"head").await.unwrap();
        let started = Instant::now();
        let closer = tokio::spawn(async move {
            tokio::task::yield_now().await;
            drop(b);
        });
        a.drained(SOON).await;
        closer.await.unwrap();
        assert!(started.elapsed() < SOON);
    }

    #[tokio::test]
    async fn split_halves_half_close() {
        let (a, mut b) = Stream::pair().unwrap();
        let (mut read, write) = a.into_split();
        drop(write);
        assert_eq!(b.read(&mut [0; 1]).await.unwrap(), 0);
        b.write_all(b"x").await.unwrap();
        assert_eq!(read.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn an_ended_input_leaves_the_peer_its_output_and_no_reset() {
        let (a, mut b) = Stream::pair().unwrap();
        let (mut read, mut write) = a.into_split();
        b.write_all(b"never read").await.unwrap();
        write.write_all(b"last").await.unwrap();
        end_input(&mut read).await;
        drop((read, write));
        let mut got = Vec::new();
        b.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"last");
        let refused = b.write_all(b"more").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    }
}
