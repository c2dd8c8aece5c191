//! What the operator says of networks.

use std::net::IpAddr;

use ipnet::IpNet;
use network::addresses::Pool;

/// What the operator says of networks.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The interface of the default network; `None` where there is to be none (dockerd's `--bridge=none`).
    pub bridge: Option<String>,
    /// Its address and range; `None` takes a default pool (dockerd's `--bip`).
    pub bridge_address: Option<IpNet>,
    /// Where ranges of networks are taken from that name none.
    pub pools: Vec<Pool>,
    /// The host's address that ports are published on where a client names none; `None` is all
    /// (dockerd's `--ip`).
    pub publish_address: Option<IpAddr>,
    /// What `host-gateway` stands for; empty is the default network's gateway.
    pub host_gateways: Vec<IpAddr>,
}
