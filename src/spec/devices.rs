//! Devices: what a container may touch, and which nodes it finds.
//!
//! [`resolve`] looks nodes up on the host when a container starts (a hot-plugged disk counts);
//! the rest is values. Looking up is `lstat` only: no device is ever opened.

use std::borrow::Cow;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::resources::{DeviceRuleKind, device_numbers};
use model::{ContainerSpec, Device, Error, Result};

use super::document::{DeviceNode, DeviceRule};

/// Device nodes given to one container; a privileged one on a big host has some hundred.
const DEVICES_MAX: usize = 16_384;
/// Directories below /dev looked into, counted from /dev.
const DEPTH_MAX: usize = 8;
/// Below /dev, but made anew for each container (containerd `HostDevices`).
const SKIPPED_DIRS: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/// A device node of the host as a container gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDevice {
    /// Where it is inside.
    pub path: String,
    /// Character or block.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits, as on the host.
    pub mode: u32,
    /// Owner, as on the host.
    pub uid: u32,
    /// Group, as on the host.
    pub gid: u32,
    /// Any of `r`, `w`, `m`: what the device cgroup allows.
    pub permissions: String,
}

/// The kinds of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of mknod(1)")]
pub enum DeviceKind {
    Char,
    Block,
}

impl DeviceKind {
    fn word(self) -> &'static str {
        match self {
            Self::Char => "c",
            Self::Block => "b",
        }
    }
}

/// The device nodes of a container: those it names, and all of the host's when privileged.
///
/// A directory stands for all nodes below it, as in Docker. Blocking.
///
/// # Errors
///
/// `System`, as in Docker where this happens at start, when a named device is not there or is
/// no device.
pub fn resolve(spec: &ContainerSpec) -> Result<Vec<HostDevice>> {
    let mut found = Vec::new();
    if spec.privileged {
        walk(Path::new("/dev"), "/dev", "rwm", 0, &mut found)
            .map_err(|e| Error::system(format!("list the devices of the host: /dev: {e}")))?;
    }
    for device in &spec.devices {
        // Already there; Docker ignores custom permissions of privileged containers.
        if spec.privileged && device.path_on_host == device.path_in_container {
            continue;
        }
        let permissions = if spec.privileged {
            "rwm"
        } else {
            &device.permissions
        };
        add(device, permissions, &mut found).map_err(|e| {
            Error::system(format!(
                "error gathering device information while adding custom device {:?}: {e}",
                device.path_on_host
            ))
        })?;
    }
    Ok(found)
}

/// What create refuses about devices.
pub(super) fn check(devices: &[Device]) -> Result<()> {
    for device in devices {
        for path in [&device.path_on_host, &device.path_in_container] {
            if !path.starts_with('/') || path.contains('\0') {
                return Err(Error::invalid(format!(
                    "invalid device path {path:?}: it needs to be an absolute path"
                )));
            }
        }
        let permissions = &device.permissions;
        let mut letters = permissions.bytes().collect::<Vec<_>>();
        letters.sort_unstable();
        letters.dedup();
        let valid = letters.len() == permissions.len() && !letters.is_empty();
        if !valid || !letters.iter().all(|b| b"rwm".contains(b)) {
            return Err(Error::invalid(format!(
                "invalid device mode: {permissions:?}"
            )));
        }
    }
    Ok(())
}

/// The nodes to make inside.
pub(super) fn nodes(devices: &[HostDevice]) -> Vec<DeviceNode<'_>> {
    devices
        .iter()
        .map(|d| DeviceNode {
            path: Cow::Borrowed(&d.path),
            kind: d.kind.word(),
            major: d.major,
            minor: d.minor,
            file_mode: Some(d.mode),
            uid: Some(d.uid),
            gid: Some(d.gid),
        })
        .collect()
}

/// Rules of the device cgroup: nothing, but /dev/zero, null, urandom, random, tty and console,
/// but not fuse (moby `DefaultLinuxSpec`), then the container's own. The runtimes add theirs for
/// ptmx, pts and making nodes.
///
/// Where systemd makes the cgroup it takes what is allowed and nothing else: crun refuses a spec that
/// forbids one device, though all that is not allowed is forbidden anyway.
pub(super) fn rules<'a>(
    spec: &'a ContainerSpec,
    devices: &'a [HostDevice],
    by_systemd: bool,
) -> Vec<DeviceRule<'a>> {
    let character = |allow, major, minor| DeviceRule {
        allow,
        kind: Some("c"),
        major: Some(major),
        minor: Some(minor),
        access: "rwm",
    };
    let all = |allow| DeviceRule {
        allow,
        kind: None,
        major: None,
        minor: None,
        access: "rwm",
    };
    if spec.privileged {
        return vec![all(true)];
    }
    let mut rules = vec![all(false)];
    rules.extend(
        [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)]
            .map(|(major, minor)| character(true, major, minor)),
    );
    if !by_systemd {
        rules.push(character(false, 10, 229));
    }
    rules.extend(devices.iter().map(|d| DeviceRule {
        allow: true,
        kind: Some(d.kind.word()),
        major: Some(d.major),
        minor: Some(d.minor),
        access: &d.permissions,
    }));
    rules.extend(spec.device_rules.iter().map(asked));
    rules
}

/// A rule of the request's.
fn asked(rule: &model::DeviceRule) -> DeviceRule<'_> {
    DeviceRule {
        allow: true,
        // The runtimes' word for both kinds; it is not the same as none.
        kind: Some(match rule.kind {
            DeviceRuleKind::All => "a",
            DeviceRuleKind::Char => "c",
            DeviceRuleKind::Block => "b",
        }),
        major: rule.major,
        minor: rule.minor,
        access: &rule.access,
    }
}

fn add(device: &Device, permissions: &str, found: &mut Vec<HostDevice>) -> io::Result<()> {
    // Links of the host (/dev/disk/by-id/...) are followed; the target's numbers count.
    let path: PathBuf = fs::canonicalize(&device.path_on_host).map_err(plain)?;
    let meta = fs::symlink_metadata(&path).map_err(plain)?;
    if meta.is_dir() {
        let before = found.len();
        walk(&path, &device.path_in_container, permissions, 0, found)?;
        if found.len() > before {
            return Ok(());
        }
    }
    let node = node(&meta, &device.path_in_container, permissions)
        .ok_or_else(|| io::Error::other("not a device node"))?;
    found.push(node);
    Ok(())
}

/// Adds every device node below `dir`. What vanishes meanwhile is skipped.
fn walk(
    dir: &Path,
    inside: &str,
    permissions: &str,
    depth: usize,
    found: &mut Vec<HostDevice>,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    let mut entries: Vec<_> = fs::read_dir(dir)?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let Ok(meta) = fs::symlink_metadata(entry.path()) else {
            continue;
        };
        let inside = format!("{inside}/{name}");
        if meta.is_dir() && !SKIPPED_DIRS.contains(&name) {
            match walk(&entry.path(), &inside, permissions, depth + 1, found) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => continue,
            }
        }
        // The container has a console of its own.
        if name == "console" {
            continue;
        }
        found.extend(node(&meta, &inside, permissions));
        if found.len() > DEVICES_MAX {
            return Err(io::Error::other(format!("more than {DEVICES_MAX} devices")));
        }
    }
    Ok(())
}

/// The node, if it is one. FIFOs are none for us: nothing of a device cgroup fits them.
fn node(meta: &Metadata, inside: &str, permissions: &str) -> Option<HostDevice> {
    let kind = match meta.file_type() {
        t if t.is_char_device() => DeviceKind::Char,
        t if t.is_block_device() => DeviceKind::Block,
        _ => return None,
    };
    let (major, minor) = device_numbers(meta.rdev());
    Some(HostDevice {
        path: inside.into(),
        kind,
        major,
        minor,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        permissions: permissions.into(),
    })
}

/// Docker's text of a system error has no number behind it.
pub(super) fn plain(e: io::Error) -> io::Error {
    match e.kind() {
        io::ErrorKind::NotFound => io::Error::new(e.kind(), "no such file or directory"),
        _ => e,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &str, permissions: &str) -> Device {
        Device {
            path_on_host: path.into(),
            path_in_container: "/dev/inside".into(),
            permissions: permissions.into(),
        }
    }

    fn spec(devices: Vec<Device>) -> ContainerSpec {
        ContainerSpec {
            devices,
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn a_named_device_is_looked_up() {
        let found = resolve(&spec(vec![device("/dev/full", "rw")])).unwrap();
        assert_eq!(found.len(), 1);
        let d = &found[0];
        assert_eq!((d.kind, d.major, d.minor), (DeviceKind::Char, 1, 7));
        assert_eq!(
            (d.path.as_str(), d.permissions.as_str()),
            ("/dev/inside", "rw")
        );
        let plain = spec(Vec::new());
        let rules = rules(&plain, &found, false);
        let last = rules.last().unwrap();
        assert_eq!(
            (last.major, last.minor, last.access),
            (Some(1), Some(7), "rw")
        );
    }

    #[test]
    fn what_is_no_device_is_refused_in_dockers_words() {
        let refused = |path| {
            resolve(&spec(vec![device(path, "rwm")]))
                .unwrap_err()
                .message()
                .to_owned()
        };
        assert_eq!(
            refused("/dev/nosuch"),
            "error gathering device information while adding custom device \"/dev/nosuch\": no \
             such file or directory"
        );
        assert!(refused("/etc/hostname").ends_with("not a device node"));
    }

    #[test]
    fn privileged_gets_all_nodes_but_what_a_container_makes_itself() {
        let privileged = ContainerSpec {
            privileged: true,
            ..ContainerSpec::default()
        };
        let found = resolve(&privileged).unwrap();
        assert!(found.iter().any(|d| d.path == "/dev/null"));
        assert!(!found.iter().any(|d| d.path == "/dev/console"));
        assert!(!found.iter().any(|d| d.path.starts_with("/dev/pts/")));
        assert_eq!(rules(&privileged, &found, false).len(), 1);
        let plain = spec(Vec::new());
        let of_scope = rules(&plain, &found, true);
        assert!(
            of_scope.iter().skip(1).all(|rule| rule.allow),
            "{of_scope:?}"
        );
    }

    #[test]
    fn rules_of_the_request_come_last() {
        let rule = |kind, major, minor, access: &str| model::DeviceRule {
            kind,
            major,
            minor,
            access: access.to_owned(),
        };
        let mut asking = spec(Vec::new());
        asking.device_rules = vec![
            rule(DeviceRuleKind::Char, Some(10), None, "rw"),
            rule(DeviceRuleKind::All, None, None, "m"),
        ];
        let written = serde_json::to_value(rules(&asking, &[], false)).unwrap();
        let written = written.as_array().unwrap();
        assert_eq!(
            written[written.len() - 2..],
            [
                serde_json::json!({"allow": true, "type": "c", "major": 10, "access": "rw"}),
                serde_json::json!({"allow": true, "type": "a", "access": "m"}),
            ]
        );
        asking.privileged = true;
        assert_eq!(rules(&asking, &[], false).len(), 1);
    }

    #[test]
    fn bad_requests_are_refused() {
        for (device, words) in [
            (device("null", "r"), "invalid device path \"null\""),
            (device("/dev/null", ""), "invalid device mode: \"\""),
            (device("/dev/null", "rx"), "invalid device mode: \"rx\""),
            (device("/dev/null", "rr"), "invalid device mode: \"rr\""),
        ] {
            assert!(check(&[device]).unwrap_err().message().starts_with(words));
        }
        assert!(check(&[device("/dev/null", "mrw")]).is_ok());
    }
}
