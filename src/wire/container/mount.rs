//! `HostConfig.Mounts`: mounts spelled out, one object each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config::{is_false, is_none_or_empty_list, is_none_or_empty_map, is_zero};
use crate::null_as_default;

/// One mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct MountSpec {
    /// `bind`, `volume`, `tmpfs`, `npipe`, `cluster`.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub r#type: String,
    /// A path of the host, a volume's name, or nothing.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub source: String,
    /// The path inside.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub target: String,
    /// Cannot be written.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Of macOS.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub consistency: String,
    /// Of type `bind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// Of type `volume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    /// Of type `tmpfs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
}

/// Options of a bind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct BindOptions {
    /// Mount propagation, mount(2).
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub propagation: String,
    /// Without the mounts below (API 1.40).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub non_recursive: bool,
    /// Make a missing source (API 1.42).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub create_mountpoint: bool,
    /// Read-only on top only (API 1.44).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub read_only_non_recursive: bool,
    /// Read-only all the way down, or fail (API 1.44).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub read_only_force_recursive: bool,
}

/// Options of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeOptions {
    /// Do not copy the image's files into a new volume.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub no_copy: bool,
    /// Labels of a new volume.
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub labels: Option<BTreeMap<String, String>>,
    /// A path below the volume's root (API 1.45).
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub subpath: String,
    /// The driver of a new volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<VolumeDriver>,
}

/// A volume driver and its options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeDriver {
    /// Its name.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub name: String,
    /// Its options.
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub options: Option<BTreeMap<String, String>>,
}

/// Options of a tmpfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct TmpfsOptions {
    /// Its size; 0 is the kernel's default.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub size_bytes: i64,
    /// Its permission bits; 0 is 1777.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub mode: i64,
    /// Flags (`["noexec"]`) and pairs (API 1.46).
    #[serde(skip_serializing_if = "is_none_or_empty_list")]
    pub options: Option<Vec<Vec<String>>>,
}
