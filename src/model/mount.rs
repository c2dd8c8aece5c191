//! What a container finds mounted, as it was asked for.

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
    /// The propagation for binds: `rprivate` where nothing was asked for.
    pub propagation: Propagation,
    /// The mode string of a `-v src:dst:mode` bind, echoed by inspect.
    pub mode: String,
}

impl Mount {
    /// Whether it shows a volume.
    pub fn is_volume(&self) -> bool {
        matches!(self.source, MountSource::Volume { .. })
    }
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
    },
    /// A volume of the local driver.
    Volume {
        /// Its name.
        name: VolumeName,
        /// Made for this container: removed with it on `rm -v` or `--rm`.
        anonymous: bool,
        /// Do not copy what the image has at the destination into a new volume.
        no_copy: bool,
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

/// Mount propagation of a bind, mount(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kernel's own words, mount_namespaces(7)")]
pub enum Propagation {
    #[default]
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
            Self::RPrivate => "rprivate",
            Self::Private => "private",
            Self::RShared => "rshared",
            Self::Shared => "shared",
            Self::RSlave => "rslave",
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
