//! Where containers and their conmons are accounted: in directories of the cgroup file systems, or
//! in scopes that systemd makes.
//!
//! A container's own cgroup is made by its OCI runtime, at the path its `config.json` names
//! (`linux.cgroupsPath`, in the form that the manager takes). conmon's is made here: it must not be
//! in the daemon's, which ends with it, nor in the container's, whose limits are not meant for it.

use std::path::{Path, PathBuf};

use model::{Context, Error, Kind, Result};
use sys::cgroup::Hierarchies;
use sys::pidfd::PidFd;
use units::{Scope, Slice, Units};

use crate::{CgroupManager, Config};

/// In the names of our scopes: `moored-<id>.scope`, `moored-conmon-<id>.scope`.
const PREFIX: &str = "moored";

/// The hierarchies of this host, and our place in them.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) hierarchies: Hierarchies,
    home: Home,
}

#[derive(Debug)]
enum Home {
    /// The parent of containers that name none, and of the conmons' one cgroup.
    Directory(String),
    /// The slice of containers that name none, and of the conmons' scopes.
    Slice { units: Units, slice: Slice },
}

impl Placement {
    /// As configured ([`Config::check`] has passed), on this host.
    ///
    /// # Errors
    /// System when the mounts cannot be read.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let parent = &config.cgroup_parent;
        let home = match config.cgroup_manager {
            CgroupManager::Cgroupfs => Home::Directory(parent.clone()),
            CgroupManager::Systemd => Home::Slice {
                units: Units::default(),
                slice: parent.parse()?,
            },
        };
        let hierarchies = Hierarchies::detect().context("cannot read the cgroup mounts")?;
        Ok(Self { hierarchies, home })
    }

    /// Whether the runtime is to ask systemd, too.
    pub(crate) fn by_systemd(&self) -> bool {
        matches!(self.home, Home::Slice { .. })
    }

    /// `linux.cgroupsPath` of a container with this id and parent.
    ///
    /// # Errors
    /// InvalidParameter in Docker's words for a parent that is no slice where it must be one.
    pub(crate) fn of_container(&self, id: &str, parent: Option<&str>) -> Result<String> {
        Ok(match &self.home {
            Home::Directory(own) => {
                format!("/{}/{id}", parent.unwrap_or(own).trim_matches('/'))
            }
            Home::Slice { slice, .. } => {
                let slice = parent.map_or_else(|| Ok(slice.clone()), str::parse)?;
                format!("{slice}:{PREFIX}:{id}")
            }
        })
    }

    /// Puts a container's or an exec's conmon where it is to be; an exec's goes to its container's.
    ///
    /// # Errors
    /// When it stays where it is. One that has ended needs no place.
    pub(crate) async fn place_monitor(&self, container: &str, conmon: PidFd) -> Result<()> {
        let placed = match &self.home {
            Home::Directory(parent) => {
                let (hierarchies, cgroup) = (self.hierarchies.clone(), monitors(parent));
                let pid = conmon.process().pid;
                let place = move || hierarchies.place(&cgroup, pid);
                tokio::task::spawn_blocking(place)
                    .await
                    .unwrap_or_else(|e| Err(std::io::Error::other(e)))
                    .map_err(|e| Error::system(e.to_string()))
            }
            Home::Slice { units, slice } => {
                let scope = Scope {
                    name: &format!("{PREFIX}-conmon-{container}.scope"),
                    // systemd stops in the reverse order: conmon hands a signal on to its container,
                    // and drains its last output.
                    before: &format!("{PREFIX}-{container}.scope"),
                    description: &format!("conmon of container {container}"),
                    slice,
                };
                units.place(conmon.process().pid, &scope).await
            }
        };
        match placed {
            Err(_) if conmon.has_exited().unwrap_or(true) => Ok(()),
            placed => placed,
        }
    }

    /// Removes what we made for the conmons, when the last of them is gone. Scopes go by themselves.
    pub(crate) fn tidy(&self) -> Result<()> {
        match &self.home {
            Home::Directory(parent) => (self.hierarchies.remove_if_empty(&monitors(parent)))
                .map_err(|e| Error::new(Kind::System, e.to_string())),
            Home::Slice { .. } => Ok(()),
        }
    }
}

/// The one cgroup of all conmons of a daemon.
fn monitors(parent: &str) -> PathBuf {
    Path::new(parent).join("conmon")
}

/// Where the cgroup of this `cgroupsPath` is, below a hierarchy's root. The path says by itself which
/// manager made it: it may be another than today's.
///
/// # Errors
/// InvalidParameter for what is neither a path nor a slice with a name in it.
pub(crate) fn directory_of(cgroups_path: &str) -> Result<PathBuf> {
    if cgroups_path.starts_with('/') {
        return Ok(PathBuf::from(cgroups_path));
    }
    let mut parts = cgroups_path.splitn(3, ':');
    let (Some(slice), Some(prefix), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(PathBuf::from(cgroups_path));
    };
    let slice: Slice = slice.parse()?;
    let plain = |part: &str| !part.is_empty() && !part.contains('/');
    if !plain(prefix) || !plain(name) {
        return Err(Error::invalid(format!("{cgroups_path} names no cgroup")));
    }
    Ok(slice.directory().join(format!("{prefix}-{name}.scope")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(home: Home) -> Placement {
        Placement {
            hierarchies: Hierarchies::default(),
            home,
        }
    }

    #[test]
    fn a_containers_path_has_the_form_of_its_manager() {
        let directory = home(Home::Directory("/moored/".to_owned()));
        assert_eq!(directory.of_container("ID", None).unwrap(), "/moored/ID");
        assert_eq!(
            directory.of_container("ID", Some("/a/b")).unwrap(),
            "/a/b/ID"
        );
        let slice = home(Home::Slice {
            units: Units::default(),
            slice: "moored.slice".parse().unwrap(),
        });
        let own = slice.of_container("ID", None).unwrap();
        assert_eq!(own, "moored.slice:moored:ID");
        let given = slice.of_container("ID", Some("user-1.slice")).unwrap();
        assert_eq!(given, "user-1.slice:moored:ID");
        let e = slice.of_container("ID", Some("/a/b")).unwrap_err();
        assert_eq!(e.kind(), Kind::InvalidParameter);
        assert!(e.message().contains("should be a valid slice"), "{e}");
    }

    #[test]
    fn every_path_tells_where_its_cgroup_is() {
        for (path, directory) in [
            ("/moored/ID", "/moored/ID"),
            ("/a:b:c/ID", "/a:b:c/ID"),
            ("moored.slice:moored:ID", "moored.slice/moored-ID.scope"),
            (
                "user-1.slice:moored:ID",
                "user.slice/user-1.slice/moored-ID.scope",
            ),
        ] {
            assert_eq!(
                directory_of(path).unwrap(),
                PathBuf::from(directory),
                "{path}"
            );
        }
        for bad in [
            "moored.slice::ID",
            "moored.slice:moored:",
            "x:moored:ID",
            "a.slice:b/..:c",
        ] {
            assert!(directory_of(bad).is_err(), "{bad}");
        }
    }
}
