//! Which ids of the host a user namespace gets: from the lines of `/etc/subuid` and `/etc/subgid`
//! (subuid(5)), and those that nobody has yet.

use model::Result;
use model::id_map::{IdMap, IdRange};

/// A run of the host's ids: the first, and how many.
pub type Run = (u32, u32);

/// The runs that `text` gives `user`, called as it is there; lines that make no sense are nobody's.
/// Sorted.
pub fn subordinate(text: &str, user: &str) -> Vec<Run> {
    let run = |line: &str| -> Option<Run> {
        let mut fields = line.trim().split(':');
        if fields.next()? != user {
            return None;
        }
        let run = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (run.1 > 0 && fields.next().is_none()).then_some(run)
    };
    let mut runs: Vec<Run> = text.lines().filter_map(run).collect();
    runs.sort_unstable();
    runs
}

/// The map of all of `runs`, which begins with the id 0 inside (moby `createIDMap`).
///
/// # Errors
/// As [`IdMap::new`].
pub fn whole(runs: &[Run]) -> Result<IdMap> {
    let mut inside = 0_u32;
    let mut ranges = Vec::new();
    for &(outside, count) in runs {
        ranges.push(IdRange {
            inside,
            outside,
            count,
        });
        inside = inside.saturating_add(count);
    }
    IdMap::new(ranges)
}

/// The first `count` ids in a row of `pool` that none of `used` has.
pub fn free<'a>(
    pool: &[Run],
    used: impl IntoIterator<Item = &'a IdMap>,
    count: u32,
) -> Option<IdMap> {
    let mut taken: Vec<(u64, u64)> = used
        .into_iter()
        .flat_map(IdMap::ranges)
        .map(|r| ends((r.outside, r.count)))
        .collect();
    taken.sort_unstable();
    let first = pool.iter().find_map(|run| {
        // Root of the host is nobody's.
        let (first, end) = ends(*run);
        let mut first = first.max(1);
        for (begin, after) in &taken {
            if first + u64::from(count) <= *begin {
                break;
            }
            first = first.max(*after);
        }
        (first + u64::from(count) <= end).then_some(first)
    })?;
    whole(&[(u32::try_from(first).ok()?, count)]).ok()
}

fn ends((first, count): Run) -> (u64, u64) {
    (u64::from(first), u64::from(first) + u64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_found_by_the_name_in_them() {
        let text = "# who\nme:200000:65536\n\nyou:1:2\n1000:100000:10\nme:7:10\nme:x:1\nme:5:0\nme:1:2:3\n";
        assert_eq!(subordinate(text, "me"), [(7, 10), (200_000, 65536)]);
        assert_eq!(subordinate(text, "1000"), [(100_000, 10)]);
        assert_eq!(subordinate(text, "nobody"), []);
    }

    #[test]
    fn all_runs_follow_each_other_inside() {
        let map = whole(&[(100, 10), (500, 5)]).unwrap();
        assert_eq!(map.kernel_text(), "0 100 10\n10 500 5\n");
        assert!(whole(&[(100, 10), (105, 5)]).is_err());
        assert!(whole(&[]).is_err());
    }

    #[test]
    fn gaps_are_used_and_a_full_pool_has_none() {
        let pool = [(100, 30), (200, 10)];
        let at = |first| free(&pool, [], 10).map(|_| whole(&[(first, 10)]).unwrap());
        let (a, b, c) = (at(100).unwrap(), at(110).unwrap(), at(120).unwrap());
        assert_eq!(free(&pool, [], 10), Some(a.clone()));
        assert_eq!(free(&pool, [&a, &c], 10), Some(b.clone()));
        assert_eq!(free(&pool, [&c, &b, &a], 10), at(200));
        assert_eq!(free(&pool, [&a, &c], 11), None);
        assert_eq!(free(&pool, [], 31), None);
        assert_eq!(free(&[(0, 10)], [], 9), Some(whole(&[(1, 9)]).unwrap()));
        assert_eq!(free(&[(0, 10)], [], 10), None);
    }

    proptest! {
        #[test]
        fn no_id_is_given_twice(counts in proptest::collection::vec(1_u32..40, 1..30), gone: u32) {
            let pool = [(1000, 100), (5000, 300)];
            let mut used: Vec<IdMap> = Vec::new();
            for (n, count) in counts.into_iter().enumerate() {
                if gone & (1 << n) != 0 && !used.is_empty() {
                    used.swap_remove(n % used.len());
                }
                let Some(map) = free(&pool, &used, count) else { continue };
                for id in 0..count {
                    let outside = map.outside(id).unwrap();
                    prop_assert!((1000..1100).contains(&outside) || (5000..5300).contains(&outside));
                    for other in &used {
                        let range = other.ranges()[0];
                        prop_assert!(!(range.outside..range.outside + range.count).contains(&outside));
                    }
                }
                used.push(map);
            }
        }
    }
}
