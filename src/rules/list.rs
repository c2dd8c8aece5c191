//! Which containers a list request selects (moby `daemon/list.go`).
//!
//! The request's values are checked once, into a [`Selection`]; every container is then held
//! against it. Filters that name other objects (`ancestor`, `before`, `since`) are resolved by
//! the engine, which knows them.

use std::collections::BTreeMap;

use model::{ContainerState, Error, Filters, Result, Timestamp};
use regex::Regex;

/// The filter keys of `GET /containers/json`.
pub const KEYS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

const STATUSES: &[&str] = &[
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
];
const HEALTHS: &[&str] = &["starting", "healthy", "unhealthy", "none"];

/// What is known about a container that a filter may ask for.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Full id.
    pub id: &'a str,
    /// Name without the slash.
    pub name: &'a str,
    /// Labels.
    pub labels: &'a BTreeMap<String, String>,
    /// State.
    pub state: &'a ContainerState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Id of its image.
    pub image_id: &'a str,
    /// Its network's name.
    pub network: &'a str,
    /// Names of its volumes and destinations of its mounts.
    pub mounts: &'a [&'a str],
    /// `80/tcp` and the like, declared.
    pub exposed_ports: &'a [String],
}

/// A checked list request.
#[derive(Debug)]
pub struct Selection {
    filters: Filters,
    names: Vec<Regex>,
    ids: Vec<Regex>,
    exit_codes: Vec<i64>,
    /// Image ids that `ancestor` named; the engine fills it in.
    pub ancestors: Option<Vec<String>>,
    /// Only containers made before this.
    pub before: Option<Timestamp>,
    /// Only containers made after this.
    pub since: Option<Timestamp>,
}

impl Selection {
    /// Checks a request's filters.
    ///
    /// # Errors
    /// Docker's words for an unknown key, status, health or exit code.
    pub fn new(filters: Filters) -> Result<Self> {
        filters.check_keys(KEYS)?;
        check_words(&filters, "status", STATUSES)?;
        check_words(&filters, "health", HEALTHS)?;
        let exit_codes = filters
            .values("exited")
            .map(|v| v.parse().map_err(|_| invalid("exited", v)))
            .collect::<Result<_>>()?;
        let patterns = |key: &str| -> Result<Vec<Regex>> {
            filters
                .values(key)
                .map(|v| Regex::new(v).map_err(|_| invalid(key, v)))
                .collect()
        };
        let (names, ids) = (patterns("name")?, patterns("id")?);
        Ok(Self {
            names,
            ids,
            exit_codes,
            ancestors: None,
            before: None,
            since: None,
            filters,
        })
    }

    /// The filters as asked for.
    pub fn filters(&self) -> &Filters {
        &self.filters
    }

    /// Whether the request asks for a state: then those that do not run are looked at as well.
    pub fn names_a_state(&self) -> bool {
        self.filters.contains("status") || self.filters.contains("exited")
    }

    /// Whether `c` is selected.
    pub fn selects(&self, c: &Candidate<'_>) -> bool {
        let f = &self.filters;
        self.selects_identity(c)
            && f.match_labels(c.labels)
            && f.any("status", |s| s == c.state.status())
            && f.any("health", |h| h == "none")
            && f.any("isolation", |i| i == "default")
            && f.any("is-task", |t| matches!(t, "0" | "false"))
            && f.any("network", |n| n == c.network)
            && f.any("volume", |v| c.mounts.contains(&v))
            && f.any("publish", |_| false)
            && f.any("expose", |p| exposes(c.exposed_ports, p))
            && self.selects_exit(c.state)
    }

    fn selects_identity(&self, c: &Candidate<'_>) -> bool {
        let slashed = format!("/{}", c.name);
        let name = |r: &Regex| r.is_match(c.name) || r.is_match(&slashed);
        (self.names.is_empty() || self.names.iter().any(name))
            && (self.ids.is_empty() || self.ids.iter().any(|r| r.is_match(c.id)))
            && self
                .ancestors
                .as_ref()
                .is_none_or(|ids| ids.iter().any(|id| id == c.image_id))
            && self.before.is_none_or(|t| c.created_at < t)
            && self.since.is_none_or(|t| c.created_at > t)
    }

    /// `exited` selects stopped containers by code (moby compares the code of running ones too,
    /// which is always 0 and surprises everybody).
    fn selects_exit(&self, state: &ContainerState) -> bool {
        self.exit_codes.is_empty()
            || state
                .exited()
                .is_some_and(|e| self.exit_codes.contains(&e.status.code()))
    }
}

/// Whether one of `ports` (`80/tcp`) is in the asked-for `80`, `80/tcp` or `80-90/tcp`.
fn exposes(ports: &[String], wanted: &str) -> bool {
    let (range, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return false;
    };
    ports.iter().any(|port| {
        let (number, proto) = port.split_once('/').unwrap_or((port, "tcp"));
        proto == protocol
            && number
                .parse()
                .is_ok_and(|n: u16| (first..=last).contains(&n))
    })
}

fn check_words(filters: &Filters, key: &str, known: &[&str]) -> Result<()> {
    match filters.values(key).find(|v| !known.contains(v)) {
        Some(value) => Err(invalid(key, value)),
        None => Ok(()),
    }
}

fn invalid(key: &str, value: &str) -> Error {
    let shown: String = value.chars().take(128).collect();
    Error::invalid(format!("invalid filter '{key}={shown}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        let mut f = Filters::default();
        for (key, value) in pairs {
            f.insert(*key, *value);
        }
        f
    }

    fn selected(pairs: &[(&str, &str)]) -> bool {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let candidate = Candidate {
            id: "abcd",
            name: "web-1",
            labels: &labels,
            state: &ContainerState::Created { failure: None },
            created_at: Timestamp::UNIX_EPOCH,
            image_id: "sha256:1",
            network: "bridge",
            mounts: &["data", "/data"],
            exposed_ports: &["80/tcp".to_owned()],
        };
        Selection::new(filters(pairs)).unwrap().selects(&candidate)
    }

    #[test]
    fn names_and_ids_are_patterns_with_and_without_the_slash() {
        assert!(selected(&[("name", "web")]) && selected(&[("name", "^/web-1$")]));
        assert!(selected(&[("id", "^ab")]) && !selected(&[("id", "^bc")]));
        assert!(!selected(&[("name", "db")]));
        assert!(
            selected(&[("name", "db"), ("name", "web")]),
            "one value of a key is enough"
        );
    }

    #[test]
    fn all_keys_must_hold() {
        assert!(selected(&[
            ("label", "app=web"),
            ("status", "created"),
            ("volume", "/data")
        ]));
        assert!(!selected(&[("label", "app=web"), ("status", "running")]));
        assert!(selected(&[("expose", "70-90")]) && !selected(&[("expose", "80/udp")]));
        assert!(
            !selected(&[("exited", "0")]),
            "what never ran has no exit code"
        );
    }

    #[test]
    fn bad_values_are_refused_in_dockers_words() {
        for (key, value) in [
            ("status", "asleep"),
            ("health", "fine"),
            ("exited", "x"),
            ("name", "("),
        ] {
            let e = Selection::new(filters(&[(key, value)])).unwrap_err();
            assert_eq!(e.message(), format!("invalid filter '{key}={value}'"));
        }
        assert!(Selection::new(filters(&[("nosuch", "x")])).is_err());
    }
}
