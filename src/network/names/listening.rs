//! Which UDP sockets of a server listen where, from `/proc/net/udp` and `/proc/net/udp6`: how a name server that
//! opens its sockets anew when it reads its files tells that it has read them.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::server::Server;

/// Inodes of the sockets by which a server listens, by address. Others' at the same port do not count; none
/// where it has ended.
pub(super) fn of(server: &Server) -> HashMap<IpAddr, u64> {
    let pid = server.process.process().pid.get();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let inode = |entry: std::fs::DirEntry| {
        let to = std::fs::read_link(entry.path()).ok()?;
        let inode = to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    };
    let entries = entries.into_iter().flatten().flatten();
    let own: HashSet<u64> = entries.filter_map(inode).collect();
    let mut found = read(server.port);
    found.retain(|_, inode| own.contains(inode));
    found
}

/// Inodes of all sockets that listen on `port`.
fn read(port: u16) -> HashMap<IpAddr, u64> {
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    // Of the thread, whose namespace may be another than the first thread's.
    let mut found = parse(&text("/proc/thread-self/net/udp"), port);
    found.extend(parse(&text("/proc/thread-self/net/udp6"), port));
    found
}

/// A line of names, then `sl local_address rem_address st queues tr retrnsmt uid timeout inode ...`, the
/// addresses as the machine's own words in hexadecimal (net/ipv4/udp.c).
fn parse(text: &str, wanted: u16) -> HashMap<IpAddr, u64> {
    let socket = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (address, port) = words.nth(1)?.split_once(':')?;
        let inode = words.nth(7)?.parse().ok()?;
        let is_it = u16::from_str_radix(port, 16) == Ok(wanted);
        is_it.then_some((parse_address(address)?, inode))
    };
    text.lines().skip(1).filter_map(socket).collect()
}

fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok();
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?.to_ne_bytes()).into()),
        32 => {
            let mut bytes = [0; 16];
            for (part, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                part.copy_from_slice(&word(at)?.to_ne_bytes());
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn name_servers_are_found() {
        let text = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            173: 0100510A:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0\n\
            174: 0100510A:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0 0\n\
            175: 000000FD000000000000000001000000:0035 0:0 07 0:0 0:0 0 0 0 4713 2 0 0\nbad\n";
        let found = parse(text, 53);
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let wanted = [(ip("10.81.0.1"), 4711), (ip("fd00::1"), 4713)];
        assert_eq!(found, HashMap::from(wanted));
        assert!(read(53).values().all(|inode| *inode > 0));
    }
}
