//! The daemon's own log, on stderr: text for people or JSON for collectors.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::settings::Settings;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Changes the level of a log that was started.
pub(crate) struct Level(Box<dyn Fn(EnvFilter) -> Result<()> + Send + Sync>);

impl Level {
    /// Sets it.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn set(&self, level: &str) -> Result<()> {
        (self.0)(filter(level)?)
    }
}

/// Starts it.
///
/// # Errors
/// When the level is not one.
pub(crate) fn start(settings: &Settings) -> Result<Level> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.log_level)?)
        .with_writer(std::io::stderr);
    Ok(match settings.log_format {
        LogFormat::Text => {
            let builder = builder
                .with_ansi(std::io::stderr().is_terminal())
                .with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Level(Box::new(move |filter| Ok(handle.reload(filter)?)))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Level(Box::new(move |filter| Ok(handle.reload(filter)?)))
        }
    })
}

fn filter(level: &str) -> Result<EnvFilter> {
    check(level)?;
    EnvFilter::try_new(level).with_context(|| format!("not a log level: {level:?}"))
}

/// The rooms whose level can be set, as targets of the log name them.
const ROOMS: [&str; 35] = [
    "moored",
    "api",
    "archive",
    "bundles",
    "catalog",
    "cdi",
    "checkpoints",
    "confine",
    "containers",
    "engine",
    "events",
    "execs",
    "failpoint",
    "files",
    "images",
    "model",
    "network",
    "networks",
    "registry",
    "rules",
    "runtime",
    "socket",
    "spec",
    "state",
    "stats",
    "stdio",
    "streams",
    "survey",
    "sys",
    "transfer",
    "translate",
    "units",
    "volumes",
    "web",
    "wire",
];
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The filter takes any word for the name of a room, and a wrong one would switch the log off.
fn check(filter: &str) -> Result<()> {
    for word in filter.split(',') {
        let (room, level) = match word.split_once('=') {
            Some((room, level)) => (Some(room), level),
            None => (None, word),
        };
        let room_of = |target: &str| target.split("::").next().unwrap_or_default().to_owned();
        if let Some(room) = room.map(room_of)
            && !ROOMS.contains(&room.as_str())
        {
            bail!("log level {filter:?}: {room:?} is no room of the daemon: use one of {ROOMS:?}");
        }
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            bail!("log level {filter:?}: {level:?} is no level: use one of {LEVELS:?}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_neither_a_level_nor_a_room_is_refused() {
        for good in [
            "info",
            "INFO",
            "info,api=debug",
            "engine::container=trace,warn",
        ] {
            check(good).unwrap();
        }
        for bad in [
            "",
            "bogus",
            "bogus=1",
            "info,bogus=debug",
            "info,api=bogus",
            "info,",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
