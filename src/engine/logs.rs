//! Reading a container's log.

use std::sync::Arc;

use bytes::Bytes;
use model::{ContainerId, LogFaults, Result};
use stdio::LogRequest;
use streams::{LogReader, Skipped};

use crate::Engine;
use containers::Handle;

/// A log being read.
#[derive(Debug)]
pub struct LogStream {
    /// The container has a terminal: lines are raw, not framed.
    pub tty: bool,
    reader: LogReader,
    container: Arc<Handle>,
}

impl LogStream {
    /// The next batch of lines, ready for the wire (stdcopy frames, or raw with a tty).
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        self.reader.next().await
    }
}

impl Drop for LogStream {
    /// A damaged place costs its reader a line, never the rest; and it is told.
    fn drop(&mut self) {
        let skipped = self.reader.skipped();
        if skipped == Skipped::default() {
            return;
        }
        let is_new = self.container.streams.note_log_faults(|faults| {
            let is_new = skipped.places > faults.damaged_places || skipped.files > 0;
            faults.damaged_places = faults.damaged_places.max(skipped.places);
            faults.damaged_bytes = faults.damaged_bytes.max(skipped.bytes);
            is_new
        });
        if is_new {
            let id = self.container.id().short();
            tracing::warn!(id, ?skipped, "a reader of the log did not get all of it");
        }
    }
}

impl Engine {
    /// Opens a container's log.
    ///
    /// # Errors
    /// 404; a log driver that keeps nothing; what the host says.
    pub async fn container_logs(&self, reference: &str, request: LogRequest) -> Result<LogStream> {
        let handle = self.shared.registry.find(reference)?;
        let view = handle.view();
        let watcher = self.shared.runtimes.watcher();
        let streams = &handle.streams;
        let reader = streams.read_log(&view.spec, request, watcher).await?;
        Ok(LogStream {
            tty: view.spec.tty,
            reader,
            container: handle,
        })
    }

    /// What is known to be missing from a container's log.
    pub fn log_faults(&self, container: &ContainerId) -> LogFaults {
        let handle = self.shared.registry.find(container.as_str());
        handle.map_or_else(|_| LogFaults::default(), |h| h.streams.log_faults())
    }
}
