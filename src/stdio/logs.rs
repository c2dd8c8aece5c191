//! What of a log is wanted, and how its lines are shown.

use std::collections::BTreeMap;

use model::{ContainerId, ContainerName, ContainerSpec, LogDriver, Result, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use runtime::Journal;
use streams::{LogOptions, LogReader, Want};
use sys::dir_watch::Watcher;

use crate::ContainerStreams;

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

/// How a container's entries are named where its log is the journal.
pub fn journal_of(id: &ContainerId, name: &ContainerName, spec: &ContainerSpec) -> Option<Journal> {
    let tag = spec.log.options.get(model::log::TAG);
    (spec.log.driver == LogDriver::Journald).then(|| Journal {
        name: name.to_string(),
        // Docker's: `{{.ID}}`.
        tag: tag.cloned().unwrap_or_else(|| id.short().to_owned()),
    })
}

impl ContainerStreams {
    /// Opens the log of the container that is `spec`.
    ///
    /// # Errors
    /// A driver that keeps nothing (501); what the host says.
    pub async fn read_log(
        &self,
        spec: &ContainerSpec,
        request: LogRequest,
        watcher: Option<&Watcher>,
    ) -> Result<LogReader> {
        LogReader::open(LogOptions {
            source: self.log_source()?,
            want: Want {
                stdout: request.stdout,
                stderr: request.stderr,
            },
            since: request.since,
            until: request.until,
            timestamps: request.timestamps,
            details_prefix: request.details.then(|| details(spec)),
            tail: request.tail,
            tty: spec.tty,
            follow: request.follow.then(|| self.follow(watcher)),
        })
        .await
    }
}

/// The labels and variables that the log options `labels` and `env` name, as `k=v,k=v`, sorted and
/// escaped as a query is (moby `attrsByteSlice`).
fn details(spec: &ContainerSpec) -> String {
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
