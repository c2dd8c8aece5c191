//! The engine, for `info` and `version`; what the host is is the room `survey`'s to say.

use model::LogConfig;
use survey::{Counts, HostInfo, Own};

use crate::Engine;

impl Engine {
    /// The engine and its host, now.
    pub async fn host_info(&self) -> HostInfo {
        let inner = &self.inner;
        let mut warnings = inner.warnings.clone();
        warnings.extend(inner.log_warning());
        if let Some(e) = inner.apparmor.trouble() {
            warnings.push(format!("WARNING: containers have no AppArmor profile: {e}"));
        }
        let own = Own {
            id: &inner.daemon_id,
            counts: self.counts(),
            images: inner.images.count(),
            storage_driver: inner.images.store().driver(),
            event_listeners: self.event_listeners(),
            log_driver: inner.log_default.driver,
            remaps_ids: inner.ids.remaps(),
            selinux: inner.selinux.is_on(),
            data_root: inner.layout.data_root(),
            init_binary: inner.init_binary.as_deref(),
            now: (inner.host.now)(),
            warnings,
        };
        HostInfo::find(&inner.runtimes, &inner.facts, own).await
    }

    /// Where output goes where a container says nothing else.
    pub fn log_default(&self) -> &LogConfig {
        &self.inner.log_default
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for handle in self.inner.registry.all() {
            counts.containers += 1;
            match handle.view().state.running() {
                Some(r) if r.paused => counts.paused += 1,
                Some(_) => counts.running += 1,
                None => counts.stopped += 1,
            }
        }
        counts
    }
}
