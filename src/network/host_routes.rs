//! The subnets that the host already reaches, so that no network is put on one of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// All of them, but for the default routes. A host without a family has none of that.
pub fn read() -> Vec<IpNet> {
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut nets = ipv4(&text("/proc/thread-self/net/route"));
    nets.extend(ipv6(&text("/proc/thread-self/net/ipv6_route")));
    nets
}

/// The IPv4 subnet that this interface of the host leads to.
pub fn of_interface(name: &str) -> Option<IpNet> {
    all_of_interface(name).into_iter().next()
}

/// Whether this interface of the host leads to an IPv4 subnet: it has an address there, and is up.
pub(crate) fn leads_to(name: &str, subnet: &IpNet) -> bool {
    all_of_interface(name).contains(subnet)
}

/// What takes IPv4 addresses of `subnet` away from this interface: a range that another leads to, as large or
/// smaller. Single addresses do not count.
pub fn another_leads_into(name: &str, subnet: &IpNet) -> Option<IpNet> {
    let takes = |net: &IpNet| subnet.contains(net) && net.prefix_len() < net.max_prefix_len();
    of_interfaces(|other| other != name).into_iter().find(takes)
}

fn all_of_interface(name: &str) -> Vec<IpNet> {
    of_interfaces(|other| other == name)
}

fn of_interfaces(wanted: impl Fn(&str) -> bool) -> Vec<IpNet> {
    let text = std::fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let is_wanted = |line: &&str| line.split_ascii_whitespace().next().is_some_and(&wanted);
    let lines: Vec<&str> = std::iter::once("")
        .chain(text.lines().skip(1).filter(is_wanted))
        .collect();
    ipv4(&lines.join("\n"))
}

/// Those of `/proc/net/route`: a line of names, then `Iface Destination Gateway Flags RefCnt Use Metric
/// Mask`, the addresses as the machine's own words in hexadecimal (net/ipv4/fib_trie.c).
pub fn ipv4(text: &str) -> Vec<IpNet> {
    let net = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let destination = word(words.nth(1)?)?;
        let mask = word(words.nth(5)?)?;
        IpNet::with_netmask(IpAddr::V4(destination), IpAddr::V4(mask)).ok()
    };
    text.lines()
        .skip(1)
        .filter_map(net)
        .filter(is_somewhere)
        .collect()
}

/// Those of `/proc/net/ipv6_route`: destination, length of its prefix, both in hexadecimal, and what
/// does not matter (net/ipv6/route.c). Those that every interface has, and single addresses, do not count.
pub fn ipv6(text: &str) -> Vec<IpNet> {
    let net = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let destination = u128::from_str_radix(words.next()?, 16).ok()?;
        let prefix = u8::from_str_radix(words.next()?, 16).ok()?;
        let first = Ipv6Addr::from_bits(destination);
        let of_the_host = !first.is_multicast() && !first.is_unicast_link_local() && prefix < 128;
        let net = IpNet::new(IpAddr::V6(first), prefix).ok()?;
        of_the_host.then(|| net.trunc())
    };
    text.lines().filter_map(net).filter(is_somewhere).collect()
}

fn word(text: &str) -> Option<Ipv4Addr> {
    let word = u32::from_str_radix(text, 16).ok()?;
    Some(Ipv4Addr::from(word.to_ne_bytes()))
}

fn is_somewhere(net: &IpNet) -> bool {
    net.prefix_len() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_are_read_and_the_default_is_none() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            tun0\t0A01000A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n\
            bad\tx\n";
        let nets: Vec<String> = ipv4(text).iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["172.17.0.0/16", "10.0.1.10/32"]);
    }

    #[test]
    fn routes_of_every_interface_are_none() {
        let text = "20010db8000000010000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
            fe800000000000000000000000000000 40 0 00 0 0 0 0 1 eth0\n\
            00000000000000000000000000000000 00 0 00 0 0 0 0 1 lo\n\
            00000000000000000000000000000001 80 0 00 0 0 0 0 1 lo\n\
            ff000000000000000000000000000000 08 0 00 0 0 0 0 1 eth0\nbad\n";
        let nets: Vec<String> = ipv6(text).iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["2001:db8:0:1::/64"]);
    }

    #[test]
    fn the_hosts_own_tables_are_read() {
        assert!(read().iter().all(|net| net.prefix_len() > 0));
    }
}
