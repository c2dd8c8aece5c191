//! Starts a conmon and holds its pipes.

use std::ffi::OsString;
use std::path::Path;

use sys::seqpacket::{Pipe, pair};
use sys::spawn::Program;

use crate::floor::DEADLINE;

/// The daemon's ends of its pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) sync: Pipe,
    pub(crate) start: Pipe,
    /// An exec's conmon tells here that it listens.
    pub(crate) attach: Pipe,
}

/// Starts it and waits until it has forked. Within a tokio runtime.
pub(crate) async fn launch(conmon: &Path, args: Vec<OsString>, dir: &Path, exec: bool) -> Pipes {
    let (sync, sync_end) = pair().expect("a pair");
    let (start, start_end) = pair().expect("a pair");
    let (attach, attach_end) = pair().expect("a pair");
    let mut env = vec![
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        ("_OCI_SYNCPIPE", "3"),
        ("_OCI_STARTPIPE", "4"),
    ];
    let mut program = Program::new(conmon)
        .args(args)
        .dir(dir)
        .fd(3, sync_end)
        .fd(4, start_end);
    if exec {
        env.push(("_OCI_ATTACHPIPE", "5"));
        program = program.fd(5, attach_end);
    }
    let running = program.env(env).start().expect("conmon starts");
    start.send(&[0]).await.expect("conmon reads");
    let ended = running.finish(DEADLINE).await.expect("conmon forks");
    assert!(ended.status.success(), "{}", ended.message());
    Pipes {
        sync,
        start,
        attach,
    }
}

impl Pipes {
    /// The next packet on the sync pipe, which must be a process id.
    pub(crate) async fn expect_pid(&self) {
        let packet = self.sync.receive().await.expect("a packet");
        let packet = packet.expect("not the end");
        let text = String::from_utf8_lossy(&packet);
        let is_pid = text.starts_with("{\"data\": ") && !text.contains("\"data\": -");
        assert!(is_pid, "{text}");
    }
}
