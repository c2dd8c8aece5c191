//! Networks: what one is, what a container asks of it, and what a run of a container has of it.
//!
//! | | |
//! |---|---|
//! | [`NetworkRecord`] | a network, as the ledger keeps it |
//! | [`EndpointSpec`] | what a container asks for on one network; part of its spec |
//! | [`PortBinding`] | a port that is to be published; part of its spec |
//! | [`Attachment`] | the addresses and host ports that a run holds: a lease, in the ledger from before the first effect until all is taken away |

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::{ContainerId, ContainerName, EndpointId, NetworkId, NetworkName};

/// How a network is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkDriver {
    /// A bridge of the host, with a firewall's rules around it.
    Bridge,
    /// The host's own.
    Host,
    /// Loopback alone.
    Null,
    /// An interface of its own hardware address on one of the host's.
    Macvlan,
    /// One that shares the hardware address.
    Ipvlan,
}

impl NetworkDriver {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
        }
    }
}

/// A range of addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// All of it; its address is the first.
    pub subnet: IpNet,
    /// The host's end of it; on an internal network the name server's.
    pub gateway: Option<IpAddr>,
    /// Where containers' addresses are taken from; `None` is all of it.
    pub range: Option<IpNet>,
    /// Addresses that no container gets, by a name that says why (`AuxiliaryAddresses`).
    pub reserved: BTreeMap<String, IpAddr>,
}

/// What the ledger keeps about a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Its id.
    pub id: NetworkId,
    /// Its name, unique.
    pub name: NetworkName,
    /// When it was made.
    pub created_at: Timestamp,
    /// How it is made.
    pub driver: NetworkDriver,
    /// The host's interface: a bridge's own name, or the parent of a macvlan (empty: a dummy).
    pub interface: String,
    /// Nothing is routed out of it.
    pub internal: bool,
    /// What the client said; without a swarm it means nothing.
    pub attachable: bool,
    /// Containers get IPv4 addresses.
    pub enable_ipv4: bool,
    /// Containers get IPv6 addresses.
    pub enable_ipv6: bool,
    /// Its addresses; none of `host` and `null`.
    pub subnets: Vec<Subnet>,
    /// Options of the address manager, as given; `None` shows as `null`.
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Options of the driver, as given.
    pub options: BTreeMap<String, String>,
    /// Labels as given.
    pub labels: BTreeMap<String, String>,
}

/// The names of the networks that are always there.
pub const PREDEFINED_NETWORKS: [&str; 3] = ["bridge", "host", "none"];

impl NetworkRecord {
    /// Whether it is one of those that are always there.
    pub fn is_predefined(&self) -> bool {
        PREDEFINED_NETWORKS.contains(&self.name.as_str())
    }

    /// Whether its containers find each other by name: not on the default bridge, as in Docker.
    pub fn has_dns(&self) -> bool {
        self.driver == NetworkDriver::Bridge && !self.is_predefined()
    }
}

/// What a container asks for on a network, whichever it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointConfig {
    /// Further names, for who is on that network.
    pub aliases: Vec<String>,
    /// `container:alias`: names that this container alone sees.
    pub links: Vec<String>,
    /// A fixed IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// A fixed IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// A fixed hardware address.
    pub mac: Option<MacAddress>,
    /// Options of the driver, as given; `None` shows as `null`.
    pub driver_options: Option<BTreeMap<String, String>>,
    /// The highest of a container's networks gives it the default route.
    pub gateway_priority: i64,
}

impl EndpointConfig {
    /// Every name that a container has on this network, each once: its own, its aliases, the short id and the
    /// hostname (moby `buildEndpointDNSNames`).
    pub fn dns_names(&self, name: &ContainerName, id: &ContainerId, hostname: &str) -> Vec<String> {
        let own = std::iter::once(name.as_str());
        let aliases = self.aliases.iter().map(String::as_str);
        let mut names: Vec<String> = Vec::new();
        for name in own.chain(aliases).chain([id.short(), hostname]) {
            if !name.is_empty() && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

/// The longest name of an interface, in bytes (`IFNAMSIZ`, less its zero).
pub const INTERFACE_BYTES_MAX: usize = 15;

/// Whether the kernel takes it for an interface's name (`dev_valid_name`), and it can be read.
pub fn is_interface_name(name: &str) -> bool {
    let is_odd = |c: char| c == '/' || c == ':' || !c.is_ascii_graphic();
    let fits = !name.is_empty() && name.len() <= INTERFACE_BYTES_MAX;
    fits && !matches!(name, "." | "..") && !name.contains(is_odd)
}

/// What a container asks for on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// The network; `None` where there was none of that name when the container was made: it is looked for
    /// again at each start.
    pub network: Option<NetworkId>,
    /// Its name, for clients.
    pub name: NetworkName,
    /// What is asked for.
    pub config: EndpointConfig,
}

/// The same before the network was looked up: as the client named it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointWish {
    /// A network's name, id or the beginning of one.
    pub network: String,
    /// What is asked for.
    pub config: EndpointConfig,
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The one that Docker's word stands for, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        let mut all = [Self::Tcp, Self::Udp, Self::Sctp].into_iter();
        all.find(|known| word.eq_ignore_ascii_case(known.as_str()))
    }
}

/// A port of a container: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str())
    }
}

impl FromStr for Port {
    type Err = Error;

    /// A number, and a protocol unless it is TCP: `80`, `53/udp`.
    fn from_str(text: &str) -> Result<Self, Error> {
        // As in Docker the number alone is shown, if it is that.
        let invalid = |what: &str| Error::invalid(format!("invalid port specification: {what:?}"));
        let (digits, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = Protocol::from_word(protocol);
        let number = digits.parse().ok().filter(|number| *number > 0);
        Ok(Self {
            number: number.ok_or_else(|| invalid(digits))?,
            protocol: protocol.ok_or_else(|| invalid(text))?,
        })
    }
}

/// A port that is to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// The container's.
    pub port: Port,
    /// The host's address; `None` is the daemon's default, which is all of them.
    pub host_ip: Option<IpAddr>,
    /// The host's ports, first and last, of which one is taken; `None` is any that is free.
    pub host_ports: Option<(u16, u16)>,
}

/// A port that is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The container's.
    pub port: Port,
    /// The host's address; the unspecified one is all of its family.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
}

/// A container's place on a network while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The network.
    pub network: NetworkId,
    /// The interface's name inside: `eth0`.
    pub interface: String,
    /// The hardware address.
    pub mac: MacAddress,
    /// The address, with the length of its network's prefix.
    pub ipv4: Option<Ipv4Net>,
    /// The address, with the length of its network's prefix.
    pub ipv6: Option<Ipv6Net>,
    /// Metric of the default route: the smallest of a container's networks counts.
    pub metric: u32,
}

/// What a run of a container has of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its places; none where it has the host's network, none or another container's.
    pub endpoints: Vec<Endpoint>,
    /// Its ports on the host.
    pub ports: Vec<PublishedPort>,
    /// The network that it is being connected to or disconnected from: written before the first effect, and
    /// no more when the container's row says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changing: Option<NetworkId>,
}

impl Attachment {
    /// Its place on a network.
    pub fn endpoint(&self, network: &NetworkId) -> Option<&Endpoint> {
        self.endpoints.iter().find(|e| e.network == *network)
    }
}

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// Docker's for an IPv4 address: `02:42` and the address, so it is as unique as that.
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// Its six bytes.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// One of nobody's, from six random bytes: locally administered, unicast.
    pub fn from_random(mut bytes: [u8; 6]) -> Self {
        bytes[0] = (bytes[0] | 0x02) & 0xfe;
        Self(bytes)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddress {
    type Err = Error;

    /// Six bytes in hexadecimal, between colons or dashes.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid(format!("invalid MAC address: {text:?}"));
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let part = part.filter(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(part.ok_or_else(invalid)?, 16).map_err(|_| invalid())?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(invalid()),
        }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_six_bytes_in_hexadecimal() {
        let mac: MacAddress = "02-42-aC-11-00-02".parse().unwrap();
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!(mac, MacAddress::of(Ipv4Addr::new(172, 17, 0, 2)));
        for bad in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:00:02",
            "+2:42:ac:11:00:02",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
        let made_up = MacAddress::from_random([0xff; 6]).to_string();
        assert_eq!(made_up, "fe:ff:ff:ff:ff:ff");
    }
}
