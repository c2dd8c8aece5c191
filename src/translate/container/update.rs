//! An update request: which limits are to change, and the restart policy.

use engine::UpdateContainer;
use model::{Error, Result};

use super::{resources, restart_policy};
use wire::container::{HostConfig, UpdateRequest};
use wire::version::ApiVersion;

/// Translates an update request. Beside it what the client should know: a field that no update changes
/// is discarded, as in Docker, which does not tell.
///
/// # Errors
/// 400 in Docker's words.
pub fn update(
    request: UpdateRequest,
    version: ApiVersion,
) -> Result<(UpdateContainer, Vec<String>)> {
    let mut host = HostConfig::from(request);
    if version < ApiVersion::v1(40) {
        host.pids_limit = None;
    }
    if version >= ApiVersion::v1(42) {
        host.kernel_memory = 0;
    }
    restart_policy::check(&host.restart_policy, false)?;
    if host.io_maximum_bandwidth != 0 || host.io_maximum_iops != 0 {
        return Err(Error::invalid(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps",
        ));
    }
    let warnings = discard(&mut host);
    let mut resources = resources::resources(&host)?;
    // 0 and -1 are both "unlimited", and neither leaves it as it is.
    resources.pids_limit = host.pids_limit.map(|limit| limit.max(0));
    let policy = &host.restart_policy;
    let restart_policy = (!policy.name.is_empty()).then(|| restart_policy::parsed(policy));
    let update = UpdateContainer {
        resources,
        restart_policy,
    };
    Ok((update, warnings))
}

/// Takes out what an update does not change (moby `container.UpdateContainer`), and tells of each.
fn discard(host: &mut HostConfig) -> Vec<String> {
    fn some<T>(list: &mut Option<Vec<T>>) -> bool {
        list.take().is_some_and(|list| !list.is_empty())
    }
    let is_set = |n: &mut i64| std::mem::take(n) != 0;
    let discarded = [
        ("BlkioDeviceReadBps", some(&mut host.blkio_device_read_bps)),
        (
            "BlkioDeviceReadIOps",
            some(&mut host.blkio_device_read_iops),
        ),
        (
            "BlkioDeviceWriteBps",
            some(&mut host.blkio_device_write_bps),
        ),
        (
            "BlkioDeviceWriteIOps",
            some(&mut host.blkio_device_write_iops),
        ),
        ("BlkioWeightDevice", some(&mut host.blkio_weight_device)),
        (
            "CgroupParent",
            !std::mem::take(&mut host.cgroup_parent).is_empty(),
        ),
        ("CpuCount", is_set(&mut host.cpu_count)),
        ("CpuPercent", is_set(&mut host.cpu_percent)),
        ("DeviceCgroupRules", some(&mut host.device_cgroup_rules)),
        ("DeviceRequests", some(&mut host.device_requests)),
        ("Devices", some(&mut host.devices)),
        ("KernelMemoryTCP", is_set(&mut host.kernel_memory_tcp)),
        (
            "MemorySwappiness",
            host.memory_swappiness
                .take()
                .is_some_and(|percent| percent != -1),
        ),
        (
            "OomKillDisable",
            host.oom_kill_disable.take().unwrap_or(false),
        ),
        ("Ulimits", some(&mut host.ulimits)),
    ];
    let discarded = discarded.iter().filter(|(_, is_asked)| *is_asked);
    discarded
        .map(|(name, _)| format!("{name} cannot be updated. {name} discarded."))
        .collect()
}

#[cfg(test)]
mod tests {
    use model::{Resources, RestartPolicy};
    use serde_json::json;
    use wire::version::NEWEST;

    use super::*;

    fn translated(body: serde_json::Value) -> (UpdateContainer, Vec<String>) {
        update(serde_json::from_value(body).unwrap(), NEWEST).unwrap()
    }

    fn refusal(body: serde_json::Value) -> String {
        let refused = update(serde_json::from_value(body).unwrap(), NEWEST).unwrap_err();
        refused.message().to_owned()
    }

    #[test]
    fn an_empty_request_changes_nothing() {
        let none = (UpdateContainer::default(), vec![]);
        assert_eq!(translated(json!({})), none);
        // What the docker CLI sends beside what it was told.
        let sent = json!({"CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "",
            "BlkioWeight": 0, "BlkioWeightDevice": null, "CpusetCpus": "", "Devices": null,
            "DeviceCgroupRules": null, "DeviceRequests": null, "MemorySwappiness": null,
            "OomKillDisable": null, "PidsLimit": null, "Ulimits": null, "CpuCount": 0,
            "IOMaximumIOps": 0, "RestartPolicy": {"Name": "", "MaximumRetryCount": 0}});
        assert_eq!(translated(sent), none);
    }

    #[test]
    fn limits_and_policy_are_taken_over() {
        let (update, warnings) = translated(json!({"Memory": 64_000_000, "MemorySwap": -1,
            "CpusetCpus": "0", "PidsLimit": -1,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}));
        assert_eq!(
            update.resources,
            Resources {
                memory_bytes: Some(64_000_000),
                memory_swap_bytes: Some(-1),
                cpuset_cpus: Some("0".to_owned()),
                pids_limit: Some(0),
                ..Resources::default()
            }
        );
        let policy = RestartPolicy::OnFailure {
            max_retries: Some(3),
        };
        assert_eq!(update.restart_policy, Some(policy));
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn what_no_update_changes_is_discarded_and_told() {
        let (update, warnings) = translated(json!({"OomKillDisable": true, "MemorySwappiness": 50,
            "Devices": [{"PathOnHost": "/dev/null"}], "Ulimits": [], "CpuPercent": 5}));
        assert_eq!(update, UpdateContainer::default());
        assert_eq!(
            warnings,
            [
                "CpuPercent cannot be updated. CpuPercent discarded.",
                "Devices cannot be updated. Devices discarded.",
                "MemorySwappiness cannot be updated. MemorySwappiness discarded.",
                "OomKillDisable cannot be updated. OomKillDisable discarded.",
            ]
        );
    }

    #[test]
    fn versions_differ() {
        let sent = json!({"PidsLimit": 5, "KernelMemory": 50_000_000});
        let at = |minor| {
            let request = serde_json::from_value(sent.clone()).unwrap();
            let (update, _) = update(request, ApiVersion::v1(minor)).unwrap();
            let limits = update.resources;
            (limits.pids_limit, limits.kernel_memory_bytes)
        };
        assert_eq!(at(39), (None, Some(50_000_000)));
        assert_eq!(at(41), (Some(5), Some(50_000_000)));
        assert_eq!(at(42), (Some(5), None));
    }

    #[test]
    fn what_is_wrong_is_told_in_dockers_words() {
        assert_eq!(
            refusal(json!({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}})),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        );
        assert_eq!(
            refusal(json!({"IOMaximumIOps": 5})),
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps"
        );
    }
}
