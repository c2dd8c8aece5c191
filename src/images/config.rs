//! The image configuration: read leniently from what others wrote, and written for an import.
//!
//! Field names are Docker's and the OCI image spec's (config.md); nothing that the file does not
//! say is made up. Only what decides content is strict: the list of layers.

use std::collections::BTreeMap;

use archive::shown;
use model::HealthCheck;
use model::image::HistoryEntry;
use model::{Digest, Error, ImageConfig, Platform, Result, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use crate::json;

/// A configuration and the layers it is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parsed {
    pub(crate) config: ImageConfig,
    pub(crate) diff_ids: Vec<Digest>,
}

/// Reads a configuration blob.
///
/// # Errors
/// `InvalidParameter` when it is not one, is for another operating system, or names too many
/// layers.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed> {
    let raw: Raw = json::read(bytes, "bad image configuration")?;
    if !matches!(raw.os.as_str(), "" | "linux") {
        return Err(Error::invalid(format!(
            "image operating system {} cannot be used on this platform",
            shown(raw.os.as_bytes())
        )));
    }
    if !matches!(raw.rootfs.kind.as_str(), "" | "layers") {
        return Err(Error::invalid(format!(
            "bad image configuration: rootfs of type {}",
            shown(raw.rootfs.kind.as_bytes())
        )));
    }
    let diff_ids = raw.rootfs.diff_ids;
    crate::manifest::check_count(diff_ids.len())?;
    let run = raw.config;
    let config = ImageConfig {
        created: raw.created,
        author: raw.author,
        architecture: raw.architecture,
        variant: raw.variant,
        os: raw.os,
        entrypoint: run.entrypoint,
        cmd: run.cmd,
        env: run.env,
        user: run.user,
        working_dir: run.working_dir,
        labels: run.labels,
        exposed_ports: run.exposed_ports.into_keys().collect(),
        volumes: run.volumes.into_keys().collect(),
        stop_signal: run.stop_signal,
        history: raw.history.into_iter().map(HistoryEntry::from).collect(),
        health_check: run.healthcheck.map(HealthCheck::from),
        on_build: run.on_build,
        shell: run.shell,
        docker_version: raw.docker_version,
    };
    Ok(Parsed { config, diff_ids })
}

/// The platform that a configuration is for.
///
/// # Errors
/// As [`parse`].
pub fn platform(bytes: &[u8]) -> Result<Platform> {
    let config = parse(bytes)?.config;
    Ok(Platform {
        os: config.os,
        architecture: config.architecture,
        variant: config.variant,
    })
}

/// The configuration blob of an image with `config` and these layers.
pub(crate) fn write(config: &ImageConfig, diff_ids: &[Digest]) -> Result<Vec<u8>> {
    let present = |names: &[String]| names.iter().map(|n| (n.clone(), Present {})).collect();
    let raw = Raw {
        created: config.created,
        author: config.author.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
        docker_version: config.docker_version.clone(),
        config: RawRun {
            user: config.user.clone(),
            exposed_ports: present(&config.exposed_ports),
            env: config.env.clone(),
            entrypoint: config.entrypoint.clone(),
            cmd: config.cmd.clone(),
            volumes: present(&config.volumes),
            working_dir: config.working_dir.clone(),
            labels: config.labels.clone(),
            stop_signal: config.stop_signal.clone(),
            healthcheck: config.health_check.clone().map(RawHealth::from),
            on_build: config.on_build.clone(),
            shell: config.shell.clone(),
        },
        rootfs: RawRootfs {
            kind: "layers".to_owned(),
            diff_ids: diff_ids.to_vec(),
        },
        history: config
            .history
            .iter()
            .cloned()
            .map(RawHistory::from)
            .collect(),
    };
    serde_json::to_vec(&raw).map_err(|e| Error::system(format!("image configuration: {e}")))
}

#[derive(Debug, Deserialize, Serialize)]
struct Raw {
    #[serde(
        default,
        deserialize_with = "time_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    created: Option<Timestamp>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    author: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    variant: String,
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    /// Docker's own, beside what OCI has.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    docker_version: String,
    #[serde(default, deserialize_with = "object_or_default")]
    config: RawRun,
    #[serde(deserialize_with = "json::object")]
    rootfs: RawRootfs,
    #[serde(default, deserialize_with = "json::objects")]
    history: Vec<RawHistory>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct RawRootfs {
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    kind: String,
    /// An image without layers has `null` here in some archives.
    #[serde(default, deserialize_with = "json::list")]
    diff_ids: Vec<Digest>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawRun {
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    user: String,
    #[serde(
        deserialize_with = "json::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    exposed_ports: BTreeMap<String, Present>,
    #[serde(deserialize_with = "json::list", skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    cmd: Option<Vec<String>>,
    #[serde(
        deserialize_with = "json::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    volumes: BTreeMap<String, Present>,
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    working_dir: String,
    #[serde(
        deserialize_with = "json::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    labels: BTreeMap<String, String>,
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    stop_signal: String,
    #[serde(
        deserialize_with = "json::object_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    healthcheck: Option<RawHealth>,
    #[serde(deserialize_with = "json::list", skip_serializing_if = "Vec::is_empty")]
    on_build: Vec<String>,
    #[serde(deserialize_with = "json::list", skip_serializing_if = "Vec::is_empty")]
    shell: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawHealth {
    #[serde(deserialize_with = "json::list", skip_serializing_if = "Vec::is_empty")]
    test: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    interval: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    timeout: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    start_period: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    start_interval: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[derive(Debug, Deserialize, Serialize)]
struct RawHistory {
    #[serde(
        default,
        deserialize_with = "time_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    created: Option<Timestamp>,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    created_by: String,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    author: String,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    comment: String,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    empty_layer: bool,
}

/// The value of a set spelled as a map: `{}`, whatever else somebody put there.
#[derive(Debug)]
struct Present {}

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self {})
    }
}

impl Serialize for Present {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?)
    }
}

impl From<RawHealth> for HealthCheck {
    fn from(raw: RawHealth) -> Self {
        Self {
            test: raw.test,
            interval_ns: raw.interval,
            timeout_ns: raw.timeout,
            start_period_ns: raw.start_period,
            start_interval_ns: raw.start_interval,
            retries: raw.retries,
        }
    }
}

impl From<HealthCheck> for RawHealth {
    fn from(check: HealthCheck) -> Self {
        Self {
            test: check.test,
            interval: check.interval_ns,
            timeout: check.timeout_ns,
            start_period: check.start_period_ns,
            start_interval: check.start_interval_ns,
            retries: check.retries,
        }
    }
}

impl From<RawHistory> for HistoryEntry {
    fn from(raw: RawHistory) -> Self {
        Self {
            created: raw.created,
            created_by: raw.created_by,
            comment: raw.comment,
            empty_layer: raw.empty_layer,
            author: raw.author,
        }
    }
}

impl From<HistoryEntry> for RawHistory {
    fn from(entry: HistoryEntry) -> Self {
        Self {
            created: entry.created,
            created_by: entry.created_by,
            comment: entry.comment,
            empty_layer: entry.empty_layer,
            author: entry.author,
        }
    }
}

/// `null` is as good as absent: Go writes it for nil maps and slices.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The same of an object.
fn object_or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    json::object_or_none(deserializer).map(Option::unwrap_or_default)
}

/// A time that cannot be read is a time that is not known.
fn time_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.and_then(|t| t.parse().ok()))
}

/// Docker's `StrSlice`: a list, or one word.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        List(#[serde(deserialize_with = "json::list")] Vec<String>),
    }
    let words: Option<Words> = Option::deserialize(deserializer)?;
    Ok(words.map(|w| match w {
        Words::List(list) => list,
        Words::One(word) => vec![word],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::limits;

    #[test]
    fn nulls_absences_and_odd_forms_are_read() {
        let text = r#"{"architecture":"amd64","os":"linux","created":"not a time","config":{
            "Env":null,"Cmd":"sh","Entrypoint":["a","b"],"Labels":null,"Volumes":{"/v":{},"/w":null},
            "ExposedPorts":{"80/tcp":{}},"Unknown":[1],"User":null,"StopSignal":"SIGINT"},
            "rootfs":{"type":"layers","diff_ids":null},"history":[{"created":"2024-01-01T00:00:00Z",
            "created_by":"x","empty_layer":true},{}],"container_config":{"Cmd":null}}"#;
        let parsed = parse(text.as_bytes()).unwrap();
        let c = parsed.config;
        assert_eq!(c.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(c.entrypoint.map(|e| e.len()), Some(2));
        assert_eq!(c.volumes, ["/v", "/w"]);
        assert_eq!(c.exposed_ports, ["80/tcp"]);
        assert_eq!((c.created, c.stop_signal.as_str()), (None, "SIGINT"));
        assert_eq!(c.history.len(), 2);
        assert!(c.history[0].created.is_some() && c.history[0].empty_layer);
        let least = parse(br#"{"rootfs":{"diff_ids":[]},"config":null,"history":null}"#).unwrap();
        assert_eq!(least.config, ImageConfig::default());
    }

    #[test]
    fn what_decides_content_is_strict() {
        let many = format!(
            r#"{{"rootfs":{{"diff_ids":[{}]}}}}"#,
            vec![format!("\"{}\"", Digest::from_sha256([0; 32])); limits::IMAGE_LAYERS_MAX + 1]
                .join(",")
        );
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"os":"windows","rootfs":{"diff_ids":[]}}"#,
            r#"{"rootfs":{"type":"base","diff_ids":[]}}"#,
            r#"{"rootfs":{"diff_ids":["sha512:00"]}}"#,
            r#"{"rootfs":{"diff_ids":["sha256:../../etc/passwd"]}}"#,
            &many,
        ] {
            let e = parse(bad.as_bytes()).unwrap_err();
            assert_eq!(e.kind(), model::Kind::InvalidParameter, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = ImageConfig {
            created: Some("2024-01-02T03:04:05Z".parse().unwrap()),
            architecture: "amd64".into(),
            os: "linux".into(),
            cmd: Some(vec!["sh".into()]),
            env: vec!["A=b".into()],
            labels: [("k".to_owned(), "v".to_owned())].into(),
            exposed_ports: vec!["80/tcp".into()],
            volumes: vec!["/data".into()],
            health_check: Some(HealthCheck {
                test: vec!["CMD-SHELL".into(), "true".into()],
                interval_ns: 30_000_000_000,
                retries: 3,
                ..HealthCheck::default()
            }),
            on_build: vec!["RUN make".into()],
            shell: vec!["/bin/bash".into(), "-c".into()],
            docker_version: "20.10.24".into(),
            history: vec![HistoryEntry {
                comment: "Imported from -".into(),
                ..HistoryEntry::default()
            }],
            ..ImageConfig::default()
        };
        let diff_ids = vec![Digest::from_sha256([3; 32])];
        let bytes = write(&config, &diff_ids).unwrap();
        assert_eq!(parse(&bytes).unwrap(), Parsed { config, diff_ids });
    }

    /// The ledger keeps the configuration as JSON of the model's own.
    #[test]
    fn rows_of_older_daemons_are_read() {
        let mut row = serde_json::to_value(ImageConfig::default()).unwrap();
        let fields = row.as_object_mut().unwrap();
        for later in ["health_check", "on_build", "shell", "docker_version"] {
            fields.remove(later).unwrap();
        }
        let read: ImageConfig = serde_json::from_value(row).unwrap();
        assert_eq!(read, ImageConfig::default());
    }
}
