//! What a container finds mounted: the kernel's file systems, the engine's files, the user's
//! mounts, in moby's order (`withMounts`).
//!
//! Text only: sources were resolved and made by the engine. One check looks at the host,
//! [`check_bind_sources`], because Docker makes it part of create.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use model::mount::{Propagation, clean_path};
use model::{ContainerSpec, Error, IpcMode, Mount, MountSource, ReadOnlyReach, Result};

use super::document::MountEntry;
use super::tmpfs;
use super::{Joined, SpecInput};

/// Docker's size of /dev/shm.
const SHM_BYTES: u64 = 64 << 20;
/// Where Docker puts the packaged init.
pub(super) const INIT_PATH: &str = "/sbin/docker-init";

/// A mount of the container with its source on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedMount {
    /// What was asked for.
    pub mount: Mount,
    /// The directory or file of the host to bind; empty for a tmpfs.
    pub source: PathBuf,
}

/// The kernel's file systems of every container (moby `DefaultLinuxSpec`).
const DEFAULT: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    (
        "/dev",
        "tmpfs",
        "tmpfs",
        &["nosuid", "strictatime", "mode=755", "size=65536k"],
    ),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &[
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ],
    ),
    (
        "/sys",
        "sysfs",
        "sysfs",
        &["nosuid", "noexec", "nodev", "ro"],
    ),
    (
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["ro", "nosuid", "noexec", "nodev"],
    ),
    (
        "/dev/mqueue",
        "mqueue",
        "mqueue",
        &["nosuid", "noexec", "nodev"],
    ),
    (
        "/dev/shm",
        "tmpfs",
        "shm",
        &["nosuid", "noexec", "nodev", "mode=1777"],
    ),
];

/// All mounts, in the order in which they are made.
pub(super) fn entries<'a>(input: &'a SpecInput<'_>) -> Result<Vec<MountEntry<'a>>> {
    let spec = input.spec;
    let user: Vec<&str> = input
        .mounts
        .iter()
        .map(|m| m.mount.destination.as_str())
        .collect();
    let mut entries = defaults(spec, input.joined)?;
    super::edits::mounts(input.edits, &mut entries);
    // A mount of the user's takes the place of ours; one on /dev of all below it too.
    entries.retain(|entry| {
        let path = &*entry.destination;
        let hidden = user.contains(&"/dev") && path.starts_with("/dev/");
        !hidden && !user.contains(&path)
    });
    if let Some(init) = super::process::init_binary(input)? {
        entries.push(MountEntry {
            destination: INIT_PATH.into(),
            kind: "bind".into(),
            source: super::utf8(init)?.into(),
            options: vec!["bind".into(), "ro".into()],
        });
    }
    let mut mounts = input
        .mounts
        .iter()
        .map(|m| user_mount(m, input))
        .collect::<Result<Vec<_>>>()?;
    mounts.extend(engine_files(input, &user)?);
    if let Some(dir) = input.notify_dir {
        mounts.push(MountEntry {
            destination: super::process::NOTIFY_DIR.into(),
            kind: "bind".into(),
            source: super::utf8(dir)?.into(),
            // Sending needs no more: what could be made there would be on the host's run root.
            options: ["bind", "ro", "nosuid", "nodev", "noexec", "rprivate"]
                .map(Cow::Borrowed)
                .into(),
        });
    }
    // Parents first, so that a mount is never hidden by the next; stable for equal depths.
    mounts.sort_by_key(|m| depth(&m.destination));
    entries.extend(mounts);
    Ok(entries)
}

fn defaults<'a>(spec: &ContainerSpec, joined: &'a Joined) -> Result<Vec<MountEntry<'a>>> {
    DEFAULT
        .iter()
        .filter(|(path, ..)| *path != "/dev/shm" || spec.ipc_mode != IpcMode::None)
        .map(|&(destination, kind, source, options)| {
            let mut entry = MountEntry {
                destination: destination.into(),
                kind: kind.into(),
                source: source.into(),
                options: options.iter().map(|o| Cow::Borrowed(*o)).collect(),
            };
            match destination {
                "/sys" if spec.privileged => entry.options.retain(|o| o != "ro"),
                "/sys/fs/cgroup" if spec.writable_cgroups.unwrap_or(spec.privileged) => {
                    entry.options.retain(|o| o != "ro");
                }
                // The ipc namespace is the host's, so its shared memory files are too.
                "/dev/shm" => shared_memory(spec, joined, &mut entry)?,
                // The group of terminals, where there is one (libpod does so, too).
                "/dev/pts" if !has_tty_group(spec) => entry.options.retain(|o| o != "gid=5"),
                _ => {}
            }
            Ok(entry)
        })
        .collect()
}

/// The ipc namespace's files: its own, the host's or another container's.
fn shared_memory<'a>(
    spec: &ContainerSpec,
    joined: &'a Joined,
    entry: &mut MountEntry<'a>,
) -> Result<()> {
    let source = match &spec.ipc_mode {
        IpcMode::Host => Path::new("/dev/shm"),
        IpcMode::Container(_) => joined.shm.as_deref().ok_or_else(|| {
            Error::system("the shared memory of the container to be joined was not found")
        })?,
        IpcMode::Private | IpcMode::Shareable | IpcMode::None => {
            let size = spec.shm_size_bytes.unwrap_or(SHM_BYTES);
            entry.options.push(format!("size={size}").into());
            return Ok(());
        }
    };
    entry.kind = "bind".into();
    entry.source = super::utf8(source)?.into();
    entry.options = vec!["rbind".into(), "rprivate".into()];
    Ok(())
}

fn has_tty_group(spec: &ContainerSpec) -> bool {
    let maps = spec.id_maps.as_ref();
    maps.is_none_or(|maps| maps.gids.outside(5).is_some())
}

/// resolv.conf, hostname and hosts, unless the user mounts something there.
fn engine_files<'a>(input: &'a SpecInput<'_>, user: &[&str]) -> Result<Vec<MountEntry<'a>>> {
    [
        ("/etc/resolv.conf", input.resolv_conf),
        ("/etc/hostname", input.hostname_file),
        ("/etc/hosts", input.hosts),
    ]
    .into_iter()
    .filter(|(path, _)| !user.contains(path))
    .filter_map(|(path, source)| Some((path, source?)))
    .map(|(path, source)| {
        Ok(MountEntry {
            destination: path.into(),
            kind: "bind".into(),
            source: super::utf8(source)?.into(),
            options: bind_options(
                true,
                input.spec.read_only_rootfs.then(|| read_only_word(input)),
                Propagation::RPrivate,
            ),
        })
    })
    .collect()
}

fn user_mount<'a>(resolved: &'a ResolvedMount, input: &SpecInput<'_>) -> Result<MountEntry<'a>> {
    let mount = &resolved.mount;
    let mut ro = read_only_word(input);
    let recursive = match &mount.source {
        MountSource::Tmpfs { .. } => {
            return Ok(MountEntry {
                destination: mount.destination.as_str().into(),
                kind: "tmpfs".into(),
                source: "tmpfs".into(),
                options: tmpfs::options(mount)?,
            });
        }
        MountSource::Bind {
            non_recursive,
            reach,
            ..
        } => {
            match reach {
                ReadOnlyReach::WherePossible => {}
                ReadOnlyReach::Top => ro = "ro",
                ReadOnlyReach::All => expect_rro(input)?,
            }
            !non_recursive
        }
        MountSource::Volume { .. } => true,
    };
    if !resolved.source.is_absolute() {
        return Err(Error::system(format!(
            "mount {}: its source on the host was not resolved",
            mount.destination
        )));
    }
    Ok(MountEntry {
        destination: mount.destination.as_str().into(),
        kind: "bind".into(),
        source: super::utf8(&resolved.source)?.into(),
        options: bind_options(recursive, mount.read_only.then_some(ro), mount.propagation),
    })
}

/// A read-only bind is read-only all the way down where kernel and runtime can do that (moby:
/// `rro`); plain `ro` leaves mounts below the source writable.
fn read_only_word(input: &SpecInput<'_>) -> &'static str {
    if input.host.recursive_read_only && input.knows_rro {
        "rro"
    } else {
        "ro"
    }
}

/// Refuses what cannot be had (moby `supportsRecursivelyReadOnly`).
fn expect_rro(input: &SpecInput<'_>) -> Result<()> {
    if !input.host.recursive_read_only {
        return Err(Error::system(
            "rro is not supported: failed to call mount_setattr: function not implemented \
             (kernel is older than 5.12?)",
        ));
    }
    if !input.knows_rro {
        return Err(Error::system(format!(
            "rro is not supported by runtime {:?}",
            input.runtime
        )));
    }
    Ok(())
}

fn bind_options<'a>(
    recursive: bool,
    read_only: Option<&'static str>,
    propagation: Propagation,
) -> Vec<Cow<'a, str>> {
    let mut options = vec![if recursive { "rbind" } else { "bind" }];
    options.extend(read_only);
    options.push(propagation.as_str());
    options.into_iter().map(Cow::Borrowed).collect()
}

/// What create refuses about mounts, in moby's words. Does not look at the host.
pub(super) fn check(mounts: &[Mount]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for mount in mounts {
        check_one(mount).map_err(|why| {
            Error::invalid(format!(
                "invalid mount config for type {:?}: {why}",
                type_word(mount)
            ))
        })?;
        tmpfs::options(mount)?;
        if !seen.insert(clean_path(&mount.destination)) {
            return Err(Error::invalid(format!(
                "Duplicate mount point: {}",
                mount.destination
            )));
        }
    }
    Ok(())
}

/// Refuses a bind whose source is missing, where Docker does not make it (`--mount`).
///
/// Looks at the host, so it is no part of [`super::check`]. Blocking.
///
/// # Errors
///
/// `invalid mount config for type "bind": bind source path does not exist: /x`.
pub fn check_bind_sources(spec: &ContainerSpec) -> Result<()> {
    for mount in &spec.mounts {
        if let MountSource::Bind {
            path,
            create_missing: false,
            ..
        } = &mount.source
            && !Path::new(path).try_exists().unwrap_or(false)
        {
            return Err(Error::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {path}"
            )));
        }
    }
    Ok(())
}

fn check_one(mount: &Mount) -> Result<(), String> {
    let absolute = |path: &str| {
        if path.starts_with('/') {
            return Ok(());
        }
        Err(format!(
            "invalid mount path: '{path}' mount path must be absolute"
        ))
    };
    if mount.destination.is_empty() {
        return Err("field Target must not be empty".into());
    }
    if clean_path(&mount.destination) == "/" && mount.destination.starts_with('/') {
        return Err("invalid specification: destination can't be '/'".into());
    }
    absolute(&mount.destination)?;
    if mount.destination.contains('\0') {
        return Err("field Target must not contain a NUL byte".into());
    }
    if let MountSource::Bind { path, .. } = &mount.source {
        if path.is_empty() {
            return Err("field Source must not be empty".into());
        }
        absolute(path)?;
        if path.contains('\0') {
            return Err("field Source must not contain a NUL byte".into());
        }
    }
    Ok(())
}

fn type_word(mount: &Mount) -> &'static str {
    match mount.source {
        MountSource::Bind { .. } => "bind",
        MountSource::Volume { .. } => "volume",
        MountSource::Tmpfs { .. } => "tmpfs",
    }
}

pub(super) fn depth(path: &str) -> usize {
    let clean = clean_path(path);
    clean.split('/').filter(|name| !name.is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tmpfs(destination: &str, options: &[&str]) -> Mount {
        Mount {
            source: MountSource::Tmpfs {
                size_bytes: None,
                mode: None,
                options: options.iter().map(ToString::to_string).collect(),
            },
            destination: destination.into(),
            read_only: false,
            propagation: Propagation::default(),
            mode: String::new(),
        }
    }

    fn bind(path: &str, destination: &str) -> Mount {
        Mount {
            source: MountSource::Bind {
                path: path.into(),
                create_missing: false,
                non_recursive: false,
                reach: ReadOnlyReach::default(),
            },
            ..tmpfs(destination, &[])
        }
    }

    #[test]
    fn mounts_are_refused_in_mobys_words() {
        let refused = |mounts: &[Mount]| check(mounts).unwrap_err().message().to_owned();
        assert_eq!(
            refused(&[bind("/a", "rel")]),
            "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must \
             be absolute"
        );
        assert_eq!(
            refused(&[bind("rel", "/a")]),
            "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must \
             be absolute"
        );
        for root in ["/", "//", "/a/..", "/."] {
            assert_eq!(
                refused(&[tmpfs(root, &[])]),
                "invalid mount config for type \"tmpfs\": invalid specification: destination \
                 can't be '/'"
            );
        }
        assert_eq!(
            refused(&[bind("/a", "/x"), tmpfs("/x/", &[])]),
            "Duplicate mount point: /x/"
        );
        assert_eq!(
            refused(&[bind("", "/x")]),
            "invalid mount config for type \"bind\": field Source must not be empty"
        );
        assert!(check(&[bind("/a", "/x"), bind("/a", "/x/y")]).is_ok());
    }

    #[test]
    fn missing_bind_sources_are_refused_only_where_docker_does() {
        let spec = |create_missing| ContainerSpec {
            mounts: vec![Mount {
                source: MountSource::Bind {
                    path: "/no/such/path".into(),
                    create_missing,
                    non_recursive: false,
                    reach: ReadOnlyReach::default(),
                },
                ..tmpfs("/x", &[])
            }],
            ..ContainerSpec::default()
        };
        assert!(check_bind_sources(&spec(true)).is_ok());
        assert!(
            check_bind_sources(&spec(false))
                .unwrap_err()
                .message()
                .ends_with("bind source path does not exist: /no/such/path")
        );
    }
}
