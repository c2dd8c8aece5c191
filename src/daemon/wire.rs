//! The one file that knows how the engine is opened.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use engine::{ApiSocket, Config, Engine, Host, RuntimeConfig};
use jiff::SignedDuration;
use model::Timestamp;

use super::settings::{CgroupManager, Settings};

/// Where a small init for `HostConfig.Init` is looked for, in order: Docker's own and tini, which
/// it is (127 for a missing command), then catatonit (1).
pub(crate) const INIT_PATHS: [&str; 5] = [
    "/usr/libexec/docker/docker-init",
    "/usr/bin/docker-init",
    "/usr/bin/tini-static",
    "/usr/bin/catatonit",
    "/usr/libexec/podman/catatonit",
];

/// Opens the engine on the prepared roots: what was running is found again.
///
/// # Errors
/// When a setting asks for what is not built, or the engine's own words.
pub(crate) async fn open(settings: &Settings, api_sockets: Vec<ApiSocket>) -> Result<Engine> {
    let config = Config {
        api_sockets,
        ..config(settings)
    };
    Engine::open(config, host()?).await.map_err(Into::into)
}

/// Whether containers have labels: the operator wants it, and the kernel has it.
fn selinux(settings: &Settings) -> bool {
    let has_it = sys::host::security().selinux;
    if settings.selinux_enabled && !has_it {
        tracing::warn!(
            "selinux-enabled is set, and this kernel has no SELinux: nothing has a label"
        );
    }
    settings.selinux_enabled && has_it
}

fn config(settings: &Settings) -> Config {
    let selinux = selinux(settings);
    let mut runtime = runtime_config(settings);
    runtime.selinux = selinux;
    Config {
        data_root: settings.data_root.clone(),
        run_root: settings.run_root.clone(),
        runtime,
        selinux,
        spill_bytes_max: settings.spill_max_bytes,
        log_default: settings.log_default.clone(),
        ids: settings.ids.clone(),
        storage_driver: settings.storage_driver,
        cdi_dirs: settings.cdi_spec_dirs.clone(),
        networks: settings.networks.clone(),
        registries: settings.registries.clone(),
        labels: settings.labels.clone(),
        api_sockets: Vec::new(),
        init_paths: INIT_PATHS.map(Into::into).into(),
    }
}

/// Where conmon and the runtimes are, and how they are used.
pub(crate) fn runtime_config(settings: &Settings) -> RuntimeConfig {
    let mut runtime = RuntimeConfig::new(&settings.run_root);
    // What the operator names takes the place of the usual places; `$PATH` comes last anyway.
    if !settings.conmon_paths.is_empty() {
        runtime.conmon_paths.clone_from(&settings.conmon_paths);
    }
    for (name, paths) in &settings.runtimes {
        let known = runtime.runtimes.entry(name.clone()).or_default();
        if !paths.is_empty() {
            known.clone_from(paths);
        }
    }
    runtime.traits.clone_from(&settings.runtime_traits);
    if let Some(name) = &settings.runtime {
        // One that has no paths is looked for on `$PATH`.
        runtime.runtimes.entry(name.clone()).or_default();
    }
    runtime.default_runtime.clone_from(&settings.runtime);
    runtime.log_level = settings.conmon_log_level;
    settings.launch.apply(&mut runtime);
    runtime.cgroup_manager = match settings.cgroup_manager {
        CgroupManager::Cgroupfs => engine::CgroupManager::Cgroupfs,
        CgroupManager::Systemd => engine::CgroupManager::Systemd,
    };
    runtime.cgroup_parent.clone_from(&settings.cgroup_parent);
    runtime
}

fn host() -> Result<Host> {
    Ok(Host {
        now: Arc::new(now()),
        random: Arc::new(random),
        boot_id: sys::host::boot_id().context("cannot read the boot id: is /proc mounted?")?,
    })
}

/// The wall clock; in the test build it may be off.
fn now() -> impl Fn() -> Timestamp + Send + Sync {
    let offset = SignedDuration::from_secs(failpoint::clock_offset_s());
    move || {
        let now = Timestamp::now();
        now.checked_add(offset).unwrap_or(now)
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the kernel's random source never fails after boot");
    bytes
}
