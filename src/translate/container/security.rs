//! Capabilities, security options, masked paths, kernel parameters.

use model::container::Seccomp;
use model::{ContainerSpec, Error, Result, SelinuxWish};

use super::bounded;
use wire::container::{HostConfig, StrSlice};

/// Copies the security half of `HostConfig` into the spec.
///
/// # Errors
/// 400 for what Docker does not know.
pub(super) fn apply(host: &HostConfig, spec: &mut ContainerSpec) -> Result<()> {
    spec.privileged = host.privileged;
    spec.read_only_rootfs = host.readonly_rootfs;
    spec.cap_add = capabilities("CapAdd", host.cap_add.as_ref())?;
    spec.cap_drop = capabilities("CapDrop", host.cap_drop.as_ref())?;
    spec.masked_paths = paths("HostConfig.MaskedPaths", host.masked_paths.as_ref())?;
    spec.readonly_paths = paths("HostConfig.ReadonlyPaths", host.readonly_paths.as_ref())?;
    spec.sysctls = host.sysctls.clone().unwrap_or_default();
    bounded("HostConfig.Sysctls", spec.sysctls.len())?;
    for option in host.security_opt.iter().flatten() {
        security_option(option, spec)?;
    }
    Ok(())
}

/// moby `parseSecurityOpt`: `key=value`, or with a colon as of old.
fn security_option(option: &str, spec: &mut ContainerSpec) -> Result<()> {
    match option {
        "no-new-privileges" => {
            spec.no_new_privileges = true;
            return Ok(());
        }
        "writable-cgroups" => {
            spec.writable_cgroups = Some(true);
            return Ok(());
        }
        // An old spelling of label=disable.
        "disable" => {
            spec.selinux_wish.disable = true;
            return Ok(());
        }
        _ => {}
    }
    let Some((key, value)) = option.split_once('=').or_else(|| option.split_once(':')) else {
        return Err(Error::invalid(format!(
            "invalid --security-opt 1: {option:?}"
        )));
    };
    let unknown = || Error::invalid(format!("invalid --security-opt 2: {option:?}"));
    match (key, value) {
        ("no-new-privileges", _) => spec.no_new_privileges = boolean(value).ok_or_else(unknown)?,
        ("writable-cgroups", _) => {
            spec.writable_cgroups = Some(boolean(value).ok_or_else(unknown)?);
        }
        ("seccomp", "unconfined") => spec.seccomp = Seccomp::Unconfined,
        ("seccomp", "") => spec.seccomp = Seccomp::Default,
        // Docker's word for its own default profile.
        ("seccomp", "builtin") => spec.seccomp = Seccomp::Builtin,
        ("seccomp", profile) => spec.seccomp = Seccomp::Profile(profile.to_owned()),
        ("apparmor", "") => spec.apparmor = None,
        ("apparmor", _) if value.contains('\0') => {
            return Err(Error::invalid(format!(
                "invalid --security-opt: {option:?}"
            )));
        }
        ("apparmor", profile) => spec.apparmor = Some(profile.to_owned()),
        ("label", text) => label(text, &mut spec.selinux_wish)?,
        _ => return Err(unknown()),
    }
    Ok(())
}

/// Go's `strconv.ParseBool`.
fn boolean(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Longest part of a label.
const LABEL_PART_BYTES_MAX: usize = 64;

/// A part of the container's label (go-selinux `InitLabels`).
fn label(text: &str, wish: &mut SelinuxWish) -> Result<()> {
    let bad = || {
        Error::invalid(format!(
            "Bad label option {text:?}, valid options 'disable' or \n'user, role, level, type, filetype' \
             followed by ':' and a value"
        ))
    };
    let (part, value) = match text.split_once(':') {
        Some(both) => both,
        None if text == "disable" => {
            wish.disable = true;
            return Ok(());
        }
        None => return Err(bad()),
    };
    let wished = match part {
        "user" => &mut wish.user,
        "role" => &mut wish.role,
        "type" => &mut wish.kind,
        "level" => &mut wish.level,
        "filetype" => &mut wish.file_kind,
        _ => return Err(bad()),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let fits = |c: char| plain(c) || part == "level" && ":,".contains(c);
    if value.is_empty() || value.len() > LABEL_PART_BYTES_MAX || !value.chars().all(fits) {
        return Err(bad());
    }
    *wished = Some(value.to_owned());
    Ok(())
}

/// capabilities(7), without `CAP_`.
const CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Upper case without `CAP_`, or `ALL` (moby `oci/caps`).
fn capabilities(name: &str, list: Option<&StrSlice>) -> Result<Vec<String>> {
    let Some(StrSlice(list)) = list else {
        return Ok(Vec::new());
    };
    bounded(name, list.len())?;
    list.iter()
        .map(|given| {
            let upper = given.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if upper == "ALL" || CAPABILITIES.contains(&bare) {
                return Ok(bare.to_owned());
            }
            Err(Error::invalid(format!(
                "invalid {name}: unknown capability: \"CAP_{bare}\""
            )))
        })
        .collect()
}

fn paths(name: &str, list: Option<&Vec<String>>) -> Result<Option<Vec<String>>> {
    bounded(name, list.map_or(0, Vec::len))?;
    if let Some(path) = list.into_iter().flatten().find(|p| !p.starts_with('/')) {
        return Err(Error::invalid(format!(
            "{name}: '{path}' must be an absolute path"
        )));
    }
    Ok(list.cloned())
}
