//! Docker's defaults, filled into a request so that inspect shows what is in force (moby
//! `daemon/daemon_unix.go` `adaptContainerSettings`, `daemon/create_unix.go`).

use wire::container::{CreateRequest, HostConfig};

/// Size of /dev/shm where nothing was asked for (moby `DefaultShmSize`).
const SHM_BYTES: i64 = 64 << 20;

/// Fills in what the client left open. What is filled in means what its absence meant.
pub(super) fn fill(request: &mut CreateRequest) {
    request.config.labels.get_or_insert_default();
    let host = request.host_config.get_or_insert_default();
    if host.restart_policy.name.is_empty() {
        host.restart_policy.name = "no".to_owned();
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    if host.shm_size == 0 {
        host.shm_size = SHM_BYTES;
    }
    if host.ipc_mode.is_empty() {
        host.ipc_mode = "private".to_owned();
    }
    disable_labels(host);
    host.memory_swappiness = host.memory_swappiness.filter(|percent| *percent != -1);
    host.pids_limit = host.pids_limit.filter(|limit| *limit > 0);
    host.oom_kill_disable.get_or_insert(false);
    if !host.privileged {
        host.masked_paths
            .get_or_insert_with(|| owned(model::masks::MASKED_PATHS));
        host.readonly_paths
            .get_or_insert_with(|| owned(model::masks::READONLY_PATHS));
    }
}

/// moby `generateSecurityOpt`: what shares the host's namespaces is not labelled.
fn disable_labels(host: &mut HostConfig) {
    let shares = host.privileged || host.pid_mode == "host" || host.ipc_mode == "host";
    let mut options = host.security_opt.iter().flatten();
    let is_told = options.any(|option| option == "label" || option.starts_with("label="));
    if shares && !is_told {
        let options = host.security_opt.get_or_insert_default();
        options.push("label=disable".to_owned());
    }
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|path| (*path).to_owned()).collect()
}
