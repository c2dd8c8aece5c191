//! Namespaces: pid, ipc, uts, cgroup.

use model::{ContainerSpec, Error, IpcMode, Joins, NamespaceMode, PidMode, Result};

use wire::container::{ContainerConfig, CreateRequest, HostConfig};

/// Copies the namespace modes into the spec. One that is another container's is private there until the
/// engine has found that ([`joins`]).
///
/// # Errors
/// 400 for a mode Docker does not know.
pub(super) fn apply(
    config: &ContainerConfig,
    host: &HostConfig,
    spec: &mut ContainerSpec,
) -> Result<()> {
    spec.pid_mode = match host.pid_mode.as_str() {
        "" | "private" => PidMode::Private,
        "host" => PidMode::Host,
        other => match donor(other) {
            Some(_) => PidMode::Private,
            None => return Err(invalid("PID", other)),
        },
    };
    spec.ipc_mode = match host.ipc_mode.as_str() {
        "" | "private" => IpcMode::Private,
        "shareable" => IpcMode::Shareable,
        "none" => IpcMode::None,
        "host" => IpcMode::Host,
        other => match donor(other) {
            Some(_) => IpcMode::Private,
            None => return Err(invalid("IPC", other)),
        },
    };
    spec.uts_mode = match host.uts_mode.as_str() {
        "" => NamespaceMode::Private,
        "host" => NamespaceMode::Host,
        other => return Err(invalid("UTS", other)),
    };
    if spec.uts_mode == NamespaceMode::Host && !config.hostname.is_empty() {
        return Err(Error::invalid(
            "conflicting options: hostname and the UTS mode",
        ));
    }
    spec.cgroupns_mode = match host.cgroupns_mode.as_str() {
        "" => None,
        "host" => Some(NamespaceMode::Host),
        "private" => Some(NamespaceMode::Private),
        other => {
            return Err(Error::invalid(format!(
                "invalid cgroup namespace mode: {other}"
            )));
        }
    };
    Ok(())
}

/// The containers whose namespaces are asked for.
pub(super) fn joins(request: &CreateRequest) -> Joins {
    let named = |mode: &str| donor(mode).map(str::to_owned);
    let Some(host) = &request.host_config else {
        return Joins::default();
    };
    Joins {
        network: named(&host.network_mode).filter(|_| !request.config.network_disabled),
        pid: named(&host.pid_mode),
        ipc: named(&host.ipc_mode),
    }
}

/// The container that a mode names.
pub(super) fn donor(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:")
        .filter(|name| !name.is_empty())
}

fn invalid(kind: &str, mode: &str) -> Error {
    Error::invalid(format!("invalid {kind} mode: {mode}"))
}
