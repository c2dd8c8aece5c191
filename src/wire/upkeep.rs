//! What images are made of and what they take: history, commit, prune, `system df`.

use std::collections::BTreeMap;

use engine::{HistoryStep, PrunedImages};
use serde::Serialize;
use utoipa::ToSchema;

use crate::container::{ContainerConfig, ContainerSummary, Empty};
use crate::image::{ImageDeleteResponseItem, ImageSummary};
use crate::volume::Volume;

/// One step of an image's history, in the captured order of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryResponseItem {
    /// Its comment.
    pub comment: String,
    /// When it was made, in unix seconds; 0 when it does not say.
    pub created: i64,
    /// The command.
    pub created_by: String,
    /// The image it ended with; `<missing>` where that is not here.
    pub id: String,
    /// The bytes of the layer it made.
    pub size: u64,
    /// The tags of that image; `null` when there are none.
    #[schema(required)]
    pub tags: Option<Vec<String>>,
}

impl From<HistoryStep> for HistoryResponseItem {
    fn from(step: HistoryStep) -> Self {
        Self {
            comment: step.entry.comment,
            created: step.entry.created.map_or(0, |t| t.as_second()),
            created_by: step.entry.created_by,
            id: step
                .image
                .map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
            size: step.size_bytes,
            tags: Some(step.tags).filter(|tags| !tags.is_empty()),
        }
    }
}

/// What a commit has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CommitResponse {
    /// The image's id.
    pub id: String,
}

/// What a container's configuration says of images made of it.
impl From<ContainerConfig> for model::ImageConfig {
    fn from(config: ContainerConfig) -> Self {
        fn keys(set: Option<BTreeMap<String, Empty>>) -> Vec<String> {
            set.unwrap_or_default().into_keys().collect()
        }
        Self {
            entrypoint: config.entrypoint.map(|words| words.0),
            cmd: config.cmd.map(|words| words.0),
            env: config.env.unwrap_or_default(),
            user: config.user,
            working_dir: config.working_dir,
            labels: config.labels.unwrap_or_default(),
            exposed_ports: keys(config.exposed_ports),
            volumes: keys(config.volumes),
            stop_signal: config.stop_signal,
            health_check: config.healthcheck.as_ref().map(model::HealthCheck::from),
            on_build: config.on_build.unwrap_or_default(),
            shell: config.shell.map(|words| words.0).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// What a prune of images removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImagesPruneReport {
    /// Names, images and layers, in the order they went; `null` when there were none.
    #[schema(required)]
    pub images_deleted: Option<Vec<ImageDeleteResponseItem>>,
    /// Bytes freed.
    pub space_reclaimed: u64,
}

impl From<PrunedImages> for ImagesPruneReport {
    fn from(pruned: PrunedImages) -> Self {
        let removed: Vec<_> = pruned.removed.into_iter().map(Into::into).collect();
        Self {
            images_deleted: Some(removed).filter(|removed| !removed.is_empty()),
            space_reclaimed: pruned.space_reclaimed_bytes,
        }
    }
}

/// What all of it takes.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DiskUsage {
    /// Bytes of the layers of all images, each once.
    pub layers_size: u64,
    /// The images; `null` when not asked for.
    #[schema(required)]
    pub images: Option<Vec<ImageSummary>>,
    /// The containers; `null` when not asked for.
    #[schema(required)]
    pub containers: Option<Vec<ContainerSummary>>,
    /// The volumes; `null` when not asked for.
    #[schema(required)]
    pub volumes: Option<Vec<VolumeUsage>>,
    /// What builds keep, which is nothing here; `null` when not asked for.
    #[schema(value_type = Option<Vec<Object>>, required)]
    pub build_cache: Option<[(); 0]>,
}

/// A volume and what it takes.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeUsage {
    /// The volume.
    #[serde(flatten)]
    pub volume: Volume,
    /// What it takes.
    pub usage_data: UsageData,
}

/// What a volume takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct UsageData {
    /// How many containers name it.
    pub ref_count: i64,
    /// Bytes of its files; -1 where that is not known.
    pub size: i64,
}

/// What a prune of the build cache removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BuildPruneResponse {
    /// Nothing: nothing is kept.
    #[schema(required)]
    pub caches_deleted: Option<Vec<String>>,
    /// Bytes freed.
    pub space_reclaimed: u64,
}

#[cfg(test)]
mod tests {
    use model::image::HistoryEntry;

    use super::*;

    #[test]
    fn a_step_has_dockers_shape() {
        let step = HistoryStep {
            image: None,
            tags: Vec::new(),
            entry: HistoryEntry {
                created: Some("2024-01-01T00:00:00Z".parse().unwrap()),
                created_by: "/bin/sh -c #(nop) CMD".to_owned(),
                ..HistoryEntry::default()
            },
            size_bytes: 7,
        };
        assert_eq!(
            serde_json::to_string(&HistoryResponseItem::from(step)).unwrap(),
            r#"{"Comment":"","Created":1704067200,"CreatedBy":"/bin/sh -c #(nop) CMD","Id":"<missing>","Size":7,"Tags":null}"#
        );
    }

    #[test]
    fn nothing_pruned_is_null() {
        assert_eq!(
            serde_json::to_string(&ImagesPruneReport::from(PrunedImages::default())).unwrap(),
            r#"{"ImagesDeleted":null,"SpaceReclaimed":0}"#
        );
    }
}
