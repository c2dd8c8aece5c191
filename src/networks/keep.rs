//! What earlier daemons have set up is taken back, and what others take away is put back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Attachment, ContainerId, Context, Error, Result, limits};
use network::Order;
use sys::task::blocking;

use crate::Networks;
use crate::held::{Lease, Stage};
use crate::runs::Joining;

impl Networks {
    /// Takes back what a container's run holds, that another daemon has set up; `is_up` where it may run.
    pub fn resume(&self, joining: Joining, mut attachment: Attachment, is_up: bool) {
        let stage = match is_up {
            true => Stage::Up,
            false => Stage::Going,
        };
        // Nobody is to count on it before it is mended.
        let changing = attachment.changing.take().filter(|_| is_up);
        let lease = Lease {
            name: joining.name,
            spec: joining.spec,
            attachment: Arc::new(attachment),
            stage,
            changing,
            touched: true,
            has_failed: false,
            is_abandoned: false,
            releasing: Arc::default(),
        };
        self.inner.held.put(&joining.id, lease);
    }

    /// The host was restarted: a run of before holds nothing.
    ///
    /// # Errors
    /// What the ledger says.
    pub async fn forget_run(&self, id: &ContainerId) -> Result<()> {
        self.inner.tools.ledger.delete_attachment(id).await
    }

    /// When all containers are taken back: removes namespaces that nobody holds, and tells the name server
    /// what is true.
    pub async fn settle(&self) {
        let (pins, networks) = (self.inner.tools.pins.clone(), self.clone());
        let swept = blocking(move || {
            for pin in sys::netns::list(&pins).context("list the network namespaces")? {
                let name = pin.file_name().unwrap_or_default().to_string_lossy();
                let id = name.parse::<ContainerId>();
                let is_held = id.is_ok_and(|id| networks.inner.held.get(&id).is_some());
                if !is_held {
                    tracing::info!(%name, "removing a network namespace that no container has");
                    let removed = sys::netns::remove(&pin);
                    removed.context(format_args!("remove {}", pin.display()))?;
                }
            }
            Ok(())
        });
        if let Err(e) = swept.await {
            tracing::warn!(error = %e, "not all network namespaces without a container are gone");
        }
        self.tell_or_warn().await;
        let networks = self.clone();
        tokio::spawn(async move { networks.watch_tables().await });
        let networks = self.clone();
        // Nobody waits for it: who starts a container has the rules made that it needs.
        tokio::spawn(async move {
            networks.sweep_parents().await;
            loop {
                networks.make_predefined().await;
                let asked = networks.inner.look.notified();
                networks.keep_bridge().await;
                networks.keep_rules().await;
                networks.keep_names().await;
                networks.release_left().await;
                drop(tokio::time::timeout(limits::FIREWALL_LOOK_INTERVAL, asked).await);
            }
        });
    }

    /// Tells the name server again what it could not be told, and puts back what leads to it. What is wrong is told
    /// once, as long as it is the same.
    async fn keep_names(&self) {
        let names = &self.inner.tools.names;
        let kept = match names.is_told().await {
            true => names.keep().await,
            false => self.tell().await,
        };
        if let Some(error) = news(&self.inner.told_of_names, kept.err()) {
            tracing::error!(%error, "containers may not find each other by name");
        }
    }

    /// Has the firewall looked at when somebody has reloaded it. Where it is not told (iptables without nftables,
    /// single rules), the look now and then has to do.
    async fn watch_tables(&self) {
        let mut was_told = false;
        loop {
            let ended: std::io::Result<()> = self.watch_tables_once().await;
            if let Err(e) = ended
                && !was_told
            {
                tracing::info!(error = %e, "reloads of the firewall are not told: it is looked at now and then");
                was_told = true;
            }
            tokio::time::sleep(limits::FIREWALL_LOOK_INTERVAL).await;
        }
    }

    async fn watch_tables_once(&self) -> std::io::Result<()> {
        let tables = sys::tables::Tables::listen()?;
        loop {
            tables.deleted().await?;
            tokio::time::sleep(limits::FIREWALL_RELOAD_PATIENCE).await;
            // Whoever takes all away has it told for each table: it is one look.
            while let Ok(deleted) = tokio::time::timeout(Duration::ZERO, tables.deleted()).await {
                deleted?;
            }
            self.look_soon();
        }
    }

    /// Has the firewall looked at now, and what could not be taken away tried again.
    pub fn look_soon(&self) {
        self.inner.look.notify_one();
    }

    /// Has the firewall put in order where netavark, with a network, has taken more away than that.
    pub(crate) fn tidy_soon(&self) {
        if !self.inner.tools.netavark.is_tidy() {
            self.look_soon();
        }
    }

    /// Tries again to take away what could not be. At the first that still cannot, the others wait for the
    /// next time: what fails may take long, and holds up those that start.
    async fn release_left(&self) {
        let left = self.inner.held.all().into_iter();
        let left = left.filter(|(_, l)| l.stage == Stage::Going && l.releasing.try_lock().is_ok());
        for (id, _) in left.collect::<Vec<_>>() {
            if self.release(&id).await.is_err() {
                return;
            }
        }
    }

    /// The default network's bridge is there as long as there is to be such a network, and stays when the daemon
    /// ends: containers go on, and so does what else counts on the host's address there. One that an earlier
    /// daemon made goes where there is to be none (dockerd's `--bridge=none`), when nobody is on it.
    async fn keep_bridge(&self) {
        let Some(record) = self.read().by_name("bridge").cloned() else {
            return;
        };
        let (netavark, bridge) = (&self.inner.tools.netavark, &record.interface);
        let kept = match self.default_network().is_some() {
            true => netavark.establish(&record).await,
            false => netavark.dismantle(&record).await,
        };
        if matches!(kept, Ok(true)) {
            tracing::info!(%bridge, is_there = network::stands(&record), "the default network's bridge");
        }
        if let Some(error) = news(&self.inner.told_of_bridge, kept.err()) {
            tracing::warn!(%bridge, %error, "the default network's bridge is not as it should be");
        }
    }

    /// Puts back what somebody has taken out of the firewall, by a reload of it perhaps.
    async fn keep_rules(&self) {
        let netavark = &self.inner.tools.netavark;
        // Where there is no default network, the firewall is left alone until somebody is on another.
        let may_run = self.default_network().is_some() && netavark.program().is_ok();
        if !may_run && self.running().is_empty() {
            let tidied = netavark.tidy().await;
            if let Some(error) = news(&self.inner.told_of_rules, tidied.err()) {
                tracing::warn!(%error, "the firewall's rules are not in order");
            }
            return;
        }
        let standing = self.default_network().filter(|n| network::stands(n));
        let kept = netavark.keep_rules(standing.as_deref(), || self.running());
        let kept = kept.await;
        if let Ok(count @ 1..) = kept {
            tracing::warn!(count, "the firewall had lost containers' rules");
        }
        if let Some(error) = news(&self.inner.told_of_rules, kept.err()) {
            tracing::error!(%error, "the firewall's rules may not be whole");
        }
    }

    /// What is set up, and is to stay so.
    fn running(&self) -> Vec<Order> {
        let up = self.inner.held.all().into_iter();
        let up = up.filter(|(_, lease)| lease.stage == Stage::Up);
        let orders = up.map(|(id, lease)| {
            let endpoints = self.known(&lease.attachment.endpoints).into_iter();
            let settled = endpoints.filter(|e| lease.changing.as_ref() != Some(&e.network));
            self.order(&id, &lease, &settled.collect::<Vec<_>>())
        });
        orders.filter(|order| !order.places.is_empty()).collect()
    }
}

/// What is wrong now, unless it was told last time.
pub(crate) fn news(told: &Mutex<Option<String>>, wrong: Option<Error>) -> Option<String> {
    let wrong = wrong.map(|e| e.message().to_owned());
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let is_news = wrong != *told;
    told.clone_from(&wrong);
    wrong.filter(|_| is_news)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_once_until_it_changes() {
        let told = Mutex::default();
        let steps = [
            (Some("a"), Some("a")),
            (Some("a"), None),
            (Some("b"), Some("b")),
            (None, None),
            (Some("b"), Some("b")),
        ];
        for (wrong, wanted) in steps {
            let said = news(&told, wrong.map(Error::system));
            assert_eq!(said.as_deref(), wanted);
        }
    }
}
