//! Namespaces: pid, ipc, uts, cgroup.

use model::{ContainerSpec, Error, NamespaceMode, Result};

use super::not_built;
use wire::container::{ContainerConfig, HostConfig};

/// Copies the namespace modes into the spec.
///
/// # Errors
/// 400 for a mode Docker does not know, 501 for another container's namespace.
pub(super) fn apply(
    config: &ContainerConfig,
    host: &HostConfig,
    spec: &mut ContainerSpec,
) -> Result<()> {
    spec.pid_mode = mode("HostConfig.PidMode", "PID", &host.pid_mode, &["private"])?;
    // Shareable is private until containers can share.
    let ipc_words = &["private", "shareable"];
    spec.ipc_mode = mode("HostConfig.IpcMode", "IPC", &host.ipc_mode, ipc_words)?;
    spec.uts_mode = mode("HostConfig.UTSMode", "UTS", &host.uts_mode, &[])?;
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

fn mode(field: &str, kind: &str, text: &str, private_words: &[&str]) -> Result<NamespaceMode> {
    match text {
        "" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        word if private_words.contains(&word) => Ok(NamespaceMode::Private),
        "none" if kind == "IPC" => Err(not_built(&format!("{field} none"))),
        other
            if other
                .strip_prefix("container:")
                .is_some_and(|id| !id.is_empty()) =>
        {
            Err(not_built(&format!("{field} container:<name|id>")))
        }
        other => Err(Error::invalid(format!("invalid {kind} mode: {other}"))),
    }
}
