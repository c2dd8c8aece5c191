//! A row of the container list (moby `container/view.go`).

use engine::ListedContainer;
use model::Timestamp;

use super::inspect::mounts;
use super::phrase::{command, status};
use super::{KnownNetworks, connected, ports};
use wire::container::{ContainerSummary, SummaryHostConfig, SummaryNetworkSettings};
use wire::version::ApiVersion;

/// One row. `image` is what to show for the image: the name the client gave while that still
/// means this image, else its id.
pub fn summary(
    row: &ListedContainer,
    image: String,
    now: Timestamp,
    networks: &dyn KnownNetworks,
    version: ApiVersion,
) -> ContainerSummary {
    let view = &row.view;
    let annotations = Some(view.spec.annotations.clone())
        .filter(|annotations| version >= ApiVersion::v1(46) && !annotations.is_empty());
    // Go's `omitempty`: a size of zero is left out too.
    let size = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
    ContainerSummary {
        id: view.id.to_string(),
        names: vec![format!("/{}", view.name)],
        image,
        image_id: view.image_id.to_string(),
        command: command(&view.spec.args()),
        created: view.created_at.as_second(),
        ports: ports::rows(view),
        size_rw: row.sizes.and_then(|s| size(s.rw_bytes)),
        size_root_fs: row.sizes.and_then(|s| size(s.root_fs_bytes)),
        labels: view.spec.labels.clone(),
        state: view.state.status().to_owned(),
        status: status(&view.state, view.health.as_deref(), now),
        host_config: SummaryHostConfig {
            network_mode: view.spec.network.to_docker(),
            annotations,
        },
        network_settings: SummaryNetworkSettings {
            networks: connected::listed(view, networks),
        },
        mounts: mounts(view),
    }
}
