//! What an update makes of a container's limits and restart policy (moby
//! `container.UpdateContainer`).

use model::{BlockIo, Error, Resources, RestartPolicy, Result};

/// The limits when those that are `asked` for are laid over those of `now`; a limit that is not
/// asked for stays. Whether they make sense together is not looked at.
///
/// # Errors
/// Conflict, in moby's words, for two that exclude each other.
pub fn limits(now: &Resources, asked: &Resources) -> Result<Resources> {
    let conflict = |why: &str| Err(Error::conflict(why));
    let set = |n: Option<i64>| n.is_some_and(|n| n > 0);
    let has_period = |r: &Resources| r.cpu_period_us.is_some_and(|n| n > 0);
    if set(asked.nano_cpus) && has_period(now) {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        );
    }
    if set(asked.nano_cpus) && set(now.cpu_quota_us) {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        );
    }
    if has_period(asked) && set(now.nano_cpus) {
        return conflict(
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        );
    }
    if set(asked.cpu_quota_us) && set(now.nano_cpus) {
        return conflict(
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        );
    }
    // To moby no limit is 0 and unlimited swap -1, so both are below any limit.
    let swap_now = now.memory_swap_bytes.unwrap_or(0);
    if asked.memory_swap_bytes.is_none() && asked.memory_bytes.is_some_and(|n| n > swap_now) {
        return conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the \
             memoryswap at the same time",
        );
    }
    Ok(laid_over(now, asked))
}

fn laid_over(now: &Resources, asked: &Resources) -> Resources {
    let text = |asked: &Option<String>, now: &Option<String>| asked.clone().or_else(|| now.clone());
    Resources {
        memory_bytes: asked.memory_bytes.or(now.memory_bytes),
        memory_reservation_bytes: asked
            .memory_reservation_bytes
            .or(now.memory_reservation_bytes),
        memory_swap_bytes: asked.memory_swap_bytes.or(now.memory_swap_bytes),
        nano_cpus: asked.nano_cpus.or(now.nano_cpus),
        cpu_shares: asked.cpu_shares.or(now.cpu_shares),
        cpu_period_us: asked.cpu_period_us.or(now.cpu_period_us),
        cpu_quota_us: asked.cpu_quota_us.or(now.cpu_quota_us),
        cpuset_cpus: text(&asked.cpuset_cpus, &now.cpuset_cpus),
        cpuset_mems: text(&asked.cpuset_mems, &now.cpuset_mems),
        pids_limit: asked.pids_limit.or(now.pids_limit),
        kernel_memory_bytes: asked.kernel_memory_bytes.or(now.kernel_memory_bytes),
        cpu_realtime_period_us: asked.cpu_realtime_period_us.or(now.cpu_realtime_period_us),
        cpu_realtime_runtime_us: asked
            .cpu_realtime_runtime_us
            .or(now.cpu_realtime_runtime_us),
        block_io: BlockIo {
            weight: asked.block_io.weight.or(now.block_io.weight),
            ..now.block_io.clone()
        },
        // Not to be updated, in Docker either.
        oom_score_adj: now.oom_score_adj,
        oom_kill_disable: now.oom_kill_disable,
        memory_swappiness: now.memory_swappiness,
        kernel_memory_tcp_bytes: now.kernel_memory_tcp_bytes,
    }
}

/// Whether a container may get this policy.
///
/// # Errors
/// Conflict, in moby's words, for one that removes itself at its end.
pub fn restart_policy(auto_remove: bool, asked: &RestartPolicy) -> Result<()> {
    if auto_remove && *asked != RestartPolicy::No {
        return Err(Error::conflict(
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ));
    }
    Ok(())
}

/// Whether what a container uses of its memory has room in limits that are lower than `before`; those
/// that are not cost it nothing. On cgroup v2 the kernel would kill until it has; on v1 it refuses by
/// itself, and knows better what can be reclaimed.
///
/// # Errors
/// Conflict, in the words of runc's `memory.checkBeforeUpdate`.
pub fn has_room(before: &Resources, limits: &Resources, in_use_bytes: u64) -> Result<()> {
    let bytes = |limit: Option<i64>| limit.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let is_too_low = |limit: Option<i64>, before: Option<i64>| {
        let is_lower = |n| bytes(before).is_none_or(|before| n < before);
        bytes(limit).is_some_and(|n| n <= in_use_bytes && is_lower(n))
    };
    if let Some(swap) =
        (limits.memory_swap_bytes).filter(|n| is_too_low(Some(*n), before.memory_swap_bytes))
    {
        return Err(Error::conflict(format!(
            "rejecting memory+swap limit {swap} <= usage {in_use_bytes}"
        )));
    }
    if let Some(limit) = (limits.memory_bytes).filter(|n| is_too_low(Some(*n), before.memory_bytes))
    {
        return Err(Error::conflict(format!(
            "rejecting memory limit {limit} <= usage {in_use_bytes}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::Kind;
    use proptest::prelude::*;

    use super::*;

    const MB: i64 = 1 << 20;

    fn with(change: impl FnOnce(&mut Resources)) -> Resources {
        let mut resources = Resources::default();
        change(&mut resources);
        resources
    }

    fn refused(now: &Resources, asked: &Resources) -> String {
        let error = limits(now, asked).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        error.message().to_owned()
    }

    #[test]
    fn what_is_asked_for_changes_and_the_rest_stays() {
        let now = with(|r| {
            (r.memory_bytes, r.memory_swap_bytes) = (Some(64 * MB), Some(128 * MB));
            r.cpuset_cpus = Some("0".into());
            r.pids_limit = Some(5);
            r.oom_kill_disable = true;
        });
        let asked = with(|r| {
            r.memory_bytes = Some(100 * MB);
            r.cpu_shares = Some(512);
            r.pids_limit = Some(0);
            r.cpuset_cpus = Some("1".into());
        });
        let then = limits(&now, &asked).unwrap();
        assert_eq!(
            then,
            with(|r| {
                (r.memory_bytes, r.memory_swap_bytes) = (Some(100 * MB), Some(128 * MB));
                r.cpuset_cpus = Some("1".into());
                r.cpu_shares = Some(512);
                r.pids_limit = Some(0);
                r.oom_kill_disable = true;
            })
        );
    }

    #[test]
    fn what_excludes_each_other_is_refused_in_mobys_words() {
        let nano = with(|r| r.nano_cpus = Some(1_000_000_000));
        let period = with(|r| r.cpu_period_us = Some(50_000));
        let quota = with(|r| r.cpu_quota_us = Some(50_000));
        assert_eq!(
            refused(&period, &nano),
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"
        );
        assert_eq!(
            refused(&quota, &nano),
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"
        );
        assert_eq!(
            refused(&nano, &period),
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set"
        );
        assert_eq!(
            refused(&nano, &quota),
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
        );
    }

    #[test]
    fn a_limit_above_the_swap_limit_needs_another_of_that() {
        let swap = "Memory limit should be smaller than already set memoryswap limit, update the \
                    memoryswap at the same time";
        let more = with(|r| r.memory_bytes = Some(200 * MB));
        for now in [
            Resources::default(),
            with(|r| (r.memory_bytes, r.memory_swap_bytes) = (Some(64 * MB), Some(128 * MB))),
            with(|r| (r.memory_bytes, r.memory_swap_bytes) = (Some(64 * MB), Some(-1))),
        ] {
            assert_eq!(refused(&now, &more), swap);
            let both = with(|r| {
                (r.memory_bytes, r.memory_swap_bytes) = (Some(200 * MB), Some(-1));
            });
            assert_eq!(limits(&now, &both).unwrap(), both);
        }
    }

    #[test]
    fn no_policy_for_what_removes_itself() {
        assert!(restart_policy(true, &RestartPolicy::No).is_ok());
        assert!(restart_policy(false, &RestartPolicy::Always).is_ok());
        let error = restart_policy(true, &RestartPolicy::Always).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
    }

    #[test]
    fn limits_below_what_is_used_are_refused() {
        let limits =
            |memory, swap| with(|r| (r.memory_bytes, r.memory_swap_bytes) = (memory, swap));
        let used = 64 << 20;
        let none = Resources::default();
        assert!(has_room(&none, &limits(Some(65 * MB), Some(-1)), used).is_ok());
        assert!(has_room(&none, &limits(None, None), used).is_ok());
        let why = |limits| {
            let refused = has_room(&none, &limits, used).unwrap_err();
            refused.message().to_owned()
        };
        assert_eq!(
            why(limits(Some(64 * MB), Some(-1))),
            "rejecting memory limit 67108864 <= usage 67108864"
        );
        assert_eq!(
            why(limits(Some(32 * MB), Some(33 * MB))),
            "rejecting memory+swap limit 34603008 <= usage 67108864"
        );
        // Its first processes may be over it already; what does not go down kills nobody.
        let now = limits(Some(32 * MB), Some(48 * MB));
        assert!(has_room(&now, &limits(Some(32 * MB), Some(56 * MB)), used).is_ok());
        assert!(has_room(&now, &limits(Some(40 * MB), Some(-1)), used).is_ok());
        assert!(has_room(&now, &limits(Some(31 * MB), Some(48 * MB)), used).is_err());
        assert!(has_room(&now, &limits(Some(32 * MB), Some(47 * MB)), used).is_err());
    }

    proptest! {
        /// An update that asks for nothing changes nothing, and one that was made changes nothing again.
        #[test]
        fn an_update_can_be_made_twice(
            memory in proptest::option::of(1_i64..1000),
            swap in proptest::option::of(-1_i64..1000),
            shares in proptest::option::of(2_u64..1000),
            now_memory in proptest::option::of(1_i64..1000),
        ) {
            let now = with(|r| r.memory_bytes = now_memory);
            prop_assert_eq!(&limits(&now, &Resources::default()).unwrap(), &now);
            let asked = with(|r| {
                (r.memory_bytes, r.memory_swap_bytes, r.cpu_shares) = (memory, swap, shares);
            });
            if let Ok(once) = limits(&now, &asked) {
                prop_assert_eq!(limits(&once, &asked).unwrap_or_else(|_| once.clone()), once);
            }
        }
    }
}
