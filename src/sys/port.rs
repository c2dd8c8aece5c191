//! Ports of the host: held by a bound socket, and which of them the kernel gives away itself.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use model::Protocol;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, bind, ipproto, listen, shutdown, socket_with,
    sockopt,
};

/// Binds a socket that nobody listens on: while it, or a copy of it, is open, no other socket gets the
/// port. `None` where the kernel does not have the protocol or the family.
///
/// Connections to it are refused, and datagrams that reach it (because no rule leads them on) are kept
/// up to the least buffer that can be had.
///
/// # Errors
/// What bind(2) says: `AddrInUse` above all.
pub fn hold(protocol: Protocol, address: SocketAddr) -> io::Result<Option<OwnedFd>> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let made = socket_with(family, kind, SocketFlags::CLOEXEC, Some(number));
    let socket = match made {
        Err(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::SOCKTNOSUPPORT) => return Ok(None),
        made => made?,
    };
    if address.is_ipv6() {
        // IPv4 is another socket's.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Udp {
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    let mut bound = bind(&socket, &address);
    if bound == Err(Errno::ADDRINUSE) && protocol == Protocol::Tcp {
        bound = bind_beside_the_dead(&socket, &address);
    }
    match bound {
        // IPv6 is switched off.
        Err(Errno::ADDRNOTAVAIL) if address.ip().is_unspecified() => Ok(None),
        bound => bound.map(|()| Some(socket)).map_err(Into::into),
    }
}

/// Binds to a port of which only connections are left that are over (`TIME_WAIT`, a minute after a server of
/// the host has ended): they keep others from it that do not say `SO_REUSEADDR`.
///
/// Who says it shares the port with all who do. Having listened once without it ends that (`inet_csk_get_port`
/// of the kernel), and a socket that listens no more stays bound.
fn bind_beside_the_dead(socket: &OwnedFd, address: &SocketAddr) -> Result<(), Errno> {
    sockopt::set_socket_reuseaddr(socket, true)?;
    bind(socket, address)?;
    listen(socket, 0)?;
    sockopt::set_socket_reuseaddr(socket, false)?;
    shutdown(socket, Shutdown::Read)
}

/// The ports that the kernel gives to who asks for any, first and last (ip_local_port_range of
/// ip-sysctl.rst).
///
/// # Errors
/// What reading /proc says, and `InvalidData`.
pub fn ephemeral() -> io::Result<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut words = text.split_ascii_whitespace().map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(last))) if 0 < first && first <= last => Ok((first, last)),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

/// Those of them that it never gives away, as ranges (ip_local_reserved_ports). None when it does not say.
pub fn reserved() -> Vec<(u16, u16)> {
    let path = "/proc/sys/net/ipv4/ip_local_reserved_ports";
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.trim().split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};

    fn free() -> u16 {
        let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        any.local_addr().unwrap().port()
    }

    #[test]
    fn a_held_port_is_nobodys_and_answers_nobody() {
        let port = free();
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let held = hold(Protocol::Tcp, all).unwrap().unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let again = hold(Protocol::Tcp, all).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        // The other protocol's and the other family's are others.
        UdpSocket::bind(all).unwrap();
        let six = hold(
            Protocol::Tcp,
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        );
        drop((held, six.unwrap()));
        TcpListener::bind(all).unwrap();
        // Whatever of SCTP this kernel has, it says so in time.
        let _ = hold(Protocol::Sctp, all).unwrap();
    }

    /// A server that has just ended keeps nobody from its port; who has it then has it alone.
    #[test]
    fn connections_that_are_over_do_not_count() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = server.local_addr().unwrap();
        let client = TcpStream::connect(at).unwrap();
        let (accepted, _) = server.accept().unwrap();
        // Who closes first waits.
        drop(accepted);
        drop((client, server));
        let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port()));
        let held = hold(Protocol::Tcp, all).unwrap().unwrap();
        let refused = TcpStream::connect(at).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        // The library says `SO_REUSEADDR`.
        let taken = TcpListener::bind(at).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert!(hold(Protocol::Tcp, all).is_err());
        drop(held);
        let listens = TcpListener::bind(at).unwrap();
        assert!(hold(Protocol::Tcp, all).is_err());
        drop(listens);
    }

    #[test]
    fn the_kernels_own_ports_are_known() {
        let (first, last) = ephemeral().unwrap();
        assert!(first <= free() && free() <= last);
        assert!(reserved().iter().all(|(first, last)| first <= last));
    }
}
