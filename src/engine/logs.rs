//! Reading a container's log.

use std::sync::Arc;

use bytes::Bytes;
use model::{Error, Result, Timestamp};
use streams::{FollowHandle, LogOptions, LogReader, Skipped, Want};

use crate::Engine;
use crate::attach::ContainerStreams;
use crate::container::ContainerView;
use crate::container::handle::Handle;

/// What a log request wants.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// Lines of stdout.
    pub stdout: bool,
    /// Lines of stderr.
    pub stderr: bool,
    /// Stay until the container ends.
    pub follow: bool,
    /// Only lines at or after this.
    pub since: Option<Timestamp>,
    /// Only lines at or before this.
    pub until: Option<Timestamp>,
    /// The time in front of each line.
    pub timestamps: bool,
    /// The labels and environment named by the log options in front of each line.
    pub details: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
}

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
            let is_new = skipped.places > faults.damaged_places;
            faults.damaged_places = faults.damaged_places.max(skipped.places);
            faults.damaged_bytes = faults.damaged_bytes.max(skipped.bytes);
            is_new
        });
        if is_new {
            let id = self.container.id().short();
            tracing::warn!(id, ?skipped, "the log has damaged places");
        }
    }
}

impl Engine {
    /// Opens a container's log.
    ///
    /// # Errors
    /// 404; a log driver that keeps nothing; what the host says.
    pub async fn container_logs(&self, reference: &str, request: LogRequest) -> Result<LogStream> {
        let handle = self.inner.registry.find(reference)?;
        let view = handle.view();
        let follow = match request.follow {
            true => Some(self.follow(&handle.streams)?),
            false => None,
        };
        let reader = self.open_log(&handle, request, follow).await?;
        Ok(LogStream {
            tty: view.spec.tty,
            reader,
            container: handle,
        })
    }

    /// Following the log of a container's present run.
    pub(crate) fn follow(&self, streams: &ContainerStreams) -> Result<FollowHandle> {
        let watcher = self.inner.runtimes.watcher().ok_or_else(|| {
            Error::system(
                "the log cannot be followed: no inotify instance is left on this host (raise \
                 fs.inotify.max_user_instances)",
            )
        })?;
        Ok(FollowHandle {
            watcher: watcher.clone(),
            ended: streams.run_over(),
        })
    }

    async fn open_log(
        &self,
        handle: &Handle,
        request: LogRequest,
        follow: Option<FollowHandle>,
    ) -> Result<LogReader> {
        let view = handle.view();
        LogReader::open(LogOptions {
            files: handle.streams.log()?.clone(),
            want: Want {
                stdout: request.stdout,
                stderr: request.stderr,
            },
            since: request.since,
            until: request.until,
            timestamps: request.timestamps,
            details_prefix: request.details.then(|| details(&view)),
            tail: request.tail,
            tty: view.spec.tty,
            follow,
        })
        .await
    }
}

/// The labels and variables that the log options `labels` and `env` name, as `k=v,k=v`.
fn details(view: &ContainerView) -> String {
    let named = |option: &str| -> Vec<&str> {
        let value = view.spec.log.options.get(option);
        value
            .map(|v| v.split(',').filter(|k| !k.is_empty()).collect())
            .unwrap_or_default()
    };
    let labels = named("labels")
        .into_iter()
        .filter_map(|key| Some(format!("{key}={}", view.spec.labels.get(key)?)));
    let variables = named("env").into_iter().filter_map(|key| {
        view.spec
            .env
            .iter()
            .find(|e| e.split_once('=').is_some_and(|(k, _)| k == key))
            .cloned()
    });
    labels.chain(variables).collect::<Vec<_>>().join(",")
}
