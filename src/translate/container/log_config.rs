//! `HostConfig.LogConfig`: where output goes.

use std::collections::BTreeMap;

use model::{Error, LogConfig, LogDriver, Result};

use super::not_built;
use wire::container::LogConfig as Wire;

/// Docker's other drivers: known, not built.
const OTHER_DRIVERS: &[&str] = &[
    "awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "journald", "splunk", "syslog",
];

/// `details=1` shows what the first two name; the others are how much is kept.
const BUILT_OPTIONS: &[&str] = &["env", "labels", "max-size", "max-file", "compress"];
/// Options of `json-file` and `local` that are known, not built.
const OTHER_OPTIONS: &[&str] = &["env-regex", "labels-regex", "max-buffer-size", "tag"];

/// Where output goes.
///
/// # Errors
/// 400 for a driver, option or value Docker does not know, 501 for one that is not built.
pub(super) fn log_config(wire: &Wire) -> Result<LogConfig> {
    let driver = match wire.r#type.as_str() {
        "" | "json-file" => LogDriver::JsonFile,
        "local" => LogDriver::Local,
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
            (key, _) if BUILT_OPTIONS.contains(&key) => {}
            (key, _) if OTHER_OPTIONS.contains(&key) => {
                return Err(not_built(&format!("HostConfig.LogConfig.Config {key}")));
            }
            (key, _) => {
                return Err(Error::invalid(format!(
                    "unknown log opt '{key}' for {} log driver",
                    driver.as_str()
                )));
            }
        }
    }
    Ok(())
}
