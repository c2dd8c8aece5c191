//! The engine, for `info` and `version`; what the host is is the room `survey`'s to say.

use ::survey::{Counts, HostInfo, Own, RegistryFacts};
use model::LogConfig;
use registry::Insecure;

use crate::Engine;

impl Engine {
    /// The engine and its host, now.
    pub async fn host_info(&self) -> HostInfo {
        let (inner, shared) = (&self.inner, &self.shared);
        let mut warnings = inner.told.warnings.clone();
        warnings.extend(shared.log_warning());
        if let Some(e) = shared.apparmor.trouble() {
            warnings.push(format!("WARNING: containers have no AppArmor profile: {e}"));
        }
        let own = Own {
            id: &inner.told.daemon_id,
            counts: self.counts(),
            images: shared.images.count(),
            storage_driver: shared.images.store().driver(),
            registries: inner.told.registries.clone(),
            labels: inner.told.labels.clone(),
            address_pools: inner.told.address_pools.clone(),
            event_listeners: self.event_listeners(),
            log_driver: inner.log_default.driver,
            remaps_ids: inner.ids.remaps(),
            selinux: shared.selinux.is_on(),
            data_root: shared.layout.data_root(),
            init_binary: shared.init_binary.as_deref(),
            cdi_dirs: &shared.cdi_dirs,
            now: (shared.host.now)(),
            warnings,
        };
        HostInfo::find(&shared.runtimes, &shared.facts, own).await
    }

    /// Where output goes where a container says nothing else.
    pub fn log_default(&self) -> &LogConfig {
        &self.inner.log_default
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for handle in self.shared.registry.all() {
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

/// What of the settings of registries there is to tell.
pub(crate) fn registry_facts(settings: &registry::Settings) -> RegistryFacts {
    let mut facts = RegistryFacts {
        mirrors: settings.mirrors.clone(),
        ..RegistryFacts::default()
    };
    for insecure in &settings.insecure {
        match insecure {
            Insecure::Host(host) => facts.insecure_hosts.push(host.clone()),
            Insecure::Net(net) => facts.insecure_networks.push(net.to_string()),
        }
    }
    facts
}
