//! From the container's mounts to paths of the host, and the bundle made of it all.
//!
//! Everything here blocks and runs off the async threads, in one piece per start.

use std::path::{Path, PathBuf};

use model::{ContainerState, Context, Error, Kind, Mount, MountSource, Result};
use spec::{self, ConsoleSize, ResolvedMount, SpecInput};

use crate::Inner;
use crate::container::ContainerView;

/// What a container's resolver and hosts files are made from.
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";
const HOST_HOSTS: &str = "/etc/hosts";

impl Inner {
    /// Mounts the container's tree and writes its bundle.
    pub(crate) fn prepare_bundle(&self, view: &ContainerView, knows_rro: bool) -> Result<()> {
        let key = view.id.as_str();
        let image = self.images.record(&view.image_id).ok_or_else(|| {
            Error::system(format!(
                "image {} of this container is not in the ledger",
                view.image_id
            ))
        })?;
        let bundle = self.layout.bundle(&view.id);
        for dir in [&self.layout.container(&view.id), &bundle] {
            make_dir(dir)?;
        }
        self.images.store().create_writable(key)?;
        let rootfs = self.images.store().mount(key, &image.layers)?;
        self.write_network_files(view)?;
        let user = spec::user::resolve(&rootfs, &view.spec.user, &view.spec.group_add)?;
        // Docker fills a new volume when the container is made: one that was emptied since stays
        // empty.
        let never_ran = matches!(view.state, ContainerState::Created { .. });
        if never_ran {
            self.images.store().furnish(&rootfs)?;
        }
        let mounts = self.resolve_mounts(&view.spec.mounts, &rootfs, never_ran)?;
        let devices = spec::resolve_devices(&view.spec)?;
        spec::check_propagation(&mounts)?;
        let parent = view.spec.cgroup_parent.as_deref();
        let cgroups_path = self.runtimes.cgroups_path(&view.id, parent)?;
        let built = spec::build(&SpecInput {
            id: &view.id,
            spec: &view.spec,
            rootfs: &rootfs,
            hostname: &view.spec.hostname,
            user: &user,
            mounts: &mounts,
            devices: &devices,
            resolv_conf: Some(&view.paths.resolv_conf),
            hosts: Some(&view.paths.hosts),
            hostname_file: Some(&view.paths.hostname),
            init_binary: self.init_binary.as_deref(),
            cgroups_path: &cgroups_path,
            knows_rro,
            console_size: view
                .spec
                .console_size
                .map(|(height, width)| ConsoleSize { height, width }),
            host: &self.facts,
        })?;
        for warning in &built.warnings {
            tracing::warn!(id = view.id.short(), "{warning}");
        }
        write_private(&bundle.join("config.json"), &built.config_json)
    }

    fn write_network_files(&self, view: &ContainerView) -> Result<()> {
        let hostname = view.spec.hostname.as_str();
        // A host without these files is a host without names: not an error.
        let resolv_conf = std::fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default();
        let hosts = std::fs::read_to_string(HOST_HOSTS).unwrap_or_default();
        let files = [
            (
                &view.paths.resolv_conf,
                network::resolv_conf(&resolv_conf, &view.spec),
            ),
            (
                &view.paths.hosts,
                network::hosts(&hosts, &view.spec, hostname)?,
            ),
            (&view.paths.hostname, format!("{hostname}\n")),
        ];
        for (path, text) in files {
            std::fs::write(path, text).context(format_args!("write {}", path.display()))?;
        }
        Ok(())
    }

    fn resolve_mounts(
        &self,
        mounts: &[Mount],
        rootfs: &Path,
        fill: bool,
    ) -> Result<Vec<ResolvedMount>> {
        let resolve = |m| self.resolve_mount(m, rootfs, fill);
        mounts.iter().map(resolve).collect()
    }

    fn resolve_mount(&self, mount: &Mount, rootfs: &Path, fill: bool) -> Result<ResolvedMount> {
        let source = match &mount.source {
            MountSource::Bind {
                path,
                create_missing,
                ..
            } => {
                ensure_bind_source(path, *create_missing)?;
                PathBuf::from(path)
            }
            MountSource::Volume { name, no_copy, .. } => {
                let data = self.volumes.ensure_data(name)?;
                if fill && !no_copy {
                    let inside = Path::new(&mount.destination);
                    let store = self.images.store();
                    self.volumes
                        .fill(name, |data| store.copy_out(rootfs, inside, data))?;
                }
                data
            }
            MountSource::Tmpfs { .. } => PathBuf::new(),
        };
        Ok(ResolvedMount {
            mount: mount.clone(),
            source,
        })
    }
}

/// `-v` makes a missing directory (moby `createIfMissing`), `--mount` does not.
fn ensure_bind_source(path: &str, create_missing: bool) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && create_missing => {
            std::fs::create_dir_all(path).context(format_args!(
                "error while creating mount source path '{path}'"
            ))
        }
        Err(e) => Err(Error::new(
            Kind::InvalidParameter,
            format!("invalid mount config for type \"bind\": bind source path {path}: {e}"),
        )),
    }
}

/// A directory that only root looks into; conmon and the runtime are root.
fn make_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o710)
        .create(dir)
        .context(format_args!("create {}", dir.display()))
}

/// The spec holds the environment, and that may hold secrets: nobody but root reads it. It lies
/// below the run root and is written anew at each start, so it need not survive power loss.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
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
