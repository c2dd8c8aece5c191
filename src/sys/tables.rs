//! Tells when tables of the firewall are taken away: nftables(8), and iptables where that is made of it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{RecvFlags, bind, recv};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::netlink::{message_of, open};

/// `NFNLGRP_NFTABLES` of linux/netfilter/nfnetlink.h, as bind(2) takes it.
const GROUP: u32 = 1 << 6;
/// `NFT_MSG_DELTABLE` of the subsystem `NFNL_SUBSYS_NFTABLES`.
const TABLE_DELETED: u16 = (10 << 8) | 2;

/// Listens in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Tables(AsyncFd<OwnedFd>);

impl Tables {
    /// Begins to listen.
    ///
    /// # Errors
    /// What the kernel answers: it may have no nftables.
    pub fn listen() -> io::Result<Self> {
        let socket = open(Some(NETFILTER))?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUP))?;
        // SAFETY: an OwnedFd keeps its descriptor open, and the same, for as long as it exists.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self(socket))
    }

    /// Resolves when a table was taken away, or may have been. Cancel-safe.
    ///
    /// # Errors
    /// What recv(2) says.
    pub async fn deleted(&self) -> io::Result<()> {
        let mut bytes = vec![0_u8; 64 << 10];
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|socket| {
                let read = recv(socket, bytes.as_mut_slice(), RecvFlags::DONTWAIT);
                Ok(read.map(|(read, _)| read)?)
            });
            let mut rest = match read {
                Ok(Ok(read)) => &bytes[..read],
                // More was told than could be kept.
                Ok(Err(e)) if e.raw_os_error() == Some(libc::ENOBUFS) => return Ok(()),
                Ok(Err(e)) => return Err(e),
                Err(_) => continue,
            };
            while let Some((kind, _, next)) = message_of(rest) {
                if kind == TABLE_DELETED {
                    return Ok(());
                }
                rest = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::netns;

    #[test]
    fn a_table_that_goes_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        netns::make(&path).unwrap();
        netns::inside(&path, || {
            let nft = |args: &str| {
                let done = Command::new("nft").args(args.split(' ')).status();
                assert!(done.unwrap().success(), "nft {args}");
            };
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let tables = Tables::listen().unwrap();
                let moment = Duration::from_millis(50);
                nft("add table inet one");
                nft("add chain inet one two");
                nft("delete chain inet one two");
                let early = tokio::time::timeout(moment, tables.deleted()).await;
                assert!(early.is_err(), "no table has gone");
                nft("flush ruleset");
                let told = tokio::time::timeout(Duration::from_secs(10), tables.deleted()).await;
                told.expect("it is told").unwrap();
            });
            Ok(())
        })
        .unwrap();
        netns::remove(&path).unwrap();
    }
}
