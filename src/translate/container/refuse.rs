//! The fields that Docker has and moored has not built: refused when they ask for something.
//!
//! One line a field. Fields that are built in part (a mode, an option) are refused where they
//! are translated.

use model::{Error, Result};

use super::{not_built, restart_policy};
use wire::container::HostConfig;

/// Refuses the first wish that is not built.
///
/// # Errors
/// 501 naming the field; 400 where Docker on Linux refuses too.
pub(super) fn refuse(host: &HostConfig) -> Result<()> {
    restart_policy::check(&host.restart_policy, host.auto_remove)?;
    windows_only(host)?;
    match host.cgroup.is_empty() {
        true => Ok(()),
        false => Err(not_built("HostConfig.Cgroup")),
    }
}

/// Docker on Linux refuses these; it ignores `CpuCount` and `CpuPercent`.
fn windows_only(host: &HostConfig) -> Result<()> {
    if !(host.isolation.is_empty() || host.isolation.eq_ignore_ascii_case("default")) {
        return Err(Error::invalid(format!(
            "Invalid isolation: {:?} - linux only supports 'default'",
            host.isolation
        )));
    }
    let what = match (host.io_maximum_bandwidth, host.io_maximum_iops) {
        (0, 0) => return Ok(()),
        (0, _) => "IOPs",
        _ => "bandwidth",
    };
    Err(Error::invalid(format!(
        "Invalid QoS settings: linux does not support configuration of maximum {what}"
    )))
}
