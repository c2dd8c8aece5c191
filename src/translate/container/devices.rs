//! `HostConfig.Devices`: single devices of the host.

use model::{Device, Error, Result};

use super::{bounded, clean_absolute};
use wire::container::HostConfig;

/// The devices. A container path left out is the host's, permissions left out are all.
///
/// # Errors
/// 400 for a path that is not absolute or a permission other than `r`, `w`, `m`.
pub(super) fn devices(host: &HostConfig) -> Result<Vec<Device>> {
    let list = host.devices.as_deref().unwrap_or_default();
    bounded("HostConfig.Devices", list.len())?;
    list.iter()
        .map(|device| {
            let inside = if device.path_in_container.is_empty() {
                &device.path_on_host
            } else {
                &device.path_in_container
            };
            for path in [&device.path_on_host, inside] {
                if !path.starts_with('/') {
                    return Err(Error::invalid(format!("{path} is not an absolute path")));
                }
            }
            let permissions = match device.cgroup_permissions.as_str() {
                "" => "rwm",
                given => given,
            };
            if permissions.chars().any(|c| !"rwm".contains(c)) {
                return Err(Error::invalid(format!("bad mode specified: {permissions}")));
            }
            Ok(Device {
                path_on_host: clean_absolute(&device.path_on_host),
                path_in_container: clean_absolute(inside),
                permissions: permissions.to_owned(),
            })
        })
        .collect()
}
