//! `HostConfig.LogConfig`: where output goes.

use std::collections::BTreeMap;

use model::log::TAG;
use model::{Error, LogConfig, LogDriver, Result};

use super::not_built;
use wire::container::LogConfig as Wire;

/// Docker's other drivers: known, not built.
const OTHER_DRIVERS: &[&str] = &[
    "awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "splunk", "syslog",
];

/// `details=1` shows what the first two name; the others are how much is kept.
const BUILT_OPTIONS: &[&str] = &["env", "labels", "max-size", "max-file", "compress"];
/// Options of `json-file` and `local` that are known, not built.
const OTHER_OPTIONS: &[&str] = &["env-regex", "labels-regex", "max-buffer-size", TAG];
/// Options of `journald` that are known, not built: conmon cannot add fields to entries.
const OTHER_JOURNAL_OPTIONS: &[&str] = &["env", "env-regex", "labels", "labels-regex"];

/// Fills in the daemon's default: the driver where none is named, and the options of that driver which
/// are not given (moby `mergeAndVerifyLogConfig`).
pub(super) fn fill(wire: &mut Wire, default: &LogConfig) {
    if wire.r#type.is_empty() {
        default.driver.as_str().clone_into(&mut wire.r#type);
    }
    let given = wire.config.get_or_insert_default();
    if wire.r#type == default.driver.as_str() {
        for (key, value) in &default.options {
            given.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// Where output of containers goes that name nothing, from an operator's settings.
///
/// # Errors
/// As of a request that said the same.
pub fn log_default(driver: &str, options: BTreeMap<String, String>) -> Result<LogConfig> {
    log_config(&Wire {
        r#type: driver.to_owned(),
        config: Some(options),
    })
}

/// Where output goes.
///
/// # Errors
/// 400 for a driver, option or value Docker does not know, 501 for one that is not built.
pub(super) fn log_config(wire: &Wire) -> Result<LogConfig> {
    let driver = match wire.r#type.as_str() {
        "" | "json-file" => LogDriver::JsonFile,
        "local" => LogDriver::Local,
        "journald" => LogDriver::Journald,
        "none" => LogDriver::None,
        other if OTHER_DRIVERS.contains(&other) => {
            return Err(not_built(&format!("HostConfig.LogConfig.Type {other}")));
        }
        other => {
            return Err(Error::invalid(format!(
                "logger: no log driver named '{other}' is registered"
            )));
        }
    };
    let options = wire.config.clone().unwrap_or_default();
    check_options(driver, &options)?;
    let config = LogConfig { driver, options };
    config.limits()?;
    Ok(config)
}

fn check_options(driver: LogDriver, options: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in options {
        match (key.as_str(), value.as_str()) {
            ("mode", "blocking") => {}
            ("mode", "non-blocking") => {
                return Err(not_built("HostConfig.LogConfig.Config mode"));
            }
            ("mode", other) => {
                return Err(Error::invalid(format!(
                    "logger: logging mode not supported: {other}"
                )));
            }
            // moby does not look at the options of `none`.
            _ if driver == LogDriver::None => {}
            (TAG, template) if driver == LogDriver::Journald => {
                if template.contains("{{") {
                    return Err(not_built("HostConfig.LogConfig.Config tag with a template"));
                }
            }
            (key, _) if driver == LogDriver::Journald => {
                if !OTHER_JOURNAL_OPTIONS.contains(&key) {
                    return Err(unknown_option(key, driver));
                }
                return Err(not_built(&format!("HostConfig.LogConfig.Config {key}")));
            }
            (key, _) if BUILT_OPTIONS.contains(&key) => {}
            (key, _) if OTHER_OPTIONS.contains(&key) => {
                return Err(not_built(&format!("HostConfig.LogConfig.Config {key}")));
            }
            (key, _) => {
                return Err(unknown_option(key, driver));
            }
        }
    }
    Ok(())
}

fn unknown_option(key: &str, driver: LogDriver) -> Error {
    let driver = driver.as_str();
    Error::invalid(format!("unknown log opt '{key}' for {driver} log driver"))
}
