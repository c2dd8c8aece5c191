//! A create request, whole.

use engine::CreateContainer;
use model::{ContainerSpec, Error, LogConfig, Platform, Result, UserNamespace};

use super::{
    bounded, config, defaults, devices, endpoints, gates, log_config, mounts, namespaces, networks,
    refuse, resources, restart_policy, security,
};
use wire::container::{ContainerConfig, CreateRequest};
use wire::version::{ApiVersion, NEWEST};

/// What a create request came to.
#[derive(Debug)]
pub struct Translated {
    /// For the engine.
    pub create: CreateContainer,
    /// For the client, beside the engine's own.
    pub warnings: Vec<String>,
}

/// Translates a create request.
///
/// The echo is the request as it is in force: in the newest version's meaning, with Docker's
/// defaults filled in. Inspect needs no more, and no version.
///
/// `log_default` is where output goes where nothing else is said.
///
/// # Errors
/// 400 in Docker's words; 501 for what is not built, naming the field.
pub fn create(
    mut request: CreateRequest,
    name: Option<&str>,
    platform: Option<&str>,
    version: ApiVersion,
    log_default: &LogConfig,
) -> Result<Translated> {
    if request.config == ContainerConfig::default() {
        return Err(Error::invalid(
            "config cannot be empty in order to create a container",
        ));
    }
    let name = name.filter(|n| !n.is_empty()).map(str::to_owned);
    let platform = platform
        .filter(|text| !text.is_empty() && version >= ApiVersion::v1(41))
        .map(Platform::parse)
        .transpose()?;
    let mut warnings = Vec::new();
    gates::apply(&mut request, version, &mut warnings)?;
    let host = request.host_config.get_or_insert_default();
    log_config::fill(&mut host.log_config, log_default);
    if host.cpu_percent > 0 {
        host.cpu_percent = 0;
        warnings.push("linux does not support CPU percent. Percent discarded.".to_owned());
    }
    let (mut spec, volumes, stop_signal) = spec(&request, version, &mut warnings)?;
    let user_namespace = user_namespace(&request)?;
    let joins = namespaces::joins(&request);
    let endpoints = endpoints::wishes(&request)?;
    defaults::fill(&mut request);
    let host = request.host_config.get_or_insert_default();
    spec.resources.memory_swap_bytes = Some(host.memory_swap).filter(|n| *n != 0);
    let storage_options = host.storage_opt.clone().unwrap_or_default();
    let volume_driver = host.volume_driver.clone();
    let echo = serde_json::to_vec(&request).expect("wire types have string keys");
    Ok(Translated {
        create: CreateContainer {
            name,
            image: request.config.image,
            platform,
            spec,
            joins,
            endpoints,
            user_namespace,
            stop_signal,
            anonymous_volumes: volumes.anonymous,
            declared_volumes: volumes.declared,
            volume_driver,
            volumes_from: volumes.from,
            storage_options,
            echo,
        },
        warnings,
    })
}

/// Makes a create of the echo of another daemon's: the request as it was in force there.
///
/// # Errors
/// As [`create`].
pub fn of_echo(echo: &str, log_default: &LogConfig) -> Result<Translated> {
    let request = serde_json::from_str(echo)
        .map_err(|e| Error::invalid(format!("bad request in the archive: {e}")))?;
    create(request, None, None, NEWEST, log_default)
}

/// Docker's `[rows, columns]`; `[0, 0]` is no wish, and so is what no terminal can have.
fn console_size([rows, columns]: [u32; 2]) -> Option<(u16, u16)> {
    let size = (u16::try_from(rows).ok()?, u16::try_from(columns).ok()?);
    (size.0 > 0 && size.1 > 0).then_some(size)
}

fn spec(
    request: &CreateRequest,
    version: ApiVersion,
    warnings: &mut Vec<String>,
) -> Result<(ContainerSpec, mounts::Mounts, Option<model::Signal>)> {
    let default = Default::default();
    let host = request.host_config.as_ref().unwrap_or(&default);
    refuse::refuse(host)?;
    let mut spec = ContainerSpec {
        console_size: console_size(host.console_size),
        ..ContainerSpec::default()
    };
    let stop_signal = config::apply(&request.config, &mut spec)?;
    namespaces::apply(&request.config, host, &mut spec)?;
    networks::apply(request, host, &mut spec, warnings)?;
    security::apply(host, &mut spec)?;
    let reaches_down = gates::reaches_down(version);
    let mut mounts = mounts::mounts(&request.config, host, reaches_down)?;
    spec.mounts = std::mem::take(&mut mounts.mounts);
    spec.devices = devices::devices(host)?;
    spec.device_rules = devices::rules(host)?;
    spec.device_requests = devices::requests(host)?;
    spec.ulimits = resources::ulimits(host)?;
    spec.resources = resources::resources(host)?;
    spec.log = log_config::log_config(&host.log_config)?;
    spec.group_add = host.group_add.clone().unwrap_or_default();
    bounded("HostConfig.GroupAdd", spec.group_add.len())?;
    spec.shm_size_bytes = u64::try_from(host.shm_size).ok().filter(|n| *n > 0);
    spec.runtime = Some(host.runtime.clone()).filter(|name| !name.is_empty());
    spec.cgroup_parent = Some(host.cgroup_parent.clone()).filter(|path| !path.is_empty());
    spec.notifies = flag_label(&request.config, SDNOTIFY_LABEL, "container", "ignore")?;
    spec.no_cgroups = flag_label(&request.config, CGROUPS_LABEL, "disabled", "enabled")?;
    spec.init = host.init.unwrap_or(false);
    spec.auto_remove = host.auto_remove;
    spec.restart_policy = restart_policy::parsed(&host.restart_policy);
    spec.annotations = host.annotations.clone().unwrap_or_default();
    bounded("HostConfig.Annotations", spec.annotations.len())?;
    if spec.annotations.contains_key("") {
        return Err(Error::invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    Ok((spec, mounts, stop_signal))
}

/// The label that says what `UsernsMode` says; the docker CLI lets only its own words pass there. The
/// request's alone counts, not an image's.
const USERNS_LABEL: &str = "moored.userns";

/// The label of a container that speaks sd_notify (podman's `--sdnotify=container`).
const SDNOTIFY_LABEL: &str = "moored.sdnotify";

/// The label of a container without cgroups (podman's `--cgroups=disabled`).
const CGROUPS_LABEL: &str = "moored.cgroups";

/// Whether a label has the word `on`; the word `off` says what no label says.
fn flag_label(config: &ContainerConfig, label: &str, on: &str, off: &str) -> Result<bool> {
    let labels = config.labels.as_ref();
    match labels.and_then(|l| l.get(label)).map(String::as_str) {
        Some(word) if word == on => Ok(true),
        None => Ok(false),
        Some(word) if word == off => Ok(false),
        Some(other) => Err(Error::invalid(format!(
            "invalid label {label}={other}: it must be {on} or {off}"
        ))),
    }
}

fn user_namespace(request: &CreateRequest) -> Result<UserNamespace> {
    let host = request.host_config.as_ref();
    let mode = host.map_or("", |host| host.userns_mode.as_str());
    let labels = request.config.labels.as_ref();
    match labels.and_then(|labels| labels.get(USERNS_LABEL)) {
        Some(label) if !mode.is_empty() && mode != label => Err(Error::invalid(format!(
            "conflicting options: the userns mode {mode} and the label {USERNS_LABEL}={label}"
        ))),
        Some(label) => UserNamespace::parse(label),
        None => UserNamespace::parse(mode),
    }
}
