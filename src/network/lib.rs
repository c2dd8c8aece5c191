//! What a container's network needs from the host.
//!
//! Today: the texts of `/etc/resolv.conf` and `/etc/hosts`, as pure functions of what the host
//! has and the container asked for. Addresses, netavark and published ports move in here with the
//! network work; the room never sees the ledger, the runtime or a file.

pub mod addresses;
pub mod host_routes;
mod netavark;
pub mod ports;
mod tmp;
pub use tmp::*;

pub use netavark::{Netavark, Order, Version, check, remove_parent};

use std::fmt::Write as _;
use std::net::IpAddr;

use model::{ContainerSpec, Error, NetworkMode, Result};

/// Text of the container's `/etc/resolv.conf`.
///
/// On the host's network it is the host's file; elsewhere name servers on the loopback are left
/// out, because the container's loopback is not the host's (moby libnetwork `resolvconf`). What
/// the container asks for replaces the lines of that kind.
pub fn resolv_conf(host: &str, spec: &ContainerSpec, _n: &Naming) -> String {
    let asks = !(spec.dns.is_empty() && spec.dns_search.is_empty() && spec.dns_options.is_empty());
    if spec.network == NetworkMode::Host && !asks {
        return host.to_owned();
    }
    let host_values = |keyword: &str| -> Vec<String> {
        host.lines()
            .filter_map(|line| line.trim().strip_prefix(keyword))
            .filter(|rest| rest.starts_with([' ', '\t']))
            .map(|rest| rest.trim().to_owned())
            .collect()
    };
    let servers = if spec.dns.is_empty() {
        let keep = |s: &String| spec.network == NetworkMode::Host || !is_loopback(s);
        host_values("nameserver").into_iter().filter(keep).collect()
    } else {
        spec.dns.clone()
    };
    // `-dns-search .` asks for no search domain at all.
    let search = match spec.dns_search.as_slice() {
        [] => host_values("search").last().cloned().unwrap_or_default(),
        [dot] if dot == "." => String::new(),
        domains => domains.join(" "),
    };
    let options = match spec.dns_options.as_slice() {
        [] => host_values("options").join(" "),
        options => options.join(" "),
    };
    let mut text = String::new();
    for server in servers {
        line(&mut text, "nameserver", &server);
    }
    line(&mut text, "search", &search);
    line(&mut text, "options", &options);
    text
}

/// Text of the container's `/etc/hosts`: the host's on the host's network, otherwise loopback
/// names, and the container's own name where it has a loopback to answer on.
pub fn hosts(host: &str, spec: &ContainerSpec, hostname: &str, _n: &Naming) -> Result<String> {
    let mut text = if spec.network == NetworkMode::Host {
        let mut text = host.to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    } else {
        LOOPBACK_HOSTS.to_owned()
    };
    for entry in &spec.extra_hosts {
        let (name, address) = parse_extra_host(entry)?;
        line(&mut text, &address.to_string(), name);
    }
    if spec.network == NetworkMode::Default && !hostname.is_empty() {
        // Docker's order: the full name, then the short one.
        let names = match spec.domainname.as_str() {
            "" => hostname.to_owned(),
            domain => format!("{hostname}.{domain} {hostname}"),
        };
        line(&mut text, "127.0.0.1", &names);
    }
    Ok(text)
}

/// Docker's fixed head of `/etc/hosts` (moby libnetwork `etchosts`).
const LOOPBACK_HOSTS: &str = "127.0.0.1\tlocalhost\n\
     ::1\tlocalhost ip6-localhost ip6-loopback\n\
     fe00::\tip6-localnet\n\
     ff00::\tip6-mcastprefix\n\
     ff02::1\tip6-allnodes\n\
     ff02::2\tip6-allrouters\n";

/// Splits `name:address` (or `name=address`), the address possibly IPv6 and in brackets.
///
/// # Errors
/// Docker's words for a bad entry; `host-gateway` until networks are built.
pub fn parse_extra_host(entry: &str) -> Result<(&str, IpAddr)> {
    let invalid = || Error::invalid(format!("bad format for add-host: {entry:?}"));
    let (name, address) = entry.split_once(['=', ':']).ok_or_else(invalid)?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(invalid());
    }
    if address == "host-gateway" {
        return Err(Error::not_implemented(
            "HostConfig.ExtraHosts with host-gateway is not implemented by moored yet",
        ));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address);
    let address = bare
        .parse()
        .map_err(|_| Error::invalid(format!("invalid IP address in add-host: {address:?}")))?;
    Ok((name, address))
}

fn is_loopback(server: &str) -> bool {
    server.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn line(text: &mut String, key: &str, value: &str) {
    if !value.is_empty() {
        let tab = if key.starts_with(|c: char| c.is_ascii_digit()) || key.contains(':') {
            '\t'
        } else {
            ' '
        };
        writeln!(text, "{key}{tab}{value}").expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str =
        "# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch lan\noptions edns0\n";

    fn spec(network: NetworkMode) -> ContainerSpec {
        ContainerSpec {
            network,
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn the_hosts_loopback_resolver_is_left_out() {
        let text = resolv_conf(HOST, &spec(NetworkMode::None));
        assert_eq!(text, "nameserver 192.0.2.1\nsearch lan\noptions edns0\n");
        assert_eq!(resolv_conf(HOST, &spec(NetworkMode::Host)), HOST);
    }

    #[test]
    fn what_the_container_asks_for_wins() {
        let asked = ContainerSpec {
            dns: vec!["192.0.2.9".into()],
            dns_search: vec![".".into()],
            ..spec(NetworkMode::Host)
        };
        assert_eq!(
            resolv_conf(HOST, &asked),
            "nameserver 192.0.2.9\noptions edns0\n"
        );
    }

    #[test]
    fn hosts_has_loopback_extra_hosts_and_the_own_name() {
        let mut s = spec(NetworkMode::Default);
        s.extra_hosts = vec!["db:192.0.2.5".into(), "six=[2001:db8::1]".into()];
        let text = hosts("", &s, "box").unwrap();
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("192.0.2.5\tdb\n2001:db8::1\tsix\n127.0.0.1\tbox\n"));
        assert!(
            !hosts("", &spec(NetworkMode::None), "box")
                .unwrap()
                .contains("box")
        );
        assert_eq!(
            hosts("1.2.3.4 h", &spec(NetworkMode::Host), "h").unwrap(),
            "1.2.3.4 h\n"
        );
    }

    #[test]
    fn bad_extra_hosts_are_refused() {
        for bad in ["", "db", ":1.2.3.4", "db:nowhere", "a b:1.2.3.4"] {
            assert!(parse_extra_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_domain_is_part_of_the_first_name() {
        let spec = ContainerSpec {
            domainname: "example.org".into(),
            ..ContainerSpec::default()
        };
        let text = hosts("", &spec, "box").unwrap();
        assert!(text.ends_with("127.0.0.1\tbox.example.org box\n"), "{text}");
    }
}
