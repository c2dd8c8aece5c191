//! Devices of the host: single ones, and rules for the device cgroup.

use model::resources::DeviceRuleKind;
use model::{Device, DeviceRequest, DeviceRule, Error, Result};

use super::{bounded, clean_path};
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
                path_on_host: clean_path(&device.path_on_host),
                path_in_container: clean_path(inside),
                permissions: permissions.to_owned(),
            })
        })
        .collect()
}

/// Devices by driver: `docker run --device vendor/class=name`, and `--gpus`, for which there is no driver.
///
/// # Errors
/// 400 in the words that Docker has when it starts the container (moby `handleDevice`,
/// `injectCDIDevices`). Whether a device is known is looked at then.
pub(super) fn requests(host: &HostConfig) -> Result<Vec<DeviceRequest>> {
    let list = host.device_requests.as_deref().unwrap_or_default();
    bounded("HostConfig.DeviceRequests", list.len())?;
    list.iter()
        .map(|request| {
            if request.driver != "cdi" {
                let sets = request.capabilities.iter().flatten();
                let sets: Vec<String> = sets.map(|set| format!("[{}]", set.join(" "))).collect();
                return Err(Error::invalid(format!(
                    "could not select device driver {:?} with capabilities: [{}]",
                    request.driver,
                    sets.join(" ")
                )));
            }
            let mistake = if request.count != 0 {
                "unexpected count in CDI device request"
            } else if request.options.as_ref().is_some_and(|o| !o.is_empty()) {
                "unexpected options in CDI device request"
            } else {
                let names = request.device_ids.clone().unwrap_or_default();
                bounded("HostConfig.DeviceRequests.DeviceIDs", names.len())?;
                return Ok(DeviceRequest::Cdi { names });
            };
            Err(Error::invalid(mistake))
        })
        .collect()
}

/// The rules of `docker run --device-cgroup-rule`.
///
/// # Errors
/// 400 in the words that Docker has when it starts the container (moby
/// `AppendDevicePermissionsFromCgroupRules`).
pub(super) fn rules(host: &HostConfig) -> Result<Vec<DeviceRule>> {
    let list = host.device_cgroup_rules.as_deref().unwrap_or_default();
    bounded("HostConfig.DeviceCgroupRules", list.len())?;
    list.iter().map(|text| rule(text)).collect()
}

/// `c 1:3 rwm`; a `*` is every number (moby `deviceCgroupRuleRegex`).
fn rule(text: &str) -> Result<DeviceRule> {
    let invalid = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let mut words = text.split(' ');
    let (Some(kind), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid());
    };
    let kind = match kind {
        "a" => DeviceRuleKind::All,
        "c" => DeviceRuleKind::Char,
        "b" => DeviceRuleKind::Block,
        _ => return Err(invalid()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    if !(1..=3).contains(&access.len()) || !access.chars().all(|c| "rwm".contains(c)) {
        return Err(invalid());
    }
    let number = |digits: &str, which: &str| match digits {
        "*" => Ok(None),
        "" => Err(invalid()),
        digits if !digits.bytes().all(|b| b.is_ascii_digit()) => Err(invalid()),
        digits => digits.parse().map(Some).map_err(|_| {
            Error::invalid(format!(
                "invalid {which} value in device cgroup rule format: '{text}'"
            ))
        }),
    };
    Ok(DeviceRule {
        kind,
        major: number(major, "major")?,
        minor: number(minor, "minor")?,
        access: access.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        for (text, kind, major, minor, access) in [
            ("c 1:3 r", DeviceRuleKind::Char, Some(1), Some(3), "r"),
            ("b *:* rwm", DeviceRuleKind::Block, None, None, "rwm"),
            ("a 007:* mw", DeviceRuleKind::All, Some(7), None, "mw"),
            ("c 1:1 rrr", DeviceRuleKind::Char, Some(1), Some(1), "rrr"),
        ] {
            let wanted = DeviceRule {
                kind,
                major,
                minor,
                access: access.to_owned(),
            };
            assert_eq!(rule(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_in_dockers_words() {
        for bad in [
            "",
            "a",
            "c 1:3",
            "c 1:3 ",
            "c 1:3 x",
            "c 1:3 rwmr",
            "c 1 r",
            "d 1:3 r",
            "c 1:3 r ",
            "c  1:3 r",
            "c +1:3 r",
            "c 1:-3 r",
            "c :3 r",
            "c 1: r",
            "c **:3 r",
            "c\t1:3 r",
        ] {
            let words = format!("invalid device cgroup rule format: '{bad}'");
            assert_eq!(rule(bad).unwrap_err().message(), words);
        }
        for (bad, which) in [
            ("c 99999999999:1 r", "major"),
            ("c 1:99999999999 r", "minor"),
        ] {
            let words = format!("invalid {which} value in device cgroup rule format: '{bad}'");
            assert_eq!(rule(bad).unwrap_err().message(), words);
        }
    }
}
