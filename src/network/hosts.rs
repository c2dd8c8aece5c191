//! Text of a container's `/etc/hosts`.

use std::net::IpAddr;

use model::{ContainerSpec, Error, NetworkMode, Result};

use crate::{Naming, line};

/// Docker's fixed head of `/etc/hosts` (moby libnetwork `etchosts`).
const LOOPBACK_HOSTS: &str = "127.0.0.1\tlocalhost\n\
     ::1\tlocalhost ip6-localhost ip6-loopback\n\
     fe00::\tip6-localnet\n\
     ff00::\tip6-mcastprefix\n\
     ff02::1\tip6-allnodes\n\
     ff02::2\tip6-allrouters\n";

/// Text of the container's `/etc/hosts`: the host's on the host's network, otherwise loopback
/// names; what it asks for, whom it is linked to, and its own name for each of its addresses. One that
/// has a network and no address answers to its name on the loopback.
///
/// # Errors
/// As [`parse_extra_host`], and for `host-gateway` where there is none.
pub fn hosts(host: &str, spec: &ContainerSpec, hostname: &str, naming: &Naming) -> Result<String> {
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
        match parse_extra_host(entry)? {
            (name, Some(address)) => line(&mut text, &address.to_string(), name),
            (_, None) if naming.host_gateway.is_empty() => {
                return Err(Error::system(
                    "unable to derive the IP value for host-gateway",
                ));
            }
            (name, None) => {
                for address in &naming.host_gateway {
                    line(&mut text, &address.to_string(), name);
                }
            }
        }
    }
    for (address, names) in &naming.linked {
        line(&mut text, &address.to_string(), &names.join(" "));
    }
    if hostname.is_empty() {
        return Ok(text);
    }
    // Docker's order: the full name, then the short one.
    let names = match spec.domainname.as_str() {
        "" => hostname.to_owned(),
        domain => format!("{hostname}.{domain} {hostname}"),
    };
    for address in &naming.own {
        line(&mut text, &address.to_string(), &names);
    }
    let has_one = matches!(spec.network, NetworkMode::Default | NetworkMode::User(_));
    if naming.own.is_empty() && has_one {
        line(&mut text, "127.0.0.1", &names);
    }
    Ok(text)
}

/// Splits `name:address` (or `name=address`), the address possibly IPv6 and in brackets; `None` is
/// `host-gateway`, whatever that is when the container starts.
///
/// # Errors
/// Docker's words for a bad entry.
pub fn parse_extra_host(entry: &str) -> Result<(&str, Option<IpAddr>)> {
    let invalid = || Error::invalid(format!("bad format for add-host: {entry:?}"));
    let (name, address) = entry.split_once(['=', ':']).ok_or_else(invalid)?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(invalid());
    }
    if address == "host-gateway" {
        return Ok((name, None));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address);
    let address = bare
        .parse()
        .map_err(|_| Error::invalid(format!("invalid IP address in add-host: {address:?}")))?;
    Ok((name, Some(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(network: NetworkMode) -> ContainerSpec {
        ContainerSpec {
            network,
            ..ContainerSpec::default()
        }
    }

    fn without(host: &str, spec: &ContainerSpec, hostname: &str) -> String {
        hosts(host, spec, hostname, &Naming::default()).unwrap()
    }

    #[test]
    fn hosts_has_loopback_extra_hosts_and_the_own_name() {
        let mut s = spec(NetworkMode::Default);
        s.extra_hosts = vec!["db:192.0.2.5".into(), "six=[2001:db8::1]".into()];
        let text = without("", &s, "box");
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("192.0.2.5\tdb\n2001:db8::1\tsix\n127.0.0.1\tbox\n"));
        assert!(!without("", &spec(NetworkMode::None), "box").contains("box"));
        assert_eq!(
            without("1.2.3.4 h", &spec(NetworkMode::Host), "h"),
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
        let text = without("", &spec, "box");
        assert!(text.ends_with("127.0.0.1\tbox.example.org box\n"), "{text}");
    }

    #[test]
    fn its_addresses_its_links_and_the_gateway_are_named() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let naming = Naming {
            own: vec![ip("10.89.0.2"), ip("fd00::2")],
            host_gateway: vec![ip("172.17.0.1")],
            linked: vec![(
                ip("172.17.0.3"),
                vec!["db".into(), "f00".into(), "postgres".into()],
            )],
            ..Naming::default()
        };
        let mut asked = spec(NetworkMode::User("front".into()));
        asked.extra_hosts = vec!["host.docker.internal:host-gateway".into()];
        let text = hosts("", &asked, "box", &naming).unwrap();
        let end = "172.17.0.1\thost.docker.internal\n\
            172.17.0.3\tdb f00 postgres\n\
            10.89.0.2\tbox\nfd00::2\tbox\n";
        assert!(text.ends_with(end), "{text}");
        let e = hosts("", &asked, "box", &Naming::default()).unwrap_err();
        assert_eq!(
            e.message(),
            "unable to derive the IP value for host-gateway"
        );
    }
}
