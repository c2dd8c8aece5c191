//! The ranges of a new network: what a client may ask for, and what it gets.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{Error, NetworkDriver, Result, Subnet};
use network::addresses::Pool;

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
        let mut taken = self.taken(None);
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

    /// The default network's: what the operator says; else that of its bridge, if that is there, as where the record
    /// alone was lost; else a pool's. `has_users` where containers are on it: they have addresses of its range.
    ///
    /// # Errors
    /// Every pool overlaps with what the host has.
    pub(crate) fn default_subnet(&self, interface: &str, has_users: bool) -> Result<Subnet> {
        let settings = &self.inner.tools.settings;
        // It may take the place of itself.
        let taken = self.taken(Some("bridge"));
        if let Some(given) = settings.bridge_address {
            let wish = NewSubnet {
                subnet: Some(given.trunc()),
                gateway: Some(given.addr()),
                ..NewSubnet::default()
            };
            return self.choose(wish, false, &taken);
        }
        let found = network::host_routes::of_interface(interface);
        if let Some(subnet) = found.filter(|net| has_users || is_part(net, &settings.pools)) {
            let wish = NewSubnet {
                subnet: Some(subnet),
                ..NewSubnet::default()
            };
            match self.choose(wish, false, &taken) {
                Ok(kept) => return Ok(kept),
                Err(e) => {
                    tracing::warn!(error = %e, "the default network has another range now");
                }
            }
        }
        self.choose(NewSubnet::default(), false, &taken)
    }

    /// Whether the default network may have that range, as the operator says.
    pub(crate) fn may_be_default(&self, subnet: &Subnet) -> bool {
        let settings = &self.inner.tools.settings;
        match settings.bridge_address {
            Some(given) => subnet.subnet == given.trunc() && subnet.gateway == Some(given.addr()),
            None => is_part(&subnet.subnet, &settings.pools),
        }
    }

    /// The ranges of all networks, but for those of the one called `but`.
    fn taken(&self, but: Option<&str>) -> Vec<IpNet> {
        let records = self.read();
        let others = records.by_id.values();
        let others = others.filter(|r| Some(r.name.as_str()) != but);
        others.flat_map(|r| &r.subnets).map(|s| s.subnet).collect()
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

/// Whether a network could have that range from one of the pools.
fn is_part(net: &IpNet, pools: &[Pool]) -> bool {
    let of = |pool: &Pool| pool.size == net.prefix_len() && pool.base.contains(net);
    pools.iter().any(of)
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
