//! The ranges of a new network: what a client may ask for, and what it gets.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{Error, NetworkDriver, NetworkRecord, Result, Subnet};

use crate::Networks;
use crate::catalog::{NewNetwork, NewSubnet};

impl Networks {
    /// The ranges of a network to be made. Called by who holds `choosing`: nobody else is given the same.
    ///
    /// # Errors
    /// moby's words for what cannot be, or is another network's.
    pub(crate) fn choose_subnets(
        &self,
        new: &NewNetwork,
        driver: NetworkDriver,
    ) -> Result<Vec<Subnet>> {
        check(new)?;
        let mut taken = self.taken();
        let mut chosen: Vec<Subnet> = Vec::new();
        for v6 in [false, true] {
            let enabled = if v6 { new.enable_ipv6 } else { new.enable_ipv4 };
            if !enabled {
                continue;
            }
            let of_family = |s: &&NewSubnet| s.subnet.is_some_and(|net| is_v6(net) == v6);
            let mut given: Vec<NewSubnet> = new.subnets.iter().filter(of_family).cloned().collect();
            if given.is_empty() {
                given.push(NewSubnet::default());
            }
            for subnet in given {
                let subnet = self.choose(subnet, v6, &taken)?;
                taken.push(subnet.subnet);
                chosen.push(subnet);
            }
            let of_family = chosen.iter().filter(|s| is_v6(s.subnet) == v6);
            if driver == NetworkDriver::Bridge && of_family.count() > 1 {
                // A bridge has one address of a family (moby `processIPAM`).
                return Err(Error::forbidden(
                    "bridge driver doesn't support multiple subnets",
                ));
            }
        }
        Ok(chosen)
    }

    /// The default network's: what the operator says, or a pool's.
    ///
    /// # Errors
    /// Every pool overlaps with what the host has.
    pub(crate) fn default_subnet(&self) -> Result<Subnet> {
        let given = self.inner.tools.settings.bridge_address;
        let wish = NewSubnet {
            subnet: given.map(|net| net.trunc()),
            gateway: given.map(|net| net.addr()),
            ..NewSubnet::default()
        };
        self.choose(wish, false, &self.taken())
    }

    /// The default network's record is made anew, and its bridge is there: it keeps its range, which
    /// containers have addresses of.
    pub(crate) fn keep_range(&self, record: &mut NetworkRecord) {
        let is_given = self.inner.tools.settings.bridge_address.is_some();
        let found = network::host_routes::of_interface(&record.interface);
        let Some(subnet) = found.filter(|_| !is_given) else {
            return;
        };
        let wish = NewSubnet {
            subnet: Some(subnet),
            ..NewSubnet::default()
        };
        match self.choose(wish, false, &self.taken()) {
            Ok(kept) => record.subnets = vec![kept],
            Err(e) => tracing::warn!(error = %e, "the default network has another range now"),
        }
    }

    /// The ranges of all networks.
    fn taken(&self) -> Vec<IpNet> {
        let records = self.read();
        let subnets = records.by_id.values().flat_map(|r| &r.subnets);
        subnets.map(|s| s.subnet).collect()
    }

    fn choose(&self, wish: NewSubnet, v6: bool, taken: &[IpNet]) -> Result<Subnet> {
        let subnet = match wish.subnet {
            Some(given) => {
                if taken
                    .iter()
                    .any(|other| network::addresses::overlap(&given, other))
                {
                    return Err(Error::forbidden(
                        "invalid pool request: Pool overlaps with other one on this address space",
                    ));
                }
                given
            }
            None => {
                // What a client names may be the host's own; what is made up may not.
                let mut avoid = taken.to_vec();
                avoid.extend(network::host_routes::read());
                let pools = &self.inner.tools.settings.pools;
                let free = network::addresses::free_subnet(pools, &avoid, v6);
                free.ok_or_else(|| {
                    Error::invalid("all predefined address pools have been fully subnetted")
                })?
            }
        };
        let mut chosen = Subnet {
            subnet,
            gateway: None,
            range: wish.range,
            reserved: wish.reserved,
        };
        let reserved: Vec<IpAddr> = chosen.reserved.values().copied().collect();
        let first = || network::addresses::next_free(&chosen, &|a| reserved.contains(&a), None);
        chosen.gateway = wish.gateway.or_else(first);
        if let Some((name, address)) = twice(&chosen) {
            return Err(Error::system(format!(
                "failed to allocate secondary ip address ({name}:{address}): Address already in use"
            )));
        }
        if chosen.gateway.is_none() {
            return Err(Error::invalid(format!(
                "no available addresses on this pool: {subnet} has none left for a gateway"
            )));
        }
        Ok(chosen)
    }
}

/// A reserved address that is the gateway's, or another's.
fn twice(subnet: &Subnet) -> Option<(&String, &IpAddr)> {
    let mut seen: Vec<IpAddr> = subnet.gateway.into_iter().collect();
    subnet.reserved.iter().find(|(_, address)| {
        let known = seen.contains(address);
        seen.push(**address);
        known
    })
}

/// Whether what a client asks for can be (moby `validateIpamConfig`).
fn check(new: &NewNetwork) -> Result<()> {
    if !new.enable_ipv4 && !new.enable_ipv6 {
        return Err(Error::invalid("IPv4 or IPv6 must be enabled"));
    }
    let mut wrong = Vec::new();
    for wish in &new.subnets {
        let Some(subnet) = wish.subnet else {
            if wish.gateway.is_some() || wish.range.is_some() || !wish.reserved.is_empty() {
                wrong.push("every ip-range or gateway must have a corresponding subnet".to_owned());
            }
            continue;
        };
        if is_v6(subnet) && !new.enable_ipv6 {
            continue;
        }
        if subnet != subnet.trunc() {
            wrong.push(format!(
                "invalid subnet {subnet}: it should be {}",
                subnet.trunc()
            ));
        }
        if let Some(range) = wish.range {
            check_range(range, subnet, &mut wrong);
        }
        if let Some(why) = wish.gateway.and_then(|g| not_in(g, subnet)) {
            let gateway = wish.gateway.map(|g| g.to_string()).unwrap_or_default();
            wrong.push(format!("invalid gateway {gateway}: {why}"));
        }
        for (name, address) in &wish.reserved {
            if let Some(why) = not_in(*address, subnet) {
                wrong.push(format!("invalid auxiliary address {name}: {why}"));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "invalid network config:\n{}",
            wrong.join("\n")
        ))),
    }
}

fn check_range(range: IpNet, subnet: IpNet, wrong: &mut Vec<String>) {
    let subnet_family = if is_v6(subnet) { 6 } else { 4 };
    if is_v6(range) != is_v6(subnet) {
        wrong.push(format!(
            "invalid ip-range {range}: parent subnet is an IPv{subnet_family} block"
        ));
        return;
    }
    if range.prefix_len() < subnet.prefix_len() {
        wrong.push(format!(
            "invalid ip-range {range}: CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if range != range.trunc() {
        wrong.push(format!(
            "invalid ip-range {range}: it should be {}",
            range.trunc()
        ));
    }
    if !network::addresses::overlap(&range, &subnet) {
        wrong.push(format!(
            "invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"
        ));
    }
}

/// Why an address cannot be of a range.
fn not_in(address: IpAddr, subnet: IpNet) -> Option<String> {
    if address.is_ipv6() != is_v6(subnet) {
        let family = if is_v6(subnet) { 6 } else { 4 };
        return Some(format!("parent subnet is an IPv{family} block"));
    }
    let outside = !subnet.contains(&address);
    outside.then(|| format!("parent subnet {subnet} doesn't contain this address"))
}

fn is_v6(net: IpNet) -> bool {
    matches!(net, IpNet::V6(_))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn asked(subnets: Vec<NewSubnet>) -> NewNetwork {
        NewNetwork {
            enable_ipv4: true,
            subnets,
            ..NewNetwork::default()
        }
    }

    #[test]
    fn what_cannot_be_is_told_in_mobys_words() {
        let subnet = NewSubnet {
            subnet: Some("10.1.2.3/24".parse().unwrap()),
            range: Some("10.0.0.0/8".parse().unwrap()),
            gateway: Some("10.2.0.1".parse().unwrap()),
            reserved: BTreeMap::from([("router".to_owned(), "fd00::1".parse().unwrap())]),
        };
        let e = check(&asked(vec![subnet])).unwrap_err();
        assert_eq!(
            e.message(),
            "invalid network config:\n\
             invalid subnet 10.1.2.3/24: it should be 10.1.2.0/24\n\
             invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.1.2.3/24\n\
             invalid gateway 10.2.0.1: parent subnet 10.1.2.3/24 doesn't contain this address\n\
             invalid auxiliary address router: parent subnet is an IPv4 block"
        );
        let alone = NewSubnet {
            gateway: Some("10.2.0.1".parse().unwrap()),
            ..NewSubnet::default()
        };
        assert!(check(&asked(vec![alone])).is_err());
        assert!(check(&asked(vec![NewSubnet::default()])).is_ok());
    }
}
