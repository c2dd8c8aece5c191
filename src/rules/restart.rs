//! What follows the end of a container: rest, or another start (moby `restartmanager`).

use std::time::Duration;

use model::{ContainerState, Exited, RestartPolicy, Restarting};

/// The first pause before a start.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// A run of this length makes the next pause the first again.
const LONG_RUN: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub struct RunEnd {
    /// The exit code; what nobody knows is 255.
    pub code: i64,
    /// A client had asked for it: stop, kill.
    pub by_request: bool,
    /// How often the policy has started the container since a client did.
    pub restarts: u32,
}

/// Whether the policy starts the container again. What a client ended stays ended.
pub fn starts_again(policy: &RestartPolicy, end: RunEnd) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => !end.by_request,
        RestartPolicy::OnFailure { max_retries } => {
            !end.by_request && end.code != 0 && max_retries.is_none_or(|max| end.restarts < max)
        }
    }
}

/// The pause before the start: it doubles, unless the container ran for some time.
pub fn next_delay(previous: Option<Duration>, ran_for: Duration) -> Duration {
    match previous {
        Some(previous) if ran_for < LONG_RUN => DELAY_MAX.min(previous * 2),
        _ => FIRST_DELAY,
    }
}

/// Whether a container at rest is started together with the daemon. One that was never started is
/// not; `on-failure` looks at ends, and not at daemons.
pub fn starts_with_daemon(policy: &RestartPolicy, state: &ContainerState) -> bool {
    match (policy, state) {
        (_, ContainerState::Exited(exited)) if exited.by_checkpoint => false,
        (RestartPolicy::Always, ContainerState::Exited(_)) => true,
        (RestartPolicy::UnlessStopped, ContainerState::Exited(exited)) => !exited.by_request,
        _ => false,
    }
}

/// What follows the end of a run: the state, and how often the policy has acted by then, which before
/// was `restarts` times.
pub fn after_exit(
    policy: &RestartPolicy,
    restarts: u32,
    last: Exited,
    delay_before: Option<Duration>,
) -> (ContainerState, u32) {
    let end = RunEnd {
        code: last.status.code(),
        by_request: last.by_request,
        restarts,
    };
    if !starts_again(policy, end) {
        return (ContainerState::Exited(last), restarts);
    }
    let ran_for = last.finished_at.duration_since(last.started_at);
    let ran_for = Duration::try_from(ran_for).unwrap_or_default();
    let delay = next_delay(delay_before, ran_for);
    let restarting = Restarting {
        last,
        delay_ms: u64::try_from(delay.as_millis()).expect("at most a minute"),
    };
    let restarts = restarts.saturating_add(1);
    (ContainerState::Restarting(restarting), restarts)
}

/// The pause that a state says, if it is one between two runs.
pub fn delay_of(state: &ContainerState) -> Option<Duration> {
    match state {
        ContainerState::Restarting(restarting) => Some(Duration::from_millis(restarting.delay_ms)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use model::{ExitStatus, Timestamp};
    use proptest::prelude::*;

    use super::*;

    const ON_FAILURE: RestartPolicy = RestartPolicy::OnFailure { max_retries: None };

    fn end(code: i64, by_request: bool, restarts: u32) -> RunEnd {
        RunEnd {
            code,
            by_request,
            restarts,
        }
    }

    #[test]
    fn policies_look_at_codes_counts_and_who_asked() {
        use RestartPolicy::{Always, No, UnlessStopped};
        let twice = RestartPolicy::OnFailure {
            max_retries: Some(2),
        };
        for (policy, how, wanted) in [
            (&No, end(1, false, 0), false),
            (&Always, end(0, false, 1000), true),
            (&Always, end(137, true, 0), false),
            (&UnlessStopped, end(0, false, 0), true),
            (&UnlessStopped, end(0, true, 0), false),
            (&ON_FAILURE, end(0, false, 0), false),
            (&ON_FAILURE, end(1, false, 1000), true),
            (&ON_FAILURE, end(143, true, 0), false),
            (&twice, end(1, false, 1), true),
            (&twice, end(1, false, 2), false),
        ] {
            assert_eq!(starts_again(policy, how), wanted, "{policy:?} {how:?}");
        }
    }

    #[test]
    fn delays_are_dockers() {
        let mut delay = None;
        let mut seen = Vec::new();
        for _ in 0..12 {
            let next = next_delay(delay, Duration::from_secs(1));
            seen.push(next.as_millis());
            delay = Some(next);
        }
        assert_eq!(
            seen,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000
            ]
        );
        assert_eq!(next_delay(delay, LONG_RUN), FIRST_DELAY);
    }

    #[test]
    fn what_starts_with_the_daemon() {
        let exited = |by_request| {
            ContainerState::Exited(Exited {
                status: ExitStatus::Known(1),
                started_at: Timestamp::UNIX_EPOCH,
                finished_at: Timestamp::UNIX_EPOCH,
                oom_killed: false,
                error: String::new(),
                by_request,
                by_checkpoint: false,
            })
        };
        let created = ContainerState::Created { failure: None };
        let (always, unless) = (RestartPolicy::Always, RestartPolicy::UnlessStopped);
        assert!(starts_with_daemon(&always, &exited(true)));
        assert!(starts_with_daemon(&unless, &exited(false)));
        assert!(!starts_with_daemon(&unless, &exited(true)));
        assert!(!starts_with_daemon(&ON_FAILURE, &exited(false)));
        assert!(!starts_with_daemon(&always, &created));
        assert!(!starts_with_daemon(&RestartPolicy::No, &exited(false)));
        let ContainerState::Exited(mut waits) = exited(true) else {
            unreachable!("it was made so");
        };
        waits.by_checkpoint = true;
        assert!(!starts_with_daemon(&always, &ContainerState::Exited(waits)));
    }

    proptest! {
        #[test]
        fn no_delay_is_shorter_than_the_first_or_longer_than_the_longest(
            previous in proptest::option::of(0_u64..10_000_000),
            ran_s in 0_u64..100,
        ) {
            let previous = previous.map(|ms| FIRST_DELAY + Duration::from_millis(ms));
            let delay = next_delay(previous, Duration::from_secs(ran_s));
            prop_assert!((FIRST_DELAY..=DELAY_MAX).contains(&delay));
        }
    }
}
