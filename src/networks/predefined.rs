//! The networks that are always there.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Error, NetworkDriver, NetworkId, NetworkName, NetworkRecord, Result};

use crate::Networks;
use crate::held::Stage;
use crate::keep::news;

impl Networks {
    /// Makes those that are missing, and has the default network be as the operator says. To be called when what
    /// earlier daemons left is taken back, and now and then.
    pub(crate) async fn make_predefined(&self) {
        self.make_missing().await;
        self.follow_settings().await;
    }

    /// `bridge`, `host` and `none`: as records like all others, so that their ids stay. What cannot be made
    /// now is made later: the daemon has containers to look after all the same.
    pub(crate) async fn make_missing(&self) {
        let kinds = [
            ("none", NetworkDriver::Null),
            ("host", NetworkDriver::Host),
            ("bridge", NetworkDriver::Bridge),
        ];
        for (name, driver) in kinds {
            let is_off =
                driver == NetworkDriver::Bridge && self.inner.tools.settings.bridge.is_none();
            if is_off || self.read().by_name(name).is_some() {
                continue;
            }
            if let Err(e) = self.make_one(name, driver).await {
                tracing::error!(network = name, error = %e, "no container can be on this network");
            }
        }
    }

    async fn make_one(&self, name: &str, driver: NetworkDriver) -> Result<()> {
        let _choosing = self.inner.choosing.lock().await;
        let mut record = self.predefined(name.parse()?, driver)?;
        // It takes the place of one that cannot be read: that one's containers are on it.
        if let Some(id) = self.replace_damaged(name).await? {
            record.id = id;
        }
        self.inner.tools.ledger.put_network(&record).await?;
        self.insert(Arc::new(record));
        Ok(())
    }

    fn predefined(&self, name: NetworkName, driver: NetworkDriver) -> Result<NetworkRecord> {
        let settings = &self.inner.tools.settings;
        let is_bridge = driver == NetworkDriver::Bridge;
        let interface = settings.bridge.clone().filter(|_| is_bridge);
        let interface = interface.unwrap_or_default();
        let subnets = match is_bridge {
            true => {
                let has_users = self.damaged_one(name.as_str()).is_some();
                vec![self.default_subnet(&interface, has_users)?]
            }
            false => Vec::new(),
        };
        let options = match is_bridge {
            true => bridge_options(&interface),
            false => BTreeMap::new(),
        };
        Ok(NetworkRecord {
            id: NetworkId::from_bytes(self.random_id()),
            name,
            created_at: (self.inner.tools.now)(),
            driver,
            interface,
            internal: false,
            attachable: false,
            enable_ipv4: true,
            enable_ipv6: false,
            subnets,
            ipam_options: None,
            options,
            labels: BTreeMap::new(),
        })
    }

    /// The default network keeps its bridge and its range from one daemon to the next, unless the operator says
    /// otherwise by now: that counts as soon as nobody is on it, and until then it is told, once.
    async fn follow_settings(&self) {
        let Some(record) = self.default_network() else {
            return;
        };
        let wrong = match self.is_as_said(&record) {
            true => None,
            false => self.change_default(&record).await.err(),
        };
        if let Some(error) = news(&self.inner.told_of_settings, wrong) {
            let ranges: Vec<_> = record
                .subnets
                .iter()
                .map(|s| s.subnet.to_string())
                .collect();
            tracing::warn!(
                %error,
                bridge = record.interface,
                range = ranges.join(", "),
                "the default network stays as it is: what is configured, or free, does not count yet"
            );
        }
    }

    /// Whether a default network is what would be made now.
    fn is_as_said(&self, record: &NetworkRecord) -> bool {
        let bridge = self.inner.tools.settings.bridge.as_deref();
        bridge == Some(&record.interface) && self.has_range_as_said(record)
    }

    /// One of a pool must be free, too, as long as there is no bridge: after a reboot another engine may have been
    /// faster.
    fn has_range_as_said(&self, record: &NetworkRecord) -> bool {
        let is_kept = self.inner.tools.settings.bridge_address.is_some() || network::stands(record);
        let is_free = |subnet| {
            is_kept || network::host_routes::another_leads_into(&record.interface, subnet).is_none()
        };
        let mut subnets = record.subnets.iter();
        subnets.all(|s| self.may_be_default(s) && is_free(&s.subnet))
    }

    async fn change_default(&self, record: &Arc<NetworkRecord>) -> Result<()> {
        let tools = &self.inner.tools;
        let _choosing = self.inner.choosing.lock().await;
        let on_it = || Error::conflict("containers are on it");
        let stages = [Stage::Coming, Stage::Up, Stage::Going];
        if !self.inner.held.members(&record.id, &stages).is_empty() {
            return Err(on_it());
        }
        let mut next = NetworkRecord::clone(record);
        next.interface = tools.settings.bridge.clone().unwrap_or_default();
        next.options = bridge_options(&next.interface);
        let is_other = |r: &Arc<NetworkRecord>| {
            r.driver == NetworkDriver::Bridge && r.id != next.id && r.interface == next.interface
        };
        if let Some(other) = self.read().by_id.values().find(|r| is_other(r)) {
            return Err(Error::conflict(format!(
                "bridge {} is that of network {}",
                next.interface, other.name
            )));
        }
        if !self.has_range_as_said(record) {
            next.subnets = vec![self.default_subnet(&next.interface, false)?];
        }
        tools.netavark.dismantle(record).await?;
        if network::stands(record) {
            return Err(on_it());
        }
        tools.ledger.put_network(&next).await?;
        tracing::info!(
            bridge = next.interface,
            "the default network is as configured now"
        );
        self.insert(Arc::new(next));
        Ok(())
    }
}

/// What Docker shows of its default bridge.
fn bridge_options(interface: &str) -> BTreeMap<String, String> {
    [
        ("com.docker.network.bridge.default_bridge", "true"),
        ("com.docker.network.bridge.enable_icc", "true"),
        ("com.docker.network.bridge.enable_ip_masquerade", "true"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.name", interface),
        ("com.docker.network.driver.mtu", "1500"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}
