//! What may be asked of containers, and the answers that are not views: the words in which the API and
//! the engine speak. Whether it may happen now is decided in `rules`.

use std::collections::BTreeMap;

use crate::{
    AnonymousVolume, CheckpointName, ContainerId, ContainerSpec, EndpointWish, Filters, Joins,
    Platform, Resources, RestartPolicy, Signal, UserNamespace, VolumesFrom,
};

/// A request for a new container, after `api` checked and translated it.
#[derive(Debug, Clone)]
pub struct CreateContainer {
    /// The name asked for, as the client wrote it; `None` makes one up. It is parsed here and
    /// not at the door because Docker looks for the image first: a client that gets 404 pulls.
    pub name: Option<String>,
    /// The image as the client named it: reference, id or id prefix.
    pub image: String,
    /// The platform the image must be of; `None` takes any.
    pub platform: Option<Platform>,
    /// The client's wishes. `entrypoint`, `cmd`, `env`, `user`, `working_dir` and `labels` are
    /// the request's alone here; the engine merges the image's in, by Docker's rules.
    pub spec: ContainerSpec,
    /// The containers whose namespaces it is to have; the modes in `spec` are private until these are found.
    pub joins: Joins,
    /// What it asks for on the networks it is to be on, as the client named these. Where its namespace is
    /// its own, the one that the mode names comes first.
    pub endpoints: Vec<EndpointWish>,
    /// The user namespace it is to have.
    pub user_namespace: UserNamespace,
    /// Whether the client set a stop signal; otherwise the image's counts.
    pub stop_signal: Option<Signal>,
    /// Volumes without a name that are asked for.
    pub anonymous_volumes: Vec<AnonymousVolume>,
    /// Paths of `Config.Volumes`: an anonymous volume each, unless a mount is there.
    pub declared_volumes: Vec<String>,
    /// The driver of these; nothing was said where it is empty.
    pub volume_driver: String,
    /// The containers whose mounts it takes, the later over the earlier.
    pub volumes_from: Vec<VolumesFrom>,
    /// Options of the storage driver.
    pub storage_options: BTreeMap<String, String>,
    /// What the client sent, kept as it is and handed back for inspect.
    pub echo: Vec<u8>,
}

/// A container was made.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// What could not be given quite as asked.
    pub warnings: Vec<String>,
}

/// A list request.
#[derive(Debug, Clone, Default)]
pub struct ListContainers {
    /// Also those that do not run.
    pub all: bool,
    /// At most this many, newest first; implies `all` (Docker's `-n`).
    pub limit: Option<usize>,
    /// Docker's filters.
    pub filters: Filters,
    /// Measure the sizes.
    pub size: bool,
}

/// Whether a change was needed: `start` of a running container is a 304 to Docker's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Done,
    /// The container already was so.
    Already,
}

/// A stop (or the stop half of a restart).
#[derive(Debug, Clone, Copy, Default)]
pub struct StopContainer {
    /// First signal; `None` is the container's.
    pub signal: Option<Signal>,
    /// Grace in seconds; -1 is forever; `None` is the container's, then Docker's ten.
    pub timeout_s: Option<i64>,
}

/// Other limits, another restart policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpdateContainer {
    /// The limits that are to change; those that are `None` stay. A `pids_limit` of 0 takes that limit
    /// away.
    pub resources: Resources,
    /// The restart policy; `None` leaves it.
    pub restart_policy: Option<RestartPolicy>,
}

/// A checkpoint to be made.
#[derive(Debug, Clone)]
pub struct CheckpointContainer {
    /// What it is called.
    pub name: CheckpointName,
    /// The container ends with it, as by SIGKILL.
    pub exit: bool,
    /// Dump established TCP connections, too. Not Docker's.
    pub tcp_established: bool,
    /// Dump locks of files, too. Not Docker's.
    pub file_locks: bool,
}

/// A removal.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveContainer {
    /// Kill it first if it runs.
    pub force: bool,
    /// Remove its anonymous volumes too.
    pub volumes: bool,
}

/// What a `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// Not running now, or the next exit.
    #[default]
    NotRunning,
    /// The next exit, whatever the state now.
    NextExit,
    /// The container's removal.
    Removed,
    /// Its first health check that is fine, or its end. Not Docker's.
    Healthy,
}

/// `top`: the container's processes.
#[derive(Debug, Clone)]
pub struct ProcessTable {
    /// Column titles, as ps printed them.
    pub titles: Vec<String>,
    /// One row a process.
    pub processes: Vec<Vec<String>>,
}

/// What a prune removed.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// The containers.
    pub containers: Vec<ContainerId>,
    /// Bytes freed.
    pub space_reclaimed_bytes: u64,
}
