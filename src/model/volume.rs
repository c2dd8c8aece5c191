//! A volume of the local driver.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::VolumeName;

/// What the ledger keeps about a volume. Its data are a directory of that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its name.
    pub name: VolumeName,
    /// Made without a name, for one container.
    pub anonymous: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Labels as given.
    pub labels: BTreeMap<String, String>,
    /// Driver options as given.
    pub options: BTreeMap<String, String>,
}
