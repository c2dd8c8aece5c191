//! The hub against a socket that plays conmon.

mod history;
mod input;
mod output;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use model::{Kind, limits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_seqpacket::{UnixSeqpacket, UnixSeqpacketListener};

use super::*;
use crate::stdcopy::tests::parse;

const BOTH: Want = Want {
    stdout: true,
    stderr: true,
};

/// What conmon is to the hub: a listening socket, and then one connection.
struct Conmon {
    _dir: tempfile::TempDir,
    path: PathBuf,
    listener: UnixSeqpacketListener,
}

impl Conmon {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attach");
        let listener = UnixSeqpacketListener::bind(&path).unwrap();
        Self {
            _dir: dir,
            path,
            listener,
        }
    }

    async fn accept(&mut self) -> UnixSeqpacket {
        soon(self.listener.accept()).await.unwrap()
    }

    /// Whether nobody waits to be accepted. Connecting is over when `connect` or `subscribe`
    /// returns, so this needs no patience.
    fn nobody_came(&self) -> bool {
        let mut listener = [PollFd::new(&self.listener, PollFlags::IN)];
        poll(&mut listener, Some(&Timespec::default())).unwrap() == 0
    }
}

/// Waits for what must come, and fails the test when it does not.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("within twenty seconds")
}

fn hub(tty: bool, stdin: StdinPolicy) -> Hub {
    Hub::new(HubOptions {
        tty,
        stdin,
        ring_bytes: limits::CLIENT_RING_BYTES,
        spill: None,
        history: None,
    })
}

async fn stdout(conmon: &UnixSeqpacket, payload: &[u8]) {
    write(conmon, 2, payload).await;
}

/// Sends as conmon does, which blocks: the test fails when nobody drains.
async fn write(conmon: &UnixSeqpacket, kind: u8, payload: &[u8]) {
    let mut packet = vec![kind];
    packet.extend_from_slice(payload);
    soon(conmon.send(&packet)).await.unwrap();
}

/// Everything to the end.
async fn rest(subscription: &mut Subscription) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = soon(subscription.next()).await {
        all.extend_from_slice(&bytes.unwrap());
    }
    all
}

/// Exactly `length` bytes.
async fn exactly(subscription: &mut Subscription, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        all.extend_from_slice(&soon(subscription.next()).await.unwrap().unwrap());
    }
    assert_eq!(all.len(), length);
    all
}

async fn packet(conmon: &UnixSeqpacket) -> Vec<u8> {
    let mut buffer = vec![0; 2 * limits::STDIN_PACKET_BYTES_MAX];
    let length = soon(conmon.recv(&mut buffer)).await.unwrap().bytes_read();
    buffer.truncate(length);
    buffer
}
