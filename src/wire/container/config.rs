//! `Config`: what a container is wherever it runs. Sent at create, shown by inspect.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::null_as_default;

/// The portable half of a container's configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// The container's hostname; empty is its short id.
    #[serde(deserialize_with = "null_as_default")]
    pub hostname: String,
    /// The container's NIS domain name.
    #[serde(deserialize_with = "null_as_default")]
    pub domainname: String,
    /// `user[:group]` of the first process.
    #[serde(deserialize_with = "null_as_default")]
    pub user: String,
    /// The client means to attach stdin.
    #[serde(deserialize_with = "null_as_default")]
    pub attach_stdin: bool,
    /// The client means to attach stdout.
    #[serde(deserialize_with = "null_as_default")]
    pub attach_stdout: bool,
    /// The client means to attach stderr.
    #[serde(deserialize_with = "null_as_default")]
    pub attach_stderr: bool,
    /// Declared ports, `80/tcp`.
    #[serde(skip_serializing_if = "is_none_or_empty_map")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    /// A terminal for the first process.
    #[serde(deserialize_with = "null_as_default")]
    pub tty: bool,
    /// Keep stdin open.
    #[serde(deserialize_with = "null_as_default")]
    pub open_stdin: bool,
    /// Close stdin after the first attached client.
    #[serde(deserialize_with = "null_as_default")]
    pub stdin_once: bool,
    /// `KEY=value`.
    pub env: Option<Vec<String>>,
    /// The command.
    pub cmd: Option<StrSlice>,
    /// The health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    /// Of Windows.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    /// The image as the client names it.
    #[serde(deserialize_with = "null_as_default")]
    pub image: String,
    /// Paths that get an anonymous volume each.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// The working directory.
    #[serde(deserialize_with = "null_as_default")]
    pub working_dir: String,
    /// The command line's beginning.
    pub entrypoint: Option<StrSlice>,
    /// No network at all.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    pub network_disabled: bool,
    /// Before API 1.44, the address on the one network.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub mac_address: String,
    /// Of images.
    pub on_build: Option<Vec<String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The first signal of a stop.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub stop_signal: String,
    /// Seconds a stop waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// The shell of Dockerfile lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<StrSlice>,
}

/// `{}`: a value of Go's sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(from = "Option<Braces>")]
pub struct Empty {}

/// What is accepted for it: an object, whatever is inside, or `null`.
#[derive(Deserialize)]
struct Braces {}

impl From<Option<Braces>> for Empty {
    fn from(_: Option<Braces>) -> Self {
        Self {}
    }
}

/// A list of strings that may also be sent as one string (moby `strslice`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(from = "OneOrMany")]
pub struct StrSlice(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for StrSlice {
    fn from(sent: OneOrMany) -> Self {
        Self(match sent {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(list) => list,
        })
    }
}

/// A health check. Durations are nanoseconds; zero inherits the image's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct HealthConfig {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`; empty inherits.
    #[serde(skip_serializing_if = "is_none_or_empty_list")]
    pub test: Option<Vec<String>>,
    /// Between two checks.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Before a check counts as failed.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Before failures count.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two checks of the start period (API 1.44).
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn is_zero(value: &i64) -> bool {
    *value == 0
}

pub(super) fn is_none_or_empty_map<V>(map: &Option<BTreeMap<String, V>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}

pub(super) fn is_none_or_empty_list<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}
