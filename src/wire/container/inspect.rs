//! The document of `GET /containers/{id}/json`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{ContainerConfig, HostConfig, NetworkSettings};

/// Everything about one container.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerInspect {
    /// Its id.
    pub id: String,
    /// When it was made, RFC 3339 with nanoseconds.
    pub created: String,
    /// Its program.
    pub path: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Where it is in its life.
    pub state: State,
    /// The image's id.
    pub image: String,
    /// Mounted at /etc/resolv.conf.
    pub resolv_conf_path: String,
    /// Mounted at /etc/hostname.
    pub hostname_path: String,
    /// Mounted at /etc/hosts.
    pub hosts_path: String,
    /// The log file.
    pub log_path: String,
    /// Its name, with the slash.
    pub name: String,
    /// How often its restart policy started it.
    pub restart_count: u32,
    /// The storage driver.
    pub driver: String,
    /// The operating system.
    pub platform: String,
    /// Of SELinux.
    pub mount_label: String,
    /// Of SELinux.
    pub process_label: String,
    /// Of AppArmor.
    pub app_armor_profile: String,
    /// The exec sessions; `null` when there are none.
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    /// The host's half of its configuration.
    pub host_config: HostConfig,
    /// What the storage driver knows of it.
    pub graph_driver: GraphDriver,
    /// Bytes written, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    /// Bytes in all, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    /// Its mounts.
    pub mounts: Vec<MountPoint>,
    /// The portable half of its configuration.
    pub config: ContainerConfig,
    /// Its networks.
    pub network_settings: NetworkSettings,
    /// What is known to be missing from its log. Not Docker's, and only there when something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_faults: Option<LogFaults>,
}

/// What is known to be missing from a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LogFaults {
    /// Places that could not be read.
    pub damaged_places: u64,
    /// Bytes in them.
    pub damaged_bytes: u64,
    /// The disk was full from then on: what was written may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_full_since: Option<String>,
    /// When it was last seen full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_full_until: Option<String>,
}

impl LogFaults {
    /// `None` when nothing is missing.
    pub fn of(faults: &model::LogFaults) -> Option<Self> {
        (*faults != model::LogFaults::default()).then(|| Self {
            damaged_places: faults.damaged_places,
            damaged_bytes: faults.damaged_bytes,
            disk_full_since: faults.full.map(|(since, _)| since.to_string()),
            disk_full_until: faults.full.map(|(_, until)| until.to_string()),
        })
    }
}

/// Where a container is in its life, as the booleans and numbers Docker shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub status: String,
    /// Its first process lives (also when paused).
    pub running: bool,
    /// It is frozen.
    pub paused: bool,
    /// It waits to be started again.
    pub restarting: bool,
    /// The kernel ran out of memory for it.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Its removal failed.
    pub dead: bool,
    /// The host's pid of its first process; 0 when it does not run.
    pub pid: u32,
    /// The last exit code.
    pub exit_code: i64,
    /// Why it did not start, or why its exit is not known.
    pub error: String,
    /// When it was started; the year 1 when never.
    pub started_at: String,
    /// When it ended; the year 1 when it has not.
    pub finished_at: String,
    /// What its health checks have found; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What it has said by sd_notify; absent when it does not speak it. Not Docker's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
}

/// What a container has said by sd_notify.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Readiness {
    /// It is ready, and neither reloading nor stopping.
    pub ready: bool,
    /// What it does, in its own words.
    pub status: String,
}

impl From<&model::Readiness> for Readiness {
    fn from(readiness: &model::Readiness) -> Self {
        Self {
            ready: readiness.ready,
            status: readiness.status.clone(),
        }
    }
}

/// What the health checks of a container have found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five results, oldest first.
    pub log: Vec<HealthcheckResult>,
}

/// One health check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct HealthcheckResult {
    /// When it began.
    #[schema(format = DateTime)]
    pub start: String,
    /// When it was over.
    #[schema(format = DateTime)]
    pub end: String,
    /// 0 is well; -1 when it could not be run or took too long.
    pub exit_code: i64,
    /// The beginning of what it printed.
    pub output: String,
}

impl From<&model::Health> for Health {
    fn from(health: &model::Health) -> Self {
        let results = health.log.iter().map(|result| HealthcheckResult {
            start: result.started_at.to_string(),
            end: result.ended_at.to_string(),
            exit_code: result.exit_code,
            output: result.output.clone(),
        });
        Self {
            status: health.status.as_str().to_owned(),
            failing_streak: health.failing_streak,
            log: results.collect(),
        }
    }
}

/// What the storage driver knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    /// The directories; `null` where the container has a copy of its image's files.
    #[schema(required)]
    pub data: Option<GraphDriverData>,
    /// The driver.
    pub name: String,
}

/// The directories of overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriverData {
    /// The image's layers, top first.
    pub lower_dir: String,
    /// Where they are seen as one.
    pub merged_dir: String,
    /// What the container wrote.
    pub upper_dir: String,
    /// overlay's own.
    pub work_dir: String,
}

/// One mount, as inspect and the list show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The volume's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path on the host.
    pub source: String,
    /// The path inside.
    pub destination: String,
    /// The volume's driver.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// The mode of `-v`.
    pub mode: String,
    /// It can be written.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// Mount propagation.
    pub propagation: String,
}
