//! Reading a container's log.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::streams::{FollowHandle, LogOptions, LogReader, Skipped, Want};
use bytes::Bytes;
use model::{Result, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Engine;
use crate::container::ContainerView;
use crate::container::handle::Handle;
use crate::streams::ContainerStreams;

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
        FollowHandle::new(self.inner.runtimes.watcher(), streams.run_over())
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

/// The labels and variables that the log options `labels` and `env` name, as `k=v,k=v`, sorted and
/// escaped as a query is (moby `attrsByteSlice`).
fn details(view: &ContainerView) -> String {
    let spec = &view.spec;
    let named = |option: &str| -> Vec<&str> {
        let value = spec.log.options.get(option);
        let keys = value.map(|v| v.split(',').filter(|k| !k.is_empty()).collect());
        keys.unwrap_or_default()
    };
    let mut details = BTreeMap::new();
    for key in named("labels") {
        if let Some(value) = spec.labels.get(key) {
            details.insert(key, value.as_str());
        }
    }
    let variable = |name: &str| {
        let mut pairs = spec.env.iter().filter_map(|e| e.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    for key in named("env") {
        if let Some(value) = variable(key) {
            details.insert(key, value);
        }
    }
    let pairs = details
        .iter()
        .map(|(k, v)| format!("{}={}", escaped(k), escaped(v)));
    pairs.collect::<Vec<_>>().join(",")
}

/// Go's `url.QueryEscape`.
fn escaped(text: &str) -> String {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~')
        .remove(b' ');
    utf8_percent_encode(text, ESCAPED)
        .to_string()
        .replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_in_a_query() {
        assert_eq!(escaped("a-b_c.d~e f"), "a-b_c.d~e+f");
        assert_eq!(escaped("k=v,w\n+\u{e4}"), "k%3Dv%2Cw%0A%2B%C3%A4");
    }
}
