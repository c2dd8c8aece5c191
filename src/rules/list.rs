//! Which containers a list request selects (moby `daemon/list.go`).
//!
//! The request's values are checked once, into a [`Selection`]; every container is then held
//! against it. Filters that name other objects (`ancestor`, `before`, `since`) are resolved by
//! the engine, which knows them.

use std::collections::BTreeMap;

use model::{ContainerState, Error, Filters, Result, Timestamp};

use crate::Patterns;

/// The filter keys of `GET /containers/json`.
const KEYS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
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
    /// The names and ids of its networks.
    pub networks: &'a [&'a str],
    /// Of its mounts, the volumes' names, the binds' sources and all destinations.
    pub mounts: &'a [&'a str],
    /// `80/tcp` and the like, declared.
    pub exposed_ports: &'a [String],
    /// `starting`, `healthy`, `unhealthy`, or `none`.
    pub health: &'a str,
}

/// A checked list request.
#[derive(Debug)]
pub struct Selection {
    filters: Filters,
    names: Patterns,
    /// Asks for the containers of swarm tasks, of which there are none.
    is_task: bool,
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
    /// Docker's words for an unknown key, status, health, exit code or boolean.
    pub fn new(filters: Filters) -> Result<Self> {
        filters.check_keys(KEYS)?;
        check_words(&filters, "status", STATUSES)?;
        check_words(&filters, "health", HEALTHS)?;
        let exit_codes = filters
            .values("exited")
            .map(|v| v.parse().map_err(|_| invalid("exited", v)))
            .collect::<Result<_>>()?;
        let is_task = filters.flag("is-task")?.unwrap_or(false);
        Ok(Self {
            names: Patterns::new(&filters, "name"),
            is_task,
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
    /// `exited` alone does not do that, in Docker either.
    pub fn names_a_state(&self) -> bool {
        self.filters.contains("status")
    }

    /// Whether `c` is selected. `isolation` is of Windows; Docker ignores it elsewhere.
    pub fn selects(&self, c: &Candidate<'_>) -> bool {
        let f = &self.filters;
        !self.is_task
            && self.selects_identity(c)
            && f.match_labels(c.labels)
            && f.any("status", |s| s == c.state.status())
            && f.any("health", |h| h == c.health)
            && f.any("network", |n| c.networks.contains(&n))
            && f.any("volume", |v| c.mounts.contains(&v))
            && f.any("publish", |_| false)
            && f.any("expose", |p| exposes(c.exposed_ports, p))
            && self.selects_exit(c.state)
    }

    fn selects_identity(&self, c: &Candidate<'_>) -> bool {
        let is_prefix = |id: &str| !id.is_empty() && c.id.starts_with(id);
        (self.names.matches(c.name) || self.names.matches(&format!("/{}", c.name)))
            && self.filters.any("id", is_prefix)
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
            // Between two runs it counts as running.
            || (!state.is_up()
                && state
                    .exited()
                    .is_some_and(|e| self.exit_codes.contains(&e.status.code())))
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
            networks: &["bridge"],
            mounts: &["data", "/data", "/srv/x", "/x"],
            exposed_ports: &["80/tcp".to_owned()],
            health: "healthy",
        };
        Selection::new(filters(pairs)).unwrap().selects(&candidate)
    }

    #[test]
    fn names_are_patterns_with_and_without_the_slash() {
        assert!(selected(&[("name", "web")]) && selected(&[("name", "^/web-1$")]));
        assert!(!selected(&[("name", "db")]) && !selected(&[("name", "(")]));
        assert!(
            selected(&[("name", "db"), ("name", "web")]),
            "one value of a key is enough"
        );
    }

    #[test]
    fn ids_are_prefixes() {
        assert!(selected(&[("id", "ab")]) && selected(&[("id", "abcd")]));
        for id in ["bc", "^ab", "a.", "abcde", ""] {
            assert!(!selected(&[("id", id)]), "{id}");
        }
    }

    #[test]
    fn only_a_status_looks_at_those_that_do_not_run() {
        let names_a_state = |key, value| {
            let selection = Selection::new(filters(&[(key, value)]));
            selection.unwrap().names_a_state()
        };
        assert!(names_a_state("status", "exited") && !names_a_state("exited", "0"));
    }

    #[test]
    fn what_linux_and_a_single_host_do_not_have() {
        assert!(selected(&[("isolation", "hyperv")]));
        assert!(selected(&[("is-task", "0")]) && !selected(&[("is-task", "true")]));
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
        for (key, value) in [("status", "asleep"), ("health", "fine"), ("exited", "x")] {
            let e = Selection::new(filters(&[(key, value)])).unwrap_err();
            assert_eq!(e.message(), format!("invalid filter '{key}={value}'"));
        }
        for key in ["nosuch", "label!"] {
            let e = Selection::new(filters(&[(key, "x")])).unwrap_err();
            assert_eq!(e.message(), format!("invalid filter '{key}'"));
        }
        assert!(Selection::new(filters(&[("is-task", "maybe")])).is_err());
    }
}
