//! Health checks: what is asked for, and what has been found.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The shortest time that can be asked for (moby `MinimumDuration`).
const SHORTEST_NS: i64 = 1_000_000;

/// A health check (Docker's `HealthConfig`), of an image or of a container. Times are
/// nanoseconds; zero is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", ...]`; empty is the image's.
    pub test: Vec<String>,
    /// Between two checks.
    pub interval_ns: i64,
    /// Before a check counts as failed.
    pub timeout_ns: i64,
    /// Before failures count.
    pub start_period_ns: i64,
    /// Between two checks of the start period.
    pub start_interval_ns: i64,
    /// Failures in a row that make a container unhealthy.
    pub retries: i64,
}

impl HealthCheck {
    /// Whether there is something to run.
    pub fn is_on(&self) -> bool {
        self.test.first().is_some_and(|word| word != "NONE")
    }

    /// Refuses what cannot be.
    ///
    /// # Errors
    /// 400, for numbers in Docker's words.
    pub fn check(&self) -> Result<()> {
        for (name, ns) in [
            ("Interval", self.interval_ns),
            ("Timeout", self.timeout_ns),
            ("StartPeriod", self.start_period_ns),
            ("StartInterval", self.start_interval_ns),
        ] {
            if ns != 0 && ns < SHORTEST_NS {
                let words = format!("{name} in Healthcheck cannot be less than 1ms");
                return Err(Error::invalid(words));
            }
        }
        if self.retries < 0 {
            return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
        }
        match self.test.first().map(String::as_str) {
            None | Some("NONE") => Ok(()),
            Some("CMD" | "CMD-SHELL") if self.test.len() > 1 => Ok(()),
            Some("CMD" | "CMD-SHELL") => Err(Error::invalid("Test in Healthcheck has no command")),
            Some(other) => {
                let shown: String = other.chars().take(128).collect();
                Err(Error::invalid(format!(
                    "Unknown healthcheck type '{shown}' (expected 'CMD', 'CMD-SHELL' or 'NONE')"
                )))
            }
        }
    }

    /// Between two checks.
    pub fn interval(&self) -> Duration {
        or(self.interval_ns, Duration::from_secs(30))
    }

    /// Before a check counts as failed.
    pub fn timeout(&self) -> Duration {
        or(self.timeout_ns, Duration::from_secs(30))
    }

    /// Before failures count.
    pub fn start_period(&self) -> Duration {
        or(self.start_period_ns, Duration::ZERO)
    }

    /// Between two checks of the start period.
    pub fn start_interval(&self) -> Duration {
        or(self.start_interval_ns, Duration::from_secs(5))
    }

    /// Failures in a row that make a container unhealthy.
    pub fn retries(&self) -> u32 {
        match u32::try_from(self.retries) {
            Ok(0) => 3,
            Ok(retries) => retries,
            Err(_) => u32::MAX,
        }
    }
}

fn or(ns: i64, default: Duration) -> Duration {
    match u64::try_from(ns) {
        Ok(1..) => Duration::from_nanos(ns.unsigned_abs()),
        _ => default,
    }
}

/// Whether a container is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthStatus {
    /// It was not well since its start, and may still become so.
    Starting,
    /// The last check that counted was fine.
    Healthy,
    /// Too many checks in a row were not.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What checks of one run have found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// When the run began that this is about.
    pub run_started_at: Timestamp,
    /// Whether the container is well.
    pub status: HealthStatus,
    /// Failures in a row, as far as they count.
    pub failing_streak: u32,
    /// The last results, oldest first; those of the run before may be among them.
    pub log: Vec<HealthResult>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Timestamp,
    /// 0 is well; -1 when it could not be run or took too long.
    pub exit_code: i64,
    /// What it printed, or why it did not come to an end.
    pub output: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str]) -> HealthCheck {
        HealthCheck {
            test: test.iter().map(|word| (*word).to_owned()).collect(),
            ..HealthCheck::default()
        }
    }

    #[test]
    fn zero_is_dockers_default() {
        let check = check(&["CMD", "true"]);
        assert_eq!(check.interval().as_secs(), 30);
        assert_eq!(check.timeout().as_secs(), 30);
        assert_eq!(check.start_period(), Duration::ZERO);
        assert_eq!(check.start_interval().as_secs(), 5);
        assert_eq!(check.retries(), 3);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for good in [
            &["NONE"][..],
            &["CMD", "true"],
            &["CMD-SHELL", "exit 0"],
            &[],
        ] {
            check(good).check().unwrap();
        }
        for bad in [&["CMD"][..], &["CMD-SHELL"], &["cmd", "true"], &["true"]] {
            assert!(check(bad).check().is_err(), "{bad:?}");
        }
        let short = HealthCheck {
            timeout_ns: 999_999,
            ..check(&["CMD", "true"])
        };
        let words = "Timeout in Healthcheck cannot be less than 1ms";
        assert_eq!(short.check().unwrap_err().message(), words);
        let negative = HealthCheck {
            retries: -1,
            ..check(&["CMD", "true"])
        };
        let words = "Retries in Healthcheck cannot be negative";
        assert_eq!(negative.check().unwrap_err().message(), words);
    }
}
