//! What must hold whenever a daemon has started, whatever became of those before it.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::Daemon;

/// Docker's words for the states of a container.
const STATES: [&str; 7] = [
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
];

/// Checks a daemon that has just started.
///
/// # Panics
/// Saying what does not hold.
pub(crate) fn check(d: &Daemon) {
    check_with(d, false);
}

/// The same; `may_be_dead` where removals were made to fail.
///
/// # Panics
/// Saying what does not hold.
pub(super) fn check_with(d: &Daemon, may_be_dead: bool) {
    check_state(d, may_be_dead);
    Told::default().check_events(d);
}

pub(crate) fn check_state(d: &Daemon, may_be_dead: bool) {
    let listed = d.http.get("/containers/json?all=1").expect(200).json();
    let listed = listed.as_array().expect("a list").clone();
    let mut names = Vec::new();
    for row in &listed {
        let id = row["Id"].as_str().expect("an id");
        names.push(row["Names"][0].clone());
        let answer = d.http.get(&format!("/containers/{id}/json"));
        // It may have been removed since: `--rm`, or a removal that was finished.
        if answer.status != 404 {
            check_container(&answer.expect(200).json(), may_be_dead);
        }
    }
    let count = names.len();
    names.sort_by_key(ToString::to_string);
    names.dedup();
    assert_eq!(names.len(), count, "a name is there twice: {names:?}");
    for path in ["/images/json", "/volumes", "/info"] {
        d.http.get(path).expect(200);
    }
}

fn check_container(shown: &Value, may_be_dead: bool) {
    let state = &shown["State"];
    let status = state["Status"].as_str().expect("text");
    assert!(STATES.contains(&status), "{shown}");
    assert!(
        may_be_dead || status != "dead",
        "nothing is damaged here: {shown}"
    );
    let pid = state["Pid"].as_u64().expect("a number");
    let runs = matches!(status, "running" | "paused");
    assert_eq!(runs, pid != 0, "{shown}");
    // One that is shown running is, or has ended this moment.
    if runs {
        let id = shown["Id"].as_str().expect("an id");
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        // Read later: one that is about to end leaves its cgroup first, and has its exit code then.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let ends = !stat.trim_end().ends_with(" 0") || stat.contains(" Z ");
        let is_its = cgroup.is_empty() || cgroup.contains(id) || stat.is_empty() || ends;
        assert!(is_its, "pid {pid} is another's: {stat} {cgroup}");
    }
}

/// Where a container is, as far as events tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Made,
    Runs,
    Rests,
    Gone,
}

/// What events have told up to a number: each change once, in an order in which it can have happened,
/// without a gap, also over deaths of the daemon.
#[derive(Debug, Default)]
pub(super) struct Told {
    last: u64,
    lives: BTreeMap<String, Life>,
}

impl Told {
    /// Checks a daemon that has just started, and of its events those that are new.
    ///
    /// # Panics
    /// Saying what does not hold.
    pub(super) fn check(&mut self, d: &Daemon) {
        check_state(d, false);
        self.check_events(d);
    }

    /// The number of the newest that was checked.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    fn check_events(&mut self, d: &Daemon) {
        // First, for others may be at work: what is listed was told of before.
        let listed = d.http.get("/containers/json?all=1").expect(200).json();
        let path = format!("/moored/events?since={}&until=4000000000", self.last);
        let mut events = d.http.events(&path);
        let newest = events.began_at();
        assert!(
            newest >= self.last,
            "{} is told and forgotten: {newest}",
            self.last
        );
        while self.last < newest {
            self.take(&events.next_event().expect("one up to the newest"));
        }
        drop(events);
        // What they tell is what is there.
        for row in listed.as_array().expect("a list") {
            let id = row["Id"].as_str().expect("an id");
            let life = self.lives.get(id);
            assert!(
                life.is_some_and(|life| *life != Life::Gone) || is_gone(d, id),
                "{life:?} was told of {row}"
            );
        }
    }

    fn take(&mut self, event: &Value) {
        let number = event["number"].as_u64().expect("a number");
        assert_eq!(number, self.last + 1, "a gap before {event}");
        self.last = number;
        if event["Type"] != "container" {
            return;
        }
        let id = event["Actor"]["ID"].as_str().expect("an id").to_owned();
        let action = event["Action"].as_str().expect("text");
        let before = self.lives.get(&id).copied();
        let after = match (action, before) {
            ("create", None) => Life::Made,
            ("start", Some(Life::Made | Life::Rests)) => Life::Runs,
            ("die", Some(Life::Runs)) => Life::Rests,
            ("destroy", Some(Life::Made | Life::Rests)) => Life::Gone,
            ("create" | "start" | "die" | "destroy", before) => {
                panic!("{action} of {id}, which was {before:?}: {event}")
            }
            (_, Some(before)) => before,
            // A prune is of no container.
            (_, None) => return,
        };
        self.lives.insert(id, after);
    }
}

/// It was listed, and has been removed since.
fn is_gone(d: &Daemon, id: &str) -> bool {
    d.http.get(&format!("/containers/{id}/json")).status == 404
}
