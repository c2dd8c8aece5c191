//! What create refuses, and what it warns of: everything about a spec that can be told from the
//! spec and the host's facts alone, in Docker's words.
//!
//! A request that passes here can still fail at start, for what the rootfs and the host's files
//! say then (users, devices, sources of mounts). The checks are those of moby's
//! `verifyContainerSettings`, and a few more where Docker lets the OCI runtime fail instead.

use model::container::Seccomp;
use model::{ContainerSpec, Error, IpcMode, NetworkMode, PidMode, Resources, Result, limits};

use super::host::HostFacts;
use super::resources::Limits;
use super::{capabilities, devices, mounts, resources, sysctls, ulimits};

/// `HOST_NAME_MAX` of Linux.
const HOSTNAME_BYTES_MAX: usize = 64;
/// The kernel's range of `oom_score_adj`.
const OOM_SCORE_ADJ: std::ops::RangeInclusive<i32> = -1000..=1000;

/// Checks a container's spec. The answer is which of its limits this host can hold, and Docker's list
/// of warnings about the whole.
///
/// # Errors
///
/// `InvalidParameter`, in Docker's words where Docker has some.
pub fn check(spec: &ContainerSpec, host: &HostFacts) -> Result<Limits> {
    lengths(spec)?;
    texts(spec)?;
    hostname(&spec.hostname)?;
    user_namespace(spec)?;
    working_dir(&spec.working_dir)?;
    environment(&spec.env)?;
    mounts::check(&spec.mounts)?;
    let caps = capabilities::resolve(
        &spec.cap_add,
        &spec.cap_drop,
        spec.privileged,
        host.bounding,
    )?;
    if let Seccomp::Profile(_) = spec.seccomp {
        crate::seccomp_profile(spec, host, caps, &mut Vec::new())?;
    }
    without_cgroups(spec)?;
    if spec.annotations.contains_key("") {
        return Err(Error::invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    let mut limits = resources::limits(&spec.resources, host)?;
    let score = spec.resources.oom_score_adj;
    if !OOM_SCORE_ADJ.contains(&score) {
        return Err(Error::invalid(format!(
            "Invalid value {score}, range for oom score adj is [-1000, 1000]"
        )));
    }
    resources::oom_score_adj(score, host, &mut limits.warnings);
    cgroup_parent(spec.cgroup_parent.as_deref().unwrap_or_default())?;
    sysctls::check(spec)?;
    ulimits::check(&spec.ulimits)?;
    limits
        .warnings
        .extend(ulimits::rlimits(&spec.ulimits, host).1);
    devices::check(&spec.devices)?;
    Ok(limits)
}

/// No list of a spec is longer than [`limits::SPEC_LIST_MAX`].
fn lengths(spec: &ContainerSpec) -> Result<()> {
    let lists = [
        ("Env", spec.env.len()),
        ("Labels", spec.labels.len()),
        ("Mounts", spec.mounts.len()),
        ("Cmd", spec.args().len()),
        ("Ulimits", spec.ulimits.len()),
        ("Devices", spec.devices.len()),
        ("ExtraHosts", spec.extra_hosts.len()),
    ];
    match lists
        .into_iter()
        .find(|(_, length)| *length > limits::SPEC_LIST_MAX)
    {
        Some((name, length)) => Err(Error::invalid(format!(
            "{name} has {length} entries: at most {} are taken",
            limits::SPEC_LIST_MAX
        ))),
        None => Ok(()),
    }
}

/// No system call takes a NUL byte inside a text; JSON does. Refused by name, here, rather than
/// by whichever program meets it first.
fn texts(spec: &ContainerSpec) -> Result<()> {
    let args = [&spec.entrypoint, &spec.cmd]
        .into_iter()
        .flatten()
        .flatten();
    let fields = args
        .map(|t| ("command", t))
        .chain(spec.env.iter().map(|t| ("Env", t)))
        .chain(spec.group_add.iter().map(|t| ("GroupAdd", t)))
        .chain(
            spec.masked_paths
                .iter()
                .flatten()
                .map(|t| ("MaskedPaths", t)),
        )
        .chain(
            spec.readonly_paths
                .iter()
                .flatten()
                .map(|t| ("ReadonlyPaths", t)),
        )
        .chain([
            ("User", &spec.user),
            ("WorkingDir", &spec.working_dir),
            ("Domainname", &spec.domainname),
        ]);
    for (field, text) in fields {
        if text.contains('\0') {
            return Err(Error::invalid(format!(
                "invalid {field}: it must not contain a NUL byte"
            )));
        }
    }
    Ok(())
}

/// A runtime that joins the path as it is would make directories outside the hierarchy.
/// What only a cgroup gives, in a container that has none.
fn without_cgroups(spec: &ContainerSpec) -> Result<()> {
    if !spec.no_cgroups {
        return Ok(());
    }
    let asked = Resources {
        oom_score_adj: 0,
        ..spec.resources.clone()
    };
    let why = if asked != Resources::default() {
        "it can have no limits"
    } else if spec.cgroup_parent.is_some() {
        "it can have no cgroup parent"
    } else if !spec.pid_mode.is_private() {
        "its processes are known by their pid namespace alone, and it is to have another's"
    } else if !spec.privileged {
        // Nodes in its image or its volumes are enough, and runtimes undo a `nodev` of its root.
        "nothing else keeps it from the host's devices, so it must be privileged"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "conflicting options: a container without cgroups: {why}"
    )))
}

fn cgroup_parent(parent: &str) -> Result<()> {
    if parent.contains('\0') || parent.split('/').any(|part| part == "..") {
        let shown: String = parent.chars().take(256).collect();
        return Err(Error::invalid(format!(
            "invalid CgroupParent {shown:?}: it must stay below the root of the cgroups"
        )));
    }
    Ok(())
}

/// Docker bounds the length only. The name is also written to /etc/hostname and /etc/hosts,
/// where a space or a line end would start something new.
fn hostname(name: &str) -> Result<()> {
    if name.len() > HOSTNAME_BYTES_MAX {
        let shown: String = name.chars().take(256).collect();
        return Err(Error::invalid(format!(
            "hostname {shown:?} is too long (maximum {HOSTNAME_BYTES_MAX} bytes)"
        )));
    }
    let bad = |c: char| c.is_control() || c.is_whitespace() || "/#\u{feff}".contains(c);
    if name.contains(bad) || name.starts_with(['.', '-']) {
        return Err(Error::invalid(format!("invalid hostname format: {name}")));
    }
    Ok(())
}

/// moby `verifyPlatformContainerSettings`.
fn user_namespace(spec: &ContainerSpec) -> Result<()> {
    if spec.id_maps.is_none() {
        return Ok(());
    }
    let said = if spec.writable_cgroups.is_some() {
        "option WritableCgroups conflicts with user namespaces and rootless mode"
    } else if spec.privileged {
        "privileged mode is incompatible with user namespaces.  You must run the container in the \
         host namespace when running privileged mode"
    } else if spec.network == NetworkMode::Host {
        "cannot share the host's network namespace when user namespaces are enabled"
    } else if spec.pid_mode == PidMode::Host {
        "cannot share the host PID namespace when user namespaces are enabled"
    } else if spec.ipc_mode == IpcMode::Host {
        // Docker lets the runtime fail: it cannot mount the message queues of another's namespace.
        "cannot share the host's IPC namespace when user namespaces are enabled"
    } else {
        return Ok(());
    };
    Err(Error::invalid(said))
}

fn working_dir(path: &str) -> Result<()> {
    if path.is_empty() || path.starts_with('/') {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the working directory '{path}' is invalid, it needs to be an absolute path"
    )))
}

fn environment(env: &[String]) -> Result<()> {
    match env.iter().find(|e| e.is_empty() || e.starts_with('=')) {
        None => Ok(()),
        Some(bad) => Err(Error::invalid(format!(
            "invalid environment variable: {bad}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use model::{NetworkMode, Resources, Ulimit};

    use super::super::fixture;
    use super::super::host::CgroupVersion;
    use super::*;

    fn refused(spec: &ContainerSpec) -> String {
        check(spec, &fixture::host())
            .unwrap_err()
            .message()
            .to_owned()
    }

    fn resources(resources: Resources) -> ContainerSpec {
        ContainerSpec {
            resources,
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn a_plain_container_passes_without_a_word() {
        let spec = fixture::spec();
        assert_eq!(check(&spec, &fixture::host()).unwrap().warnings, [""; 0]);
    }

    #[test]
    fn memory_rules() {
        let memory = |limit, swap, soft| {
            resources(Resources {
                memory_bytes: limit,
                memory_swap_bytes: swap,
                memory_reservation_bytes: soft,
                ..Resources::default()
            })
        };
        let mb = 1 << 20;
        for (limit, swap, soft, words) in [
            (
                Some(4 * mb),
                None,
                None,
                "Minimum memory limit allowed is 6MB",
            ),
            (Some(-1), None, None, "Minimum memory limit allowed is 6MB"),
            (
                Some(20 * mb),
                Some(10 * mb),
                None,
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                None,
                Some(10 * mb),
                None,
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                None,
                None,
                Some(mb),
                "Minimum memory reservation allowed is 6MB",
            ),
            (
                Some(10 * mb),
                None,
                Some(20 * mb),
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ),
        ] {
            assert_eq!(refused(&memory(limit, swap, soft)), words);
        }
        let host = fixture::host();
        assert!(check(&memory(Some(6 * mb), Some(-1), None), &host).is_ok());
        assert!(check(&memory(Some(i64::MAX), None, None), &host).is_ok());
        assert!(check(&memory(None, Some(-1), None), &host).is_ok());
    }

    #[test]
    fn cpu_rules() {
        let with = |change: fn(&mut Resources)| {
            let mut spec = ContainerSpec::default();
            change(&mut spec.resources);
            refused(&spec)
        };
        let range = "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available";
        assert_eq!(with(|r| r.nano_cpus = Some(4_000_000_001)), range);
        assert_eq!(with(|r| r.nano_cpus = Some(-1)), range);
        assert_eq!(with(|r| r.nano_cpus = Some(1000)), range);
        assert_eq!(with(|r| r.nano_cpus = Some(i64::MAX)), range);
        assert_eq!(
            with(|r| (r.nano_cpus, r.cpu_period_us) = (Some(1_000_000_000), Some(1000))),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set"
        );
        assert_eq!(
            with(|r| (r.nano_cpus, r.cpu_quota_us) = (Some(1_000_000_000), Some(1000))),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set"
        );
        assert_eq!(
            with(|r| r.cpu_period_us = Some(999)),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        );
        assert_eq!(
            with(|r| r.cpu_quota_us = Some(999)),
            "CPU cfs quota can not be less than 1ms (i.e. 1000)"
        );
        assert_eq!(
            with(|r| r.cpu_shares = Some(1)),
            "The minimum allowed cpu-shares is 2"
        );
        assert_eq!(
            with(|r| r.cpuset_cpus = Some("1-42,,".into())),
            "Invalid value 1-42,, for cpuset cpus: invalid format: 1-42,,"
        );
        assert_eq!(
            with(|r| r.cpuset_cpus = Some("2-9223372036854775807".into())),
            "Invalid value 2-9223372036854775807 for cpuset cpus: value of out range, maximum is \
             8192"
        );
        assert_eq!(
            with(|r| r.cpuset_cpus = Some("2-8192".into())),
            "Requested CPUs are not available - requested 2-8192, available: 0-3"
        );
        assert_eq!(
            with(|r| r.cpuset_mems = Some("1".into())),
            "Requested memory nodes are not available - requested 1, available: 0"
        );
    }

    #[test]
    fn what_the_host_cannot_hold_is_warned_of_in_dockers_words() {
        let mut host = fixture::host();
        host.cgroup.swap = false;
        let limited = resources(Resources {
            memory_bytes: Some(64 << 20),
            ..Resources::default()
        });
        let swap = "Your kernel does not support swap limit capabilities or the cgroup is not \
                    mounted. Memory limited without swap.";
        assert_eq!(check(&limited, &host).unwrap().warnings, [swap]);

        host.cgroup.version = CgroupVersion::V2;
        host.cgroup.memory = false;
        host.cgroup.pids = false;
        host.cgroup.cpuset = false;
        host.cgroup.cpu_shares = false;
        let all = resources(Resources {
            memory_bytes: Some(64 << 20),
            memory_swap_bytes: Some(128 << 20),
            pids_limit: Some(5),
            cpu_shares: Some(512),
            cpuset_cpus: Some("0".into()),
            oom_kill_disable: true,
            ..Resources::default()
        });
        let warnings = check(&all, &host).unwrap().warnings;
        assert_eq!(warnings.len(), 5, "{warnings:?}");
        assert!(warnings[0].starts_with("Your kernel does not support memory limit"));
    }

    #[test]
    fn the_rest_is_refused_in_dockers_words() {
        let with = |change: fn(&mut ContainerSpec)| {
            let mut spec = ContainerSpec::default();
            change(&mut spec);
            refused(&spec)
        };
        assert_eq!(
            with(|s| s.resources.oom_score_adj = 1001),
            "Invalid value 1001, range for oom score adj is [-1000, 1000]"
        );
        assert_eq!(
            with(|s| s.working_dir = "app".into()),
            "the working directory 'app' is invalid, it needs to be an absolute path"
        );
        assert_eq!(
            with(|s| s.hostname = "a b".into()),
            "invalid hostname format: a b"
        );
        assert_eq!(
            with(|s| s.hostname = "a\n127.0.0.1 evil".into()),
            "invalid hostname format: a\n127.0.0.1 evil"
        );
        assert!(with(|s| s.hostname = "x".repeat(65)).ends_with("is too long (maximum 64 bytes)"));
        assert_eq!(
            with(|s| s.env = vec!["=x".into()]),
            "invalid environment variable: =x"
        );
        assert_eq!(
            with(|s| s.cmd = Some(vec!["a\0b".into()])),
            "invalid command: it must not contain a NUL byte"
        );
        assert_eq!(
            with(|s| s.cap_add = vec!["NOPE".into()]),
            "invalid CapAdd: unknown capability: \"CAP_NOPE\""
        );
        assert_eq!(
            with(|s| {
                s.ulimits = vec![Ulimit {
                    name: "nope".into(),
                    soft: 1,
                    hard: 1,
                }];
            }),
            "invalid ulimit type: nope"
        );
        assert_eq!(
            with(|s| {
                s.network = NetworkMode::Host;
                s.sysctls.insert("net.x".into(), "1".into());
            }),
            "sysctl \"net.x\" not allowed in host network namespace"
        );
        assert!(
            with(|s| drop(s.annotations.insert(String::new(), "x".into())))
                .starts_with("invalid Annotations")
        );
    }

    #[test]
    fn underscores_and_dots_are_fine_in_a_hostname() {
        for good in ["", "web_1", "a.b-c", "ä"] {
            hostname(good).unwrap();
        }
    }
}
