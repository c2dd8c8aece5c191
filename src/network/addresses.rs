//! Which addresses are free: subnets for networks, and addresses in them for containers.
//!
//! Pure, and fast for the largest subnets: nothing is ever listed that is not looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::Subnet;

/// Where subnets are taken from for networks that ask for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// All of it.
    pub base: IpNet,
    /// The length of the prefix of each network's part.
    pub size: u8,
}

/// Docker's pools (moby `daemon/libnetwork/ipamutils`), and for IPv6 a /48 of the daemon's own out of
/// `fd00::/8`, from `id`, the first 40 bits of what tells this daemon from others (RFC 4193, section 3.2.2).
pub fn default_pools(id: [u8; 5]) -> Vec<Pool> {
    let v4 = |first: [u8; 4], base, size| Pool {
        base: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(first), base)),
        size,
    };
    let mut pools: Vec<_> = (17..=31).map(|b| v4([172, b, 0, 0], 16, 16)).collect();
    pools.push(v4([192, 168, 0, 0], 16, 20));
    let mut first = [0; 16];
    first[0] = 0xfd;
    first[1..6].copy_from_slice(&id);
    pools.push(Pool {
        base: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(first), 48)),
        size: 64,
    });
    pools
}

/// The first part of a pool that shares no address with what is taken; `None` when there is none left.
/// Pools of another family than the wanted, and those with parts larger than themselves, are skipped.
pub fn free_subnet(pools: &[Pool], taken: &[IpNet], ipv6: bool) -> Option<IpNet> {
    let of_family = |net: &&IpNet| matches!(net, IpNet::V6(_)) == ipv6;
    let mut taken: Vec<Range> = taken.iter().filter(of_family).map(range).collect();
    taken.sort_unstable();
    let width: u8 = if ipv6 { 128 } else { 32 };
    let fit = |pool: &&Pool| pool.size >= pool.base.prefix_len() && pool.size <= width;
    let pools = pools.iter().filter(|p| of_family(&&p.base)).filter(fit);
    pools.filter_map(|pool| free_part(pool, &taken)).next()
}

/// As [`free_subnet`] in one pool; `taken` begins with the lowest.
fn free_part(pool: &Pool, taken: &[Range]) -> Option<IpNet> {
    let (first, last) = range(&pool.base);
    let width: u32 = if pool.base.addr().is_ipv6() { 128 } else { 32 };
    // The largest number that is in a part where the first is zero. All of IPv6 is one part of it.
    let span = u128::MAX.checked_shr(128 - (width - u32::from(pool.size)));
    let span = span.unwrap_or(0);
    let mut start = first;
    for &(low, high) in taken {
        if low > start.saturating_add(span) {
            break;
        }
        if high >= start {
            // The next part that begins behind it.
            start = (high | span).checked_add(1)?;
        }
    }
    let end = start.checked_add(span)?;
    (end <= last).then(|| net(start, pool.size, pool.base.addr().is_ipv6()))
}

/// Whether two subnets share an address.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// The address that a container gets: `before`, which it had last, if that is free, else the lowest free
/// one, as Docker gives them; `None` when all are taken. Never the network's own, the broadcast address, the
/// gateway and those that are reserved.
///
/// `taken` is asked about one address after the other until it says no.
pub fn next_free(
    subnet: &Subnet,
    taken: &dyn Fn(IpAddr) -> bool,
    before: Option<IpAddr>,
) -> Option<IpAddr> {
    let (low, high) = usable(subnet)?;
    let ipv6 = subnet.subnet.addr().is_ipv6();
    let before = before.filter(|a| a.is_ipv6() == ipv6).map(number);
    let before = before.filter(|n| (low..=high).contains(n));
    let free = |n: &u128| {
        let address = address(*n, ipv6);
        !is_kept(subnet, address) && !taken(address)
    };
    let mut all = before.into_iter().chain(low..=high);
    all.find(free).map(|n| address(n, ipv6))
}

/// Whether a container may ask for this address of the subnet.
pub fn may_have(subnet: &Subnet, wanted: IpAddr) -> bool {
    let whole = Subnet {
        range: None,
        ..subnet.clone()
    };
    subnet.subnet.contains(&wanted)
        && usable(&whole).is_some_and(|(low, high)| (low..=high).contains(&number(wanted)))
        && !is_kept(subnet, wanted)
}

fn is_kept(subnet: &Subnet, address: IpAddr) -> bool {
    subnet.gateway == Some(address) || subnet.reserved.values().any(|kept| *kept == address)
}

/// The lowest and the highest address that containers may get, those kept for others included.
fn usable(subnet: &Subnet) -> Option<Range> {
    let (first, last) = range(&subnet.subnet);
    let ipv6 = subnet.subnet.addr().is_ipv6();
    let width = if ipv6 { 128 } else { 32 };
    let (mut low, mut high) = (first, last);
    // In a /31 and a /32 there is neither a network's address nor a broadcast (RFC 3021).
    if width - subnet.subnet.prefix_len() >= 2 {
        low += 1;
        if !ipv6 {
            high -= 1;
        }
    }
    if let Some(part) = &subnet.range {
        let (first, last) = range(part);
        (low, high) = (low.max(first), high.min(last));
    }
    (low <= high).then_some((low, high))
}

/// First and last address as numbers.
type Range = (u128, u128);

fn range(net: &IpNet) -> Range {
    (number(net.network()), number(net.broadcast()))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(number: u128, ipv6: bool) -> IpAddr {
    if ipv6 {
        return IpAddr::V6(Ipv6Addr::from_bits(number));
    }
    let number = u32::try_from(number).expect("an IPv4 address has 32 bits");
    IpAddr::V4(Ipv4Addr::from_bits(number))
}

fn net(first: u128, prefix: u8, ipv6: bool) -> IpNet {
    IpNet::new(address(first, ipv6), prefix).expect("the prefix fits its family")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet {
            subnet: text.parse().unwrap(),
            gateway: None,
            range: None,
            reserved: BTreeMap::new(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_pools_are_dockers() {
        let pools = default_pools([1, 2, 3, 4, 5]);
        let free = |taken: &[IpNet], v6| free_subnet(&pools, taken, v6).map(|n| n.to_string());
        assert_eq!(free(&[], false).unwrap(), "172.17.0.0/16");
        assert_eq!(free(&[], true).unwrap(), "fd01:203:405::/64");
        let mut taken = Vec::new();
        let mut got = Vec::new();
        while let Some(next) = free_subnet(&pools, &taken, false) {
            taken.push(next);
            got.push(next.to_string());
        }
        assert_eq!(got.len(), 15 + 16);
        assert_eq!(
            got[14..17],
            ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
        );
        taken.push("fd01:203:405::/63".parse().unwrap());
        assert_eq!(free(&taken, true).unwrap(), "fd01:203:405:2::/64");
        // A part is not taken when a bit of it is.
        let host = ["172.16.0.0/12", "192.168.17.3/32"].map(|n| n.parse().unwrap());
        assert_eq!(free(&host, false).unwrap(), "192.168.0.0/20");
        assert_eq!(free(&["0.0.0.0/0".parse().unwrap()], false), None);
    }

    #[test]
    fn the_address_of_before_and_then_the_lowest() {
        let mut net = subnet("10.0.0.0/29");
        net.gateway = Some(ip("10.0.0.1"));
        net.reserved.insert("printer".into(), ip("10.0.0.3"));
        let free = |taken: &[IpAddr], before| next_free(&net, &|a| taken.contains(&a), before);
        assert_eq!(free(&[], None), Some(ip("10.0.0.2")));
        assert_eq!(free(&[ip("10.0.0.2")], None), Some(ip("10.0.0.4")));
        assert_eq!(free(&[], Some(ip("10.0.0.5"))), Some(ip("10.0.0.5")));
        for other in ["10.0.0.1", "10.0.0.3", "10.0.0.7", "10.9.0.4", "fd00::1"] {
            assert_eq!(free(&[], Some(ip(other))), Some(ip("10.0.0.2")), "{other}");
        }
        let all = ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"].map(ip);
        assert_eq!(free(&all[..3], Some(ip("10.0.0.4"))), Some(all[3]));
        assert_eq!(free(&all, None), None);
        assert!(!may_have(&net, ip("10.0.0.0")) && !may_have(&net, ip("10.0.0.7")));
        assert!(!may_have(&net, ip("10.0.0.1")) && !may_have(&net, ip("10.0.0.9")));
        assert!(may_have(&net, ip("10.0.0.6")));
        net.range = Some("10.0.0.4/30".parse().unwrap());
        let free = next_free(&net, &|_| false, None);
        assert_eq!(free, Some(ip("10.0.0.4")));
        assert!(
            may_have(&net, ip("10.0.0.2")),
            "asked for, it may be outside the range"
        );
    }

    #[test]
    fn large_and_tiny_subnets_are_no_trouble() {
        let six = subnet("fd00::/64");
        assert_eq!(next_free(&six, &|_| false, None), Some(ip("fd00::1")));
        let last = Some(ip("fd00::ffff:ffff:ffff:ffff"));
        assert_eq!(next_free(&six, &|_| false, last), last);
        let eight = subnet("10.0.0.0/8");
        let last = Some(ip("10.255.255.254"));
        assert_eq!(next_free(&eight, &|_| false, last), last);
        assert_eq!(next_free(&eight, &|_| false, None), Some(ip("10.0.0.1")));
        let two = subnet("10.0.0.0/31");
        assert_eq!(next_free(&two, &|_| false, None), Some(ip("10.0.0.0")));
        let one = subnet("10.0.0.9/32");
        assert_eq!(next_free(&one, &|_| false, None), Some(ip("10.0.0.9")));
        let all = Pool {
            base: "::/0".parse().unwrap(),
            size: 0,
        };
        assert_eq!(free_subnet(&[all], &[], true), Some(all.base));
        assert_eq!(
            free_subnet(&[all], &["::1/128".parse().unwrap()], true),
            None
        );
    }

    fn nets() -> impl Strategy<Value = IpNet> {
        (0_u32..1 << 12, 20_u8..=32)
            .prop_map(|(bits, prefix)| net(u128::from(0x0a00_0000 | bits), prefix, false).trunc())
    }

    proptest! {
        #[test]
        fn a_free_subnet_is_free_and_the_first(
            taken in prop::collection::vec(nets(), 0..12),
            size in 20_u8..=28,
        ) {
            let base: IpNet = "10.0.0.0/20".parse().unwrap();
            let found = free_subnet(&[Pool { base, size }], &taken, false);
            let first = base.subnets(size).unwrap()
                .find(|part| !taken.iter().any(|t| overlap(t, part)));
            prop_assert_eq!(found, first);
        }

        #[test]
        fn every_address_is_given_once(
            prefix in 24_u8..=30,
            gateway in 0_u32..256,
            before in 0_u32..256,
        ) {
            let mut net = subnet(&format!("10.0.0.0/{prefix}"));
            net.gateway = Some(address(u128::from(0x0a00_0000 | gateway), false))
                .filter(|g| net.subnet.contains(g));
            let taken = RefCell::new(HashSet::new());
            let before = Some(address(u128::from(0x0a00_0000 | before), false));
            while let Some(next) = next_free(&net, &|a| taken.borrow().contains(&a), before) {
                prop_assert!(may_have(&net, next));
                prop_assert!(taken.borrow_mut().insert(next));
            }
            let hosts = net.subnet.hosts().filter(|a| Some(*a) != net.gateway).count();
            prop_assert_eq!(taken.borrow().len(), hosts);
        }
    }
}
