//! How conmon and the OCI runtimes are started: the section `[launch]`, and conmon's log level.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use engine::{LogLevel, RuntimeConfig};
use model::limits;
use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;

/// `[launch]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Launch {
    /// Tell the runtimes not to use pivot_root, which a root file system on a ramdisk refuses.
    pub(crate) no_pivot: bool,
    /// Tell the runtimes not to make a session keyring for each container.
    no_new_keyring: bool,
    /// Further variables of the environment of conmon and the runtimes, which is fixed otherwise.
    environment: BTreeMap<String, String>,
    /// How long creating a container may take.
    create_timeout_s: Option<u64>,
    /// How long any other call of a runtime may take.
    call_timeout_s: Option<u64>,
    /// How long conmon may take from the end of a container to its exit file.
    exit_file_timeout_s: Option<u64>,
}

impl Launch {
    /// Refuses what cannot work, by name.
    ///
    /// # Errors
    /// A time-out of nothing or of more than the limit; a variable that is none, or that the
    /// daemon sets itself because it reads what depends on it.
    pub(crate) fn check(&self) -> Result<()> {
        let max = limits::RUNTIME_TIMEOUT_MAX.as_secs();
        for (name, seconds) in [
            ("create-timeout-s", self.create_timeout_s),
            ("call-timeout-s", self.call_timeout_s),
            ("exit-file-timeout-s", self.exit_file_timeout_s),
        ] {
            if seconds.is_some_and(|s| s == 0 || s > max) {
                bail!("[launch] {name} must be between 1 and {max}");
            }
        }
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                bail!("[launch] environment: not a variable: {name:?}");
            }
            if matches!(name.as_str(), "TZ" | "LC_ALL") || name.starts_with("_OCI_") {
                bail!("[launch] environment: {name} is set by the daemon itself");
            }
        }
        Ok(())
    }

    /// Writes what is set into the runtime room's configuration.
    pub(super) fn apply(&self, runtime: &mut RuntimeConfig) {
        let set = |timeout: &mut Duration, seconds: Option<u64>| {
            *timeout = seconds.map_or(*timeout, Duration::from_secs);
        };
        runtime.no_pivot = self.no_pivot;
        runtime.no_new_keyring = self.no_new_keyring;
        runtime.environment = self.environment.clone().into_iter().collect();
        set(&mut runtime.create_timeout, self.create_timeout_s);
        set(&mut runtime.call_timeout, self.call_timeout_s);
        set(&mut runtime.exit_file_timeout, self.exit_file_timeout_s);
    }
}

/// conmon's level: that of the settings, or else the daemon's own. Levels of single rooms
/// (`api=debug`) say nothing about conmon.
///
/// # Errors
/// When the level of the settings is not one of conmon's.
pub(super) fn conmon_log_level(set: Option<&str>, of_daemon: &str) -> Result<LogLevel> {
    let level = match set {
        Some("error" | "warn" | "info" | "debug" | "trace") => set,
        Some(other) => {
            bail!("[conmon] log-level is error, warn, info, debug or trace, and not {other:?}")
        }
        None => of_daemon.split(',').find(|word| !word.contains('=')),
    };
    let level = level.and_then(|word| word.trim().parse().ok());
    Ok(match level.unwrap_or(LevelFilter::ERROR) {
        LevelFilter::TRACE => LogLevel::Trace,
        LevelFilter::DEBUG => LogLevel::Debug,
        LevelFilter::INFO => LogLevel::Info,
        LevelFilter::WARN => LogLevel::Warn,
        // conmon has no silence.
        _ => LogLevel::Error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Launch {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_set_reaches_the_runtime_room_and_the_rest_keeps_its_default() {
        let default = RuntimeConfig::new("/run/moored");
        let mut runtime = default.clone();
        Launch::default().apply(&mut runtime);
        assert_eq!(format!("{runtime:?}"), format!("{default:?}"));
        let launch = read(
            "no-pivot = true\nno-new-keyring = true\ncreate-timeout-s = 1\ncall-timeout-s = 2\n\
             exit-file-timeout-s = 3\nenvironment = { A = 'b' }",
        );
        launch.check().unwrap();
        launch.apply(&mut runtime);
        assert!(runtime.no_pivot && runtime.no_new_keyring);
        assert_eq!(runtime.environment, [("A".to_owned(), "b".to_owned())]);
        let timeouts = [
            runtime.create_timeout,
            runtime.call_timeout,
            runtime.exit_file_timeout,
        ];
        assert_eq!(timeouts, [1, 2, 3].map(Duration::from_secs));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (text, word) in [
            ("call-timeout-s = 0", "call-timeout-s"),
            ("create-timeout-s = 999999999", "create-timeout-s"),
            ("environment = { 'A=B' = '' }", "A=B"),
            ("environment = { A = \"\\u0000\" }", "\"A\""),
            ("environment = { TZ = 'CET' }", "TZ"),
        ] {
            let e = read(text).check().unwrap_err().to_string();
            assert!(e.contains("[launch]") && e.contains(word), "{text}: {e}");
        }
    }

    #[test]
    fn conmon_speaks_as_loud_as_the_daemon_unless_told() {
        let level = |set, of_daemon| conmon_log_level(set, of_daemon).unwrap();
        assert_eq!(level(None, "info"), LogLevel::Info);
        assert_eq!(level(None, "WARN,api=trace"), LogLevel::Warn);
        assert_eq!(level(None, "api=trace,debug"), LogLevel::Debug);
        assert_eq!(level(None, "api=trace"), LogLevel::Error);
        assert_eq!(level(None, "off"), LogLevel::Error);
        assert_eq!(level(Some("trace"), "info"), LogLevel::Trace);
        assert!(conmon_log_level(Some("loud"), "info").is_err());
    }
}
