//! Finds what is left of a daemon: processes, mounts, cgroups, files, descriptors. Everything a
//! test daemon makes names its roots or its cgroup parent, both of which carry [`PREFIX`], so
//! what is found belongs to it and to nobody else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// In the name of every root directory and cgroup parent of the tests.
pub const PREFIX: &str = "moored-test-";

/// A process found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Why it counts, and its command line.
    pub what: String,
}

/// Processes that name `mark` in their command line, environment, working directory, root or
/// cgroup, or that are in one of the namespaces of process `inside`; without `not` and ourselves.
pub fn processes(mark: &str, inside: Option<u32>, not: &[u32]) -> Vec<Process> {
    let namespace = |pid: u32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let ours = inside.map(|pid| ["mnt", "net"].map(|kind| (kind, namespace(pid, kind))));
    let mut found = Vec::new();
    for entry in list("/proc".as_ref()) {
        let Some(pid) = entry.file_name().and_then(|n| n.to_str()?.parse().ok()) else {
            continue;
        };
        if pid == std::process::id() || not.contains(&pid) {
            continue;
        }
        let text = |file: &str| {
            let bytes = fs::read(entry.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let link = |file: &str| {
            let target = fs::read_link(entry.join(file)).unwrap_or_default();
            target.to_string_lossy().into_owned()
        };
        let named = [
            ("command line", text("cmdline")),
            ("environment", text("environ")),
            ("cgroup", text("cgroup")),
            ("working directory", link("cwd")),
            ("root", link("root")),
        ]
        .into_iter()
        .find_map(|(what, text)| text.contains(mark).then_some(what));
        let shared = ours.iter().flatten().find_map(|(kind, ns)| {
            (ns.is_some() && namespace(pid, kind) == *ns).then_some("namespace")
        });
        let Some(why) = named.or(shared) else {
            continue;
        };
        let command = text("cmdline");
        match state_and_parent(pid) {
            // It ended while we looked, or waits for its parent, which is asked by `zombies_of`.
            None | Some(('Z' | 'X', _)) => {}
            Some((state, parent)) => found.push(Process {
                pid,
                what: format!("state {state}, child of {parent}, by its {why}: {command}"),
            }),
        }
    }
    found.sort();
    found
}

/// Children that `parent` did not reap.
pub fn zombies_of(parent: u32) -> Vec<u32> {
    list("/proc".as_ref())
        .iter()
        .filter_map(|entry| entry.file_name()?.to_str()?.parse().ok())
        .filter(|pid| state_and_parent(*pid) == Some(('Z', parent)))
        .collect()
}

fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

/// Whether the cgroup of a process is frozen; `None` where it is gone.
pub fn is_frozen(pid: u32) -> Option<bool> {
    let memberships = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    memberships.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file, frozen) = match controllers {
            "freezer" => ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"),
            "" => ("/sys/fs/cgroup", "cgroup.events", "frozen 1"),
            _ => return None,
        };
        let text = fs::read_to_string(format!("{root}{path}/{file}")).ok()?;
        Some(text.lines().any(|line| line == frozen))
    })
}

/// Mount points that name `mark`, as process `inside` sees them.
pub fn mounts(mark: &str, inside: Option<u32>) -> BTreeSet<String> {
    let process = inside.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    table
        .lines()
        .filter(|line| line.contains(mark))
        .map(|line| {
            let point = line.split(' ').nth(4).unwrap_or(line);
            let kind = line.split(" - ").nth(1).unwrap_or_default();
            let kind = kind.split(' ').next().unwrap_or_default();
            format!("{point} ({kind})")
        })
        .collect()
}

/// Cgroups whose path names `mark`, in every hierarchy, deepest first.
pub fn cgroups(mark: &str) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found = Vec::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        if right.starts_with("cgroup") {
            let point = left.split(' ').nth(4).unwrap_or_default();
            walk_cgroups(Path::new(point), mark, &mut found);
        }
    }
    found
}

fn walk_cgroups(dir: &Path, mark: &str, found: &mut Vec<PathBuf>) {
    for child in list(dir) {
        let real = fs::symlink_metadata(&child).is_ok_and(|m| m.is_dir());
        if !real {
            continue;
        }
        walk_cgroups(&child, mark, found);
        if child.to_string_lossy().contains(mark) {
            found.push(child);
        }
    }
}

/// Everything below `dir` but directories, relative to it, not following links.
pub fn files(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for child in list(&next) {
            if fs::symlink_metadata(&child).is_ok_and(|m| m.is_dir()) {
                todo.push(child);
            } else {
                let relative = child.strip_prefix(dir).unwrap_or(&child);
                found.insert(relative.to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// Memory of a process that is in RAM.
///
/// # Panics
/// When it is gone.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = field.and_then(|text| text.trim().strip_suffix(" kB"));
    let kib: u64 = kib
        .and_then(|kib| kib.parse().ok())
        .expect("a number of kB");
    kib << 10
}

/// What the descriptors of a process refer to, sorted; socket and pipe numbers left out.
pub fn descriptors(pid: u32) -> Vec<String> {
    let mut found: Vec<String> = list(format!("/proc/{pid}/fd").as_ref())
        .iter()
        .filter_map(|fd| fs::read_link(fd).ok())
        .map(|target| {
            let text = target.to_string_lossy().into_owned();
            match text.split_once(":[") {
                Some((kind, _)) => kind.to_owned(),
                None => text,
            }
        })
        .collect();
    found.sort();
    found
}

/// What of `now` is not in `before`, each as often as it is more.
pub fn surplus(before: &[String], now: &[String]) -> Vec<String> {
    let mut left = before.to_vec();
    now.iter()
        .filter(|item| match left.iter().position(|l| l == *item) {
            Some(n) => {
                left.swap_remove(n);
                false
            }
            None => true,
        })
        .cloned()
        .collect()
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries.flatten().map(|e| e.path()).collect()
}

/// The first panic in a daemon's log, and what follows it. Two are not the daemon's: the standard
/// library's, in a new thread that it has no memory for, where no code of ours has run yet, and that
/// which a test has asked for.
pub fn panic_in(log: &str) -> Option<String> {
    let lines: Vec<_> = log.lines().collect();
    let of_ours = |at: &usize| {
        let next = lines.get(at + 1).copied().unwrap_or_default();
        lines[*at].contains("panicked at")
            && !next.starts_with("failed to allocate an alternative stack")
            && !next.starts_with("failpoint ")
    };
    let at = (0..lines.len()).find(of_ours)?;
    let around: Vec<_> = lines[at..].iter().take(8).copied().collect();
    Some(around.join("\n"))
}
