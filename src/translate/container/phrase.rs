//! The phrases of a list: `Up 5 minutes`, `Exited (0) 2 hours ago`; times and command lines.

use model::{ContainerState, Health, HealthStatus, Timestamp};

/// Go's zero time.
pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 in UTC, the fraction without trailing zeros (Go's `RFC3339Nano`).
pub(super) fn time(at: Timestamp) -> String {
    at.to_string()
}

/// The `Status` of a row (moby `container/state.go`).
pub(super) fn status(state: &ContainerState, health: Option<&Health>, now: Timestamp) -> String {
    match state {
        ContainerState::Created { .. } => "Created".to_owned(),
        ContainerState::Running(running) => {
            let up = duration(seconds_between(running.started_at, now));
            let more = match health.map(|health| health.status) {
                _ if running.paused => " (Paused)",
                Some(HealthStatus::Starting) => " (health: starting)",
                Some(HealthStatus::Healthy) => " (healthy)",
                Some(HealthStatus::Unhealthy) => " (unhealthy)",
                None => "",
            };
            format!("Up {up}{more}")
        }
        ContainerState::Exited(exited) => {
            let ago = duration(seconds_between(exited.finished_at, now));
            format!("Exited ({}) {ago} ago", exited.status.code())
        }
        ContainerState::Restarting(restarting) => {
            let last = &restarting.last;
            let ago = duration(seconds_between(last.finished_at, now));
            format!("Restarting ({}) {ago} ago", last.status.code())
        }
        ContainerState::Removing => "Removal In Progress".to_owned(),
        ContainerState::Dead { .. } | ContainerState::Lost { .. } => "Dead".to_owned(),
    }
}

/// The `Command` of a row: arguments with a space are put in single quotes, nothing is escaped
/// (moby `container/view.go`).
pub(super) fn command(args: &[String]) -> String {
    let words = args.iter().enumerate().map(|(at, arg)| {
        if at > 0 && arg.contains(' ') {
            format!("'{arg}'")
        } else {
            arg.clone()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whole seconds from one time to another, none when the clock went back.
fn seconds_between(from: Timestamp, to: Timestamp) -> u64 {
    let seconds = to.duration_since(from).as_secs();
    u64::try_from(seconds).unwrap_or(0)
}

/// go-units `HumanDuration`: hours are rounded, everything else is cut.
fn duration(seconds: u64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (s, ..) if s < 60 => format!("{s} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, m, _) if m < 60 => format!("{m} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, h) if h < 48 => format!("{h} hours"),
        (_, _, h) if h < 24 * 7 * 2 => format!("{} days", h / 24),
        (_, _, h) if h < 24 * 30 * 2 => format!("{} weeks", h / 24 / 7),
        (_, _, h) if h < 24 * 365 * 2 => format!("{} months", h / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use model::process::{Pid, ProcessRef};
    use model::{ExitStatus, Exited, Running};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn durations_as_go_units_has_them() {
        let (minute, hour, day) = (60, 3600, 86_400);
        // go-units duration_test.go, HumanDuration.
        let table = [
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (46, "46 seconds"),
            (59, "59 seconds"),
            (minute, "About a minute"),
            (minute + 1, "About a minute"),
            (3 * minute, "3 minutes"),
            (35 * minute, "35 minutes"),
            (35 * minute + 40, "35 minutes"),
            (40 * minute, "40 minutes"),
            (59 * minute + 59, "59 minutes"),
            (hour, "About an hour"),
            (hour + 45 * minute, "2 hours"),
            (3 * hour, "3 hours"),
            (3 * hour + 59 * minute + 59, "4 hours"),
            (24 * hour, "24 hours"),
            (36 * hour, "36 hours"),
            (60 * hour, "2 days"),
            (11 * day, "11 days"),
            (14 * day, "2 weeks"),
            (20 * day, "2 weeks"),
            (27 * day, "3 weeks"),
            (28 * day, "4 weeks"),
            (29 * day, "4 weeks"),
            (30 * day, "4 weeks"),
            (31 * day, "4 weeks"),
            (60 * day, "2 months"),
            (90 * day, "3 months"),
            (365 * day, "12 months"),
            (400 * day, "13 months"),
            (730 * day, "2 years"),
            (3 * 365 * day + 60 * day, "3 years"),
        ];
        for (seconds, words) in table {
            assert_eq!(duration(seconds), words, "{seconds} s");
        }
    }

    #[test]
    fn a_phrase_for_every_state() {
        let pid = Pid::new(7).unwrap();
        let init = ProcessRef {
            pid,
            start_ticks: 1,
        };
        let running = |paused| {
            ContainerState::Running(Running {
                init,
                monitor: None,
                started_at: at(100),
                paused,
                readiness: None,
                last_finished_at: None,
            })
        };
        let exited = ContainerState::Exited(Exited {
            status: ExitStatus::Known(137),
            started_at: at(100),
            finished_at: at(200),
            oom_killed: false,
            error: String::new(),
            by_request: false,
            by_checkpoint: false,
        });
        let restarting = ContainerState::Restarting(model::Restarting {
            last: exited.exited().unwrap().clone(),
            delay_ms: 100,
        });
        let dead = ContainerState::Dead {
            reason: "disk".to_owned(),
        };
        let table = [
            (ContainerState::Created { failure: None }, 0, "Created"),
            (running(false), 103, "Up 3 seconds"),
            (running(true), 400, "Up 5 minutes (Paused)"),
            (running(false), 5, "Up Less than a second"),
            (exited, 200 + 2 * 3600, "Exited (137) 2 hours ago"),
            (restarting, 203, "Restarting (137) 3 seconds ago"),
            (ContainerState::Removing, 0, "Removal In Progress"),
            (dead, 0, "Dead"),
        ];
        for (state, now, words) in table {
            assert_eq!(status(&state, None, at(now)), words);
        }
        for (found, words) in [
            (HealthStatus::Starting, "Up 3 seconds (health: starting)"),
            (HealthStatus::Healthy, "Up 3 seconds (healthy)"),
            (HealthStatus::Unhealthy, "Up 3 seconds (unhealthy)"),
        ] {
            let health = Health {
                run_started_at: at(100),
                status: found,
                failing_streak: 0,
                log: vec![],
            };
            assert_eq!(status(&running(false), Some(&health), at(103)), words);
            let paused = status(&running(true), Some(&health), at(103));
            assert_eq!(paused, "Up 3 seconds (Paused)");
        }
    }

    #[test]
    fn times_and_commands() {
        let nanos = |n| Timestamp::from_nanosecond(n).unwrap();
        assert_eq!(time(nanos(1_500_000_000)), "1970-01-01T00:00:01.5Z");
        assert_eq!(time(nanos(1)), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(time(nanos(0)), "1970-01-01T00:00:00Z");
        let args = ["my sh", "-c", "echo out; exit"].map(str::to_owned);
        assert_eq!(command(&args), "my sh -c 'echo out; exit'");
    }
}
