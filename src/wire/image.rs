//! Images on the wire.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::{ImageView, RemovedReference};
use model::{HealthCheck, ImageRecord, Reference, StorageDriver};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::container::HealthConfig;
use super::none_if_empty;
use crate::version::ApiVersion;

/// Go's zero time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// One row of the image list.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageSummary {
    /// Containers that use it; -1 in a list, which does not count them.
    pub containers: i64,
    /// When it was built, in unix seconds; 0 when it does not say.
    pub created: i64,
    /// `sha256:` and 64 hex digits.
    pub id: String,
    /// Labels; `null` when there are none.
    #[schema(required)]
    pub labels: Option<BTreeMap<String, String>>,
    /// The image it was made from here; empty for every image that was not.
    pub parent_id: String,
    /// `name@digest`.
    pub repo_digests: Vec<String>,
    /// `name:tag`.
    pub repo_tags: Vec<String>,
    /// Bytes shared with other images; -1 when not asked for.
    pub shared_size: i64,
    /// Bytes on disk, unpacked.
    pub size: u64,
    /// The same, for clients before 1.44.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<u64>,
}

impl ImageSummary {
    /// As `version` shows it (moby `daemon/server/router/image`, `getImagesJSON`).
    pub fn new(image: &ImageView, version: ApiVersion) -> Self {
        let record = &image.record;
        let (mut repo_tags, mut repo_digests) = names(&image.references);
        if version < ApiVersion::v1(43) && image.references.is_empty() {
            repo_tags.push("<none>:<none>".to_owned());
            repo_digests.push("<none>@<none>".to_owned());
        }
        Self {
            containers: -1,
            created: record.config.created.map_or(0, |t| t.as_second()),
            id: record.id.to_string(),
            labels: none_if_empty(&record.config.labels),
            parent_id: parent(record),
            repo_digests,
            repo_tags,
            shared_size: -1,
            size: record.size_bytes,
            virtual_size: (version < ApiVersion::v1(44)).then_some(record.size_bytes),
        }
    }
}

impl ImageSummary {
    /// With the bytes it shares with others.
    #[must_use]
    pub fn sharing(mut self, bytes: u64) -> Self {
        self.shared_size = i64::try_from(bytes).unwrap_or(i64::MAX);
        self
    }
}

/// An image, in full.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageInspect {
    /// `sha256:` and 64 hex digits.
    pub id: String,
    /// `name:tag`.
    pub repo_tags: Vec<String>,
    /// `name@digest`.
    pub repo_digests: Vec<String>,
    /// The image it was made from here; empty for every image that was not.
    pub parent: String,
    /// The comment of its newest build step.
    pub comment: String,
    /// When it was built; absent from 1.44 on when it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The version of the Docker that made it; empty when it does not say.
    pub docker_version: String,
    /// Who built it.
    pub author: String,
    /// What containers of it start with.
    pub config: ImageConfig,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `v8` and the like.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// Bytes on disk, unpacked.
    pub size: u64,
    /// The same, for clients before 1.44.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<u64>,
    /// How its layers are stored.
    pub graph_driver: ImageGraphDriver,
    /// Its layers.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// What this engine knows beside the image.
    pub metadata: ImageMetadata,
}

/// What containers of an image start with: Docker's container configuration, of which an image
/// sets a part.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_excessive_bools, reason = "Docker's own form")]
#[expect(
    missing_docs,
    reason = "Docker's container configuration; see the Container tag"
)]
pub struct ImageConfig {
    pub hostname: String,
    pub domainname: String,
    /// `user[:group]`.
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    /// Keys `80/tcp`, values `{}`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = BTreeMap<String, Object>, required = false)]
    pub exposed_ports: Map<String, Value>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    /// `KEY=value`.
    #[schema(required)]
    pub env: Option<Vec<String>>,
    #[schema(required)]
    pub cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    pub image: String,
    /// Keys are paths, values `{}`; `null` when there are none.
    #[schema(value_type = Option<BTreeMap<String, Object>>, required)]
    pub volumes: Option<Map<String, Value>>,
    pub working_dir: String,
    #[schema(required)]
    pub entrypoint: Option<Vec<String>>,
    #[schema(required)]
    pub on_build: Option<Vec<String>>,
    #[schema(required)]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// What a build runs shell forms with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub shell: Vec<String>,
}

/// How layers are stored.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageGraphDriver {
    /// Paths of the host: `UpperDir` is the topmost layer, `LowerDir` those below it; `MergedDir`
    /// and `WorkDir` would be beside it. `null` for an image without layers, and where containers have
    /// copies.
    #[schema(required)]
    pub data: Option<BTreeMap<String, String>>,
    /// The storage driver.
    pub name: String,
}

/// The layers of an image.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Digests of the uncompressed layers, bottom first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What this engine knows beside an image.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageMetadata {
    /// When it was given a name last; Go's zero time when it never was.
    pub last_tag_time: String,
}

impl ImageInspect {
    /// As `version` shows it.
    /// With the storage driver, and the directories of its layers, the topmost first.
    pub fn new(
        image: &ImageView,
        (driver, trees): &(StorageDriver, Vec<PathBuf>),
        version: ApiVersion,
    ) -> Self {
        let record = &image.record;
        let config = &record.config;
        let (repo_tags, repo_digests) = names(&image.references);
        let created = config.created.map(|t| t.to_string());
        let before_1_44 = version < ApiVersion::v1(44);
        Self {
            id: record.id.to_string(),
            repo_tags,
            repo_digests,
            parent: parent(record),
            comment: config
                .history
                .last()
                .map(|step| step.comment.clone())
                .unwrap_or_default(),
            created: created.or_else(|| before_1_44.then(|| NO_TIME.to_owned())),
            docker_version: config.docker_version.clone(),
            author: config.author.clone(),
            config: config.into(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
            os: config.os.clone(),
            size: record.size_bytes,
            virtual_size: before_1_44.then_some(record.size_bytes),
            graph_driver: ImageGraphDriver {
                data: match driver {
                    StorageDriver::Overlay2 => graph_data(trees),
                    // Docker's has nothing to tell either.
                    StorageDriver::Vfs => None,
                },
                name: driver.to_string(),
            },
            root_fs: RootFs {
                kind: "layers".to_owned(),
                layers: record
                    .layers
                    .iter()
                    .map(|l| l.diff_id.to_string())
                    .collect(),
            },
            metadata: ImageMetadata {
                last_tag_time: record
                    .tagged_at
                    .map_or_else(|| NO_TIME.to_owned(), |t| t.to_string()),
            },
        }
    }
}

fn parent(record: &ImageRecord) -> String {
    let parent = record.parent.as_ref();
    parent.map(ToString::to_string).unwrap_or_default()
}

/// As dockerd's overlay driver shows a layer, which is an overlay of its own there.
fn graph_data(trees: &[PathBuf]) -> Option<BTreeMap<String, String>> {
    let (top, lower) = trees.split_first()?;
    let shown = |path: &Path| path.display().to_string();
    let mut data = BTreeMap::from([
        ("MergedDir".to_owned(), shown(&top.with_file_name("merged"))),
        ("UpperDir".to_owned(), shown(top)),
        ("WorkDir".to_owned(), shown(&top.with_file_name("work"))),
    ]);
    if !lower.is_empty() {
        let lower: Vec<String> = lower.iter().map(|path| shown(path)).collect();
        data.insert("LowerDir".to_owned(), lower.join(":"));
    }
    Some(data)
}

impl From<&model::ImageConfig> for ImageConfig {
    fn from(config: &model::ImageConfig) -> Self {
        Self {
            user: config.user.clone(),
            exposed_ports: set(&config.exposed_ports),
            env: none_if_empty(&config.env),
            cmd: config.cmd.clone(),
            volumes: none_if_empty(&set(&config.volumes)),
            working_dir: config.working_dir.clone(),
            entrypoint: config.entrypoint.clone(),
            labels: none_if_empty(&config.labels),
            stop_signal: config.stop_signal.clone(),
            healthcheck: config.health_check.as_ref().map(HealthConfig::from),
            on_build: none_if_empty(&config.on_build),
            shell: config.shell.clone(),
            ..Self::default()
        }
    }
}

impl From<&HealthConfig> for HealthCheck {
    fn from(config: &HealthConfig) -> Self {
        Self {
            test: config.test.clone().unwrap_or_default(),
            interval_ns: config.interval,
            timeout_ns: config.timeout,
            start_period_ns: config.start_period,
            start_interval_ns: config.start_interval,
            retries: config.retries,
        }
    }
}

impl From<&HealthCheck> for HealthConfig {
    fn from(check: &HealthCheck) -> Self {
        Self {
            test: none_if_empty(&check.test),
            interval: check.interval_ns,
            timeout: check.timeout_ns,
            start_period: check.start_period_ns,
            start_interval: check.start_interval_ns,
            retries: check.retries,
        }
    }
}

/// Go's `map[string]struct{}`.
fn set(keys: &[String]) -> Map<String, Value> {
    keys.iter()
        .map(|key| (key.clone(), Value::Object(Map::new())))
        .collect()
}

/// `name:tag` and `name@digest`, as users type them.
fn names(references: &[Reference]) -> (Vec<String>, Vec<String>) {
    let mut tags = Vec::new();
    let mut digests = Vec::new();
    for reference in references {
        match reference.digest() {
            Some(digest) => digests.push(format!("{}@{digest}", reference.familiar_name())),
            None => tags.push(reference.familiar()),
        }
    }
    (tags, digests)
}

/// One thing a removal did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageDeleteResponseItem {
    /// A name that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untagged: Option<String>,
    /// An image or layer that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
}

impl From<RemovedReference> for ImageDeleteResponseItem {
    fn from(removed: RemovedReference) -> Self {
        let (untagged, deleted) = match removed {
            RemovedReference::Untagged(name) => (Some(name), None),
            RemovedReference::Deleted(digest) => (None, Some(digest.to_string())),
        };
        Self { untagged, deleted }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Digest, Layer};

    use super::*;

    fn busybox(references: &[&str]) -> ImageView {
        let digest = Digest::from_sha256([9; 32]);
        let config = model::ImageConfig {
            created: Some("2024-01-01T00:00:00Z".parse().unwrap()),
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            cmd: Some(vec!["sh".to_owned()]),
            volumes: vec!["/data".to_owned()],
            docker_version: "20.10.24".to_owned(),
            ..model::ImageConfig::default()
        };
        ImageView {
            record: Arc::new(ImageRecord {
                id: digest.clone(),
                layers: vec![Layer {
                    diff_id: digest.clone(),
                    chain_id: digest,
                    size_bytes: 1_984_172,
                    blob: None,
                }],
                size_bytes: 1_984_172,
                config,
                manifest: None,
                parent: None,
                tagged_at: None,
            }),
            references: references.iter().map(|r| r.parse().unwrap()).collect(),
            containers: 3,
        }
    }

    #[test]
    fn a_row_looks_as_dockerd_26_shows_it() {
        let row = ImageSummary::new(&busybox(&["busybox:bench"]), ApiVersion::v1(45));
        let id = format!("sha256:{}", "09".repeat(32));
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            format!(
                r#"{{"Containers":-1,"Created":1704067200,"Id":"{id}","Labels":null,"ParentId":"","RepoDigests":[],"RepoTags":["busybox:bench"],"SharedSize":-1,"Size":1984172}}"#
            )
        );
    }

    #[test]
    fn older_clients_get_a_virtual_size_and_a_name_for_the_nameless() {
        let row = |minor| ImageSummary::new(&busybox(&[]), ApiVersion::v1(minor));
        assert_eq!(row(44).virtual_size, None);
        assert_eq!(row(43).virtual_size, Some(1_984_172));
        assert!(row(43).repo_tags.is_empty());
        assert_eq!(row(42).repo_tags, ["<none>:<none>"]);
        assert_eq!(row(42).repo_digests, ["<none>@<none>"]);
    }

    #[test]
    fn inspect_has_dockers_shapes() {
        let digest = Digest::from_sha256([7; 32]);
        let canonical = format!("busybox@{digest}");
        let image = busybox(&["busybox:1", &canonical]);
        let trees = ["/t/2/tree", "/t/1/tree", "/t/0/tree"].map(PathBuf::from);
        let inspect = |trees: &[PathBuf]| {
            let trees = (StorageDriver::Overlay2, trees.to_vec());
            serde_json::to_value(ImageInspect::new(&image, &trees, ApiVersion::v1(47))).unwrap()
        };
        let value = inspect(&trees);
        assert_eq!(
            value["GraphDriver"]["Data"],
            serde_json::json!({
                "LowerDir": "/t/1/tree:/t/0/tree",
                "MergedDir": "/t/2/merged",
                "UpperDir": "/t/2/tree",
                "WorkDir": "/t/2/work",
            })
        );
        let one = inspect(&trees[2..])["GraphDriver"]["Data"].clone();
        assert_eq!(one.get("LowerDir"), None);
        assert_eq!(inspect(&[])["GraphDriver"]["Data"], Value::Null);
        assert_eq!(value["RepoTags"], serde_json::json!(["busybox:1"]));
        assert_eq!(value["RepoDigests"], serde_json::json!([canonical]));
        assert_eq!(value["Created"], "2024-01-01T00:00:00Z");
        assert_eq!(value["DockerVersion"], "20.10.24");
        assert_eq!(value["RootFS"]["Type"], "layers");
        assert_eq!(value["Config"]["Entrypoint"], Value::Null);
        assert_eq!(value["Config"]["Volumes"], serde_json::json!({"/data": {}}));
        assert_eq!(value["Config"].get("ExposedPorts"), None);
        assert_eq!(value.get("VirtualSize"), None);
    }

    #[test]
    fn a_missing_build_time_is_gos_zero_time_before_1_44() {
        let mut image = busybox(&[]);
        Arc::make_mut(&mut image.record).config.created = None;
        let trees = (StorageDriver::Overlay2, Vec::new());
        let created = |minor| ImageInspect::new(&image, &trees, ApiVersion::v1(minor)).created;
        assert_eq!(created(43).as_deref(), Some("0001-01-01T00:00:00Z"));
        assert_eq!(created(44), None);
        assert_eq!(ImageSummary::new(&image, ApiVersion::v1(47)).created, 0);
    }

    #[test]
    fn a_removal_is_told_item_by_item() {
        let items: Vec<ImageDeleteResponseItem> = vec![
            RemovedReference::Untagged("a:1".to_owned()).into(),
            RemovedReference::Deleted(Digest::from_sha256([9; 32])).into(),
        ];
        let text = serde_json::to_string(&items).unwrap();
        let id = "09".repeat(32);
        assert_eq!(
            text,
            format!(r#"[{{"Untagged":"a:1"}},{{"Deleted":"sha256:{id}"}}]"#)
        );
    }
}
