//! Listening sockets that systemd opened for us (`sd_listen_fds(3)`).
//!
//! The descriptors are taken by number and marked close-on-exec. The variables stay in our own
//! environment, because removing them is not thread-safe; nothing leaks, as every child gets an
//! explicit environment.

use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use model::{Error, Result, limits};
use rustix::net::{AddressFamily, SocketType, sockopt};

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST_FD: RawFd = 3;

/// How many descriptors the environment says are ours.
///
/// # Errors
/// When the variables are there and make no sense.
pub(crate) fn count(
    listen_pid: Option<&str>,
    listen_fds: Option<&str>,
    own_pid: u32,
) -> Result<usize> {
    let (Some(pid), Some(fds)) = (listen_pid, listen_fds) else {
        return Ok(0);
    };
    // Another process was meant: we inherited its environment.
    if pid.parse() != Ok(own_pid) {
        return Ok(0);
    }
    fds.parse()
        .map_err(|_| Error::system(format!("LISTEN_FDS is not a number: {fds:?}")))
}

/// Takes the listening unix sockets that were handed over.
///
/// # Errors
/// When there are too many, or one is something else than a listening unix stream socket: systemd's unit
/// has to be corrected.
pub(crate) fn take() -> Result<Vec<OwnedFd>> {
    let var = |name| std::env::var(name).ok();
    let (pid, fds) = (var("LISTEN_PID"), var("LISTEN_FDS"));
    let count = count(pid.as_deref(), fds.as_deref(), std::process::id())?;
    let max = limits::HANDED_SOCKETS_MAX;
    if count > max {
        return Err(Error::system(format!(
            "systemd handed over {count} sockets, and moored serves {max} at most: take some \
             ListenStream= out of moored.socket"
        )));
    }
    let numbers = (FIRST_FD..).take(count);
    let taken = numbers.map(|number| {
        // SAFETY: the protocol says that so many descriptors from 3 up are open and ours alone; this
        // runs once, at start, before anything else could have taken the numbers.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)
            .map_err(|e| Error::system(format!("descriptor {number} of LISTEN_FDS: {e}")))?;
        check(&fd)?;
        Ok(fd)
    });
    taken.collect()
}

/// Refuses what hyper could not serve.
pub(crate) fn check(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    let is_listening_unix_stream = sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(fd) == Ok(SocketType::STREAM)
        && sockopt::socket_acceptconn(fd) == Ok(true);
    if is_listening_unix_stream {
        Ok(())
    } else {
        Err(Error::system(
            "the descriptor that systemd handed over is not a listening unix stream socket: use ListenStream=/path in moored.socket",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_count_only_when_they_are_meant_for_this_process() {
        assert_eq!(count(None, None, 7), Ok(0));
        assert_eq!(count(Some("7"), None, 7), Ok(0));
        assert_eq!(count(Some("8"), Some("1"), 7), Ok(0));
        assert_eq!(count(Some("7"), Some("1"), 7), Ok(1));
        assert_eq!(count(Some("7"), Some("2"), 7), Ok(2));
        assert!(count(Some("7"), Some("-1"), 7).is_err());
    }

    #[test]
    fn only_a_listening_unix_stream_socket_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        assert_eq!(check(&listener), Ok(()));
        let (connected, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(check(&connected).is_err());
        assert!(check(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
