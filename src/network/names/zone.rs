//! The text of a network's file, as aardvark-dns reads it (aardvark-dns `src/config/mod.rs`).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{ContainerId, NetworkId};

/// A server that cannot be reached: a socket that may not broadcast is refused it at once.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

/// The names of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The network.
    pub network: NetworkId,
    /// Where it is served: the network's gateways.
    pub servers: Vec<IpAddr>,
    /// Who is there now.
    pub members: Vec<Member>,
}

/// A container on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The container.
    pub id: ContainerId,
    /// Its address there.
    pub ipv4: Option<Ipv4Addr>,
    /// Its address there.
    pub ipv6: Option<Ipv6Addr>,
    /// Its name, its aliases, the beginning of its id: whatever it answers to there.
    pub names: Vec<String>,
    /// The servers that it asks for other names; none is the host's.
    pub upstream: Vec<IpAddr>,
    /// One of its networks leads to the outside; otherwise it learns no names of there.
    pub outside: bool,
}

impl Zone {
    /// Whether there is anything to be served.
    pub(super) fn is_served(&self) -> bool {
        !self.servers.is_empty() && self.members.iter().any(Member::is_named)
    }

    /// The file: a line with the servers, then one for each container, with its id, its addresses, its names and its
    /// servers.
    pub fn text(&self) -> String {
        let mut text = list(&self.servers);
        text.push('\n');
        for member in self.members.iter().filter(|m| m.is_named()) {
            let v4 = member.ipv4.map(|ip| ip.to_string()).unwrap_or_default();
            let v6 = member.ipv6.map(|ip| ip.to_string()).unwrap_or_default();
            let names: Vec<_> = member
                .names
                .iter()
                .filter(|name| fits(name))
                .cloned()
                .collect();
            // By container and not by network: one that is on two, one of them internal, finds all names.
            let upstream = if member.outside {
                list(&member.upstream)
            } else {
                NOWHERE.to_string()
            };
            let id = &member.id;
            write!(text, "{id} {v4} {v6} {}", names.join(","))
                .and_then(|()| match upstream.as_str() {
                    "" => text.write_char('\n'),
                    servers => writeln!(text, " {servers}"),
                })
                .expect("writing to a string cannot fail");
        }
        text
    }
}

impl Member {
    /// One without an address or a name would make the whole file unreadable.
    fn is_named(&self) -> bool {
        (self.ipv4.is_some() || self.ipv6.is_some()) && self.names.iter().any(|name| fits(name))
    }
}

/// What would be two columns, two names or two lines is no name.
fn fits(name: &str) -> bool {
    !name.is_empty() && !name.contains([',', ' ', '\n'])
}

/// Where a network's names are served, by its file.
pub(super) fn servers(text: &str) -> Vec<IpAddr> {
    let line = text.lines().next().unwrap_or_default();
    line.split(',').filter_map(|ip| ip.parse().ok()).collect()
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_line_of_servers_and_one_for_each_container() {
        let id = |c: &str| -> ContainerId { c.repeat(64).parse().unwrap() };
        let member = |c, last, names: &[&str]| Member {
            id: id(c),
            ipv4: Some(Ipv4Addr::new(10, 89, 0, last)),
            ipv6: None,
            names: names.iter().map(ToString::to_string).collect(),
            upstream: Vec::new(),
            outside: true,
        };
        let mut asks = member("b", 3, &["db"]);
        asks.ipv6 = Some("fd00::3".parse().unwrap());
        asks.upstream = ["192.0.2.1", "192.0.2.2"]
            .map(|ip| ip.parse().unwrap())
            .into();
        let mut inside = member("c", 4, &["in", "bad name", "a,b"]);
        inside.outside = false;
        let mut zone = Zone {
            network: "f".repeat(64).parse().unwrap(),
            servers: vec!["10.89.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            members: vec![
                member("a", 2, &["web", "www"]),
                asks,
                inside,
                member("d", 5, &[""]),
            ],
        };
        let text = zone.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "10.89.0.1,fd00::1",
                &format!("{} 10.89.0.2  web,www", id("a")),
                &format!("{} 10.89.0.3 fd00::3 db 192.0.2.1,192.0.2.2", id("b")),
                &format!("{} 10.89.0.4  in 255.255.255.255", id("c")),
            ]
        );
        assert_eq!(servers(&text), zone.servers);
        assert!(zone.is_served());
        zone.members.drain(..3);
        assert!(!zone.is_served());
    }
}
