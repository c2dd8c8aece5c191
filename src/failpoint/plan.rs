//! What is to happen where, and how often each point was passed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::Point;

/// The variable that has the plan.
const VARIABLE: &str = "MOORED_FAILPOINTS";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Error,
    Full,
    Panic,
    Delay(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    action: Action,
    /// Only this time, the first being 1; `None` is every time.
    time: Option<u32>,
}

#[derive(Debug, Default)]
struct Plan {
    rules: BTreeMap<String, Rule>,
    passed: Mutex<BTreeMap<&'static str, u32>>,
}

impl Plan {
    /// # Panics
    /// When the plan cannot be read: it is a test's own.
    fn parse(text: &str) -> Self {
        let rules = text.split(',').filter(|rule| !rule.is_empty());
        let rules = rules.map(|rule| {
            let (name, rest) = rule.split_once('=').expect("point=action");
            let known = Point::ALL.iter().any(|point| point.name() == name);
            assert!(known, "no failpoint {name}");
            let (action, time) = match rest.split_once('@') {
                Some((action, time)) => (action, Some(time.parse().expect("a number"))),
                None => (rest, None),
            };
            let action = match action.split_once(':') {
                Some(("delay", ms)) => {
                    Action::Delay(Duration::from_millis(ms.parse().expect("milliseconds")))
                }
                None if action == "kill" => Action::Kill,
                None if action == "error" => Action::Error,
                None if action == "full" => Action::Full,
                None if action == "panic" => Action::Panic,
                _ => panic!("no action {action}"),
            };
            (name.to_owned(), Rule { action, time })
        });
        Self {
            rules: rules.collect(),
            passed: Mutex::default(),
        }
    }

    /// What happens at a point this time.
    fn pass(&self, point: Point) -> Option<Action> {
        let rule = self.rules.get(point.name())?;
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let times = passed.entry(point.name()).or_default();
        *times += 1;
        (rule.time.is_none_or(|time| time == *times)).then_some(rule.action)
    }
}

fn next(point: Point) -> io::Result<Option<Duration>> {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    let plan = PLAN.get_or_init(|| Plan::parse(&std::env::var(VARIABLE).unwrap_or_default()));
    let Some(action) = plan.pass(point) else {
        return Ok(None);
    };
    tracing::warn!(point = point.name(), ?action, "failpoint");
    match action {
        Action::Delay(pause) => Ok(Some(pause)),
        Action::Error => Err(io::Error::other(format!("failpoint {}", point.name()))),
        Action::Full => Err(rustix::io::Errno::NOSPC.into()),
        Action::Panic => panic!("failpoint {}", point.name()),
        Action::Kill => {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL)?;
            unreachable!("nothing survives SIGKILL")
        }
    }
}

pub(crate) fn hit(point: Point) -> io::Result<()> {
    if let Some(pause) = next(point)? {
        std::thread::sleep(pause);
    }
    Ok(())
}

pub(crate) async fn reach(point: Point) -> io::Result<()> {
    if let Some(pause) = next(point)? {
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_happens_where_and_when() {
        let plan = Plan::parse("exit-seen=kill,start-created=error@2,rename-begun=delay:5");
        assert_eq!(plan.pass(Point::ExitSeen), Some(Action::Kill));
        assert_eq!(plan.pass(Point::StartCreated), None);
        assert_eq!(plan.pass(Point::StartCreated), Some(Action::Error));
        assert_eq!(plan.pass(Point::StartCreated), None);
        let pause = Action::Delay(Duration::from_millis(5));
        assert_eq!(plan.pass(Point::RenameBegun), Some(pause));
        assert_eq!(plan.pass(Point::ExecEnded), None);
    }

    #[test]
    fn names_are_told_apart() {
        let names: std::collections::BTreeSet<_> =
            Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
