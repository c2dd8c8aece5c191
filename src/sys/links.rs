//! Network interfaces of the calling thread's network namespace, by rtnetlink(7).

use std::io;

use crate::netlink::{self, attribute, attributes, dump, word};
use model::MacAddress;

/// Longest name of an interface with its end, `IFNAMSIZ`.
const NAME_BYTES_MAX: usize = 16;

/// Takes an interface away; `false` when there is none of that name. The other end of a veth goes with it.
///
/// # Errors
/// What the kernel answers, and `InvalidInput` for what can be no name.
pub fn delete(name: &str) -> io::Result<bool> {
    let mut body = vec![0; LINK_BYTES];
    attribute(&mut body, libc::IFLA_IFNAME, &name_bytes(name)?);
    match netlink::ask(None, libc::RTM_DELLINK, 0, &body) {
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        answer => answer.map(|()| true),
    }
}

/// Makes an interface that leads nowhere, and sets it up; `false` when there is one of that name.
///
/// # Errors
/// As [`delete`]; `Unsupported` of a kernel that has none.
pub fn make_dummy(name: &str) -> io::Result<bool> {
    make_up(name, "dummy")
}

/// As [`make_dummy`], of a kind of ip-link(8) that needs no more to be told.
fn make_up(name: &str, kind: &str) -> io::Result<bool> {
    make(up(), name, kind, None)
}

/// Makes an interface for a VLAN of another, and sets it up; `false` when there is one of that name, or for that
/// VLAN.
///
/// # Errors
/// As [`make_dummy`]; `NetworkDown` where the other is not up: then none is made.
pub fn make_vlan(name: &str, of: &Link, id: u16) -> io::Result<bool> {
    /// `IFLA_VLAN_ID` of linux/if_link.h.
    const VLAN_ID: u16 = 1;
    let mut data = Vec::new();
    attribute(&mut data, VLAN_ID, &id.to_ne_bytes());
    let mut body = up();
    attribute(&mut body, libc::IFLA_LINK, &of.index.to_ne_bytes());
    make(body, name, "vlan", Some(&data))
}

/// The beginning of what makes an interface that is up.
fn up() -> Vec<u8> {
    let mut body = vec![0; LINK_BYTES];
    // ifi_flags and ifi_change, the third and fourth words but for the address family's.
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    body[8..12].copy_from_slice(&up);
    body[12..16].copy_from_slice(&up);
    body
}

/// Makes a veth pair, both ends in this namespace and down, `name` on the bridge of number `bridge`; `false`
/// when there is an interface of one of the names.
///
/// # Errors
/// As [`delete`].
pub fn make_veth(name: &str, peer: &str, bridge: u32) -> io::Result<bool> {
    /// `VETH_INFO_PEER` of linux/veth.h.
    const PEER: u16 = 1;
    let mut other = vec![0; LINK_BYTES];
    attribute(&mut other, libc::IFLA_IFNAME, &name_bytes(peer)?);
    let mut data = Vec::new();
    attribute(&mut data, PEER, &other);
    let mut body = vec![0; LINK_BYTES];
    attribute(&mut body, libc::IFLA_MASTER, &bridge.to_ne_bytes());
    make(body, name, "veth", Some(&data))
}

fn make(mut body: Vec<u8>, name: &str, kind: &str, data: Option<&[u8]>) -> io::Result<bool> {
    attribute(&mut body, libc::IFLA_IFNAME, &name_bytes(name)?);
    let mut info = Vec::new();
    attribute(&mut info, libc::IFLA_INFO_KIND, kind.as_bytes());
    if let Some(data) = data {
        attribute(&mut info, libc::IFLA_INFO_DATA, data);
    }
    attribute(&mut body, libc::IFLA_LINKINFO, &info);
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    match netlink::ask(None, libc::RTM_NEWLINK, flags, &body) {
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
    netlink::ask(None, libc::RTM_SETLINK, 0, &body)
}

/// Has a bridge send back to its member `index` what came from there, if it is meant for it.
///
/// # Errors
/// What the kernel answers: it is no member of a bridge.
pub fn hairpin(index: u32) -> io::Result<()> {
    /// `IFLA_BRPORT_MODE` of linux/if_link.h.
    const HAIRPIN: u16 = 4;
    set_on_port(index, HAIRPIN)
}

/// Has a bridge keep its member `index` apart from all others that are so: what comes from one goes to the
/// host and not to another.
///
/// # Errors
/// As [`hairpin`].
pub fn isolate(index: u32) -> io::Result<()> {
    /// `IFLA_BRPORT_ISOLATED` of linux/if_link.h.
    const ISOLATED: u16 = 33;
    set_on_port(index, ISOLATED)
}

fn set_on_port(index: u32, flag: u16) -> io::Result<()> {
    /// Of netlink(7): the value is attributes itself.
    const NESTED: u16 = 1 << 15;
    let mut body = vec![0; LINK_BYTES];
    body[0] = u8::try_from(libc::AF_BRIDGE).expect("families are small numbers");
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut port = Vec::new();
    attribute(&mut port, flag, &[1]);
    attribute(&mut body, libc::IFLA_PROTINFO | NESTED, &port);
    netlink::ask(None, libc::RTM_SETLINK, 0, &body)
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The number of the bridge it belongs to.
    pub master: Option<u32>,
    /// The number of the other end of a veth, or of what a VLAN or macvlan is on, in the namespace where that is.
    pub peer: Option<u32>,
    /// The number by which this namespace knows that one, if it is another.
    pub peer_netns: Option<u32>,
    /// Its hardware address, where it is one as Ethernet has them.
    pub mac: Option<[u8; 6]>,
}

/// All interfaces.
///
/// # Errors
/// What the kernel answers.
pub fn list() -> io::Result<Vec<Link>> {
    list_of(&[0; LINK_BYTES])
}

/// All interfaces of the network namespace that this one knows by the number `netns`.
///
/// # Errors
/// What the kernel answers: there is none.
pub fn list_in(netns: u32) -> io::Result<Vec<Link>> {
    let mut body = vec![0; LINK_BYTES];
    attribute(&mut body, libc::IFLA_TARGET_NETNSID, &netns.to_ne_bytes());
    list_of(&body)
}

fn list_of(asked: &[u8]) -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    dump(None, libc::RTM_GETLINK, asked, |kind, body| {
        if kind == libc::RTM_NEWLINK {
            links.extend(link(body));
        }
    })?;
    Ok(links)
}

fn link(body: &[u8]) -> Option<Link> {
    let index = word(body, 4)?;
    let (mut name, mut master, mut peer) = (String::new(), None, None);
    let (mut peer_netns, mut mac) = (None, None);
    for (kind, value) in attributes(body.get(LINK_BYTES..)?) {
        if kind == libc::IFLA_IFNAME {
            let text = String::from_utf8_lossy(value);
            text.trim_end_matches('\0').clone_into(&mut name);
        } else if kind == libc::IFLA_MASTER {
            master = word(value, 0);
        } else if kind == libc::IFLA_LINK {
            peer = word(value, 0);
        } else if kind == libc::IFLA_LINK_NETNSID {
            peer_netns = word(value, 0);
        } else if kind == libc::IFLA_ADDRESS {
            mac = value.try_into().ok();
        }
    }
    Some(Link {
        index,
        name,
        master,
        peer,
        peer_netns,
        mac,
    })
}

/// Size of `struct ifinfomsg`.
const LINK_BYTES: usize = 16;
fn name_bytes(name: &str) -> io::Result<Vec<u8>> {
    if name.is_empty() || name.len() >= NAME_BYTES_MAX || name.contains(['\0', '/']) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    Ok(bytes)
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
            assert!(make_up("dm-0123456789ab", "bridge")?);
            assert!(there().contains("dm-0123456789ab:"));
            assert!(!make_up("dm-0123456789ab", "bridge")?);
            let names: Vec<_> = list()?.into_iter().map(|link| link.name).collect();
            assert_eq!(names, ["lo", "dm-0123456789ab"]);
            assert_eq!((members("lo")?, members("br0")?), (Some(0), None));
            let bridge = list()?[1].index;
            assert!(make_veth("va0", "vb0", bridge)?);
            for taken in [["va0", "vb1"], ["va1", "vb0"]] {
                assert!(!make_veth(taken[0], taken[1], bridge)?);
            }
            assert_eq!(members("dm-0123456789ab")?, Some(1));
            // Both go together.
            assert!(delete("vb0")?);
            assert_eq!(list()?.len(), 2);
            assert!(make_veth("va0", "vb0", 1).is_err(), "no bridge");
            assert_eq!(list()?.len(), 2);
            assert!(delete("dm-0123456789ab")?);
            assert!(!there().contains("dm-"));
            assert!(!delete("dm-0123456789ab")?);
            let long = delete("a-name-of-sixteen").unwrap_err();
            assert_eq!(long.kind(), io::ErrorKind::InvalidInput);
            match make_dummy("dm0") {
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::Unsupported),
                Ok(made) => assert!(made && delete("dm0")?),
            }
            let all = list()?;
            match make_vlan("lo.7", &all[0], 7) {
                // lo is down, and the kernel may have no VLANs.
                Err(e) => assert!(matches!(
                    e.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::NetworkDown
                )),
                Ok(made) => assert!(made && delete("lo.7")?),
            }
            assert_eq!(list()?, all);
            // What cannot be deleted says so.
            assert!(delete("lo").is_err());
            Ok(())
        })
        .unwrap();
        netns::remove(&path).unwrap();
    }
}
