//! What a container finds mounted, as it was asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::VolumeName;

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where: an absolute, clean path inside the container.
    pub destination: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// The propagation for binds.
    pub propagation: Propagation,
    /// The mode string of a `-v src:dst:mode` bind, echoed by inspect.
    pub mode: String,
}

impl Mount {
    /// Whether it shows a volume.
    pub fn is_volume(&self) -> bool {
        matches!(self.source, MountSource::Volume { .. })
    }

    /// The volume it shows.
    pub fn volume(&self) -> Option<&VolumeName> {
        match &self.source {
            MountSource::Volume { name, .. } => Some(name),
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        }
    }

    /// Whether it shows a volume that the image or `Config.Volumes` declares.
    pub fn is_declared(&self) -> bool {
        // What a client spells out has a mode, at least `z`.
        matches!(&self.source, MountSource::Volume { anonymous: true, options, .. }
            if !options.borrowed && self.mode.is_empty())
    }
}

/// An absolute path without `.`, `..`, doubled or trailing slashes (Go's `path.Clean`): what two places in
/// a container are compared by.
pub fn clean_path(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The kinds of mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute host path.
        path: String,
        /// `-v` makes a missing directory, `--mount` refuses.
        create_missing: bool,
        /// Bind only the one mount, not those below it.
        non_recursive: bool,
        /// How far down it is read-only, where it is.
        #[serde(default)]
        reach: ReadOnlyReach,
    },
    /// A volume of the local driver.
    Volume {
        /// Its name.
        name: VolumeName,
        /// Made for this container: removed with it on `rm -v` or `--rm`.
        anonymous: bool,
        /// Do not copy what the image has at the destination into a new volume.
        no_copy: bool,
        /// What else is asked of it.
        #[serde(default, skip_serializing_if = "VolumeOptions::is_default")]
        options: VolumeOptions,
    },
    /// A file system in memory.
    Tmpfs {
        /// Its size limit; `None` leaves the kernel's half of memory.
        size_bytes: Option<u64>,
        /// Its permission bits; `None` is 1777.
        mode: Option<u32>,
        /// Further mount options (`noexec`, `uid=1`) of `--tmpfs`.
        options: Vec<String>,
    },
}

/// How far down a read-only bind cannot be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ReadOnlyReach {
    /// With all that is mounted below it, where kernel and runtime can do that.
    #[default]
    WherePossible,
    /// Itself alone.
    Top,
    /// With all that is mounted below it, or it is an error.
    All,
}

/// What a container asks of a volume beside its name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Only what is there in the volume is shown: a relative path that does not lead out of it, as written
    /// (`a/../b` is taken). Links on the way are followed when the container starts, and none leads out
    /// then.
    pub subpath: Option<String>,
    /// It is another container's, from `VolumesFrom`: it is not made where it is missing.
    pub borrowed: bool,
    /// The driver it is to have; nothing was said where it is empty.
    pub driver: String,
    /// Options of its driver, where it is made.
    pub driver_options: BTreeMap<String, String>,
    /// Its labels, where it is made.
    pub labels: BTreeMap<String, String>,
}

impl VolumeOptions {
    /// Whether nothing is asked.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A volume without a name that a create asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnonymousVolume {
    /// Where: an absolute, clean path inside the container.
    pub destination: String,
    /// Do not copy what the image has there into it.
    pub no_copy: bool,
    /// The mode string, echoed by inspect.
    pub mode: String,
    /// What else is asked of it.
    pub options: VolumeOptions,
}

/// Another container whose mounts are taken (`VolumesFrom`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumesFrom {
    /// Name or id, as the client wrote it.
    pub container: String,
    /// They cannot be written to here.
    pub read_only: bool,
}

/// Mount propagation of a bind, mount(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kernel's own words, mount_namespaces(7)")]
pub enum Propagation {
    /// Nothing was asked for: `rprivate`.
    #[default]
    Unset,
    /// Nothing was asked for, and the daemon's own mounts are in what is shown: a container that kept
    /// them would keep what is unmounted here. `rslave`, or `rprivate` where nothing is shared.
    SlaveIfShared,
    RPrivate,
    Private,
    RShared,
    Shared,
    RSlave,
    Slave,
}

impl Propagation {
    /// The word of mount options.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset | Self::RPrivate => "rprivate",
            Self::Private => "private",
            Self::RShared => "rshared",
            Self::Shared => "shared",
            Self::SlaveIfShared | Self::RSlave => "rslave",
            Self::Slave => "slave",
        }
    }

    /// From the word of mount options.
    pub fn parse(word: &str) -> Option<Self> {
        use Propagation::{Private, RPrivate, RShared, RSlave, Shared, Slave};
        [RPrivate, Private, RShared, Shared, RSlave, Slave]
            .into_iter()
            .find(|p| p.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_compared_as_go_cleans_them() {
        let cleaned = ["/a//b/", "/a/./b", "/a/c/../b", "/../a/b", "a/b"].map(clean_path);
        assert_eq!(cleaned, ["/a/b"; 5]);
        assert_eq!(["//", "", "/..", "/a/.."].map(clean_path), ["/"; 4]);
    }

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let bind = r#"{"Bind":{"path":"/a","create_missing":true,"non_recursive":false}}"#;
        let read: MountSource = serde_json::from_str(bind).unwrap();
        let expected = MountSource::Bind {
            path: "/a".to_owned(),
            create_missing: true,
            non_recursive: false,
            reach: ReadOnlyReach::WherePossible,
        };
        assert_eq!(read, expected);
        let volume = r#"{"Volume":{"name":"data","anonymous":false,"no_copy":true}}"#;
        let read: MountSource = serde_json::from_str(volume).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), volume);
    }
}
