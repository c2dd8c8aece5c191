//! Which containers a list request selects (moby `daemon/list.go`).
//!
//! The request's values are checked once, into a [`Selection`]; every container is then held
//! against it. Filters that name other objects (`ancestor`, `before`, `since`) are resolved by
//! the engine, which knows them.

use std::collections::BTreeMap;

use model::{
    ContainerState, Error, Filters, NetworkId, Port, PortBinding, Protocol, PublishedPort, Result,
    Timestamp,
};

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
    /// The ports that are published or are to be.
    pub port_bindings: &'a [PortBinding],
    /// Where they are on the host while it runs.
    pub published: &'a [PublishedPort],
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
    /// The ports that `publish` and `expose` name.
    publish: Vec<PortRange>,
    expose: Vec<PortRange>,
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
            publish: ranges(&filters, "publish")?,
            expose: ranges(&filters, "expose")?,
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
            && f.any("network", |wanted| is_on(c.networks, wanted))
            && f.any("volume", |v| c.mounts.contains(&v))
            && self.selects_ports(c)
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

    /// As in Docker a port of either kind is enough. Unlike there, where only running ones have ports, what is
    /// declared counts for `expose` whether it runs or not.
    fn selects_ports(&self, c: &Candidate<'_>) -> bool {
        if self.publish.is_empty() && self.expose.is_empty() {
            return true;
        }
        let published = c.published.iter().any(|p| {
            let on_host = Port {
                number: p.host_port,
                protocol: p.port.protocol,
            };
            names_port(&self.publish, on_host)
        });
        let mut bound = c.port_bindings.iter();
        published
            || bound.any(|binding| names_port(&self.expose, binding.port))
            || c.exposed_ports.iter().any(|port| {
                let declared = port_range(port);
                declared.is_some_and(|declared| self.expose.iter().any(|r| r.overlaps(declared)))
            })
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

/// A network is named by its name or the beginning of its id.
fn is_on(networks: &[&str], wanted: &str) -> bool {
    let is_id = |text: &str| text.parse::<NetworkId>().is_ok();
    let mut networks = networks.iter();
    networks.any(|known| *known == wanted || (is_id(known) && known.starts_with(wanted)))
}

/// Ports of one protocol.
#[derive(Debug, Clone, Copy)]
struct PortRange {
    first: u16,
    last: u16,
    protocol: Protocol,
}

impl PortRange {
    fn overlaps(self, other: Self) -> bool {
        self.protocol == other.protocol && self.first <= other.last && other.first <= self.last
    }
}

fn names_port(ranges: &[PortRange], port: Port) -> bool {
    let one = PortRange {
        first: port.number,
        last: port.number,
        protocol: port.protocol,
    };
    ranges.iter().any(|range| range.overlaps(one))
}

/// `80`, `80/tcp` or `80-90/tcp`.
fn port_range(text: &str) -> Option<PortRange> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    Some(PortRange {
        first: first.parse().ok()?,
        last: last.parse().ok()?,
        protocol: all
            .into_iter()
            .find(|known| protocol.eq_ignore_ascii_case(known.as_str()))?,
    })
    .filter(|range| range.first <= range.last)
}

/// The ports that a filter names (moby `daemon/list.go` `portOp`).
fn ranges(filters: &Filters, key: &str) -> Result<Vec<PortRange>> {
    let range = |value: &str| {
        if value.contains(':') {
            let shown: String = value.chars().take(128).collect();
            return Err(Error::invalid(format!(
                "filter for '{key}' should not contain ':': {shown}"
            )));
        }
        port_range(value).ok_or_else(|| invalid(key, value))
    };
    filters.values(key).map(range).collect()
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

    fn tcp(number: u16) -> Port {
        Port {
            number,
            protocol: Protocol::Tcp,
        }
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
            networks: &[
                "net",
                "00e6343243c124c8ac99499ff38b30319e835d76ef68794481f0bbbf1ca114ed",
            ],
            mounts: &["data", "/data", "/srv/x", "/x"],
            exposed_ports: &["80/tcp".to_owned(), "90-95/udp".to_owned()],
            port_bindings: &[PortBinding {
                port: tcp(443),
                host_ip: None,
                host_ports: None,
            }],
            published: &[PublishedPort {
                port: tcp(443),
                host_ip: "0.0.0.0".parse().unwrap(),
                host_port: 8443,
            }],
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
    fn networks_are_named_by_name_or_beginning_of_their_id() {
        assert!(selected(&[("network", "net")]) && selected(&[("network", "00e6")]));
        for other in ["ne", "bridge", "0e6"] {
            assert!(!selected(&[("network", other)]), "{other}");
        }
    }

    #[test]
    fn ports_are_those_of_the_host_or_of_the_container() {
        for value in ["8443", "8443/tcp", "8000-9000/TCP"] {
            assert!(selected(&[("publish", value)]), "{value}");
        }
        for value in ["443", "8443/udp", "80"] {
            assert!(!selected(&[("publish", value)]), "{value}");
        }
        for value in ["80", "443", "92/udp", "95-100/udp"] {
            assert!(selected(&[("expose", value)]), "{value}");
        }
        for value in ["8443", "92", "96/udp"] {
            assert!(!selected(&[("expose", value)]), "{value}");
        }
        assert!(
            selected(&[("publish", "1"), ("expose", "80")]),
            "either is enough"
        );
        for bad in ["x", "9-8", "80/icmp", "80:80"] {
            let e = Selection::new(filters(&[("publish", bad)])).unwrap_err();
            let colon = format!("filter for 'publish' should not contain ':': {bad}");
            let expected = match bad.contains(':') {
                true => colon,
                false => format!("invalid filter 'publish={bad}'"),
            };
            assert_eq!(e.message(), expected);
        }
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
