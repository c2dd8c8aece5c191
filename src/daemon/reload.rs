//! SIGHUP: the settings are read again. What can change while the daemon runs does; of the rest it
//! is said that it counts from the next start, which no container notices. The firewall is looked at, too: whoever
//! reloads that can have its rules back at once.

use std::time::Duration;

use anyhow::{Context as _, Result};
use engine::Engine;
use tokio::sync::watch;

use super::log::Level;
use super::settings::Settings;

/// What is in force, and what can be changed of it.
pub(super) struct Reload<'a> {
    pub(super) settings: Settings,
    /// Reads them again.
    pub(super) load: &'a (dyn Fn() -> Result<Settings> + Sync),
    pub(super) level: Level,
    pub(super) idle_exit: watch::Sender<Option<Duration>>,
}

impl Reload<'_> {
    /// Reads the settings and puts them in force. A mistake changes nothing.
    pub(super) async fn run(&mut self, engine: &Engine) {
        // Who has reloaded the firewall need not wait.
        engine.networks().look_soon();
        match (self.load)().and_then(|new| self.apply(new)) {
            Ok(()) => {
                tracing::info!("the settings were read again");
                let idle_exit_s = self.settings.idle_exit.map_or(0, |idle| idle.as_secs());
                let told = vec![
                    ("log-level", self.settings.log_level.clone()),
                    ("idle-exit-s", idle_exit_s.to_string()),
                ];
                engine.tell_reload(told).await;
            }
            Err(e) => {
                let error = format!("{e:#}");
                tracing::error!(
                    error,
                    "the settings were not read again: all stays as it was"
                );
            }
        }
    }

    fn apply(&mut self, new: Settings) -> Result<()> {
        if let Some(group) = &new.socket_group {
            sys::host::group_id(group).context("the socket's group")?;
        }
        if new.log_level != self.settings.log_level {
            self.level.set(&new.log_level)?;
        }
        self.idle_exit.send_replace(new.idle_exit);
        self.settings.log_level.clone_from(&new.log_level);
        self.settings.idle_exit = new.idle_exit;
        // conmon's level follows the daemon's own, from the next start on.
        let rest = Settings {
            conmon_log_level: self.settings.conmon_log_level,
            ..new
        };
        let changed = rest.differs_from(&self.settings);
        if !changed.is_empty() {
            tracing::warn!(
                ?changed,
                "these settings count from the next start of the daemon: restart it when you like, \
                 containers go on"
            );
        }
        Ok(())
    }
}
