//! The connections that the kernel keeps track of, by NETLINK_NETFILTER (linux/netfilter/nfnetlink_conntrack.h).
//!
//! A flow keeps the addresses that it began with: rules that come later do not count for it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::netlink::NETFILTER;

use crate::netlink::{ask, attribute, attributes, dump};

/// `NFNL_SUBSYS_CTNETLINK`, the upper half of a message's kind.
const CONNECTIONS: u16 = 1 << 8;
/// `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = CONNECTIONS | 1;
const DELETE: u16 = CONNECTIONS | 2;
/// Size of `struct nfgenmsg`.
const HEADER_BYTES: usize = 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// `CTA_TUPLE_ORIG`, `CTA_STATUS`, `CTA_ZONE`.
const ORIGIN: u16 = 1;
const STATUS: u16 = 3;
const ZONE: u16 = 18;
/// `IPS_SRC_NAT`, `IPS_DST_NAT`.
const SOURCE_CHANGED: u32 = 1 << 4;
const TARGET_CHANGED: u32 = 1 << 5;

/// Forgets the UDP flows to these addresses of the host, the unspecified one being all of its family: who sends
/// next begins anew. Flows that only pass through, with their source changed, stay. How many there were.
///
/// # Errors
/// What the kernel answers: it may not keep track, or not tell.
pub fn forget_udp(targets: &[SocketAddr]) -> io::Result<usize> {
    let mut found = Vec::new();
    for (family, is_v6) in [(libc::AF_INET, false), (libc::AF_INET6, true)] {
        if !targets.iter().any(|target| target.is_ipv6() == is_v6) {
            continue;
        }
        let family = u8::try_from(family).expect("families are small numbers");
        let header = [family, 0, 0, 0];
        dump(Some(NETFILTER), GET, &header, |_, body| {
            let body = body.get(HEADER_BYTES..).unwrap_or_default();
            found.extend(deletion(header, body, targets));
        })?;
    }
    let mut forgotten = 0;
    for request in &found {
        match ask(Some(NETFILTER), DELETE, 0, request) {
            Ok(()) => forgotten += 1,
            // It ended meanwhile.
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(forgotten)
}

/// The request that deletes a flow, if it is one to these addresses.
fn deletion(header: [u8; 4], body: &[u8], targets: &[SocketAddr]) -> Option<Vec<u8>> {
    let value = |wanted| attributes(body).find(|(kind, _)| *kind == wanted);
    let (_, origin) = value(ORIGIN)?;
    let target = target(origin)?;
    let is_meant = |of: &SocketAddr| {
        let all = of.ip().is_unspecified() && of.is_ipv6() == target.is_ipv6();
        of.port() == target.port() && (all || of.ip() == target.ip())
    };
    let status = value(STATUS).and_then(|(_, value)| value.try_into().ok());
    let status = status.map_or(0, u32::from_be_bytes);
    let passes = status & (SOURCE_CHANGED | TARGET_CHANGED) == SOURCE_CHANGED;
    if passes || !targets.iter().any(is_meant) {
        return None;
    }
    let mut request = header.to_vec();
    attribute(&mut request, ORIGIN | NESTED, origin);
    if let Some((_, zone)) = value(ZONE) {
        attribute(&mut request, ZONE, zone);
    }
    Some(request)
}

/// Where a flow of UDP was sent to first: of a `CTA_TUPLE_IP` and a `CTA_TUPLE_PROTO`.
fn target(origin: &[u8]) -> Option<SocketAddr> {
    let (mut ip, mut port, mut protocol) = (None, None, None);
    for (kind, value) in attributes(origin) {
        for (part, value) in attributes(value) {
            match (kind, part) {
                // CTA_IP_V4_DST and CTA_IP_V6_DST.
                (1, 2) => ip = value.try_into().ok().map(|v: [u8; 4]| IpAddr::from(v)),
                (1, 4) => ip = value.try_into().ok().map(|v: [u8; 16]| IpAddr::from(v)),
                // CTA_PROTO_NUM and CTA_PROTO_DST_PORT.
                (2, 1) => protocol = value.first().copied(),
                (2, 3) => port = value.try_into().ok().map(u16::from_be_bytes),
                _ => {}
            }
        }
    }
    let is_udp = protocol.map(i32::from) == Some(libc::IPPROTO_UDP);
    is_udp.then_some(SocketAddr::new(ip?, port?))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::process::Command;

    use super::*;
    use crate::netns;

    #[test]
    fn flows_to_a_port_are_forgotten_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        netns::make(&path).unwrap();
        netns::inside(&path, || {
            let run = |program: &str, args: &str| {
                let done = Command::new(program).args(args.split(' ')).status();
                assert!(done.unwrap().success(), "{program} {args}");
            };
            run("ip", "link set lo up");
            // Without a rule that asks, nothing is kept track of.
            for program in ["iptables", "ip6tables"] {
                run(program, "-A INPUT -m conntrack --ctstate INVALID -j DROP");
            }
            let (v4, v6) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("[::1]:0")?);
            for port in [9001, 9002] {
                v4.send_to(b"x", ("127.0.0.1", port))?;
                v6.send_to(b"x", ("::1", port))?;
            }
            let forget = |targets: &[&str]| {
                let targets: Vec<_> = targets.iter().map(|t| t.parse().unwrap()).collect();
                forget_udp(&targets)
            };
            assert_eq!(forget(&["127.0.0.2:9001", "[::]:9003"])?, 0);
            assert_eq!(forget(&["0.0.0.0:9001"])?, 1);
            assert_eq!(forget(&["0.0.0.0:9001", "[::1]:9001"])?, 1);
            assert_eq!(forget(&["127.0.0.1:9002", "[::]:9002"])?, 2);
            Ok(())
        })
        .unwrap();
        netns::remove(&path).unwrap();
    }
}
