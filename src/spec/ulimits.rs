//! Ulimits: their names, what is refused, and what the daemon may really give.
//!
//! Without `CAP_SYS_RESOURCE` nobody may raise a hard limit above its own, and nobody at all may
//! raise `nofile` above `fs.nr_open`; the OCI runtimes then fail the whole start with
//! "operation not permitted". A wish above the ceiling is cut down to it, with a warning.

use std::collections::BTreeMap;

use model::{Error, Result, Ulimit};

use super::document::Rlimit;
use super::host::HostFacts;

/// Docker's name and the kernel's words for it in `/proc/<pid>/limits`.
const NAMES: [(&str, &str); 16] = [
    ("as", "Max address space"),
    ("core", "Max core file size"),
    ("cpu", "Max cpu time"),
    ("data", "Max data size"),
    ("fsize", "Max file size"),
    ("locks", "Max file locks"),
    ("memlock", "Max locked memory"),
    ("msgqueue", "Max msgqueue size"),
    ("nice", "Max nice priority"),
    ("nofile", "Max open files"),
    ("nproc", "Max processes"),
    ("rss", "Max resident set"),
    ("rtprio", "Max realtime priority"),
    ("rttime", "Max realtime timeout"),
    ("sigpending", "Max pending signals"),
    ("stack", "Max stack size"),
];

/// Refuses what makes no sense, in the words of docker/go-units.
pub(super) fn check(ulimits: &[Ulimit]) -> Result<()> {
    for Ulimit { name, soft, hard } in ulimits {
        if !NAMES.iter().any(|(known, _)| known == name) {
            return Err(Error::invalid(format!("invalid ulimit type: {name}")));
        }
        if *soft < -1 || *hard < -1 {
            return Err(Error::invalid(format!(
                "invalid ulimit argument: {name}={soft}:{hard}"
            )));
        }
        if raw(*soft) > raw(*hard) {
            let soft = match soft {
                -1 => format!("soft: -1 (unlimited), hard: {hard}"),
                soft => format!("{soft} > {hard}"),
            };
            return Err(Error::invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft}"
            )));
        }
    }
    Ok(())
}

/// The limits to set, cut to what the daemon may give; a warning for each cut. A name given
/// twice counts as given last. The limit of open files that the daemon raised for itself is put
/// back to what it was started with: it is no wish of the container's.
pub(super) fn rlimits(ulimits: &[Ulimit], host: &HostFacts) -> (Vec<Rlimit>, Vec<String>) {
    let by_name: BTreeMap<&str, &Ulimit> = ulimits.iter().map(|u| (u.name.as_str(), u)).collect();
    let mut warnings = Vec::new();
    let raised = host.rlimits.get("nofile") != Some(&host.open_files_at_start);
    let put_back = (raised && !by_name.contains_key("nofile")).then(|| Rlimit {
        kind: "RLIMIT_NOFILE".to_owned(),
        hard: host.open_files_at_start.1,
        soft: host.open_files_at_start.0,
    });
    let limits = by_name
        .into_values()
        .map(|u| {
            let ceiling = ceiling(&u.name, host);
            if raw(u.hard) > ceiling {
                warnings.push(format!(
                    "The ulimit {}={}:{} is above what this daemon may set. Limited to {ceiling}.",
                    u.name, u.soft, u.hard
                ));
            }
            Rlimit {
                kind: format!("RLIMIT_{}", u.name.to_ascii_uppercase()),
                hard: raw(u.hard).min(ceiling),
                soft: raw(u.soft).min(ceiling),
            }
        })
        .chain(put_back)
        .collect();
    (limits, warnings)
}

/// The highest hard limit the daemon may set.
fn ceiling(name: &str, host: &HostFacts) -> u64 {
    let kernel = if name == "nofile" {
        host.nr_open
    } else {
        u64::MAX
    };
    let own = match host.rlimits.get(name) {
        Some((_, hard)) if !host.sys_resource => *hard,
        _ => u64::MAX,
    };
    own.min(kernel)
}

/// -1 is `RLIM_INFINITY`.
fn raw(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

/// `(soft, hard)` by ulimit name from `/proc/<pid>/limits`, proc_pid_limits(5).
pub(super) fn parse_proc_limits(text: &str) -> BTreeMap<&'static str, (u64, u64)> {
    let parse = |word: &str| match word {
        "unlimited" => Some(u64::MAX),
        digits => digits.parse().ok(),
    };
    let mut limits = BTreeMap::new();
    for (name, title) in NAMES {
        let Some(rest) = text.lines().find_map(|line| line.strip_prefix(title)) else {
            continue;
        };
        let mut words = rest.split_whitespace().map(parse);
        if let (Some(Some(soft)), Some(Some(hard))) = (words.next(), words.next()) {
            limits.insert(name, (soft, hard));
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn ulimit(name: &str, soft: i64, hard: i64) -> Ulimit {
        Ulimit {
            name: name.into(),
            soft,
            hard,
        }
    }

    #[test]
    fn the_kernels_table_is_read() {
        let limits = parse_proc_limits(
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max cpu time              unlimited            unlimited            seconds   \n\
             Max open files            1024                 20000                files     \n\
             Max nice priority         0                    0                    \n",
        );
        assert_eq!(limits["cpu"], (u64::MAX, u64::MAX));
        assert_eq!(limits["nofile"], (1024, 20_000));
        assert_eq!(limits["nice"], (0, 0));
        assert!(!limits.contains_key("core"));
    }

    #[test]
    fn bad_ulimits_are_refused() {
        let refused = |u: Ulimit| check(&[u]).unwrap_err().message().to_owned();
        assert_eq!(refused(ulimit("files", 1, 1)), "invalid ulimit type: files");
        assert_eq!(
            refused(ulimit("nofile", 2, 1)),
            "ulimit soft limit must be less than or equal to hard limit: 2 > 1"
        );
        assert_eq!(
            refused(ulimit("nofile", -1, 1)),
            "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), \
             hard: 1"
        );
        assert!(refused(ulimit("nofile", -2, 1)).starts_with("invalid ulimit argument"));
        assert!(check(&[ulimit("core", 0, -1), ulimit("stack", -1, -1)]).is_ok());
    }

    #[test]
    fn what_the_daemon_raised_for_itself_is_put_back() {
        let mut host = fixture::host();
        assert!(rlimits(&[], &host).0.is_empty());
        host.rlimits.insert("nofile", (20_000, 20_000));
        let (limits, warnings) = rlimits(&[], &host);
        assert_eq!((limits[0].soft, limits[0].hard), (1024, 20_000));
        assert!(warnings.is_empty());
        let (asked, _) = rlimits(&[ulimit("nofile", 5, 6)], &host);
        assert_eq!((asked.len(), asked[0].soft), (1, 5));
    }

    #[test]
    fn wishes_above_the_daemons_own_limits_are_cut() {
        let mut host = fixture::host();
        host.rlimits.insert("nofile", (1024, 20_000));
        host.rlimits.insert("core", (0, u64::MAX));
        let (limits, warnings) =
            rlimits(&[ulimit("nofile", -1, -1), ulimit("core", -1, -1)], &host);
        assert_eq!(
            limits
                .iter()
                .map(|l| (l.kind.as_str(), l.soft, l.hard))
                .collect::<Vec<_>>(),
            [
                ("RLIMIT_CORE", u64::MAX, u64::MAX),
                ("RLIMIT_NOFILE", 20_000, 20_000)
            ]
        );
        assert_eq!(warnings.len(), 1);

        host.sys_resource = true;
        host.nr_open = 1_048_576;
        let (limits, _) = rlimits(&[ulimit("nofile", 5, -1)], &host);
        assert_eq!((limits[0].soft, limits[0].hard), (5, 1_048_576));
    }
}
