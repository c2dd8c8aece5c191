//! When a container is looked at, and what a result means (moby `daemon/health.go`).

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use model::health::{Health, HealthCheck, HealthResult, HealthStatus};

/// Results that are kept.
const LOG_MAX: usize = 5;
/// The label by which a container asks for a restart when it becomes unhealthy, and its value.
const ON_UNHEALTHY: (&str, &str) = ("moored.on-unhealthy", "restart");

/// What is known of a run that begins; the log goes on.
pub fn beginning(before: Option<&Health>, run_started_at: Timestamp) -> Health {
    Health {
        run_started_at,
        status: HealthStatus::Starting,
        failing_streak: 0,
        log: before.map(|health| health.log.clone()).unwrap_or_default(),
    }
}

/// How long until the next check: from the end of the last one of this run, or from its start.
pub fn next_check_in(check: &HealthCheck, health: &Health, now: Timestamp) -> Duration {
    let run = health.run_started_at;
    let since =
        |moment: Timestamp| Duration::try_from(now.duration_since(moment)).unwrap_or_default();
    let is_beginning = since(run) < check.start_period() && health.status == HealthStatus::Starting;
    let pause = match is_beginning {
        true => check.start_interval(),
        false => check.interval(),
    };
    let last = health.log.last().map(|result| result.ended_at);
    let last = last.filter(|ended| *ended >= run).unwrap_or(run);
    pause.saturating_sub(since(last))
}

/// Takes a result in.
pub fn take_in(check: &HealthCheck, health: &Health, result: HealthResult) -> Health {
    let mut next = health.clone();
    if result.exit_code == 0 {
        next.status = HealthStatus::Healthy;
        next.failing_streak = 0;
    } else if counts(check, health, &result) {
        next.failing_streak = next.failing_streak.saturating_add(1);
        if next.failing_streak >= check.retries() {
            next.status = HealthStatus::Unhealthy;
        }
    }
    next.log.push(result);
    let surplus = next.log.len().saturating_sub(LOG_MAX);
    next.log.drain(..surplus);
    next
}

/// A failure in the start period of a container that was not well yet does not count.
fn counts(check: &HealthCheck, health: &Health, result: &HealthResult) -> bool {
    let into_run = result.started_at.duration_since(health.run_started_at);
    let into_run = Duration::try_from(into_run).unwrap_or_default();
    health.status != HealthStatus::Starting || into_run >= check.start_period()
}

/// The command of a check; `shell` is what the image runs shell forms with.
pub fn command(check: &HealthCheck, shell: &[String]) -> Vec<String> {
    let rest = check.test.iter().skip(1).cloned();
    match check.test.first().map(String::as_str) {
        Some("CMD-SHELL") if shell.is_empty() => {
            let default = ["/bin/sh", "-c"].map(str::to_owned);
            default.into_iter().chain(rest).collect()
        }
        Some("CMD-SHELL") => shell.iter().cloned().chain(rest).collect(),
        _ => rest.collect(),
    }
}

/// Whether a container that becomes unhealthy is to be restarted. Not Docker's.
pub fn restarts_when_unhealthy(labels: &BTreeMap<String, String>) -> bool {
    let (key, value) = ON_UNHEALTHY;
    labels.get(key).is_some_and(|asked| asked == value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn check(start_period_s: i64) -> HealthCheck {
        HealthCheck {
            test: ["CMD", "probe"].map(str::to_owned).to_vec(),
            interval_ns: 10_000_000_000,
            start_period_ns: start_period_s * 1_000_000_000,
            start_interval_ns: 1_000_000_000,
            ..HealthCheck::default()
        }
    }

    fn result(second: i64, exit_code: i64) -> HealthResult {
        HealthResult {
            started_at: at(second),
            ended_at: at(second),
            exit_code,
            output: String::new(),
        }
    }

    fn after(check: &HealthCheck, results: &[(i64, i64)]) -> Health {
        let begun = beginning(None, at(0));
        results.iter().fold(begun, |health, (second, code)| {
            take_in(check, &health, result(*second, *code))
        })
    }

    #[test]
    fn three_failures_in_a_row_are_unhealthy_and_one_success_is_healthy() {
        let check = check(0);
        let two = after(&check, &[(1, 1), (2, 1)]);
        assert_eq!(
            (two.status, two.failing_streak),
            (HealthStatus::Starting, 2)
        );
        let three = after(&check, &[(1, 1), (2, -1), (3, 7)]);
        assert_eq!(three.status, HealthStatus::Unhealthy);
        let well = after(&check, &[(1, 1), (2, 1), (3, 1), (4, 0)]);
        assert_eq!(
            (well.status, well.failing_streak),
            (HealthStatus::Healthy, 0)
        );
        let again = after(&check, &[(1, 0), (2, 1), (3, 1)]);
        assert_eq!(
            (again.status, again.failing_streak),
            (HealthStatus::Healthy, 2)
        );
    }

    #[test]
    fn failures_of_the_start_period_do_not_count_until_it_was_well() {
        let check = check(60);
        let starting = after(&check, &[(1, 1), (2, 1), (3, 1), (4, 1)]);
        assert_eq!(
            (starting.status, starting.failing_streak),
            (HealthStatus::Starting, 0)
        );
        let late = after(&check, &[(1, 1), (61, 1), (62, 1), (63, 1)]);
        assert_eq!(late.status, HealthStatus::Unhealthy);
        let ill = after(&check, &[(1, 0), (2, 1), (3, 1), (4, 1)]);
        assert_eq!(ill.status, HealthStatus::Unhealthy);
    }

    #[test]
    fn the_next_check_is_counted_from_the_last_one_of_this_run() {
        let check = check(60);
        let s = Duration::from_secs;
        let begun = after(&check, &[]);
        assert_eq!(next_check_in(&check, &begun, at(0)), s(1));
        // The clock was set back: from now on.
        assert_eq!(next_check_in(&check, &begun, at(-5)), s(1));
        let once = after(&check, &[(2, 1)]);
        assert_eq!(next_check_in(&check, &once, at(2)), s(1));
        assert_eq!(next_check_in(&check, &once, at(61)), Duration::ZERO);
        let well = after(&check, &[(2, 0)]);
        assert_eq!(next_check_in(&check, &well, at(4)), s(8));
        // Results of an earlier run say nothing.
        let anew = beginning(Some(&well), at(100));
        assert_eq!(anew.log.len(), 1);
        assert_eq!(next_check_in(&check, &anew, at(100)), s(1));
    }

    #[test]
    fn commands_in_both_forms() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let with = |test: &[&str], shell: &[&str]| {
            let check = HealthCheck {
                test: words(test),
                ..HealthCheck::default()
            };
            command(&check, &words(shell))
        };
        assert_eq!(with(&["CMD", "probe", "-v"], &["sh"]), ["probe", "-v"]);
        assert_eq!(
            with(&["CMD-SHELL", "exit 1"], &[]),
            ["/bin/sh", "-c", "exit 1"]
        );
        assert_eq!(
            with(&["CMD-SHELL", "x"], &["ash", "-c"]),
            ["ash", "-c", "x"]
        );
    }

    proptest! {
        /// Whatever comes, the streak is what makes it unhealthy, and the log is bounded.
        #[test]
        fn the_streak_and_the_status_agree(
            codes in proptest::collection::vec((0_i64..200, 0_i64..3), 0..50),
            start_period_s in 0_i64..100,
        ) {
            let check = check(start_period_s);
            let health = after(&check, &codes);
            prop_assert!(health.log.len() <= LOG_MAX);
            let unhealthy = health.status == HealthStatus::Unhealthy;
            prop_assert_eq!(unhealthy, health.failing_streak >= check.retries());
            if codes.last().is_some_and(|(_, code)| *code == 0) {
                prop_assert_eq!(health.status, HealthStatus::Healthy);
            }
        }
    }
}
