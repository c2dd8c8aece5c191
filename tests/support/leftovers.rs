//! What a daemon's containers leave, against what there was before the first of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::network::Standing;
use crate::{Daemon, census, network};

/// What there was before the first container.
#[derive(Debug, Default)]
pub(crate) struct Baseline {
    descriptors: Vec<String>,
    run_files: BTreeSet<String>,
    mounts: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    /// Of the firewall; looked at once.
    pub(crate) rules: BTreeSet<String>,
}

impl Daemon {
    /// Waits until no container has left anything: see [`Daemon::leftovers`].
    ///
    /// # Panics
    /// When something stays.
    pub fn expect_nothing_left(&self) {
        let start = Instant::now();
        loop {
            let left = self.leftovers();
            if left.is_empty() {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "left behind:\n{}",
                left.join("\n")
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What there is beyond a daemon without containers: processes, zombies, mounts, cgroups,
    /// files of the run root, directories of containers, descriptors of the daemon, interfaces and rules
    /// of the firewall in its network namespace.
    pub fn leftovers(&self) -> Vec<String> {
        let mark = self.mark();
        let mut left = Vec::new();
        for process in census::processes(&mark, Some(self.namespace.pid()), &self.not_left()) {
            left.push(format!("process {}: {}", process.pid, process.what));
        }
        for pid in self.child.iter().flat_map(|c| census::zombies_of(c.id())) {
            left.push(format!("zombie {pid}, a child of the daemon"));
        }
        for cgroup in census::cgroups(&mark) {
            let is_parent = cgroup.file_name() == Some(mark.as_ref());
            if !is_parent {
                left.push(format!("cgroup {}", cgroup.display()));
            }
        }
        let now = self.look();
        let standing = Standing::of(self);
        let more = now.mounts.difference(&self.start.mounts);
        left.extend(more.map(|m| format!("mount {m}")));
        let more = now.run_files.difference(&self.start.run_files);
        let more = more.filter(|file| !standing.is_note(file));
        left.extend(more.map(|f| format!("file run/{f}")));
        let mut descriptors = self.start.descriptors.clone();
        if !standing.bridge.is_empty() && !self.start.interfaces.contains(&standing.bridge) {
            // By which it says that the bridge is its own, when it is made later.
            descriptors.push("socket".to_owned());
        }
        let more = census::surplus(&descriptors, &now.descriptors);
        left.extend(
            more.iter()
                .map(|d| format!("descriptor of the daemon: {d}")),
        );
        for dir in ["data", "run"].map(|d| self.root().join(d)) {
            left.extend(directories_of_containers(&self.inside(dir)));
        }
        let more = now.interfaces.difference(&self.start.interfaces);
        let more = more.filter(|name| !standing.interfaces.contains(*name));
        left.extend(more.map(|name| format!("interface {name}")));
        if left.is_empty() {
            // Asked last: a program has to be run for it.
            let rules = network::firewall(&self.namespace);
            let more = rules.difference(&self.start.rules);
            let more = more.filter(|rule| !standing.is_rule(rule));
            left.extend(more.map(|rule| format!("rule of the firewall: {rule}")));
        }
        left
    }

    pub(crate) fn look(&self) -> Baseline {
        Baseline {
            descriptors: self
                .child
                .as_ref()
                .map(|c| census::descriptors(c.id()))
                .unwrap_or_default(),
            run_files: files_of_containers(&self.inside(self.root().join("run"))),
            mounts: census::mounts(&self.mark(), Some(self.namespace.pid())),
            interfaces: network::interfaces(self.namespace.pid()),
            rules: BTreeSet::new(),
        }
    }
}

/// The files of the run root but the daemon's own.
fn files_of_containers(root: &Path) -> BTreeSet<String> {
    let mut files = census::files(root);
    files.retain(|name| name != "networks/lock");
    files
}

/// Entries named by a container's id in a directory `containers`, or in any of the run root.
fn directories_of_containers(root: &Path) -> Vec<String> {
    let is_id = |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let mut found = Vec::new();
    for parent in [root.join("containers"), root.to_owned()] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if is_id(&entry.file_name().to_string_lossy()) {
                found.push(format!("directory {}", entry.path().display()));
            }
        }
    }
    found
}
