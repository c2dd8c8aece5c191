//! A bridge that stays: the default network's, with or without containers, as docker0 does.
//!
//! netavark makes a bridge with the first container, and deletes it and its network's rules with the last
//! member. So one member stays that is ours, the *anchor*: one end of a veth pair, whose other end is for
//! nothing. Both are down: the bridge has no carrier while no container is on it, and nothing is ever sent
//! there. A `dummy` would be one interface less, but not every kernel has it, and one that runs
//! containers has veth.
//!
//! ```text
//!   nothing --> bridge, rules (netavark, on a stand-in) --> anchor --> the stand-in goes, and the bridge stays
//! ```
//!
//! Whoever is killed in between leaves what the next call completes, or takes away.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};

use failpoint::Point;
use ipnet::IpNet;
use model::{Context, Endpoint, Error, MacAddress, NetworkDriver, NetworkRecord, Result, Subnet};
use sys::links;

use super::{Alone, Netavark, Order, Version, bridge, check};
use crate::{addresses, host_routes};

/// Of the network's id, so that it also tells whose a bridge is: 15 bytes, the longest that a name may be.
fn anchor_name(network: &NetworkRecord) -> String {
    format!("ma-{}", network.id.short())
}

/// The end of it that is for nothing.
fn peer_name(network: &NetworkRecord) -> String {
    format!("mp-{}", network.id.short())
}

/// Whether an interface is the anchor of some network.
fn is_anchor(name: &str) -> bool {
    let id = name.strip_prefix("ma-");
    id.is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A socket named after the bridge that a daemon keeps, which its network namespace has once, and which ends with
/// the daemon: by it others see that it lives.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<(String, UnixDatagram)>>);

impl Kept {
    /// Whether no other daemon that lives keeps that bridge; from now on this one does.
    fn keep(&self, bridge: &str) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|(name, _)| name == bridge) {
            return true;
        }
        let name = SocketAddr::from_abstract_name(format!("moored/bridge/{bridge}"));
        match name.and_then(|name| UnixDatagram::bind_addr(&name)) {
            Ok(socket) => {
                *kept = Some((bridge.to_owned(), socket));
                true
            }
            Err(e) => {
                tracing::debug!(bridge, error = %e, "another daemon may keep it");
                false
            }
        }
    }
}

/// A bridge that is there.
#[derive(Debug)]
pub(super) struct Bridge {
    index: u32,
    /// It stays.
    pub(super) is_anchored: bool,
    /// Anchors of other networks: of a default network whose record was wiped, say. They are nobody.
    pub(super) strays: Vec<String>,
    /// Its members but those.
    pub(super) others: usize,
}

impl Bridge {
    /// The interface of a network's bridge.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn of(network: &NetworkRecord) -> io::Result<Option<Self>> {
        let links = links::list()?;
        let Some(bridge) = links.iter().find(|link| link.name == network.interface) else {
            return Ok(None);
        };
        let anchor = anchor_name(network);
        let members = links.iter();
        let members = members.filter(|link| link.master == Some(bridge.index));
        let (anchors, others): (Vec<_>, Vec<_>) = members.partition(|link| is_anchor(&link.name));
        let strays = anchors.iter().filter(|link| link.name != anchor);
        let strays: Vec<_> = strays.map(|link| link.name.clone()).collect();
        Ok(Some(Self {
            index: bridge.index,
            is_anchored: strays.len() < anchors.len(),
            strays,
            others: others.len(),
        }))
    }
}

/// Whether the bridge of this network is there and stays.
pub fn stands(network: &NetworkRecord) -> bool {
    let found = Bridge::of(network);
    found.is_ok_and(|bridge| bridge.is_some_and(|bridge| bridge.is_anchored))
}

/// Whether the bridge of this network is to stay: the default network's.
pub(super) fn is_to_stay(network: &NetworkRecord) -> bool {
    network.driver == NetworkDriver::Bridge && network.is_predefined()
}

/// Whether nobody is on a network: what comes next is the first.
pub(super) fn is_empty(network: &NetworkRecord) -> bool {
    network.driver == NetworkDriver::Bridge
        && Bridge::of(network).is_ok_and(|bridge| bridge.is_none_or(|bridge| bridge.others == 0))
}

impl Netavark {
    /// Sees to it that the bridge of `network` is there, as its record says, and stays; whether something had
    /// to be done. To be called now and then: where all is well no program is run, and nobody held up.
    ///
    /// # Errors
    /// Conflict where there is an interface of that name that is not this network's, another that leads into the
    /// range, or the bridge has another address and somebody is on it; NotImplemented for what netavark is
    /// too old for; System.
    pub async fn establish(&self, network: &Arc<NetworkRecord>) -> Result<bool> {
        if !self.has_stand_in()? && is_whole(network)? {
            self.kept.keep(&network.interface);
            return Ok(false);
        }
        self.ready().await?;
        let version = self.version().await?;
        check(network, version)?;
        let alone = self.alone().await?;
        self.clear_stand_in()?;
        if is_whole(network)? {
            return Ok(false);
        }
        let order = stand_in_for(network)?;
        self.prepare(&alone, network, version).await?;
        bridge::claim(&self.dir, &order)?;
        if !self.is_tidy() {
            self.arrange_or_warn(&alone, version, &[]).await;
        }
        let keep = async {
            bridge::keep(&order)?;
            failpoint::reach(Point::NetworkBridgeMade).await?;
            anchor(network)?;
            failpoint::reach(Point::NetworkBridgeKept).await?;
            Ok(())
        };
        let made = self.by_stand_in(&alone, &order, version, keep).await;
        self.forget_bridges(&order);
        made?;
        self.kept.keep(&network.interface);
        self.arrange_or_warn(&alone, version, &[&**network]).await;
        Ok(true)
    }

    /// Before somebody comes on a network whose bridge stays: one that nobody is on goes where it is not as the
    /// record says, or was made for a record that is there no more; then, and where there is none, its range must
    /// be free. Whose the bridge is otherwise, [`bridge::claim`] says.
    ///
    /// # Errors
    /// Conflict as for [`Netavark::establish`]; System.
    pub(super) async fn prepare(
        &self,
        alone: &Alone<'_>,
        network: &Arc<NetworkRecord>,
        version: Version,
    ) -> Result<()> {
        // One that a daemon before this one left behind would count as somebody.
        self.clear_stand_in()?;
        if let Some(found) = look(network)? {
            match bridge::is_own(&self.dir, network)? {
                true if is_right(network) => return Ok(()),
                true if found.others > 0 => {
                    return Err(Error::conflict(format!(
                        "bridge {} is not as network {} says, and somebody is on it: it is made anew when nobody is",
                        network.interface, network.name
                    )));
                }
                true => {}
                false
                    if bridge::is_left_over(&self.dir, network, &found)?
                        && self.kept.keep(&network.interface) =>
                {
                    tracing::info!(
                        bridge = network.interface,
                        "taking over what an earlier network left"
                    );
                }
                false => return Ok(()),
            }
            self.unmake(alone, network, version).await?;
        }
        check_routes(network)
    }

    /// Takes away what [`Netavark::establish`] made, if nobody is on it; whether there was something. What is
    /// not this network's is left alone.
    ///
    /// # Errors
    /// System; then something may be left, and it can be tried again.
    pub async fn dismantle(&self, network: &Arc<NetworkRecord>) -> Result<bool> {
        let is_left = || -> Result<bool> {
            Ok(match look(network)? {
                Some(found) => bridge::is_own(&self.dir, network)? && found.others == 0,
                None => false,
            })
        };
        if !self.has_stand_in()? && !is_left()? {
            return free_anchor(network);
        }
        let version = self.version().await?;
        let alone = self.alone().await?;
        self.clear_stand_in()?;
        if !is_left()? {
            return free_anchor(network);
        }
        self.unmake(&alone, network, version).await?;
        self.arrange_or_warn(&alone, version, &[]).await;
        Ok(true)
    }

    /// Takes a bridge away on which nobody is, with its network's rules.
    async fn unmake(
        &self,
        alone: &Alone<'_>,
        network: &Arc<NetworkRecord>,
        version: Version,
    ) -> Result<()> {
        // The rules are about the network that it was of, and the range that it had.
        let mut had = NetworkRecord::clone(network);
        if let Some(id) = bridge::noted(&self.dir, network)?.and_then(|id| id.parse().ok()) {
            had.id = id;
        }
        if let Some(subnet) = host_routes::of_interface(&network.interface)
            && !had.subnets.iter().any(|known| known.subnet == subnet)
        {
            had.subnets = vec![Subnet {
                subnet,
                gateway: None,
                range: None,
                reserved: std::collections::BTreeMap::new(),
            }];
        }
        let order = stand_in_for(&Arc::new(had))?;
        bridge::note_going(&self.dir, network)?;
        let strays = look(network)?.map(|found| found.strays);
        for name in strays.iter().flatten().chain([&anchor_name(network)]) {
            delete_anchor(name)?;
        }
        let nothing = std::future::ready(Ok(()));
        let gone = self.by_stand_in(alone, &order, version, nothing).await;
        self.forget_bridges(&order);
        gone
    }
}

fn look(network: &NetworkRecord) -> Result<Option<Bridge>> {
    Bridge::of(network).context("cannot list interfaces")
}

/// All that is to be there is there.
fn is_whole(network: &NetworkRecord) -> Result<bool> {
    let found = look(network)?;
    Ok(found.is_some_and(|bridge| bridge.is_anchored) && is_right(network))
}

/// Whether a bridge is up, and has its network's address: netavark takes one for whole that a killed one left
/// without.
fn is_right(network: &NetworkRecord) -> bool {
    // Those of IPv6 come and go with the carrier.
    let mut v4 = network.subnets.iter().filter(|s| s.subnet.addr().is_ipv4());
    v4.all(|subnet| {
        let is_hosts = |gateway: IpAddr| match UdpSocket::bind((gateway, 0)) {
            Err(e) => e.kind() != io::ErrorKind::AddrNotAvailable,
            Ok(_) => true,
        };
        host_routes::leads_to(&network.interface, &subnet.subnet)
            && subnet.gateway.is_none_or(is_hosts)
    })
}

/// That a network's range is nobody else's: another engine may have taken of it since, when this one's bridge was
/// not there. Once it is, containers on it have to live with that.
fn check_routes(network: &NetworkRecord) -> Result<()> {
    for Subnet { subnet, .. } in &network.subnets {
        if let Some(taken) = host_routes::another_leads_into(&network.interface, subnet) {
            return Err(Error::conflict(format!(
                "another interface of the host leads to {taken}, and the range of network {} is {subnet}",
                network.name
            )));
        }
    }
    Ok(())
}

/// Makes the anchor, on a bridge that is there.
fn anchor(network: &NetworkRecord) -> Result<()> {
    let make = || -> io::Result<()> {
        let bridge = Bridge::of(network)?.ok_or(io::ErrorKind::NotFound)?;
        let (name, peer) = (anchor_name(network), peer_name(network));
        if bridge.is_anchored || links::make_veth(&name, &peer, bridge.index)? {
            return Ok(());
        }
        // Its bridge was deleted, or it was taken off.
        links::delete(&name)?;
        links::delete(&peer)?;
        match links::make_veth(&name, &peer, bridge.index)? {
            true => Ok(()),
            false => Err(io::ErrorKind::AlreadyExists.into()),
        }
    };
    make().context(format_args!("cannot keep the bridge {}", network.interface))
}

fn delete_anchor(name: &str) -> Result<bool> {
    links::delete(name).context(format_args!("cannot delete the interface {name}"))
}

/// Deletes an anchor whose bridge is gone; whether there was one.
fn free_anchor(network: &NetworkRecord) -> Result<bool> {
    match look(network)? {
        Some(_) => Ok(false),
        None => delete_anchor(&anchor_name(network)),
    }
}

/// Nobody's place on a network, for a stand-in. Containers may be there already, so its address is the one
/// that a container gets last, and its hardware address none of theirs.
fn stand_in_for(network: &Arc<NetworkRecord>) -> Result<Order> {
    let mut place = Endpoint {
        id: network.id.as_str().parse()?,
        network: network.id.clone(),
        interface: "eth0".to_owned(),
        mac: MacAddress::from_random(id_bytes(network)),
        ipv4: None,
        ipv6: None,
        metric: 100,
    };
    for subnet in &network.subnets {
        let last = subnet.subnet.hosts().next_back();
        let address = addresses::next_free(subnet, &|_| false, last);
        let address = address.ok_or_else(|| {
            Error::system(format!(
                "network {} has no address for a container in {}",
                network.name, subnet.subnet
            ))
        })?;
        match IpNet::new(address, subnet.subnet.prefix_len()) {
            Ok(IpNet::V4(v4)) => place.ipv4 = Some(v4),
            Ok(IpNet::V6(v6)) => place.ipv6 = Some(v6),
            Err(_) => unreachable!("the prefix is of its family"),
        }
    }
    Ok(Order {
        id: network.id.as_str().parse()?,
        name: network.name.to_string(),
        places: vec![(network.clone(), place)],
        ports: Vec::new(),
    })
}

/// Others than those that a bridge without an IPv4 gateway has its hardware address of.
fn id_bytes(network: &NetworkRecord) -> [u8; 6] {
    let digits = &network.id.as_str()[12..24];
    let number = u64::from_str_radix(digits, 16).expect("an id is hexadecimal");
    let [_, _, bytes @ ..] = number.to_be_bytes();
    bytes
}
