//! Who sweeps the store: one at a time, and once for all who ask meanwhile.
//!
//! A sweep looks at everything there is, and what it removes is often somebody else's left-over: so it is
//! never the failure of whoever asked for it, and what could not go is left for the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use images::Partials;
use model::Result;
use tokio::sync::watch;

use crate::{Catalog, Inner};

/// How often the store is swept though nobody asks.
const SWEPT_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the layers are kept that came of a pull that was broken off, for whoever tries again.
const LEFT_LAYERS_KEPT: Duration = Duration::from_secs(60 * 60);

/// The sweeps that are asked for.
#[derive(Debug)]
pub(crate) struct Sweeper {
    asked: Mutex<Asked>,
    /// The number of the last one who had his sweep.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Asked {
    /// Of the last one who asked.
    number: u64,
    /// What those want whose sweep has not begun.
    wanted: Option<Partials>,
    /// Somebody is at it.
    is_swept: bool,
    /// One is due, by a pull that was broken off.
    is_due: bool,
}

impl Default for Sweeper {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            done: watch::Sender::new(0),
        }
    }
}

impl Sweeper {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalog {
    /// Sweeps what no record names: returns when a sweep is over that began after this was asked.
    pub async fn sweep(&self, partials: Partials) {
        let mut done = self.inner.sweeper.done.subscribe();
        let number = self.ask(partials);
        drop(done.wait_for(|done| *done >= number).await);
    }

    /// Has what no record names swept, and waits for nothing.
    pub(crate) fn sweep_soon(&self, partials: Partials) {
        self.ask(partials);
    }

    fn ask(&self, partials: Partials) -> u64 {
        let mut asked = self.inner.sweeper.asked();
        asked.number += 1;
        asked.wanted = Some(match asked.wanted {
            Some(Partials::All) => Partials::All,
            _ => partials,
        });
        if !std::mem::replace(&mut asked.is_swept, true) {
            tokio::spawn(self.clone().sweep_all());
        }
        asked.number
    }

    /// Has it swept when nobody can be expected to go on with a pull that was broken off.
    pub(crate) fn sweep_later(&self) {
        if std::mem::replace(&mut self.inner.sweeper.asked().is_due, true) {
            return;
        }
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            tokio::time::sleep(LEFT_LAYERS_KEPT).await;
            if let Some(inner) = inner.upgrade() {
                inner.sweeper.asked().is_due = false;
                Self { inner }.sweep_soon(Partials::Old);
            }
        });
    }

    /// Sweeps now, and once a day as long as the daemon lives.
    pub async fn sweep_daily(&self) {
        self.sweep(Partials::Old).await;
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEPT_EVERY).await;
                let Some(inner) = inner.upgrade() else { return };
                Self { inner }.sweep_soon(Partials::Old);
            }
        });
    }

    /// One sweep after the other, until nobody has asked for another.
    async fn sweep_all(self) {
        let sweeper = &self.inner.sweeper;
        loop {
            let (number, partials) = {
                let mut asked = sweeper.asked();
                let Some(wanted) = asked.wanted.take() else {
                    asked.is_swept = false;
                    return;
                };
                (asked.number, wanted)
            };
            let inner = self.inner.clone();
            if let Err(e) = sys::task::blocking(move || inner.sweep_once(partials)).await {
                tracing::warn!(error = %e, "not all that no image needs is gone");
            }
            sweeper.done.send_replace(number);
        }
    }
}

impl Inner {
    fn sweep_once(&self, partials: Partials) -> Result<()> {
        if self.tools.keep_unknown_trees {
            tracing::warn!("an image's row is damaged: nothing is swept, for it may be its");
            return Ok(());
        }
        let live = || Ok(self.index.records());
        let swept = self.tools.store.sweep(partials, live)?;
        tracing::debug!(?swept, "swept the image store");
        Ok(())
    }
}
