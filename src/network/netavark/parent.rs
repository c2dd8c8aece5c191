//! The host's interfaces that a macvlan or ipvlan sits on.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Context, Error, NetworkDriver, NetworkRecord, Result};
use sys::links::{self, Link};

use super::Netavark;

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

/// A VLAN by the name of its interface, PARENT.ID.
#[derive(Debug, PartialEq, Eq)]
struct Vlan<'a> {
    parent: &'a str,
    id: u16,
}

/// # Errors
/// System in the words of moby `macvlan` createVlanLink and parseVlan.
fn vlan<'a>(name: &'a str, links: &[Link]) -> Result<Vlan<'a>> {
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
    if !links.iter().any(|link| link.name == parent) {
        return Err(Error::system(format!(
            "-o parent interface was not found on the host: {parent}"
        )));
    }
    match u16::try_from(number) {
        Ok(id @ 1..=4094) => Ok(Vlan { parent, id }),
        _ => Err(Error::system(format!(
            "vlan id must be between 1-4094, received: {number}"
        ))),
    }
}

/// The interface for a VLAN that is this daemon's own is noted before it is there, and with its number then. A reboot
/// takes both.
fn note(dir: &Path, name: &str) -> PathBuf {
    dir.join("vlans").join(name)
}

impl Netavark {
    /// Sees to it that the parent that a new network names is there: where the name is one of a VLAN's interface,
    /// that is made, as Docker does.
    ///
    /// # Errors
    /// System in moby's words: it is no such name, or cannot be made. NotImplemented of a kernel without VLANs.
    pub async fn make_parent(&self, network: &NetworkRecord) -> Result<()> {
        let Some(name) = named(network) else {
            return Ok(());
        };
        let _alone = self.alone().await?;
        make_vlan(&self.dir, network.driver, name)
    }

    /// Takes away the parent that was made for a network; to be called when the network is removed, if no other
    /// is on it. Others, and what is not there, are left alone.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn remove_parent(&self, network: &NetworkRecord) -> Result<()> {
        let Some(name) = of(network) else {
            return Ok(());
        };
        if network.interface.is_empty() {
            return delete(&name);
        }
        if !note(&self.dir, &name).exists() {
            return Ok(());
        }
        let _alone = self.alone().await?;
        remove_vlan(&self.dir, &name)
    }

    /// Takes away the parents that were made for networks that are none of these: of a daemon that was killed
    /// before it could write a network down, or after.
    ///
    /// # Errors
    /// What the kernel says; System.
    pub async fn sweep_parents(&self, networks: &[Arc<NetworkRecord>]) -> Result<()> {
        let dir = self.dir.join("vlans");
        let shown = dir.display();
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.context(format_args!("cannot read {shown}"))?,
        };
        let _alone = self.alone().await?;
        for entry in entries {
            let name = entry.context(format_args!("cannot read {shown}"))?;
            let name = name.file_name().to_string_lossy().into_owned();
            if !networks.iter().any(|network| is_on(network, &name)) {
                remove_vlan(&self.dir, &name)?;
            }
        }
        Ok(())
    }
}

/// The parent that the network names, if it is of a kind that has one.
fn named(network: &NetworkRecord) -> Option<&str> {
    let has_one = matches!(
        network.driver,
        NetworkDriver::Macvlan | NetworkDriver::Ipvlan
    );
    Some(network.interface.as_str()).filter(|name| has_one && !name.is_empty())
}

/// Whether the network names that parent.
pub fn is_on(network: &NetworkRecord, parent: &str) -> bool {
    named(network) == Some(parent)
}

/// Makes the parent of a network that is about to be used where it is not there: of one that names none, as
/// Docker does, an interface that leads nowhere; and a VLAN's, which a reboot has taken.
///
/// # Errors
/// NotImplemented of a kernel that has none; System.
pub(super) fn make(dir: &Path, network: &NetworkRecord) -> Result<()> {
    match (of(network), named(network)) {
        (_, Some(name)) if name.contains('.') => make_vlan(dir, network.driver, name),
        (Some(name), None) => match links::make_dummy(&name) {
            Err(e) if e.kind() == ErrorKind::Unsupported => Err(Error::not_implemented(
                "a network without a parent needs dummy interfaces, which this kernel does not have",
            )),
            made => made
                .map(drop)
                .context(format_args!("cannot make the interface {name}")),
        },
        // Another's: netavark tells of it.
        _ => Ok(()),
    }
}

/// Makes the interface for a VLAN, unless there is one of that name.
fn make_vlan(dir: &Path, driver: NetworkDriver, name: &str) -> Result<()> {
    let links = links::list().context("cannot list interfaces")?;
    if links.iter().any(|link| link.name == name) {
        return Ok(());
    }
    let Vlan { parent, id } = vlan(name, &links)?;
    let parent = links.iter().find(|link| link.name == parent);
    let parent = parent.expect("a VLAN's parent is among the interfaces");
    let note = note(dir, name);
    let write = |text: &str| {
        std::fs::create_dir_all(note.parent().expect("it is in a directory"))?;
        std::fs::write(&note, text)
    };
    write("").context(format_args!("cannot note the interface {name}"))?;
    let made = links::make_vlan(name, parent, id);
    if matches!(made, Ok(true)) {
        let links = links::list().unwrap_or_default();
        if let Some(link) = links.iter().find(|link| link.name == name) {
            // Without its number it is as good as ours.
            drop(write(&link.index.to_string()));
        }
        return Ok(());
    }
    forget(&note)?;
    let Err(e) = made else {
        return Err(Error::system(format!(
            "failed to create {name} vlan link: file exists"
        )));
    };
    Err(match e.kind() {
        ErrorKind::Unsupported => Error::not_implemented(format!(
            "failed to create {name} vlan link: this kernel does not have the module 8021q"
        )),
        ErrorKind::NetworkDown => Error::system(format!(
            "failed to enable {name} the {} parent link: {e}",
            driver.as_str()
        )),
        _ => Error::system(format!("failed to create {name} vlan link: {e}")),
    })
}

/// Takes the interface for a VLAN away, if this daemon has made it.
fn remove_vlan(dir: &Path, name: &str) -> Result<()> {
    let note = note(dir, name);
    let noted = match std::fs::read_to_string(&note) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        noted => noted.context(format_args!("cannot read {}", note.display()))?,
    };
    let links = links::list().context("cannot list interfaces")?;
    // The operator may have put another in its place; and one that is on no other is no VLAN's (moby `delVlanLink`).
    let is_it = |link: &Link| noted.is_empty() || noted == link.index.to_string();
    let mut links = links.iter().filter(|link| link.name == name && is_it(link));
    if links.any(|link| link.peer.is_some()) {
        delete(name)?;
    }
    forget(&note)
}

fn delete(name: &str) -> Result<()> {
    let deleted = links::delete(name).map(drop);
    deleted.context(format_args!("cannot delete the interface {name}"))
}

fn forget(note: &Path) -> Result<()> {
    match std::fs::remove_file(note) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
    .context(format_args!("cannot remove {}", note.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{ip, network, on_a_host};

    fn has(name: &str) -> bool {
        links::list().unwrap().iter().any(|link| link.name == name)
    }

    #[test]
    fn a_parent_that_is_not_there_is_refused_in_mobys_words() {
        on_a_host(async |host| {
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
                    ("up0.0", "vlan id must be between 1-4094, received: 0"),
                    ("up0.-1", "vlan id must be between 1-4094, received: -1"),
                    ("up0.x", "unable to parse"),
                    ("up0.1.2", "required interface name format is"),
                ] {
                    net.interface = parent.to_owned();
                    let e = host.netavark.make_parent(&net).await.unwrap_err();
                    assert!(e.message().starts_with(said), "{e}");
                    assert!(!note(&host.dir.path().join("netavark"), parent).exists());
                }
                for parent in ["up0", ""] {
                    net.interface = parent.to_owned();
                    host.netavark.make_parent(&net).await.unwrap();
                }
            }
        });
    }

    #[test]
    fn a_vlan_is_made_on_its_parent_or_refused_with_the_modules_name() {
        on_a_host(async |host| {
            ip("link add up0 type bridge");
            let dir = host.dir.path().join("netavark");
            let mut net = network(1, &[("10.91.0.0/24", "10.91.0.1")]);
            net.driver = NetworkDriver::Ipvlan;
            net.interface = "up0.10".to_owned();
            let Err(e) = host.netavark.make_parent(&net).await else {
                panic!("a VLAN's interface is up, and its parent is not");
            };
            assert!(!has("up0.10") && !note(&dir, "up0.10").exists());
            if e.kind() == model::Kind::NotImplemented {
                let said =
                    "failed to create up0.10 vlan link: this kernel does not have the module 8021q";
                assert_eq!(e.message(), said);
                return;
            }
            let said = "failed to enable up0.10 the ipvlan parent link: ";
            assert!(e.message().starts_with(said), "{e}");
            ip("link set up0 up");
            host.netavark.make_parent(&net).await.unwrap();
            assert!(has("up0.10"));
            // As after a reboot.
            ip("link delete up0.10");
            make(&dir, &net).unwrap();
            assert!(has("up0.10"));
            ip("link set up0.10 name other");
            let e = host.netavark.make_parent(&net).await.unwrap_err();
            let said = "failed to create up0.10 vlan link: ";
            assert!(e.message().starts_with(said), "{e}");
            ip("link delete other");
            make(&dir, &net).unwrap();
            let noted = std::fs::read_to_string(note(&dir, "up0.10")).unwrap();
            let is_it = |link: &Link| link.name == "up0.10" && link.index.to_string() == noted;
            assert!(links::list().unwrap().iter().any(is_it));
            host.netavark.remove_parent(&net).await.unwrap();
            assert!(!has("up0.10") && !note(&dir, "up0.10").exists());
        });
    }

    #[test]
    fn only_an_interface_that_was_made_for_a_network_goes_with_it() {
        on_a_host(async |host| {
            let dir = host.dir.path().join("netavark");
            let mut net = network(1, &[("10.91.0.0/24", "10.91.0.1")]);
            net.driver = NetworkDriver::Macvlan;
            net.interface = "up0.10".to_owned();
            // Each of a pair is on the other, as a VLAN's is on its parent.
            ip("link add up0.10 type veth peer name up0.11");
            host.netavark.make_parent(&net).await.unwrap();
            host.netavark.remove_parent(&net).await.unwrap();
            host.netavark.sweep_parents(&[]).await.unwrap();
            assert!(has("up0.10"), "it is the operator's");
            std::fs::create_dir_all(dir.join("vlans")).unwrap();
            std::fs::write(note(&dir, "up0.10"), "").unwrap();
            let other = Arc::new(net.clone());
            host.netavark.sweep_parents(&[other]).await.unwrap();
            assert!(has("up0.10"), "a network is on it");
            host.netavark.sweep_parents(&[]).await.unwrap();
            assert!(!has("up0.10") && !note(&dir, "up0.10").exists());
            // A note of one that is gone, and another in its place.
            ip("link add up0.10 type veth peer name up0.11");
            std::fs::write(note(&dir, "up0.10"), "1").unwrap();
            host.netavark.remove_parent(&net).await.unwrap();
            assert!(has("up0.10") && !note(&dir, "up0.10").exists());
            ip("link delete up0.10");
            // One that is no VLAN's.
            ip("link add up0.10 type bridge");
            std::fs::write(note(&dir, "up0.10"), "").unwrap();
            host.netavark.remove_parent(&net).await.unwrap();
            assert!(has("up0.10") && !note(&dir, "up0.10").exists());
        });
    }
}
