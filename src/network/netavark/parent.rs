//! The host's interfaces that a macvlan or ipvlan sits on.

use model::{Context, Error, NetworkDriver, NetworkRecord, Result};
use sys::links;

/// The interface that a macvlan or ipvlan sits on; where it names none, the one that is made for it and
/// leads nowhere, named as Docker names it.
pub(super) fn of(network: &NetworkRecord) -> Option<String> {
    let prefix = match network.driver {
        NetworkDriver::Macvlan => "dm-",
        NetworkDriver::Ipvlan => "di-",
        _ => return None,
    };
    Some(match network.interface.as_str() {
        "" => format!("{prefix}{}", network.id.short()),
        parent => parent.to_owned(),
    })
}

/// Whether the parent that a new network names is there.
///
/// # Errors
/// System in the words of moby `macvlan` createVlanLink and parseVlan; NotImplemented for the VLAN that it would make.
pub fn check(network: &NetworkRecord) -> Result<()> {
    let Some(name) = of(network).filter(|_| !network.interface.is_empty()) else {
        return Ok(());
    };
    let links = links::list().context("cannot list interfaces")?;
    let is_there = |name: &str| links.iter().any(|link| link.name == name);
    if is_there(&name) {
        return Ok(());
    }
    let Some((parent, id)) = name.split_once('.') else {
        return Err(Error::system(format!(
            "invalid subinterface vlan name {name}, example formatting is eth0.10"
        )));
    };
    if id.contains('.') {
        return Err(Error::system(format!(
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {name}"
        )));
    }
    let Ok(number) = id.parse::<i64>() else {
        return Err(Error::system(format!(
            "unable to parse a valid vlan id from: {id} (ex. eth0.10 for vlan 10)"
        )));
    };
    if !is_there(parent) {
        return Err(Error::system(format!(
            "-o parent interface was not found on the host: {parent}"
        )));
    }
    if !(1..=4094).contains(&number) {
        return Err(Error::system(format!(
            "vlan id must be between 1-4094, received: {number}"
        )));
    }
    Err(Error::not_implemented(format!(
        "interface {name} does not exist, and is not made: run \
         \"ip link add link {parent} name {name} type vlan id {number}\" and set it up first"
    )))
}

/// Makes the parent of a network that names none, as Docker does: an interface that leads nowhere.
///
/// # Errors
/// NotImplemented of a kernel that has none; System.
pub(super) fn make(network: &NetworkRecord) -> Result<()> {
    let Some(name) = of(network).filter(|_| network.interface.is_empty()) else {
        return Ok(());
    };
    match links::make_dummy(&name) {
        Err(e) if e.kind() == std::io::ErrorKind::Unsupported => Err(Error::not_implemented(
            "a network without a parent needs dummy interfaces, which this kernel does not have",
        )),
        made => made
            .map(drop)
            .context(format_args!("cannot make the interface {name}")),
    }
}

/// Takes away the parent that was made for a network that names none; to be called when the network
/// is removed. Others, and what is not there, are left alone.
///
/// # Errors
/// What the kernel says.
pub fn remove(network: &NetworkRecord) -> Result<()> {
    match of(network) {
        Some(name) if network.interface.is_empty() => links::delete(&name)
            .map(drop)
            .context(format_args!("cannot delete the interface {name}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{ip, network, on_a_host};

    #[test]
    fn a_parent_that_is_not_there_is_refused_in_mobys_words() {
        on_a_host(async |_| {
            ip("link add up0 type bridge");
            let mut net = network(1, &[("10.91.0.0/24", "10.91.0.1")]);
            for driver in [NetworkDriver::Macvlan, NetworkDriver::Ipvlan] {
                net.driver = driver;
                for (parent, said) in [
                    ("up9", "invalid subinterface vlan name up9, example"),
                    (
                        "up9.10",
                        "-o parent interface was not found on the host: up9",
                    ),
                    ("up0.5000", "vlan id must be between 1-4094, received: 5000"),
                    ("up0.x", "unable to parse"),
                    ("up0.1.2", "required interface name format is"),
                    ("up0.10", "interface up0.10 does not exist"),
                ] {
                    net.interface = parent.to_owned();
                    let e = check(&net).unwrap_err();
                    assert!(e.message().starts_with(said), "{e}");
                }
                for parent in ["up0", ""] {
                    net.interface = parent.to_owned();
                    check(&net).unwrap();
                }
            }
        });
    }
}
