//! A request for a new network, whole.

use engine::NewNetwork;
use model::{Error, Kind, Result, limits};
use wire::network::NetworkCreateRequest;

use super::{NO_SWARM, ipam, options};
use crate::NotBuilt;

/// Options that say what `EnableIPv4` and `EnableIPv6` say, where these are silent.
const ENABLE_IPV4: &str = "com.docker.network.enable_ipv4";
const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";

/// What a request came to.
#[derive(Debug)]
pub struct TranslatedNetwork {
    /// For the engine.
    pub create: NewNetwork,
    /// For the client: what has no effect. Empty is nothing.
    pub warning: String,
}

/// Translates a request. Whether the name is free and the driver known is for the catalog to say.
///
/// # Errors
/// Docker's words for what is wrong and for what is a swarm's; 501 for what is not built, naming the field.
pub fn create(request: NetworkCreateRequest) -> Result<TranslatedNetwork> {
    check_scope(&request)?;
    if request.config_only {
        return Err(NotBuilt::error("ConfigOnly"));
    }
    let options = request.options.unwrap_or_default();
    let labels = request.labels.unwrap_or_default();
    bounded("Options", options.len())?;
    bounded("Labels", labels.len())?;
    let enabled = |asked: Option<bool>, name: &str, default: bool| match asked {
        Some(asked) => Ok(asked),
        None => match options.get(name) {
            None => Ok(default),
            Some(word) => options::go_bool(word)
                .ok_or_else(|| Error::invalid(format!("driver-opt {name:?} is not a valid bool"))),
        },
    };
    let enable_ipv4 = enabled(request.enable_ipv4, ENABLE_IPV4, true)?;
    let enable_ipv6 = enabled(request.enable_ipv6, ENABLE_IPV6, false)?;
    let ipam = request.ipam.unwrap_or_default();
    let ranges = ipam::ranges(&ipam, enable_ipv6)?;
    options::check(&request.driver, &options)?;
    if let Some(from) = request.config_from.filter(|from| !from.network.is_empty()) {
        // True: there can be none.
        let name: String = from.network.chars().take(limits::NAME_BYTES_MAX).collect();
        return Err(Error::not_found(format!(
            "configuration network {name:?} does not exist"
        )));
    }
    Ok(TranslatedNetwork {
        create: NewNetwork {
            name: request.name,
            driver: request.driver,
            internal: request.internal,
            attachable: request.attachable,
            enable_ipv4,
            enable_ipv6,
            subnets: ranges.subnets,
            ipam_options: ipam.options,
            options,
            labels,
        },
        warning: ranges.warning,
    })
}

/// Refuses the networks of a swarm (moby `libnetwork/controller.go` `NewNetwork`).
fn check_scope(request: &NetworkCreateRequest) -> Result<()> {
    if request.driver == "overlay" {
        return Err(Error::new(Kind::Forbidden, NO_SWARM));
    }
    if request.ingress {
        return Err(Error::new(
            Kind::Forbidden,
            "Ingress network can only be global scope network",
        ));
    }
    match request.scope.as_str() {
        "" | "local" => Ok(()),
        "swarm" => Err(Error::new(
            Kind::Forbidden,
            "cannot create a swarm scoped network when swarm is not active",
        )),
        other => Err(NotBuilt::error(&format!("Scope {other:?}"))),
    }
}

pub(super) fn bounded(name: &str, len: usize) -> Result<()> {
    match len > limits::SPEC_LIST_MAX {
        true => Err(Error::invalid(format!(
            "{name} has {len} entries, more than {}",
            limits::SPEC_LIST_MAX
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn translate(body: Value) -> Result<TranslatedNetwork> {
        create(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn what_the_cli_and_compose_send() {
        // docker network create net
        let cli = json!({"Name": "net", "CheckDuplicate": true, "Driver": "bridge", "Scope": "",
            "EnableIPv6": false, "IPAM": {"Driver": "default", "Options": {}, "Config": []},
            "Internal": false, "Attachable": false, "Ingress": false, "ConfigOnly": false,
            "ConfigFrom": null, "Options": {}, "Labels": {}});
        let net = translate(cli).unwrap();
        assert_eq!(net.create.name, "net");
        assert_eq!(net.create.driver, "bridge");
        assert!(net.create.enable_ipv4 && !net.create.enable_ipv6);
        assert!(net.create.subnets.is_empty() && net.warning.is_empty());
        assert_eq!(net.create.ipam_options, Some(Default::default()));
        let compose = json!({"Name": "p_default", "Driver": "bridge", "IPAM": null,
            "ConfigFrom": {"Network": ""}, "EnableIPv6": true, "Internal": true, "Attachable": true,
            "Options": {"com.docker.network.driver.mtu": "1400", "own": "x"},
            "Labels": {"com.docker.compose.project": "p"}});
        let net = translate(compose).unwrap().create;
        assert!(net.enable_ipv6 && net.internal && net.attachable);
        assert_eq!(net.ipam_options, None);
        assert_eq!(net.options["own"], "x");
        assert_eq!(net.labels["com.docker.compose.project"], "p");
    }

    #[test]
    fn options_say_which_families_where_nothing_else_does() {
        let families = |body: Value| {
            let net = translate(body).unwrap().create;
            (net.enable_ipv4, net.enable_ipv6)
        };
        let options = json!({ENABLE_IPV4: "0", ENABLE_IPV6: "T"});
        assert_eq!(families(json!({"Options": options})), (false, true));
        let both = json!({"Options": options, "EnableIPv4": true, "EnableIPv6": false});
        assert_eq!(families(both), (true, false));
        let e = translate(json!({"Options": {ENABLE_IPV6: "yes"}})).unwrap_err();
        assert_eq!(
            e.message(),
            "driver-opt \"com.docker.network.enable_ipv6\" is not a valid bool"
        );
    }

    #[test]
    fn what_is_of_a_swarm_or_of_others_is_refused() {
        let table = [
            (json!({"Driver": "overlay"}), Kind::Forbidden, NO_SWARM),
            (
                json!({"Ingress": true}),
                Kind::Forbidden,
                "Ingress network can only be global scope network",
            ),
            (
                json!({"Scope": "swarm"}),
                Kind::Forbidden,
                "cannot create a swarm scoped network when swarm is not active",
            ),
            (
                json!({"Scope": "global"}),
                Kind::NotImplemented,
                "Scope \"global\" is not implemented by moored yet",
            ),
            (
                json!({"ConfigOnly": true}),
                Kind::NotImplemented,
                "ConfigOnly is not implemented by moored yet",
            ),
            (
                json!({"ConfigFrom": {"Network": "x"}}),
                Kind::NotFound,
                "configuration network \"x\" does not exist",
            ),
        ];
        for (body, kind, message) in table {
            let e = translate(body.clone()).unwrap_err();
            assert_eq!((e.kind(), e.message()), (kind, message), "{body}");
        }
    }
}
