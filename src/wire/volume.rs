//! Volumes on the wire.

use std::collections::BTreeMap;
use std::path::Path;

use engine::PrunedVolumes;
use model::VolumeRecord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::none_if_empty;

/// A volume.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// When it was made, RFC 3339 in whole seconds.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// `local`.
    pub driver: String,
    /// Labels; `null` when there are none.
    #[schema(required)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Where its data are on the host.
    pub mountpoint: String,
    /// Its name.
    pub name: String,
    /// Driver options; `null` when there are none.
    #[schema(required)]
    pub options: Option<BTreeMap<String, String>>,
    /// `local`: a volume of this host alone.
    pub scope: String,
}

impl Volume {
    /// From the ledger's row and the place of its data.
    pub fn new(record: &VolumeRecord, mountpoint: &Path) -> Self {
        Self {
            created_at: record.created_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            driver: "local".to_owned(),
            labels: none_if_empty(&record.labels),
            mountpoint: mountpoint.to_string_lossy().into_owned(),
            name: record.name.to_string(),
            options: none_if_empty(&record.options),
            scope: "local".to_owned(),
        }
    }
}

/// All volumes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeListResponse {
    /// The volumes.
    pub volumes: Vec<Volume>,
    /// What could not be listed; `null` when all could.
    #[schema(required)]
    pub warnings: Option<Vec<String>>,
}

/// What a prune of volumes removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct VolumesPruneReport {
    /// Their names.
    pub volumes_deleted: Vec<String>,
    /// Bytes freed.
    pub space_reclaimed: u64,
}

impl From<PrunedVolumes> for VolumesPruneReport {
    fn from(pruned: PrunedVolumes) -> Self {
        Self {
            volumes_deleted: pruned.removed.iter().map(ToString::to_string).collect(),
            space_reclaimed: pruned.space_reclaimed_bytes,
        }
    }
}

/// What a new volume should be.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeCreateOptions {
    /// Its name; a name is made up when this is empty.
    pub name: Option<String>,
    /// `local`, which is also the default.
    pub driver: Option<String>,
    /// Options of the driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Swarm's cluster volumes: there is no swarm.
    #[schema(value_type = Option<Object>)]
    pub cluster_volume_spec: Option<serde::de::IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_looks_as_dockerd_26_shows_it() {
        let record = VolumeRecord {
            name: "capv".parse().unwrap(),
            anonymous: false,
            created_at: "2026-11-23T12:07:30.5Z".parse().unwrap(),
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            options: BTreeMap::new(),
        };
        let volume = Volume::new(&record, Path::new("/mnt/d/volumes/capv/_data"));
        assert_eq!(
            serde_json::to_string(&volume).unwrap(),
            r#"{"CreatedAt":"2026-11-23T12:07:30Z","Driver":"local","Labels":{"a":"b"},"Mountpoint":"/mnt/d/volumes/capv/_data","Name":"capv","Options":null,"Scope":"local"}"#
        );
        let list = VolumeListResponse {
            volumes: Vec::new(),
            warnings: None,
        };
        assert_eq!(
            serde_json::to_string(&list).unwrap(),
            r#"{"Volumes":[],"Warnings":null}"#
        );
    }
}
