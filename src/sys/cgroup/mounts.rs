//! Which hierarchies are mounted where.

use std::path::PathBuf;

use super::{Hierarchies, V1};

/// proc_pid_mountinfo(5): `id parent dev root point options [tags] - type source super`.
pub(super) fn parse_mountinfo(text: &str) -> Hierarchies {
    let mut found = Hierarchies::default();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = left.split(' ').nth(4) else {
            continue;
        };
        let mut right = right.split(' ');
        let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
        let root = PathBuf::from(point);
        match kind {
            Some("cgroup2") if found.v2.is_none() => found.v2 = Some(root),
            Some("cgroup") => {
                let words = options.split(',');
                let controllers: Vec<String> = words
                    .filter(|w| w.starts_with("name=") || V1_CONTROLLERS.contains(w))
                    .map(str::to_owned)
                    .collect();
                // A second mount of one hierarchy is the same cgroups again.
                if !found.v1.iter().any(|h| h.controllers == controllers) {
                    found.v1.push(V1 { controllers, root });
                }
            }
            _ => {}
        }
    }
    found
}

/// cgroups(7); mount options that are not among them (`rw`, `xattr`) say nothing here.
const V1_CONTROLLERS: &[&str] = &[
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "blkio",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
];
