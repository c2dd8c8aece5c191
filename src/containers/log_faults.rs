//! What is known to be missing from containers' logs: told in inspect and `info`, not passed over
//! in silence.
//!
//! conmon goes on when it cannot write a log, and says so to nobody. So while containers with a
//! log run, the file system of the logs is looked at: what they wrote while it was full may be
//! missing. And readers tell what they could not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::Timestamp;
use sys::space::Space;

use crate::Shared;
use crate::handle::Handle;

/// How often the file system is looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// With less than this a write of conmon's may fail: it writes at most 8 KiB and a head.
const FULL_BYTES: u64 = 16 << 10;

/// Whether somebody looks already.
#[derive(Debug, Default)]
pub struct SpaceWatch {
    is_kept: AtomicBool,
}

impl Shared {
    /// Looks at the logs' file system from now on, as long as a container runs.
    pub(crate) fn watch_log_space(self: &Arc<Self>) {
        if self.space_watch.is_kept.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_PERIOD).await;
                let Some(engine) = weak.upgrade() else { return };
                if !engine.something_runs() {
                    engine.space_watch.is_kept.store(false, Ordering::Release);
                    // One that was started since found the watch kept.
                    if !engine.something_runs()
                        || engine.space_watch.is_kept.swap(true, Ordering::AcqRel)
                    {
                        return;
                    }
                }
                if engine.logs_are_full().await {
                    engine.note_full_logs();
                }
            }
        });
    }

    fn something_runs(&self) -> bool {
        let all = self.registry.all();
        all.iter()
            .any(|handle| handle.view().state.running().is_some())
    }

    fn note_full_logs(&self) {
        let now = (self.host.now)();
        for handle in self
            .registry
            .all()
            .iter()
            .filter(|handle| writes_log(handle))
        {
            note_full(handle, now);
        }
        self.execs.note_full_disk();
    }

    async fn logs_are_full(&self) -> bool {
        let dir = self.layout.containers();
        let free = tokio::task::spawn_blocking(move || Space::of(&dir)).await;
        match free {
            Ok(Ok(free)) => free.root_bytes < FULL_BYTES,
            other => {
                tracing::debug!(?other, "the logs' file system cannot be looked at");
                false
            }
        }
    }

    /// A sentence for `info` when logs may be incomplete.
    pub fn log_warning(&self) -> Option<String> {
        let all = self.registry.all();
        let full = all.iter().filter_map(|handle| {
            let (since, until) = handle.streams.log_faults().full?;
            Some((since, until))
        });
        let full: Vec<_> = full.collect();
        let since = full.iter().map(|(since, _)| *since).min()?;
        let until = full.iter().map(|(_, until)| *until).max()?;
        Some(format!(
            "WARNING: the logs of {} containers may miss what was written between {since} and \
             {until}: the file system of {} was full",
            full.len(),
            self.layout.containers().display()
        ))
    }
}

fn writes_log(handle: &Handle) -> bool {
    let view = handle.view();
    view.paths.log.is_some() && view.state.running().is_some()
}

fn note_full(handle: &Handle, now: Timestamp) {
    if handle.streams.note_full_disk(now) {
        tracing::warn!(
            id = handle.id().short(),
            "the file system of the logs is full: what the container writes now is not kept"
        );
    }
}
