//! `Config`: command, environment, user, labels, ports, stop signal.

use std::collections::BTreeMap;

use model::{ContainerSpec, Error, HealthCheck, Result, Signal};

use super::{bounded, clean_path};
use wire::container::{ContainerConfig, Empty, HealthConfig, StrSlice};

/// Copies the portable half into the spec; returns the stop signal when the client set one.
///
/// # Errors
/// 400 in Docker's words.
pub(super) fn apply(config: &ContainerConfig, spec: &mut ContainerSpec) -> Result<Option<Signal>> {
    spec.entrypoint = strings("Entrypoint", config.entrypoint.as_ref())?;
    spec.cmd = strings("Cmd", config.cmd.as_ref())?;
    spec.env = environment(config.env.as_deref().unwrap_or_default())?;
    spec.user.clone_from(&config.user);
    spec.working_dir = working_dir(&config.working_dir)?;
    spec.hostname.clone_from(&config.hostname);
    spec.domainname.clone_from(&config.domainname);
    spec.labels = config.labels.clone().unwrap_or_default();
    bounded("Labels", spec.labels.len())?;
    spec.exposed_ports = exposed_ports(config.exposed_ports.as_ref())?;
    spec.tty = config.tty;
    spec.open_stdin = config.open_stdin;
    spec.stdin_once = config.stdin_once;
    spec.stop_timeout_s = config.stop_timeout;
    spec.health_check = health_check(config.healthcheck.as_ref())?;
    let signal = match config.stop_signal.as_str() {
        "" => None,
        word => Some(word.parse::<Signal>()?),
    };
    spec.stop_signal = signal.unwrap_or_default();
    Ok(signal)
}

/// What the request says; what it leaves out is the image's.
fn health_check(config: Option<&HealthConfig>) -> Result<Option<HealthCheck>> {
    let Some(config) = config else {
        return Ok(None);
    };
    let check = HealthCheck::from(config);
    bounded("Healthcheck.Test", check.test.len())?;
    check.check()?;
    Ok(Some(check))
}

fn strings(name: &str, list: Option<&StrSlice>) -> Result<Option<Vec<String>>> {
    let Some(StrSlice(list)) = list else {
        return Ok(None);
    };
    bounded(name, list.len())?;
    // A process cannot be given these (execve(2) takes C strings).
    if list.iter().any(|text| text.contains('\0')) {
        return Err(Error::invalid(format!("{name} contains a null character")));
    }
    Ok(Some(list.clone()))
}

fn environment(list: &[String]) -> Result<Vec<String>> {
    bounded("Env", list.len())?;
    for entry in list {
        let name = entry
            .split_once('=')
            .map_or(entry.as_str(), |(name, _)| name);
        if name.is_empty() || entry.contains('\0') {
            return Err(Error::invalid(format!(
                "invalid environment variable: {entry}"
            )));
        }
    }
    Ok(list.to_vec())
}

fn working_dir(path: &str) -> Result<String> {
    if path.is_empty() {
        return Ok(String::new());
    }
    if !path.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{path}' is invalid, it needs to be an absolute path"
        )));
    }
    Ok(clean_path(path))
}

fn exposed_ports(ports: Option<&BTreeMap<String, Empty>>) -> Result<Vec<String>> {
    let Some(ports) = ports else {
        return Ok(Vec::new());
    };
    bounded("ExposedPorts", ports.len())?;
    ports
        .keys()
        .map(|port| check_port(port).map(|()| port.clone()))
        .collect()
}

/// Refuses what is not `80`, `80/tcp` or `80-90/udp` (go-connections `nat`).
///
/// # Errors
/// 400 `invalid port specification: "…"`.
pub(super) fn check_port(text: &str) -> Result<()> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok();
    let is_range = number(first)
        .zip(number(last))
        .is_some_and(|(first, last)| first <= last);
    let is_protocol = ["tcp", "udp", "sctp"]
        .iter()
        .any(|known| protocol.eq_ignore_ascii_case(known));
    if is_range && is_protocol {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "invalid port specification: {text:?}"
        )))
    }
}
