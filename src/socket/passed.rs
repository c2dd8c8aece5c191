//! Descriptors that a peer passes with its bytes (`SCM_RIGHTS`, unix(7)).
//!
//! They come when the bytes are read, whether anybody wants them or not. So they are collected, within
//! a limit, for the one who reads the bytes; what nobody takes is closed.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::limits;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

/// The descriptors that came on one connection and were not taken yet.
#[derive(Debug, Clone, Default)]
pub struct Passed(Arc<Mutex<Came>>);

#[derive(Debug, Default)]
struct Came {
    descriptors: Vec<OwnedFd>,
    /// More came than are kept; they are closed.
    too_many: bool,
}

impl Passed {
    /// Takes what has come. `None` when that was more than [`limits::PASSED_DESCRIPTORS_MAX`], or more
    /// than this process may have open; all of them are closed then.
    pub fn take(&self) -> Option<Vec<OwnedFd>> {
        let came = std::mem::take(&mut *self.came());
        (!came.too_many).then_some(came.descriptors)
    }

    fn came(&self) -> MutexGuard<'_, Came> {
        // Whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads bytes from `socket` into `buffer`, and what comes with them.
    pub(crate) fn read(&self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let cut = read.flags.contains(ReturnFlags::CTRUNC);
        let rights = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        let mut came = rights.flatten().peekable();
        if cut || came.peek().is_some() {
            let mut kept = self.came();
            kept.too_many |= cut;
            for descriptor in came {
                if kept.descriptors.len() < limits::PASSED_DESCRIPTORS_MAX {
                    kept.descriptors.push(descriptor);
                } else {
                    kept.too_many = true;
                }
            }
        }
        Ok(read.bytes)
    }
}

/// Of one message with as many descriptors as are kept.
const SPACE: usize = rustix::cmsg_space!(ScmRights(limits::PASSED_DESCRIPTORS_MAX));

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    fn send(to: &UnixStream, count: usize) {
        let file = std::fs::File::open("/dev/null").unwrap();
        let many = vec![file.as_fd(); count];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        sendmsg(to, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
    }

    fn read(from: &UnixStream, passed: &Passed) {
        assert_eq!(passed.read(from.as_fd(), &mut [0; 8]).unwrap(), 1);
    }

    fn open() -> usize {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        let null = |fd: io::Result<std::fs::DirEntry>| {
            let target = std::fs::read_link(fd.unwrap().path());
            target.is_ok_and(|to| to.as_os_str() == "/dev/null")
        };
        fds.map(null).filter(|is| *is).count()
    }

    #[test]
    fn what_comes_is_kept_within_the_limit_and_closed_beyond() {
        let (a, b) = UnixStream::pair().unwrap();
        let passed = Passed::default();
        let before = open();
        assert_eq!(passed.take().unwrap().len(), 0);
        send(&a, 2);
        send(&a, 1);
        read(&b, &passed);
        read(&b, &passed);
        let three = passed.take().unwrap();
        assert_eq!((three.len(), open() - before), (3, 3));
        for fd in &three {
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        drop(three);
        // In one message, and in several.
        send(&a, limits::PASSED_DESCRIPTORS_MAX + 1);
        read(&b, &passed);
        assert!(passed.take().is_none());
        for _ in 0..=limits::PASSED_DESCRIPTORS_MAX {
            send(&a, 1);
            read(&b, &passed);
        }
        assert_eq!(open() - before, limits::PASSED_DESCRIPTORS_MAX);
        assert!(passed.take().is_none());
        assert_eq!(open(), before);
        send(&a, 1);
        read(&b, &passed);
        drop(passed);
        assert_eq!(open(), before);
    }
}
