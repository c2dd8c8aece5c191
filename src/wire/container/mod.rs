//! Docker's documents about containers, field by field in Docker's order (moby v27.5.1
//! `api/types/container`, API 1.47; what a wire capture of dockerd 26.1.5 shows, it decides).
//!
//! What Go leaves out when empty is left out here; what Go writes as `null` is an `Option`
//! without a skip. Only spelling lives here: what a field means and whether it is built is
//! decided in `api`.

mod answers;
mod archive;
mod config;
mod create;
mod host_config;
mod inspect;
mod list;
mod mount;
mod network;
mod update;

pub use answers::{CreateResponse, PruneReport, TopResponse, WaitError, WaitResponse};
pub use archive::{FilesystemChange, PathStat};
pub use config::{ContainerConfig, Empty, HealthConfig, StrSlice};
pub use create::CreateRequest;
pub use host_config::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, PortBinding, RestartPolicy,
    ThrottleDevice, Ulimit, WeightDevice,
};
pub use inspect::{
    ContainerInspect, GraphDriver, GraphDriverData, Health, HealthcheckResult, LogFaults,
    MountPoint, Readiness, State,
};
pub use list::{ContainerSummary, Port, SummaryHostConfig, SummaryNetworkSettings};
pub use mount::{BindOptions, MountSpec, TmpfsOptions, VolumeDriver, VolumeOptions};
pub use network::{EndpointIpamConfig, EndpointSettings, NetworkSettings, NetworkingConfig};
pub use update::{UpdateRequest, UpdateResponse};
