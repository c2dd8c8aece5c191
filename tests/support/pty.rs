//! A program in a real pseudo-terminal.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::DEADLINE;

/// A running program and its terminal.
#[derive(Debug)]
pub struct Pty {
    shown: String,
    child: Child,
    master: File,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Pty {
    /// setsid(1) makes the terminal the controlling one, so that resizes raise SIGWINCH.
    pub(crate) fn spawn<S: AsRef<OsStr>>(
        program: &Path,
        args: &[S],
        rows: u16,
        columns: u16,
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal");
        grantpt(&master).expect("a pseudo-terminal");
        unlockpt(&master).expect("a pseudo-terminal");
        set_size(&master, rows, columns);
        let name = ptsname(&master, Vec::new()).expect("a pseudo-terminal");
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().expect("a path in /dev/pts"))
            .expect("a pseudo-terminal");
        let copy = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).args(args);
        command.env("TERM", "xterm");
        prepare(&mut command);
        command.stdin(copy()).stdout(copy()).stderr(copy());
        let child = command.spawn().expect("setsid(1) of util-linux runs");
        let master = File::from(master);
        let output = reader(master.try_clone().expect("a descriptor"));
        let words = args.iter().map(|a| a.as_ref().to_string_lossy());
        Self {
            shown: format!("docker {}", words.collect::<Vec<_>>().join(" ")),
            child,
            master,
            output,
            seen: String::new(),
        }
    }

    /// Types.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn write(&mut self, keys: impl AsRef<[u8]>) {
        self.master
            .write_all(keys.as_ref())
            .expect("the terminal takes keys");
    }

    /// Gives the terminal another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.master, rows, columns);
    }

    /// Waits until `wanted` shows on the terminal; gives everything up to and with it.
    ///
    /// # Panics
    /// When it does not show in time, with all that showed instead.
    #[track_caller]
    pub fn expect(&mut self, wanted: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.find(wanted) {
                return self.seen.drain(..at + wanted.len()).collect();
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(e) => panic!(
                    "{}: {wanted:?} did not show ({}): {:?}",
                    self.shown,
                    match e {
                        RecvTimeoutError::Timeout => "time is up",
                        RecvTimeoutError::Disconnected => "the program ended",
                    },
                    self.seen
                ),
            }
        }
    }

    /// Waits for the program's end: its code and the rest of what showed.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(mut self) -> (i32, String) {
        let code = crate::docker::wait(&mut self.child, &self.shown);
        // The reader ends with the slave's last descriptor.
        while let Ok(bytes) = self.output.recv_timeout(DEADLINE) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        (code, std::mem::take(&mut self.seen))
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(master: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).expect("a terminal has a size");
}

fn reader(mut master: File) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // EIO is the end: no slave is open any more.
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            if send.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}
