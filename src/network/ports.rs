//! Ports of the host for a container: chosen, and held by bound sockets before anything is started.
//!
//! A port is *allocated* when another container has it, *in use* when another program of the host has:
//! Docker tells the two apart, and so does this. What counts is the kernel's answer to bind(2).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use model::{Error, Port, PortBinding, PublishedPort, Result, limits};

/// What a container asks for, and what of it is possible.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its bindings.
    pub bindings: &'a [PortBinding],
    /// The ports that it exposes.
    pub exposed: &'a [Port],
    /// Those are published, too.
    pub publish_all: bool,
    /// The address of bindings that name none; `None` is all addresses.
    pub default_ip: Option<IpAddr>,
    /// Its networks publish ports of IPv4 addresses.
    pub ipv4: bool,
    /// Its networks publish ports of IPv6 addresses.
    pub ipv6: bool,
    /// All addresses of one family are those of both ([`crate::publishes_in_both`]).
    pub both: bool,
    /// What other containers hold.
    pub held: &'a [PublishedPort],
}

/// Ports that are held. They are free again when the last copy of the sockets is closed.
#[derive(Debug, Default)]
pub struct Reserved {
    /// What is published.
    pub ports: Vec<PublishedPort>,
    /// What holds them; one less where the kernel does not have a protocol.
    pub sockets: Vec<OwnedFd>,
}

/// Chooses ports: any port is the one after the last that was chosen so.
#[derive(Debug, Default)]
pub struct Ports {
    last: Mutex<HashMap<(u16, u16), u16>>,
}

impl Ports {
    /// Chooses and holds all ports of a container, or none.
    ///
    /// # Errors
    /// System, in Docker's words: a port is allocated, in use, or all are.
    pub fn reserve(&self, request: &Request<'_>) -> Result<Reserved> {
        let mut wanted: Vec<PortBinding> = request.bindings.to_vec();
        if request.publish_all {
            for port in request.exposed {
                if !wanted.iter().any(|binding| binding.port == *port) {
                    wanted.push(PortBinding {
                        port: *port,
                        host_ip: None,
                        host_ports: None,
                    });
                }
            }
        }
        // Each takes a descriptor or two, of conmon's, too.
        if wanted.len() > limits::PORTS_MAX {
            return Err(Error::invalid(format!(
                "a container can publish {} ports at most, not {}",
                limits::PORTS_MAX,
                wanted.len()
            )));
        }
        let mut reserved = Reserved::default();
        let mut held = request.held.to_vec();
        // What can only be one port comes first, so that no other binding takes that.
        let (fixed, others): (Vec<_>, Vec<_>) = wanted.iter().partition(|binding| {
            binding
                .host_ports
                .is_some_and(|(first, last)| first == last)
        });
        for binding in fixed.into_iter().chain(others) {
            let before = reserved.ports.len();
            self.one(binding, request, &held, &mut reserved)?;
            held.extend_from_slice(&reserved.ports[before..]);
        }
        Ok(reserved)
    }

    fn one(
        &self,
        binding: &PortBinding,
        request: &Request<'_>,
        held: &[PublishedPort],
        reserved: &mut Reserved,
    ) -> Result<()> {
        let mut addresses = addresses(binding, request);
        if let Some((port, last)) = binding.host_ports
            && port == last
        {
            // Each family was asked for on its own, and the first brought both.
            let is_new = |ip: &IpAddr| {
                let published = published(binding, *ip, port);
                !request.both || !reserved.ports.contains(&published)
            };
            addresses.retain(is_new);
            if addresses.is_empty() {
                return Ok(());
            }
            if let Some(ip) = conflict(held, binding, &addresses, port) {
                return Err(Error::system(format!(
                    "Bind for {ip}:{port} failed: port is already allocated"
                )));
            }
            return hold(binding, &addresses, port, reserved);
        }
        if addresses.is_empty() {
            return Ok(());
        }
        let range = binding.host_ports.unwrap_or_else(ephemeral);
        let kept = match binding.host_ports {
            Some(_) => Vec::new(),
            None => sys::port::reserved(),
        };
        let mut failure = Error::system("all ports are allocated");
        let mut tries = 0;
        for port in self.after_last(range) {
            let skipped = kept
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&port));
            if skipped || conflict(held, binding, &addresses, port).is_some() {
                continue;
            }
            match hold(binding, &addresses, port, reserved) {
                Ok(()) => {
                    self.lasts().insert(range, port);
                    return Ok(());
                }
                Err(e) => failure = e,
            }
            tries += 1;
            if tries == limits::PORT_TRIES_MAX {
                break;
            }
        }
        Err(failure)
    }

    /// All ports of a range, from the one after the last that was chosen.
    fn after_last(&self, (first, last): (u16, u16)) -> impl Iterator<Item = u16> + use<> {
        let before = self.lasts().get(&(first, last)).copied();
        let start = before.and_then(|port| port.checked_add(1));
        let start = start.filter(|port| *port <= last).unwrap_or(first);
        (start..=last).chain(first..start)
    }

    fn lasts(&self) -> std::sync::MutexGuard<'_, HashMap<(u16, u16), u16>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Docker's own range, for a host that does not tell its.
fn ephemeral() -> (u16, u16) {
    sys::port::ephemeral().unwrap_or((49_153, 65_535))
}

/// The host's addresses of a binding.
fn addresses(binding: &PortBinding, request: &Request<'_>) -> Vec<IpAddr> {
    let both = request.both && request.ipv4 && request.ipv6;
    match binding.host_ip.or(request.default_ip) {
        // It leads both families on, so nobody else must have the other.
        Some(ip) if ip.is_unspecified() && both => {}
        Some(ip) => return vec![ip],
        None => {}
    }
    let v4 = request.ipv4.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let v6 = request.ipv6.then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    v4.into_iter().chain(v6).collect()
}

/// The first of the addresses on which another has the port already.
fn conflict(
    held: &[PublishedPort],
    binding: &PortBinding,
    addresses: &[IpAddr],
    port: u16,
) -> Option<IpAddr> {
    let is_taken = |ip: &IpAddr| {
        held.iter().any(|other| {
            other.host_port == port
                && other.port.protocol == binding.port.protocol
                && ip.is_ipv4() == other.host_ip.is_ipv4()
                && (*ip == other.host_ip || ip.is_unspecified() || other.host_ip.is_unspecified())
        })
    };
    addresses.iter().copied().find(is_taken)
}

/// Holds the port on all the addresses, or on none.
fn hold(
    binding: &PortBinding,
    addresses: &[IpAddr],
    port: u16,
    reserved: &mut Reserved,
) -> Result<()> {
    let mut sockets = Vec::new();
    for ip in addresses {
        let address = SocketAddr::from((*ip, port));
        let held = sys::port::hold(binding.port.protocol, address).map_err(|e| {
            let protocol = binding.port.protocol.as_str();
            let why = words(&e);
            Error::system(format!(
                "failed to bind host port {address}/{protocol}: {why}"
            ))
        })?;
        sockets.extend(held);
    }
    reserved.sockets.extend(sockets);
    reserved
        .ports
        .extend(addresses.iter().map(|ip| published(binding, *ip, port)));
    Ok(())
}

fn published(binding: &PortBinding, host_ip: IpAddr, host_port: u16) -> PublishedPort {
    PublishedPort {
        port: binding.port,
        host_ip,
        host_port,
    }
}

/// The kernel's complaint as Go spells it: `address already in use`.
fn words(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use model::Protocol;

    use super::*;

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn request(bindings: &[PortBinding]) -> Request<'_> {
        Request {
            bindings,
            exposed: &[],
            publish_all: false,
            default_ip: None,
            ipv4: true,
            ipv6: false,
            both: false,
            held: &[],
        }
    }

    fn tcp(number: u16) -> Port {
        Port {
            number,
            protocol: Protocol::Tcp,
        }
    }

    fn binding(number: u16, host_ports: Option<(u16, u16)>) -> PortBinding {
        PortBinding {
            port: tcp(number),
            host_ip: None,
            host_ports,
        }
    }

    /// A host of its own: no other test has its ports.
    fn on_a_host(test: impl FnOnce() + Send) {
        let dir = tempfile::tempdir().unwrap();
        let ns = dir.path().join("host");
        sys::netns::make(&ns).unwrap();
        sys::netns::inside(&ns, || {
            test();
            Ok(())
        })
        .unwrap();
        sys::netns::remove(&ns).unwrap();
    }

    #[test]
    fn a_port_of_another_container_and_one_of_the_host_are_told_apart() {
        on_a_host(|| {
            let ports = Ports::default();
            let want = [binding(80, Some((8080, 8080)))];
            let first = ports.reserve(&request(&want)).unwrap();
            assert_eq!(
                (first.ports[0].host_ip, first.ports[0].host_port),
                (ANY, 8080)
            );
            assert_eq!(first.sockets.len(), 1);
            let again = Request {
                held: &first.ports,
                ..request(&want)
            };
            let e = ports.reserve(&again).unwrap_err();
            assert_eq!(
                e.message(),
                "Bind for 0.0.0.0:8080 failed: port is already allocated"
            );
            let e = ports.reserve(&request(&want)).unwrap_err();
            assert_eq!(
                e.message(),
                "failed to bind host port 0.0.0.0:8080/tcp: address already in use"
            );
            drop(first);
            let _listener = TcpListener::bind("0.0.0.0:8080").unwrap();
            assert!(ports.reserve(&request(&want)).is_err());
            let two = [binding(81, Some((8081, 8081))), want[0].clone()];
            assert!(ports.reserve(&request(&two)).is_err());
            // All or none: what was held before the failure is free.
            assert!(ports.reserve(&request(&two[..1])).is_ok());
        });
    }

    #[test]
    fn a_range_gives_one_that_is_free_and_then_none() {
        on_a_host(|| {
            let ports = Ports::default();
            let want = [binding(80, Some((9000, 9002)))];
            let _listener = TcpListener::bind("0.0.0.0:9001").unwrap();
            let mut kept: Vec<Reserved> = Vec::new();
            for expected in [9000, 9002] {
                let held: Vec<_> = kept.iter().flat_map(|r| r.ports.clone()).collect();
                let one = Request {
                    held: &held,
                    ..request(&want)
                };
                kept.push(ports.reserve(&one).unwrap());
                assert_eq!(kept.last().unwrap().ports[0].host_port, expected);
            }
            let held: Vec<_> = kept.iter().flat_map(|r| r.ports.clone()).collect();
            let e = ports
                .reserve(&Request {
                    held: &held,
                    ..request(&want)
                })
                .unwrap_err();
            assert!(
                e.message().ends_with(":9001/tcp: address already in use"),
                "{e}"
            );
            drop(kept);
            let fixed = [
                binding(81, Some((9000, 9002))),
                binding(80, Some((9000, 9000))),
            ];
            let both = ports.reserve(&request(&fixed)).unwrap().ports;
            assert_eq!([both[0].host_port, both[1].host_port], [9000, 9002]);
        });
    }

    #[test]
    fn any_port_is_the_next_one_and_the_same_for_both_families() {
        on_a_host(|| {
            let ports = Ports::default();
            let exposed = [tcp(80), tcp(81)];
            let mapped = [binding(80, None)];
            let all = Request {
                exposed: &exposed,
                publish_all: true,
                ipv6: true,
                ..request(&mapped)
            };
            let (first, _) = ephemeral();
            let got = ports.reserve(&all).unwrap();
            let numbers: Vec<_> = got
                .ports
                .iter()
                .map(|p| (p.port.number, p.host_port))
                .collect();
            assert_eq!(
                numbers,
                [(80, first), (80, first), (81, first + 1), (81, first + 1)]
            );
            assert_eq!(got.sockets.len(), 4);
            assert!(got.ports[1].host_ip.is_ipv6());
            // Free or not: the next is another.
            drop(got);
            assert_eq!(
                ports.reserve(&request(&mapped)).unwrap().ports[0].host_port,
                first + 2
            );
        });
    }

    #[test]
    fn where_one_family_brings_the_other_both_are_held() {
        on_a_host(|| {
            let ports = Ports::default();
            let at = |ip: &str| PortBinding {
                host_ip: Some(ip.parse().unwrap()),
                ..binding(80, Some((8090, 8090)))
            };
            let six = [at("::")];
            let dual = |bindings| Request {
                ipv6: true,
                both: true,
                ..request(bindings)
            };
            let taken = TcpListener::bind("0.0.0.0:8090").unwrap();
            let e = ports.reserve(&dual(&six)).unwrap_err();
            assert!(e.message().contains("0.0.0.0:8090/tcp: address"), "{e}");
            drop(taken);
            let got = ports.reserve(&dual(&six)).unwrap();
            assert_eq!(got.ports.len(), 2);
            let four = [at("0.0.0.0")];
            let other = Request {
                held: &got.ports,
                ..dual(&four)
            };
            let e = ports.reserve(&other).unwrap_err();
            assert!(e.message().ends_with("port is already allocated"), "{e}");
            drop(got);
            // One that asks for both gets them, and so does one that cannot have the other.
            let each = [at("0.0.0.0"), at("::")];
            assert_eq!(ports.reserve(&dual(&each)).unwrap().ports.len(), 2);
            let one = Request {
                ipv6: false,
                ..dual(&four)
            };
            assert_eq!(ports.reserve(&one).unwrap().ports.len(), 1);
        });
    }

    #[test]
    fn one_address_can_be_had_beside_another() {
        on_a_host(|| {
            let ports = Ports::default();
            let at = |ip: [u8; 4]| PortBinding {
                host_ip: Some(ip.into()),
                ..binding(80, Some((8080, 8080)))
            };
            let both = [at([127, 0, 0, 1]), at([127, 0, 0, 2])];
            let up = std::process::Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            assert!(up.unwrap().success());
            let got = ports.reserve(&request(&both)).unwrap();
            assert_eq!(got.ports.len(), 2);
            let all = [binding(80, Some((8080, 8080)))];
            let e = ports
                .reserve(&Request {
                    held: &got.ports,
                    ..request(&all)
                })
                .unwrap_err();
            assert_eq!(
                e.message(),
                "Bind for 0.0.0.0:8080 failed: port is already allocated"
            );
            let nobodys = [at([192, 0, 2, 1])];
            let e = ports.reserve(&request(&nobodys)).unwrap_err();
            assert!(
                e.message().ends_with(": cannot assign requested address"),
                "{e}"
            );
        });
    }
}
