//! The networks a new container is to be on (moby v27.5.1 `container_routes.go`, `daemon/create.go`).

use std::collections::BTreeMap;

use model::{EndpointWish, Error, Kind, Result};

use super::bounded;
use crate::network::{NO_OTHER_NETWORK, NOT_WITH_NONE, endpoint_config, is_user_defined, joined};
use wire::container::{ContainerConfig, CreateRequest, EndpointSettings, HostConfig};
use wire::version::ApiVersion;

/// What `default` means.
const BRIDGE: &str = "bridge";

/// Since when an endpoint has a hardware address of its own and a container several endpoints.
const MANY_NETWORKS: ApiVersion = ApiVersion::v1(44);

/// Rewrites what a request says of networks to its newest meaning.
///
/// # Errors
/// 400 for a combination that the version forbids.
pub(super) fn settle(
    request: &mut CreateRequest,
    version: ApiVersion,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let host = request.host_config.get_or_insert_default();
    let networking = request.networking_config.get_or_insert_default();
    let endpoints = &mut networking.endpoints_config;
    if matches!(host.network_mode.as_str(), "" | "default") {
        BRIDGE.clone_into(&mut host.network_mode);
        if let Some(settings) = endpoints.remove("default") {
            endpoints.insert(BRIDGE.to_owned(), settings);
        }
    }
    if version < MANY_NETWORKS {
        if endpoints.len() > 1 {
            let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
            return Err(Error::invalid(format!(
                "Container cannot be created with multiple network endpoints: {}",
                names.join(", ")
            )));
        }
        // Then an address on an endpoint was ignored; it stood in `Config.MacAddress`.
        for endpoint in endpoints.values_mut() {
            endpoint.mac_address.clear();
        }
    }
    let asked = request.config.mac_address.clone();
    if asked.is_empty() {
        return Ok(());
    }
    let is_main = host.network_mode == BRIDGE || is_user_defined(&host.network_mode);
    if version < MANY_NETWORKS {
        if !is_main {
            return Err(Error::invalid(
                "conflicting options: mac-address and the network mode",
            ));
        }
        main_endpoint(&host.network_mode, endpoints, version)?.mac_address = asked;
        return Ok(());
    }
    if is_main {
        give_address(&host.network_mode, endpoints, &asked)?;
    }
    warnings.push(
        "The container-wide MacAddress field is now deprecated. It should be specified in \
         EndpointsConfig instead."
            .to_owned(),
    );
    request.config.mac_address.clear();
    Ok(())
}

fn give_address(
    mode: &str,
    endpoints: &mut BTreeMap<String, EndpointSettings>,
    asked: &str,
) -> Result<()> {
    let main = main_endpoint(mode, endpoints, MANY_NETWORKS).map_err(|e| {
        let why = "unable to migrate container-wide MAC address to a specific network";
        Error::invalid(format!("{why}: {e}"))
    })?;
    if main.mac_address.is_empty() {
        asked.clone_into(&mut main.mac_address);
    } else if main.mac_address != asked {
        return Err(Error::invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the \
             main network, or be left empty",
        ));
    }
    Ok(())
}

/// The endpoint that what is said of the whole container is said of.
fn main_endpoint<'a>(
    mode: &str,
    endpoints: &'a mut BTreeMap<String, EndpointSettings>,
    version: ApiVersion,
) -> Result<&'a mut EndpointSettings> {
    if endpoints.is_empty() {
        return Ok(endpoints.entry(mode.to_owned()).or_default());
    }
    let found = match version < MANY_NETWORKS {
        // There is but one, whatever its name.
        true => endpoints.values_mut().next(),
        false => endpoints.get_mut(mode),
    };
    found.ok_or_else(|| {
        Error::invalid(
            "HostConfig.NetworkMode must match the identity of a network in \
             NetworkSettings.Networks",
        )
    })
}

/// What the container asks for on the networks it is to be on, the one that its mode names first. As in
/// Docker that one is not among them where the client named others only.
///
/// # Errors
/// 400 with all that is wrong, in Docker's words, and for networks where it can be on none; 501 for what is
/// not built.
pub(super) fn wishes(request: &CreateRequest) -> Result<Vec<EndpointWish>> {
    let (no_host, none) = (HostConfig::default(), BTreeMap::new());
    let host = request.host_config.as_ref().unwrap_or(&no_host);
    let networking = request.networking_config.as_ref();
    let endpoints = networking.map_or(&none, |networking| &networking.endpoints_config);
    bounded("NetworkingConfig.EndpointsConfig", endpoints.len())?;
    let mode = host.network_mode.as_str();
    let (mut wishes, mut mistakes) = (Vec::new(), Vec::new());
    for (network, settings) in endpoints {
        match endpoint_config(network, settings) {
            Ok(config) => wishes.push(EndpointWish {
                network: network.clone(),
                config,
            }),
            Err(e) if e.kind() == Kind::InvalidParameter => {
                mistakes.push(format!("invalid config for network {network}: {e}"));
            }
            Err(e) => return Err(e),
        }
    }
    if let Some(mistakes) = joined(&mistakes) {
        return Err(Error::invalid(mistakes));
    }
    let others: Vec<&String> = endpoints.keys().filter(|name| *name != mode).collect();
    if let Some(why) = conflict(&request.config, mode, &others) {
        return Err(Error::invalid(why));
    }
    if request.config.network_disabled || !(mode == BRIDGE || is_user_defined(mode)) {
        return Ok(Vec::new());
    }
    if wishes.is_empty() {
        wishes.push(EndpointWish {
            network: mode.to_owned(),
            ..EndpointWish::default()
        });
    }
    wishes.sort_by_key(|wish| wish.network != mode);
    Ok(wishes)
}

/// Why a container of this mode cannot be on these networks besides.
fn conflict(config: &ContainerConfig, mode: &str, others: &[&String]) -> Option<&'static str> {
    if others.is_empty() {
        return None;
    }
    if config.network_disabled || mode == "none" {
        return Some(NOT_WITH_NONE);
    }
    if !(mode == BRIDGE || is_user_defined(mode)) {
        return Some(NO_OTHER_NETWORK);
    }
    others.iter().find_map(|other| match other.as_str() {
        "none" => Some(NOT_WITH_NONE),
        "host" => {
            Some("container cannot be disconnected from host network or connected to host network")
        }
        _ => None,
    })
}
