//! Network interfaces of the calling thread's network namespace, by rtnetlink(7).

use std::io;

use model::MacAddress;
use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// Longest name of an interface with its end, `IFNAMSIZ`.
const NAME_BYTES_MAX: usize = 16;

/// Takes an interface away; `false` when there is none of that name. The other end of a veth goes with it.
///
/// # Errors
/// What the kernel answers, and `InvalidInput` for what can be no name.
pub fn delete(name: &str) -> io::Result<bool> {
    let mut body = vec![0; LINK_BYTES];
    attribute(&mut body, libc::IFLA_IFNAME, &name_bytes(name)?);
    match ask(libc::RTM_DELLINK, 0, &body) {
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        answer => answer.map(|()| true),
    }
}

/// Makes an interface that leads nowhere, and sets it up; `false` when there is one of that name.
///
/// # Errors
/// As [`delete`]; `Unsupported` of a kernel that has none.
pub fn make_dummy(name: &str) -> io::Result<bool> {
    make(name, "dummy")
}

/// As [`make_dummy`], of a kind of ip-link(8) that needs no more to be told.
fn make(name: &str, kind: &str) -> io::Result<bool> {
    let mut body = vec![0; LINK_BYTES];
    // ifi_flags and ifi_change, the third and fourth words but for the address family's.
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    body[8..12].copy_from_slice(&up);
    body[12..16].copy_from_slice(&up);
    attribute(&mut body, libc::IFLA_IFNAME, &name_bytes(name)?);
    let mut info = Vec::new();
    attribute(&mut info, libc::IFLA_INFO_KIND, kind.as_bytes());
    attribute(&mut body, libc::IFLA_LINKINFO, &info);
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    match ask(libc::RTM_NEWLINK, flags, &body) {
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        answer => answer.map(|()| true),
    }
}

/// Gives the interface `name` a hardware address, which a bridge then keeps: else it takes the lowest of its
/// members', a new one with each that comes or goes.
///
/// # Errors
/// What the kernel answers, and `InvalidInput` for what can be no name.
pub fn set_mac(name: &str, mac: MacAddress) -> io::Result<()> {
    let mut body = vec![0; LINK_BYTES];
    attribute(&mut body, libc::IFLA_IFNAME, &name_bytes(name)?);
    attribute(&mut body, libc::IFLA_ADDRESS, &mac.octets());
    ask(libc::RTM_SETLINK, 0, &body)
}

/// Has a bridge send back to its member `index` what came from there, if it is meant for it.
///
/// # Errors
/// What the kernel answers: it is no member of a bridge.
pub fn hairpin(index: u32) -> io::Result<()> {
    /// `IFLA_BRPORT_MODE` of linux/if_link.h.
    const HAIRPIN: u16 = 4;
    /// Of netlink(7): the value is attributes itself.
    const NESTED: u16 = 1 << 15;
    let mut body = vec![0; LINK_BYTES];
    body[0] = u8::try_from(libc::AF_BRIDGE).expect("families are small numbers");
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut port = Vec::new();
    attribute(&mut port, HAIRPIN, &[1]);
    attribute(&mut body, libc::IFLA_PROTINFO | NESTED, &port);
    ask(libc::RTM_SETLINK, 0, &body)
}

/// How many interfaces belong to the bridge `name`; `None` when there is none of that name.
///
/// # Errors
/// As [`delete`].
pub fn members(name: &str) -> io::Result<Option<usize>> {
    let links = list()?;
    let Some(bridge) = links.iter().find(|link| link.name == name) else {
        return Ok(None);
    };
    let of = |link: &&Link| link.master == Some(bridge.index);
    Ok(Some(links.iter().filter(of).count()))
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The number of the bridge it belongs to.
    pub master: Option<u32>,
    /// The number of the other end of a veth, in the namespace where that is.
    pub peer: Option<u32>,
}

/// All interfaces.
///
/// # Errors
/// What the kernel answers.
pub fn list() -> io::Result<Vec<Link>> {
    let socket = open()?;
    let message = request(libc::RTM_GETLINK, libc::NLM_F_DUMP, &[0; LINK_BYTES]);
    send(&socket, &message, SendFlags::empty())?;
    let mut links = Vec::new();
    // The kernel fills at most 32 KiB in one go (netlink_dump).
    let mut answer = vec![0_u8; 64 << 10];
    loop {
        let (read, _) = recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = &answer[..read];
        while let Some((kind, body, next)) = message_of(rest) {
            rest = next;
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(links),
                libc::NLMSG_ERROR => {
                    let code = word(body, 0).unwrap_or_default();
                    return Err(io::Error::from_raw_os_error(-code.cast_signed()));
                }
                _ if kind == libc::RTM_NEWLINK => links.extend(link(body)),
                _ => {}
            }
        }
    }
}

/// The first message: its kind, its body, and what comes behind it.
fn message_of(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = usize::try_from(word(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER_BYTES..len)?;
    let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
    let next = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, next))
}

fn link(body: &[u8]) -> Option<Link> {
    let index = word(body, 4)?;
    let (mut name, mut master, mut peer) = (String::new(), None, None);
    let mut rest = body.get(LINK_BYTES..)?;
    while rest.len() >= 4 {
        let len = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]);
        let Some(value) = rest.get(4..len) else { break };
        if kind == libc::IFLA_IFNAME {
            let text = String::from_utf8_lossy(value);
            text.trim_end_matches('\0').clone_into(&mut name);
        } else if kind == libc::IFLA_MASTER {
            master = word(value, 0);
        } else if kind == libc::IFLA_LINK {
            peer = word(value, 0);
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Link {
        index,
        name,
        master,
        peer,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

/// Size of `struct ifinfomsg`.
const LINK_BYTES: usize = 16;
/// Size of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;

fn name_bytes(name: &str) -> io::Result<Vec<u8>> {
    if name.is_empty() || name.len() >= NAME_BYTES_MAX || name.contains(['\0', '/']) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    Ok(bytes)
}

/// Appends a `struct rtattr` and its value, padded to four bytes.
fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).expect("names and kinds are short");
    to.extend(len.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

fn open() -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    // No protocol is the first of netlink's, NETLINK_ROUTE.
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

fn request(kind: u16, flags: i32, body: &[u8]) -> Vec<u8> {
    let flags =
        u16::try_from(flags | libc::NLM_F_REQUEST).expect("the flags of netlink have 16 bits");
    let len = u32::try_from(HEADER_BYTES + body.len()).expect("a request is short");
    let mut message = len.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Number of the message, and of the port that the kernel chooses.
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    message
}

/// Sends one request and waits for the kernel's answer, which it has ready when the call returns.
fn ask(kind: u16, flags: i32, body: &[u8]) -> io::Result<()> {
    let socket = open()?;
    let message = request(kind, flags | libc::NLM_F_ACK, body);
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 1024];
    let (read, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let code = match message_of(&answer[..read]) {
        Some((kind, body, _)) if i32::from(kind) == libc::NLMSG_ERROR => word(body, 0),
        _ => None,
    };
    match code {
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "unreadable netlink answer",
        )),
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code.cast_signed())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns;

    #[test]
    fn interfaces_are_made_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        netns::make(&path).unwrap();
        netns::inside(&path, || {
            let there = || std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            assert!(make("dm-0123456789ab", "bridge")?);
            assert!(there().contains("dm-0123456789ab:"));
            assert!(!make("dm-0123456789ab", "bridge")?);
            let names: Vec<_> = list()?.into_iter().map(|link| link.name).collect();
            assert_eq!(names, ["lo", "dm-0123456789ab"]);
            assert_eq!((members("lo")?, members("br0")?), (Some(0), None));
            assert!(delete("dm-0123456789ab")?);
            assert!(!there().contains("dm-"));
            assert!(!delete("dm-0123456789ab")?);
            let long = delete("a-name-of-sixteen").unwrap_err();
            assert_eq!(long.kind(), io::ErrorKind::InvalidInput);
            match make_dummy("dm0") {
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::Unsupported),
                Ok(made) => assert!(made && delete("dm0")?),
            }
            // What cannot be deleted says so.
            assert!(delete("lo").is_err());
            Ok(())
        })
        .unwrap();
        netns::remove(&path).unwrap();
    }
}
