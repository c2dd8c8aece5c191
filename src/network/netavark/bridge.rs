//! The bridges of networks: whose they are, and what they keep.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use model::{Context, Error, MacAddress, NetworkDriver, NetworkRecord, Result};
use sys::links;

use super::standing::Bridge;
use super::{LOOK_AGAIN, Order};

/// In the place of an id: the bridge is being taken away.
const GOING: &str = "going";

/// Sees to it that the bridges of an order are its networks' own.
///
/// # Errors
/// Conflict, naming the interface that somebody else made; System.
pub(super) fn claim(dir: &Path, order: &Order) -> Result<()> {
    for (network, _) in &order.places {
        if !is_own(dir, network)? {
            return Err(Error::conflict(format!(
                "cannot set up network {}: interface {} exists and is not a bridge of this network: \
                 remove it, or give the network's bridge another name",
                network.name, network.interface
            )));
        }
    }
    Ok(())
}

/// Whether a network's bridge is its own, or will be. One that the host had before is not: netavark would take
/// it for its own, and delete it with the last container.
///
/// A name that is not made of the network's id says nothing: so the id is noted before there is such a bridge. One
/// that stays outlives the notes, and is known by its anchor.
///
/// # Errors
/// System.
pub(super) fn is_own(dir: &Path, network: &NetworkRecord) -> Result<bool> {
    let Some(path) = note(dir, network) else {
        return Ok(true);
    };
    let is_noted = noted(dir, network)?.as_deref() == Some(network.id.as_str());
    let found = Bridge::of(network).context("cannot list interfaces")?;
    if is_noted {
        // Another daemon may have taken it over.
        return Ok(found.is_none_or(|bridge| bridge.is_anchored || bridge.strays.is_empty()));
    }
    let is_own = found.is_none_or(|bridge| bridge.is_anchored);
    if is_own {
        write_note(&path, network.id.as_str())?;
    }
    Ok(is_own)
}

/// Whether nobody is on a bridge that a network had which is there no more: where the data root was wiped, the next
/// default network has another id. One that this network once had itself is another daemon's by now.
///
/// # Errors
/// System.
pub(super) fn is_left_over(dir: &Path, network: &NetworkRecord, found: &Bridge) -> Result<bool> {
    let noted = noted(dir, network)?;
    let is_noted = |text| noted.as_deref() == Some(text);
    let was_kept = !found.strays.is_empty() && !is_noted(network.id.as_str());
    Ok(found.others == 0 && (was_kept || is_noted(GOING)))
}

/// Notes that a bridge is being taken away: without its anchor nothing else tells that it is not the host's.
///
/// # Errors
/// System.
pub(super) fn note_going(dir: &Path, network: &NetworkRecord) -> Result<()> {
    note(dir, network).map_or(Ok(()), |path| write_note(&path, GOING))
}

/// What was noted of a network's bridge: the id of the network that it is of, or was of.
///
/// # Errors
/// System.
pub(super) fn noted(dir: &Path, network: &NetworkRecord) -> Result<Option<String>> {
    let Some(path) = note(dir, network) else {
        return Ok(None);
    };
    match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read
            .map(Some)
            .context(format_args!("cannot read {}", path.display())),
    }
}

fn write_note(path: &Path, text: &str) -> Result<()> {
    let write = || {
        std::fs::create_dir_all(path.parent().expect("it is in a directory"))?;
        std::fs::write(path, text)
    };
    write().context(format_args!("cannot write {}", path.display()))
}

/// Forgets whose a bridge was that is there no more.
pub(super) fn forget(dir: &Path, network: &NetworkRecord) {
    if let Some(note) = note(dir, network)
        && let Err(e) = std::fs::remove_file(&note)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(error = %e, path = %note.display(), "cannot forget a bridge");
    }
}

fn note(dir: &Path, network: &NetworkRecord) -> Option<PathBuf> {
    let is_named = network.interface != format!("br-{}", network.id.short());
    (network.driver == NetworkDriver::Bridge && is_named)
        .then(|| dir.join("bridges").join(&network.interface))
}

/// What a bridge keeps as long as it is there.
///
/// One hardware address: netavark before 1.6 leaves it to the kernel, which gives it another when a container
/// comes or goes: the others would not reach the host, and names with it, until they ask for the address again.
///
/// And its routes: else a container could give the host a default route by a router advertisement, which
/// netavark only refuses where the network has IPv6.
///
/// # Errors
/// What the kernel says.
pub(super) fn keep(order: &Order) -> Result<()> {
    let bridged = order.places.iter().map(|(network, _)| network);
    for network in bridged.filter(|network| network.driver == NetworkDriver::Bridge) {
        let bridge = &network.interface;
        links::set_mac(bridge, mac(network))
            .context(format_args!("cannot give {bridge} a hardware address"))?;
        let path = format!("/proc/sys/net/ipv6/conf/{bridge}/accept_ra");
        match std::fs::write(&path, "0") {
            // A kernel without IPv6.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            written => written.context(format_args!("cannot write {path}"))?,
        }
    }
    Ok(())
}

/// Of the gateway's address, as a container's is of its own; without one, of the network's id.
fn mac(network: &NetworkRecord) -> MacAddress {
    let mut gateways = network.subnets.iter().filter_map(|subnet| subnet.gateway);
    let v4 = gateways.find_map(|gateway| match gateway {
        IpAddr::V4(gateway) => Some(MacAddress::of(gateway)),
        IpAddr::V6(_) => None,
    });
    v4.unwrap_or_else(|| {
        let digits = &network.id.as_str()[..12];
        let number = u64::from_str_radix(digits, 16).expect("an id is hexadecimal");
        let [_, _, bytes @ ..] = number.to_be_bytes();
        MacAddress::from_random(bytes)
    })
}

/// There is no bridge of a network that has one as long as somebody is on it.
pub(super) fn has_none(network: &NetworkRecord) -> bool {
    network.driver == NetworkDriver::Bridge
        && links::members(&network.interface).is_ok_and(|members| members.is_none())
}

/// Waits for the last member of a bridge to go; whether the bridge is left alone.
pub(super) async fn waits_for_members(bridge: &str, deadline: Instant) -> Result<bool> {
    loop {
        match links::members(bridge).context("cannot list interfaces")? {
            None => return Ok(false),
            Some(0) => return Ok(true),
            // Others live on it.
            Some(_) if Instant::now() > deadline => return Ok(false),
            Some(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::network;

    #[test]
    fn a_bridges_hardware_address_is_of_its_gateway_or_its_id() {
        let mut net = network(
            1,
            &[("fd91::/64", "fd91::1"), ("10.91.0.0/24", "10.91.0.1")],
        );
        assert_eq!(mac(&net).to_string(), "02:42:0a:5b:00:01");
        net.subnets.truncate(1);
        net.id = "0c1122334455".repeat(6)[..64].parse().unwrap();
        assert_eq!(
            mac(&net),
            MacAddress::from_random([0x0c, 0x11, 0x22, 0x33, 0x44, 0x55])
        );
    }
}
