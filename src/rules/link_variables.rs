//! What a container learns of another that it is linked to on the default network: variables of its environment
//! (moby `daemon/links` ToEnv).

use std::net::IpAddr;

use model::{Port, Protocol};

/// A link on the default network.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The container that is linked to the other.
    pub container: &'a str,
    /// What it calls the other.
    pub alias: &'a str,
    /// The other's address.
    pub address: IpAddr,
    /// The other's ports, whether they are published or not.
    pub ports: &'a [Port],
    /// The other's environment, as it was asked for.
    pub env: &'a [String],
}

/// The variables, in moby's order.
pub fn link_variables(link: &Link<'_>) -> Vec<String> {
    let Link { alias, address, .. } = link;
    let name = alias.to_uppercase().replace('-', "_");
    let mut ports = link.ports.to_vec();
    ports.sort_by_key(|port| (port.number, port.protocol != Protocol::Tcp));
    ports.dedup();
    let url = |port: &Port| format!("{}://{address}:{}", port.protocol.as_str(), port.number);
    let prefix = |port: &Port| {
        let protocol = port.protocol.as_str().to_uppercase();
        format!("{name}_PORT_{}_{protocol}", port.number)
    };
    let mut env = Vec::new();
    env.extend(
        ports
            .first()
            .map(|port| format!("{name}_PORT={}", url(port))),
    );
    for (first, last) in ranges(&ports) {
        let start = prefix(&first);
        let end = format!(
            "{name}_PORT_{}_{}",
            first.number,
            last.protocol.as_str().to_uppercase()
        );
        env.push(format!("{start}_START={}", url(&first)));
        env.push(format!("{start}_ADDR={address}"));
        env.push(format!("{start}_PROTO={}", first.protocol.as_str()));
        env.push(format!("{start}_PORT_START={}", first.number));
        env.push(format!("{end}_END={}", url(&last)));
        env.push(format!("{end}_PORT_END={}", last.number));
    }
    for port in &ports {
        let prefix = prefix(port);
        env.push(format!("{prefix}={}", url(port)));
        env.push(format!("{prefix}_ADDR={address}"));
        env.push(format!("{prefix}_PORT={}", port.number));
        env.push(format!("{prefix}_PROTO={}", port.protocol.as_str()));
    }
    env.push(format!("{name}_NAME=/{}/{alias}", link.container));
    let of_other = link.env.iter().filter_map(|word| word.split_once('='));
    let of_other = of_other.filter(|(key, _)| !matches!(*key, "HOME" | "PATH"));
    env.extend(of_other.map(|(key, value)| format!("{name}_ENV_{key}={value}")));
    env
}

/// The first and last of each three or more ports that follow one on the other.
fn ranges(ports: &[Port]) -> Vec<(Port, Port)> {
    let mut found = Vec::new();
    let mut rest = ports;
    while let [first, ..] = rest {
        let follows =
            |(i, port): &(usize, &Port)| usize::from(port.number) <= usize::from(first.number) + i;
        let length = rest.iter().enumerate().take_while(follows).count();
        let (range, after) = rest.split_at(length);
        match range {
            [first, _, .., last] => {
                found.push((*first, *last));
                rest = after;
            }
            _ => rest = &rest[1..],
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ports: &[&str], env: &[&str]) -> Vec<String> {
        let ports: Vec<Port> = ports.iter().map(|port| port.parse().unwrap()).collect();
        let env: Vec<String> = env.iter().map(ToString::to_string).collect();
        link_variables(&Link {
            container: "web",
            alias: "my-db",
            address: "172.17.0.2".parse().unwrap(),
            ports: &ports,
            env: &env,
        })
    }

    #[test]
    fn a_port_has_its_variables_and_the_lowest_is_the_default() {
        assert_eq!(
            of(&["53/udp", "53/tcp"], &["A=1", "HOME=/", "PATH=/bin", "B"]),
            [
                "MY_DB_PORT=tcp://172.17.0.2:53",
                "MY_DB_PORT_53_TCP=tcp://172.17.0.2:53",
                "MY_DB_PORT_53_TCP_ADDR=172.17.0.2",
                "MY_DB_PORT_53_TCP_PORT=53",
                "MY_DB_PORT_53_TCP_PROTO=tcp",
                "MY_DB_PORT_53_UDP=udp://172.17.0.2:53",
                "MY_DB_PORT_53_UDP_ADDR=172.17.0.2",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_NAME=/web/my-db",
                "MY_DB_ENV_A=1",
            ]
        );
        assert_eq!(of(&[], &[]), ["MY_DB_NAME=/web/my-db"]);
    }

    #[test]
    fn three_that_follow_one_on_the_other_are_a_range() {
        let env = of(&["8002", "8000", "8001", "9000", "9001"], &[]);
        let ranges: Vec<_> = env.iter().filter(|v| v.contains("_START")).collect();
        assert_eq!(
            ranges,
            [
                "MY_DB_PORT_8000_TCP_START=tcp://172.17.0.2:8000",
                "MY_DB_PORT_8000_TCP_PORT_START=8000",
            ]
        );
        assert!(env.contains(&"MY_DB_PORT_8000_TCP_END=tcp://172.17.0.2:8002".to_owned()));
    }
}
