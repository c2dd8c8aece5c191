//! Text of a container's `/etc/resolv.conf`.

use std::net::IpAddr;

use model::{ContainerSpec, NetworkMode};

use crate::{Naming, line};

/// Where systemd-resolved lists the name servers behind its own.
pub const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Whether this is the file of systemd-resolved's own server, which is on the host's loopback: [`RESOLVED`]
/// is to be read in its place, as Docker does (moby `libnetwork/internal/resolvconf`).
pub fn is_resolved(host: &str) -> bool {
    values(host, "nameserver") == ["127.0.0.53"]
}

/// Google's, which Docker takes where the host's own cannot be reached from a container.
const DEFAULT_SERVERS: [&str; 4] = [
    "8.8.8.8",
    "8.8.4.4",
    "2001:4860:4860::8888",
    "2001:4860:4860::8844",
];

/// Text of the container's `/etc/resolv.conf`.
///
/// On the host's network it is the host's file; elsewhere name servers on the loopback are left
/// out, because the container's loopback is not the host's, and those with IPv6 addresses where the container has
/// none; the default ones come in their place if none is left (moby libnetwork `TransformForLegacyNw`). What
/// the container asks for replaces the lines of that kind, but for the servers where its networks
/// have their own: those ask the others.
pub fn resolv_conf(host: &str, spec: &ContainerSpec, naming: &Naming) -> String {
    let asks = !(spec.dns.is_empty() && spec.dns_search.is_empty() && spec.dns_options.is_empty());
    let of_host = spec.network == NetworkMode::Host;
    if of_host && !asks {
        return host.to_owned();
    }
    let servers = if !naming.name_servers.is_empty() {
        naming.name_servers.iter().map(IpAddr::to_string).collect()
    } else if spec.dns.is_empty() {
        of_others(host, of_host, naming)
    } else {
        spec.dns.clone()
    };
    // `-dns-search .` asks for no search domain at all.
    let search = match spec.dns_search.as_slice() {
        [] => values(host, "search").pop().unwrap_or_default(),
        [dot] if dot == "." => String::new(),
        domains => domains.join(" "),
    };
    let mut options = match spec.dns_options.as_slice() {
        [] => values(host, "options"),
        options => options.to_vec(),
    };
    // As Docker: a name without a dot may be a container's, and is asked for as it is first.
    let has_ndots = |options: &String| options.split_whitespace().any(|o| o.starts_with("ndots:"));
    if !naming.name_servers.is_empty() && !options.iter().any(has_ndots) {
        options.push("ndots:0".to_owned());
    }
    let mut text = String::new();
    for server in servers {
        line(&mut text, "nameserver", &server);
    }
    line(&mut text, "search", &search);
    line(&mut text, "options", &options.join(" "));
    text
}

/// The name servers of the host that a container can ask.
fn of_others(host: &str, of_host: bool, naming: &Naming) -> Vec<String> {
    let mut servers = values(host, "nameserver");
    if of_host {
        return servers;
    }
    let has_ipv6 = naming.own.iter().any(IpAddr::is_ipv6);
    let can_be_asked = |server: &str| match server.parse::<IpAddr>() {
        Ok(ip) => !ip.is_loopback() && (ip.is_ipv4() || has_ipv6),
        // With a zone, which no container has.
        Err(_) => !server.contains(':'),
    };
    servers.retain(|server| can_be_asked(server));
    if servers.is_empty() {
        let default = DEFAULT_SERVERS.into_iter();
        servers.extend(default.filter(|s| can_be_asked(s)).map(str::to_owned));
    }
    servers
}

/// What the lines that begin with `keyword` say, in order.
fn values(host: &str, keyword: &str) -> Vec<String> {
    host.lines()
        .filter_map(|line| line.trim().strip_prefix(keyword))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map(|rest| rest.trim().to_owned())
        .collect()
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

    fn without(host: &str, spec: &ContainerSpec) -> String {
        resolv_conf(host, spec, &Naming::default())
    }

    #[test]
    fn the_hosts_loopback_resolver_is_left_out() {
        let text = without(HOST, &spec(NetworkMode::None));
        assert_eq!(text, "nameserver 192.0.2.1\nsearch lan\noptions edns0\n");
        assert_eq!(without(HOST, &spec(NetworkMode::Host)), HOST);
        assert!(is_resolved("nameserver 127.0.0.53\noptions edns0"));
        assert!(!is_resolved(HOST) && !is_resolved(""));
    }

    #[test]
    fn where_no_server_of_the_hosts_can_be_asked_there_are_dockers() {
        let default = spec(NetworkMode::Default);
        let mut naming = Naming {
            own: vec!["172.17.0.2".parse().unwrap()],
            ..Naming::default()
        };
        for host in [
            "",
            "nameserver ::1",
            "nameserver 127.0.0.1\nnameserver 2001:db8::1\n",
        ] {
            let text = resolv_conf(host, &default, &naming);
            assert_eq!(text, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n", "{host}");
        }
        naming.own.push("fd00::2".parse().unwrap());
        let text = resolv_conf("nameserver 2001:db8::1", &default, &naming);
        assert_eq!(text, "nameserver 2001:db8::1\n");
        let text = resolv_conf("nameserver fe80::1%eth0", &default, &naming);
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn what_the_container_asks_for_wins() {
        let asked = ContainerSpec {
            dns: vec!["192.0.2.9".into()],
            dns_search: vec![".".into()],
            ..spec(NetworkMode::Host)
        };
        assert_eq!(
            without(HOST, &asked),
            "nameserver 192.0.2.9\noptions edns0\n"
        );
    }

    #[test]
    fn the_networks_own_servers_come_in_place_of_all_others() {
        let naming = Naming {
            name_servers: ["10.89.0.1", "fd00::1"]
                .map(|ip| ip.parse().unwrap())
                .into(),
            ..Naming::default()
        };
        let mut asked = spec(NetworkMode::User("front".into()));
        asked.dns = vec!["192.0.2.9".into()];
        assert_eq!(
            resolv_conf(HOST, &asked, &naming),
            "nameserver 10.89.0.1\nnameserver fd00::1\nsearch lan\noptions edns0 ndots:0\n"
        );
        asked.dns_options = vec!["ndots:2".into()];
        let text = resolv_conf(HOST, &asked, &naming);
        assert!(text.ends_with("\noptions ndots:2\n"), "{text}");
    }
}
