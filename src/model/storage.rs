//! How containers' root file systems are made of their images' layers.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A way to make them, called as dockerd calls its own (`storage-driver`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageDriver {
    /// Overlays: the layers are shared, a container has its changes.
    Overlay2,
    /// Each container has a copy of them all.
    Vfs,
}

impl StorageDriver {
    /// Docker's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlay2 => "overlay2",
            Self::Vfs => "vfs",
        }
    }
}

impl fmt::Display for StorageDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StorageDriver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::Overlay2, Self::Vfs];
        let found = known.into_iter().find(|driver| driver.as_str() == text);
        found.ok_or_else(|| format!("storage driver {text}: there are overlay2 and vfs"))
    }
}
