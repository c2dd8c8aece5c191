//! Kernel parameters: only those that belong to a namespace the container has for itself.
//!
//! The OCI runtimes check the same, at start; here the request is refused, in runc's words
//! (libcontainer `configs/validate`).

use std::collections::BTreeMap;

use model::{ContainerSpec, Error, IpcMode, NamespaceMode, NetworkMode, Result};

use super::host::{DefaultSysctl, HostFacts};

/// Parameters of the ipc namespace.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
/// The NIS domain name, a parameter of the uts namespace.
const DOMAINNAME: &str = "kernel.domainname";

/// What is set: Docker's defaults, the domain name, then the request's own.
pub(super) fn sysctls<'a>(spec: &'a ContainerSpec, host: &HostFacts) -> BTreeMap<&'a str, &'a str> {
    let mut set = BTreeMap::new();
    if spec.network != NetworkMode::Host {
        // A user namespace has groups of its own (moby `WithSysctls`).
        let is_for =
            |s: &&DefaultSysctl| spec.id_maps.is_none() || **s != DefaultSysctl::PingGroupRange;
        set.extend(host.default_sysctls.iter().filter(is_for).map(|s| s.pair()));
    }
    if !spec.domainname.is_empty() && spec.uts_mode == NamespaceMode::Private {
        // The OCI spec of our version has no field for it.
        set.insert(DOMAINNAME, spec.domainname.as_str());
    }
    set.extend(spec.sysctls.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    set
}

/// Refuses parameters of the host.
pub(super) fn check(spec: &ContainerSpec) -> Result<()> {
    for (key, value) in &spec.sysctls {
        check_one(key, spec)?;
        if value.contains('\0') {
            return Err(Error::invalid(format!("invalid value of sysctl {key:?}")));
        }
    }
    Ok(())
}

fn check_one(key: &str, spec: &ContainerSpec) -> Result<()> {
    let dotted = normalise(key).ok_or_else(|| {
        Error::invalid(format!(
            "sysctl {key:?} is not in a separate kernel namespace"
        ))
    })?;
    let ipc = IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.");
    let needs = if ipc {
        ("ipc", spec.ipc_mode != IpcMode::Host)
    } else if dotted == DOMAINNAME {
        ("uts", spec.uts_mode == NamespaceMode::Private)
    } else if dotted.starts_with("net.") {
        if spec.network == NetworkMode::Host {
            return Err(Error::invalid(format!(
                "sysctl {key:?} not allowed in host network namespace"
            )));
        }
        return Ok(());
    } else {
        return Err(Error::invalid(format!(
            "sysctl {key:?} is not in a separate kernel namespace"
        )));
    };
    match needs {
        (_, true) => Ok(()),
        (namespace, false) => Err(Error::invalid(format!(
            "sysctl {key:?} is not allowed in the hosts {namespace} namespace"
        ))),
    }
}

/// The dotted form of a key: `net/ipv4/ip_forward` means `net.ipv4.ip_forward` (sysctl(8): the
/// first separator decides). `None` when it could name anything else than a file below its
/// first directory.
fn normalise(key: &str) -> Option<String> {
    let separator = key.find(['.', '/']).map(|i| key.as_bytes()[i])?;
    let parts: Vec<&str> = match separator {
        b'/' => key.split('/').collect(),
        _ => key.split('.').collect(),
    };
    let plain = |part: &&str| {
        !part.is_empty()
            && *part != "."
            && *part != ".."
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.:@".contains(&b) || b == b'/')
    };
    // A dotted key may carry a slash for a dot in an interface's name, but no way up.
    let way_up = key.contains("..") || key.contains("/.") || key.contains("./");
    (!way_up && parts.iter().all(plain)).then(|| parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::super::host::DefaultSysctl;
    use super::*;

    fn with(key: &str, spec: ContainerSpec) -> Result<()> {
        check(&ContainerSpec {
            sysctls: [(key.to_owned(), "1".to_owned())].into(),
            ..spec
        })
    }

    #[test]
    fn only_parameters_of_own_namespaces() {
        let plain = ContainerSpec::default;
        for good in [
            "net.ipv4.ip_forward",
            "net/ipv4/conf/eth0.100/forwarding",
            "net.ipv4.conf.eth0/100.forwarding",
            "kernel.shmmax",
            "fs.mqueue.msg_max",
            "kernel.domainname",
        ] {
            with(good, plain()).unwrap();
        }
        for bad in [
            "kernel.panic",
            "vm.swappiness",
            "net",
            "",
            "net..x",
            "net/../kernel/panic",
            "net.ipv4.x/../../../kernel/panic",
            "net./x",
            "net.ipv4.a b",
            "kernel.hostname",
        ] {
            assert_eq!(
                with(bad, plain()).unwrap_err().message(),
                format!("sysctl {bad:?} is not in a separate kernel namespace")
            );
        }
    }

    #[test]
    fn a_shared_namespace_is_the_hosts() {
        let host_net = ContainerSpec {
            network: NetworkMode::Host,
            ..ContainerSpec::default()
        };
        assert_eq!(
            with("net.core.somaxconn", host_net).unwrap_err().message(),
            "sysctl \"net.core.somaxconn\" not allowed in host network namespace"
        );
        let host_ipc = ContainerSpec {
            ipc_mode: IpcMode::Host,
            ..ContainerSpec::default()
        };
        assert!(with("kernel.shmmax", host_ipc).is_err());
    }

    #[test]
    fn docker_s_defaults_are_set_where_they_belong_and_can_be_overridden() {
        let mut host = super::super::fixture::host();
        host.default_sysctls = vec![
            DefaultSysctl::PingGroupRange,
            DefaultSysctl::UnprivilegedPortStart,
        ];
        let mut spec = ContainerSpec {
            domainname: "nis".into(),
            sysctls: [("net.ipv4.ping_group_range".to_owned(), "1 0".to_owned())].into(),
            ..ContainerSpec::default()
        };
        let set = sysctls(&spec, &host);
        assert_eq!(set["net.ipv4.ping_group_range"], "1 0");
        assert_eq!(set["net.ipv4.ip_unprivileged_port_start"], "0");
        assert_eq!(set["kernel.domainname"], "nis");
        spec.network = NetworkMode::Host;
        spec.uts_mode = NamespaceMode::Host;
        spec.sysctls.clear();
        assert!(sysctls(&spec, &host).is_empty());
    }
}
