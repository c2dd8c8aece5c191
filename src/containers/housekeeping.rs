//! Small chores that nobody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Shared;

/// How long the conmons' cgroup is kept when the last container is gone. A client that runs one
/// container after the other would else have it made and removed each time.
const CGROUP_LINGER: Duration = Duration::from_secs(1);

/// Whether a chore is already on its way.
#[derive(Debug, Default)]
pub struct Housekeeping {
    tidying: AtomicBool,
}

impl Shared {
    /// Removes the conmons' cgroup soon, if no container runs then.
    pub fn tidy_soon(self: &Arc<Self>) {
        if self.housekeeping.tidying.swap(true, Ordering::AcqRel) {
            return;
        }
        let engine = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(CGROUP_LINGER).await;
            engine.housekeeping.tidying.store(false, Ordering::Release);
            // A start needs the cgroup that this would take from under it.
            let Ok(_nobody_starts) = engine.starts.try_write() else {
                return;
            };
            let all = engine.registry.all();
            if all.iter().any(|h| h.view().state.running().is_some()) {
                return;
            }
            let runtimes = engine.runtimes.clone();
            let tidied = tokio::task::spawn_blocking(move || runtimes.tidy_cgroup());
            if let Err(e) = tidied.await {
                tracing::error!(error = %e, "a chore of the daemon ended early");
            }
        });
    }
}
