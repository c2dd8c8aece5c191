//! Processes by descriptor: wait for one that is not our child, read its exit, signal it.
//!
//! A pid can be reused, a pidfd cannot. Since Linux 6.15 a pidfd also tells the exit code of a
//! process that was never our child (`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`), once its parent
//! has collected it; older kernels answer `None` and the caller needs another witness.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use model::{Pid, ProcessRef, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::proc;

/// An open process. Cheap to poll; one descriptor each.
#[derive(Debug)]
pub struct PidFd {
    fd: AsyncFd<OwnedFd>,
    process: ProcessRef,
}

impl PidFd {
    /// Opens `pid`, whoever has it now, and remembers its start time. `None` when nobody has it.
    ///
    /// # Errors
    /// What `pidfd_open(2)` or /proc says.
    pub fn open(pid: Pid) -> io::Result<Option<Self>> {
        let raw = rustix::process::Pid::from_raw(pid.as_raw()).expect("a pid is above zero");
        let fd = match rustix::process::pidfd_open(raw, PidfdFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            // Linux below 5.10 has no PIDFD_NONBLOCK; nothing here reads the descriptor.
            Err(rustix::io::Errno::INVAL) => rustix::process::pidfd_open(raw, PidfdFlags::empty())?,
            Err(e) => return Err(e.into()),
        };
        // Read after the open: while this process exists, its pid is nobody else's. If it was
        // collected in between, the line is missing or a stranger's, and the poll below says so.
        let stat = proc::stat(pid)?;
        if hung_up(&fd)? {
            return Ok(None);
        }
        let Some(stat) = stat else { return Ok(None) };
        // SAFETY: an OwnedFd keeps its descriptor open, and the same, for as long as it exists.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Some(Self {
            fd,
            process: ProcessRef {
                pid,
                start_ticks: stat.start_ticks,
            },
        }))
    }

    /// Opens exactly `process`: `None` when it is gone or its pid is someone else's now.
    ///
    /// # Errors
    /// As [`PidFd::open`].
    pub fn open_exact(process: ProcessRef) -> io::Result<Option<Self>> {
        Ok(Self::open(process.pid)?.filter(|found| found.process == process))
    }

    /// The process, pid and start time.
    pub fn process(&self) -> ProcessRef {
        self.process
    }

    /// Resolves when the process has ended (it may still be a zombie). Cancel-safe.
    ///
    /// # Errors
    /// Only when the runtime is shutting down.
    pub async fn exited(&self) -> io::Result<()> {
        self.until(PollFlags::IN).await
    }

    /// Resolves when the process has ended and its parent has collected it: from then on
    /// [`PidFd::wait_status`] knows all it will ever know. Cancel-safe.
    ///
    /// Linux before 6.13 does not announce the collecting; wait for [`PidFd::exited`] there.
    ///
    /// # Errors
    /// Only when the runtime is shutting down.
    pub async fn collected(&self) -> io::Result<()> {
        self.until(PollFlags::HUP).await
    }

    /// Whether the process has ended.
    ///
    /// # Errors
    /// What `poll(2)` says.
    pub fn has_exited(&self) -> io::Result<bool> {
        Ok(self.ready()?.intersects(PollFlags::IN | PollFlags::HUP))
    }

    /// The wait status as `wait4(2)` would give it to the parent. `None` while the process runs,
    /// before its parent has collected it, and on kernels that do not keep it.
    pub fn wait_status(&self) -> Option<i32> {
        exit_info(self.fd.get_ref())
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// ESRCH when it has ended, EPERM.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.send(signal, 0)
    }

    /// Sends `signal` to the process group this process leads, conmon with its runtime say.
    ///
    /// # Errors
    /// ESRCH when the group is empty, EPERM.
    pub fn signal_group(&self, signal: Signal) -> io::Result<()> {
        match self.send(signal, libc::PIDFD_SIGNAL_PROCESS_GROUP) {
            // Linux before 6.9 knows no such flag. While the leader lives, nobody else can have
            // a group of its number.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) && !self.has_exited()? => {
                let group = nix::unistd::Pid::from_raw(self.process.pid.as_raw());
                let signal = i32::from(signal.number());
                // SAFETY: kill(2) takes two integers and touches no memory of ours.
                let sent = unsafe { libc::kill(-group.as_raw(), signal) };
                if sent == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            }
            other => other,
        }
    }

    fn send(&self, signal: Signal, flags: u32) -> io::Result<()> {
        // rustix knows no real-time signals, so the call is made by hand.
        // SAFETY: the descriptor is open, the siginfo pointer may be null, nothing is written.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                i32::from(signal.number()),
                std::ptr::null::<libc::siginfo_t>(),
                flags,
            )
        };
        if sent == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// A copy of the first of its sockets that `is_it` knows.
    ///
    /// # Errors
    /// ESRCH when it has ended, EPERM where it must not be looked at (ptrace(2),
    /// `PTRACE_MODE_ATTACH_REALCREDS`), ENOSYS before Linux 5.6.
    pub fn find_socket(
        &self,
        is_it: impl Fn(BorrowedFd<'_>) -> bool,
    ) -> io::Result<Option<OwnedFd>> {
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.process.pid.get()))? {
            let path = entry?.path();
            let is_socket = std::fs::read_link(&path)
                .is_ok_and(|to| to.as_os_str().as_encoded_bytes().starts_with(b"socket:["));
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            let Some(number) = number.filter(|_| is_socket) else {
                continue;
            };
            let copied = pidfd_getfd(&self.fd, number, PidfdGetfdFlags::empty());
            match copied {
                Ok(copy) if is_it(copy.as_fd()) => return Ok(Some(copy)),
                // Closed since.
                Ok(_) | Err(rustix::io::Errno::BADF) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(None)
    }

    async fn until(&self, wanted: PollFlags) -> io::Result<()> {
        loop {
            let mut guard = self.fd.readable().await?;
            if self.ready()?.intersects(wanted | PollFlags::HUP) {
                guard.retain_ready();
                return Ok(());
            }
            // The readiness of a zombie stays; only a new edge (the collecting) wakes us again.
            guard.clear_ready();
        }
    }

    fn ready(&self) -> io::Result<PollFlags> {
        poll_now(self.fd.get_ref())
    }
}

fn poll_now(fd: &OwnedFd) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // A signal to the daemon (SIGCHLD above all) may come in between.
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&now)))?;
    Ok(fds[0].revents())
}

fn hung_up(fd: &OwnedFd) -> io::Result<bool> {
    Ok(poll_now(fd)?.contains(PollFlags::HUP))
}

/// The ioctl behind [`PidFd::wait_status`].
pub(crate) fn exit_info(fd: impl AsFd) -> Option<i32> {
    // SAFETY: pidfd_info is a struct of integers, for which all zeroes is a value.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the kernel writes at most the size encoded in the request, that of `info`.
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    (done == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sleeper() -> std::process::Child {
        Command::new("/bin/sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn pid_of(child: &std::process::Child) -> Pid {
        Pid::new(i64::from(child.id())).unwrap()
    }

    #[tokio::test]
    async fn an_end_is_seen_and_its_status_read_once_collected() {
        let mut child = sleeper();
        let fd = PidFd::open(pid_of(&child)).unwrap().unwrap();
        assert!(!fd.has_exited().unwrap());
        assert_eq!(fd.wait_status(), None);
        fd.signal(Signal::KILL).unwrap();
        fd.exited().await.unwrap();
        let zombie = proc::stat(pid_of(&child)).unwrap().unwrap();
        assert!(zombie.is_zombie());
        assert_eq!(zombie.wait_status, 9);
        child.wait().unwrap();
        fd.collected().await.unwrap();
        assert_eq!(fd.wait_status(), Some(9), "Linux 6.15 or later is needed");
        assert_eq!(
            fd.signal(Signal::KILL).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
    }

    #[tokio::test]
    async fn collected_waits_beyond_the_zombie() {
        let mut child = sleeper();
        let fd = PidFd::open(pid_of(&child)).unwrap().unwrap();
        child.kill().unwrap();
        fd.exited().await.unwrap();
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), fd.collected());
        assert!(early.await.is_err(), "nobody has collected it yet");
        child.wait().unwrap();
        fd.collected().await.unwrap();
    }

    #[tokio::test]
    async fn a_reused_pid_is_nobody() {
        let mut child = sleeper();
        let real = proc::process_ref(pid_of(&child)).unwrap().unwrap();
        let other = ProcessRef {
            start_ticks: real.start_ticks + 1,
            ..real
        };
        assert!(PidFd::open_exact(real).unwrap().is_some());
        assert!(PidFd::open_exact(other).unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(PidFd::open_exact(real).unwrap().is_none());
    }
}
