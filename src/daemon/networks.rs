//! What the operator says of networks, in dockerd's words where it has some.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use engine::{AddressPool, NetworkConfig};
use model::network::{INTERFACE_BYTES_MAX, is_interface_name};
use serde::Deserialize;

use super::cli::Options;

/// The default network's interface where none is named: not dockerd's, so that the two can live on one
/// host.
const BRIDGE: &str = "moored0";

/// `[networks]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Networks {
    bridge: Option<String>,
    bip: Option<String>,
    default_address_pools: Vec<AddressPools>,
    ip: Option<IpAddr>,
    host_gateway_ips: Vec<IpAddr>,
    netavark: Option<PathBuf>,
    aardvark_dns: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressPools {
    base: String,
    size: u8,
}

/// Where nothing is said.
pub(crate) fn usual() -> NetworkConfig {
    NetworkConfig {
        bridge: Some(BRIDGE.to_owned()),
        ..NetworkConfig::default()
    }
}

impl Networks {
    /// What the settings say.
    ///
    /// # Errors
    /// What is no interface, address, range or program.
    pub(crate) fn settings(self, options: &Options) -> Result<NetworkConfig> {
        let bridge = options.bridge.clone().or(self.bridge);
        let bridge = match bridge.as_deref() {
            None => Some(BRIDGE.to_owned()),
            Some("none") => None,
            Some(name) => Some(interface(name)?),
        };
        for program in self.netavark.iter().chain(&self.aardvark_dns) {
            if !program.is_absolute() {
                bail!(
                    "the path of a program must be absolute: {}",
                    program.display()
                );
            }
        }
        let bip = self.bip.as_deref();
        let bip = bip.map(|text| match text.parse::<ipnet::Ipv4Net>() {
            Ok(net) if net.addr() != net.network() && net.prefix_len() < 31 => Ok(net.into()),
            _ => bail!("networks.bip must be an address and its prefix, 10.1.2.1/24, not {text:?}"),
        });
        let pools = self.default_address_pools.iter().map(pool);
        Ok(NetworkConfig {
            bridge,
            bridge_address: bip.transpose()?,
            pools: pools.collect::<Result<_>>()?,
            publish_address: self.ip.filter(|ip| !ip.is_unspecified()),
            host_gateways: self.host_gateway_ips,
            netavark: self.netavark,
            aardvark: self.aardvark_dns,
        })
    }
}

fn interface(name: &str) -> Result<String> {
    if !is_interface_name(name) {
        bail!(
            "networks.bridge must be an interface's name, at most {INTERFACE_BYTES_MAX} characters, or \
             none, not {name:?}"
        );
    }
    Ok(name.to_owned())
}

fn pool(said: &AddressPools) -> Result<AddressPool> {
    let base: ipnet::IpNet = match said.base.parse() {
        Ok(base) => base,
        Err(_) => bail!(
            "the base of a default address pool must be a range, 10.0.0.0/8, not {:?}",
            said.base
        ),
    };
    if said.size < base.prefix_len() || said.size >= base.max_prefix_len() {
        bail!(
            "the size of the default address pool {base} must be between {} and {}, not {}",
            base.prefix_len(),
            base.max_prefix_len() - 1,
            said.size
        );
    }
    Ok(AddressPool {
        base: base.trunc(),
        size: said.size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NetworkConfig> {
        let networks: Networks = toml::from_str(text)?;
        networks.settings(&Options::default())
    }

    #[test]
    fn what_is_said_is_checked() {
        assert_eq!(read("").unwrap(), usual());
        assert_eq!(read("bridge = 'none'").unwrap().bridge, None);
        let pools = "default-address-pools = [{ base = '10.9.0.0/16', size = 24 }]";
        assert_eq!(read(pools).unwrap().pools[0].size, 24);
        let bip = read("bip = '10.1.2.1/24'").unwrap().bridge_address.unwrap();
        assert_eq!(bip.to_string(), "10.1.2.1/24");
        for bad in [
            "bridge = 'a/b'",
            "bridge = 'a-name-too-long-for-it'",
            "bip = '10.1.2.0/24'",
            "bip = '10.1.2.1'",
            "default-address-pools = [{ base = '10.9.0.0/16', size = 8 }]",
            "default-address-pools = [{ base = 'ten', size = 8 }]",
            "netavark = 'bin/netavark'",
            "firewall = 'off'",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
