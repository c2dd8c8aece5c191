//! A listening socket that systemd opened for us (`sd_listen_fds(3)`).
//!
//! The descriptors are taken by number and marked close-on-exec. The variables stay in our own
//! environment, because removing them is not thread-safe; nothing leaks, as every child gets an
//! explicit environment.

use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use model::{Error, Result};
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

/// Takes the one listening unix socket that was handed over, if any.
///
/// # Errors
/// When more than one descriptor, or something else than a listening unix stream socket was
/// handed over: systemd's unit has to be corrected.
pub(crate) fn take() -> Result<Option<OwnedFd>> {
    let var = |name| std::env::var(name).ok();
    let (pid, fds) = (var("LISTEN_PID"), var("LISTEN_FDS"));
    match count(pid.as_deref(), fds.as_deref(), std::process::id())? {
        0 => Ok(None),
        1 => {
            // SAFETY: the protocol says that descriptor 3 is open and ours alone; this runs once,
            // at start, before anything else could have taken the number.
            let fd = unsafe { OwnedFd::from_raw_fd(FIRST_FD) };
            rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)
                .map_err(|e| Error::system(format!("descriptor 3 of LISTEN_FDS: {e}")))?;
            check(&fd)?;
            Ok(Some(fd))
        }
        n => Err(Error::system(format!(
            "systemd handed over {n} sockets and moored serves one: keep one ListenStream= in moored.socket"
        ))),
    }
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
