//! The directories and files of a bundle and its container.

use std::path::Path;

use model::{ContainerSpec, Context, Result};
use network::Naming;

use crate::EtcFiles;
use crate::sources::relabel;

/// What a container's resolver and hosts files are made from.
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";
const HOST_HOSTS: &str = "/etc/hosts";

/// Writes what is mounted into the container's `/etc`.
pub(super) fn write_etc(files: &EtcFiles, spec: &ContainerSpec, naming: &Naming) -> Result<()> {
    for (path, text) in texts(files, spec, naming)? {
        std::fs::write(path, text).context(format_args!("write {}", path.display()))?;
        if let Some(labels) = &spec.selinux {
            relabel(path, &labels.mount, "Z")?;
        }
    }
    Ok(())
}

/// Writes those of a running container's files anew that are as they were made from `before`.
///
/// # Errors
/// What the host says.
pub fn rewrite_etc(
    files: &EtcFiles,
    spec: &ContainerSpec,
    before: &Naming,
    after: &Naming,
) -> Result<()> {
    let old = texts(files, spec, before)?;
    for ((path, new), (_, old)) in texts(files, spec, after)?.into_iter().zip(old) {
        let now = std::fs::read(path).context(format_args!("read {}", path.display()))?;
        if now == old.as_bytes() && new != old {
            // In place: what the container has mounted is this very file.
            std::fs::write(path, new).context(format_args!("write {}", path.display()))?;
        }
    }
    Ok(())
}

fn texts<'a>(
    files: &'a EtcFiles,
    spec: &ContainerSpec,
    naming: &Naming,
) -> Result<[(&'a Path, String); 3]> {
    let hostname = spec.hostname.as_str();
    // A host without these files is a host without names: not an error.
    let mut resolv_conf = std::fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default();
    if network::is_resolved(&resolv_conf)
        && let Ok(behind) = std::fs::read_to_string(network::RESOLVED)
    {
        resolv_conf = behind;
    }
    let hosts = std::fs::read_to_string(HOST_HOSTS).unwrap_or_default();
    let resolv_conf = network::resolv_conf(&resolv_conf, spec, naming);
    let hosts = network::hosts(&hosts, spec, hostname, naming)?;
    Ok([
        (&files.resolv_conf, resolv_conf),
        (&files.hosts, hosts),
        (&files.hostname, format!("{hostname}\n")),
    ])
}

/// A directory that only root looks into; conmon and the runtime are root.
pub(super) fn make_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o710)
        .create(dir)
        .context(format_args!("create {}", dir.display()))
}

/// A directory that everybody who gets there looks into, as a container's user does.
pub(super) fn make_open_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    make_dir(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
        .context(format_args!("open {}", dir.display()))
}

/// The spec holds the environment, and that may hold secrets: nobody but root reads it. It lies
/// below the run root and is written anew at each start, so it need not survive power loss.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes));
    written.context(format_args!("write {}", path.display()))
}
