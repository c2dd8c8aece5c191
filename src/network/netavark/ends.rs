//! The interfaces of containers, whatever they are called by now.
//!
//! netavark goes by the names that it gave. A program inside may give them others, or one the other's: a place's
//! interface is therefore known by its other end, the host's, on the network's bridge. The two name each other by
//! number; numbers are counted in every namespace anew, so that it is looked at what has that number where the
//! host's end leads to.

use std::path::Path;

use model::{Context, Endpoint, Error, NetworkDriver, NetworkRecord, Result};
use sys::links::{self, Link};
use sys::netns;

use super::document::{TALK, is_false};
use super::{Order, parent};

/// The interfaces of a container's namespace and of the host, as they were at one time.
struct View {
    inside: Vec<Link>,
    host: Vec<Link>,
}

impl View {
    fn of(ns: &Path) -> Result<Self> {
        let inside = netns::inside(ns, links::list);
        Ok(Self {
            inside: inside.context("cannot list the container's interfaces")?,
            host: links::list().context("cannot list interfaces")?,
        })
    }

    /// A place's interface, and what of the host it leads to: its other end, or for a macvlan or ipvlan the parent.
    fn find(&self, network: &NetworkRecord, place: &Endpoint) -> Option<(&Link, &Link)> {
        let host_of = |inside: &Link| {
            let index = inside.peer.filter(|_| inside.peer_netns.is_some())?;
            self.host.iter().find(|link| link.index == index)
        };
        let pairs = self.inside.iter();
        let pairs = pairs.filter_map(|inside| Some((inside, host_of(inside)?)));
        let is_its = |link: &Link| link.mac == Some(place.mac.octets());
        let is_likely = |link: &Link| is_its(link) || link.name == place.interface;
        let bridge = |link: &&Link| link.name == network.interface;
        let bridge = self.host.iter().find(bridge).map(|link| link.index);
        let fits = |(inside, host): &(&Link, &Link)| match network.driver {
            NetworkDriver::Bridge => {
                let is_on_it = match host.master {
                    // It was taken off, or its bridge is gone.
                    None => is_likely(inside),
                    master => master == bridge,
                };
                is_on_it && is_pair(inside, host)
            }
            // Others of the container may be on the same.
            _ => parent::of(network).as_ref() == Some(&host.name) && is_likely(inside),
        };
        let mut all: Vec<_> = pairs.filter(fits).collect();
        // An ipvlan has its parent's hardware address, as all others of it.
        all.sort_by_key(|(inside, _)| {
            let is_named = inside.name == place.interface;
            (!is_its(inside), !is_named)
        });
        all.first().copied()
    }
}

/// Whether a container's interface and the host's are two ends of one.
fn is_pair(inside: &Link, host: &Link) -> bool {
    let Some(netns) = host.peer_netns.filter(|_| host.peer == Some(inside.index)) else {
        return false;
    };
    // It may be called otherwise by now.
    let is_it = |link: &Link| {
        link.index == inside.index && link.mac == inside.mac && link.peer == inside.peer
    };
    links::list_in(netns).is_ok_and(|there| there.iter().any(is_it))
}

/// Whether all places of an order have their interfaces, under the names that netavark goes by: else it would
/// take away others.
///
/// # Errors
/// What the kernel says.
pub(super) fn are_named(ns: &Path, order: &Order) -> Result<bool> {
    let view = View::of(ns)?;
    Ok(order.places.iter().all(|(network, place)| {
        let found = view.find(network, place);
        found.is_some_and(|(inside, _)| inside.name == place.interface)
    }))
}

/// Takes the interfaces of an order from a namespace.
///
/// # Errors
/// What the kernel says.
pub(super) fn delete(ns: &Path, order: &Order) -> Result<()> {
    let view = View::of(ns)?;
    for (network, place) in &order.places {
        let Some((inside, host)) = view.find(network, place) else {
            continue;
        };
        let deleted = match network.driver {
            NetworkDriver::Bridge => links::delete(&host.name),
            _ => netns::inside(ns, || links::delete(&inside.name)),
        };
        deleted.context(format_args!(
            "cannot delete the interface {}",
            place.interface
        ))?;
    }
    Ok(())
}

/// What a bridge does for a container that is new on it.
///
/// One with ports reaches itself by them, as others reach it: what goes to the host comes back by the same way,
/// which a bridge does only when it is told to. And where a network's containers are to be apart, the bridge
/// keeps them so (moby drops what goes from a bridge to itself, by rules that need the module br_netfilter).
///
/// # Errors
/// What the kernel says; System where the interface is not found and the container would not be kept apart.
pub(super) fn attend(ns: &Path, order: &Order) -> Result<()> {
    let bridged = order.places.iter();
    let bridged = bridged.filter(|(network, _)| network.driver == NetworkDriver::Bridge);
    let own_ports = !order.ports.is_empty();
    let told: Vec<_> = bridged
        .filter(|(network, _)| own_ports || are_apart(network))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let view = View::of(ns)?;
    for (network, place) in told {
        let Some((_, host)) = view.find(network, place) else {
            if are_apart(network) {
                return Err(Error::system(format!(
                    "cannot keep the containers of network {} apart: a container's interface is not found",
                    network.name
                )));
            }
            continue;
        };
        if own_ports {
            links::hairpin(host.index).context("cannot let a container reach its own ports")?;
        }
        if are_apart(network) {
            links::isolate(host.index).context("cannot keep a network's containers apart")?;
        }
    }
    Ok(())
}

/// No container of this network is to reach another there.
pub(super) fn are_apart(network: &NetworkRecord) -> bool {
    network.options.get(TALK).is_some_and(|v| is_false(v))
}
