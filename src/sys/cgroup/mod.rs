//! Cgroup v1 and v2: which there is, placing a process, counting and killing, removing when empty.
//! What is used in one is read in [`accounts`].
//!
//! Paths are relative to a hierarchy's root and mean the same place in every hierarchy. What a
//! container may use is written by the OCI runtime, never here.

mod accounts;
mod memory;
mod mounts;
mod parse;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use model::{Pid, Signal};

use crate::pidfd::PidFd;
use crate::proc::{self, Membership};

pub use accounts::Accounts;
use mounts::parse_mountinfo;

/// How long the processes of a doomed cgroup may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often they are looked at meanwhile: the kernel has no event for it in version 1.
const KILL_PAUSE: Duration = Duration::from_millis(5);

/// Processes listed for one cgroup and those below it; a fork bomb ends here.
const PROCESSES_MAX: usize = 65_536;
/// How deep below a container's cgroup its processes are looked for.
const DEPTH_MAX: usize = 16;

/// Which cgroups a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Only v1 hierarchies.
    V1,
    /// v1 controllers, and a v2 hierarchy that has none.
    Hybrid,
    /// Only v2.
    V2,
    /// None is mounted.
    None,
}

/// The mounted hierarchies.
#[derive(Debug, Clone, Default)]
pub struct Hierarchies {
    v2: Option<PathBuf>,
    v1: Vec<V1>,
}

#[derive(Debug, Clone)]
struct V1 {
    controllers: Vec<String>,
    root: PathBuf,
}

impl Hierarchies {
    /// The hierarchies mounted in this process's mount namespace.
    ///
    /// # Errors
    /// What reading /proc says.
    pub fn detect() -> io::Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        Ok(parse_mountinfo(&mounts))
    }

    /// Which kind this is.
    pub fn layout(&self) -> Layout {
        let controllers = self.v1.iter().any(|h| !is_named(h));
        match (&self.v2, controllers) {
            (Some(_), true) => Layout::Hybrid,
            (Some(_), false) => Layout::V2,
            (None, true) => Layout::V1,
            (None, false) => Layout::None,
        }
    }

    /// Moves `pid` into `path` in every hierarchy, making the cgroup where it is missing. The
    /// v1 cpuset hierarchy is left alone: it says where to run, not who accounts for it, and a
    /// new cpuset takes no process before it was configured.
    ///
    /// The kernel waits for an RCU grace period, some milliseconds: not for an async thread.
    ///
    /// # Errors
    /// The first failure, named; the remaining hierarchies were tried all the same.
    pub fn place(&self, path: &Path, pid: Pid) -> io::Result<()> {
        let mut failure = None;
        for dir in self.directories(path)? {
            let write = || std::fs::write(dir.join("cgroup.procs"), pid.get().to_string());
            // Nearly always it is there already.
            let placed = match write() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    std::fs::create_dir_all(&dir).and_then(|()| write())
                }
                placed => placed,
            };
            if let Err(e) = placed {
                let named = io::Error::new(e.kind(), format!("{}: {e}", dir.display()));
                failure.get_or_insert(named);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Removes the cgroup `path` where it is empty, and its parents as long as they are, in every
    /// hierarchy; a slice is systemd's and stays. What is in use stays; that is no error.
    ///
    /// # Errors
    /// Only for a path that is not a plain relative one.
    pub fn remove_if_empty(&self, path: &Path) -> io::Result<()> {
        let path = clean(path)?;
        for root in self.v1.iter().map(|h| &h.root).chain(&self.v2) {
            let levels = path.ancestors().take_while(|p| !is_slice(p));
            for level in levels.filter(|p| !p.as_os_str().is_empty()) {
                match std::fs::remove_dir(root.join(level)) {
                    Ok(()) => {}
                    // Not made in this hierarchy; its parents may have been.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(_) => break,
                }
            }
        }
        Ok(())
    }

    /// Kills whatever is in the cgroup `path` or below it and removes it, in every hierarchy:
    /// for a cgroup that no runtime will clear any more. Blocks, at most [`KILL_TIMEOUT`]. Its
    /// parents stay: somebody may be making a cgroup in them now.
    ///
    /// # Errors
    /// For a path that is not a plain one, and when something survives.
    pub fn kill_and_remove(&self, path: &Path) -> io::Result<()> {
        let clean = clean(path)?;
        if clean.as_os_str().is_empty() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let roots = self.v1.iter().map(|h| &h.root).chain(&self.v2);
        let dirs: Vec<PathBuf> = roots.map(|root| root.join(&clean)).collect();
        let give_up = Instant::now() + KILL_TIMEOUT;
        loop {
            let left: Vec<&PathBuf> = dirs.iter().filter(|dir| dir.exists()).collect();
            if left.is_empty() {
                return Ok(());
            }
            for dir in &left {
                kill_in(dir);
                remove_below(dir, 0);
            }
            if Instant::now() > give_up {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    format!("cgroup {} still has processes", left[0].display()),
                ));
            }
            std::thread::sleep(KILL_PAUSE);
        }
    }

    /// Whether the cgroup of `pid` is frozen: the truth about "paused", whoever did it. `None`
    /// when the process is gone or no freezer is mounted.
    ///
    /// # Errors
    /// What reading the freezer's file says.
    pub fn is_frozen(&self, pid: Pid) -> io::Result<Option<bool>> {
        let Some(memberships) = proc::cgroups(pid)? else {
            return Ok(None);
        };
        if let Some(dir) = self.v1_dir("freezer", &memberships) {
            let state = read_gone(&dir.join("freezer.state"))?;
            return Ok(state.map(|s| s.trim() != "THAWED"));
        }
        let Some(dir) = self.v2_dir(&memberships) else {
            return Ok(None);
        };
        let events = read_gone(&dir.join("cgroup.events"))?;
        Ok(events.map(|e| e.lines().any(|l| l == "frozen 1")))
    }

    /// All processes in the cgroup of `pid` and below it. In a hierarchy of v1 the one named
    /// `pids`, `memory`, `systemd` or the first there is: a runtime puts a container into all.
    ///
    /// # Errors
    /// What reading /proc says.
    pub fn processes(&self, pid: Pid) -> io::Result<Vec<Pid>> {
        let Some(memberships) = proc::cgroups(pid)? else {
            return Ok(Vec::new());
        };
        let v1 = ["pids", "memory", "devices", "freezer", "name=systemd"]
            .iter()
            .find_map(|controller| self.v1_dir(controller, &memberships));
        let Some(dir) = v1.or_else(|| self.v2_dir(&memberships)) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        collect(&dir, 0, &mut found);
        Ok(found)
    }

    /// Sends a signal to all processes in the cgroup of `pid` and below it but that one, each
    /// through a pidfd. On a host without cgroups nobody knows them.
    ///
    /// # Errors
    /// What reading /proc says; a process that is gone is none.
    pub fn signal_others(&self, pid: Pid, signal: Signal) -> io::Result<()> {
        let opened: Vec<PidFd> = self
            .processes(pid)?
            .into_iter()
            .filter(|other| *other != pid)
            .filter_map(|other| PidFd::open(other).ok().flatten())
            .collect();
        // A pid that was reused between the list and the open is not in the second list.
        let still = self.processes(pid)?;
        for process in opened {
            if still.contains(&process.process().pid) {
                let _ = process.signal(signal);
            }
        }
        Ok(())
    }

    fn directories(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let path = clean(path)?;
        let v1 = self.v1.iter().filter(|h| !has(h, "cpuset"));
        let roots = v1.map(|h| &h.root).chain(&self.v2);
        Ok(roots.map(|root| root.join(&path)).collect())
    }

    fn v1_dir(&self, controller: &str, memberships: &[Membership]) -> Option<PathBuf> {
        let hierarchy = self.v1.iter().find(|h| has(h, controller))?;
        let member = memberships
            .iter()
            .find(|m| m.controllers.iter().any(|c| c == controller))?;
        Some(hierarchy.root.join(clean(&member.path).ok()?))
    }

    fn v2_dir(&self, memberships: &[Membership]) -> Option<PathBuf> {
        let root = self.v2.as_ref()?;
        let member = memberships.iter().find(|m| m.controllers.is_empty())?;
        Some(root.join(clean(&member.path).ok()?))
    }
}

fn has(hierarchy: &V1, controller: &str) -> bool {
    hierarchy.controllers.iter().any(|c| c == controller)
}

fn is_slice(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "slice")
}

fn is_named(hierarchy: &V1) -> bool {
    hierarchy.controllers.iter().all(|c| c.starts_with("name="))
}

/// `path` without leading slashes; anything that could lead elsewhere is refused.
fn clean(path: &Path) -> io::Result<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => plain.push(name),
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("cgroup path {} leaves its root", path.display()),
                ));
            }
        }
    }
    Ok(plain)
}

fn collect(dir: &Path, depth: usize, found: &mut Vec<Pid>) {
    let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let pids = procs
        .lines()
        .filter_map(|l| l.parse().ok().and_then(Pid::new));
    let room = PROCESSES_MAX.saturating_sub(found.len());
    found.extend(pids.take(room));
    if depth >= DEPTH_MAX {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            collect(&entry.path(), depth + 1, found);
        }
    }
}

/// Kills the processes of one cgroup and those below it, each through a pidfd: a pid that has
/// left the cgroup by the time it is open is not ours any more.
fn kill_in(dir: &Path) {
    // Version 2, Linux 5.14; a frozen one dies all the same. What fails is done one by one.
    let _ = std::fs::write(dir.join("cgroup.kill"), "1");
    // Version 1: a frozen process takes no signal.
    let _ = std::fs::write(dir.join("freezer.state"), "THAWED");
    let list = || {
        let mut found = Vec::new();
        collect(dir, 0, &mut found);
        found
    };
    let opened: Vec<PidFd> = list()
        .into_iter()
        .filter_map(|pid| PidFd::open(pid).ok().flatten())
        .collect();
    let still = list();
    for process in opened {
        if still.contains(&process.process().pid) {
            let _ = process.signal(Signal::KILL);
        }
    }
}

/// Removes a cgroup and those below it, as far as they are empty.
fn remove_below(dir: &Path, depth: usize) {
    if depth < DEPTH_MAX {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                remove_below(&entry.path(), depth + 1);
            }
        }
    }
    let _ = std::fs::remove_dir(dir);
}

/// The file's text; `None` when the cgroup is gone.
fn read_gone(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
24 23 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
26 24 0:24 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
27 24 0:25 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
28 24 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
29 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
30 24 0:24 / /mnt/again rw - cgroup cgroup rw,freezer
";

    #[test]
    fn layouts_are_told_apart() {
        let hybrid = parse_mountinfo(HYBRID);
        assert_eq!(hybrid.layout(), Layout::Hybrid);
        assert_eq!(hybrid.v1.len(), 4);
        let v2 = parse_mountinfo("1 2 0:1 / /sys/fs/cgroup rw shared:4 - cgroup2 c rw,nsdelegate");
        assert_eq!(v2.layout(), Layout::V2);
        assert_eq!(parse_mountinfo("rubbish - x\n").layout(), Layout::None);
    }

    #[test]
    fn every_hierarchy_but_cpuset_is_placed_into() {
        let dirs = parse_mountinfo(HYBRID).directories(Path::new("/moored/conmon"));
        let dirs: Vec<_> = dirs
            .unwrap()
            .iter()
            .map(|d| d.display().to_string())
            .collect();
        assert_eq!(
            dirs,
            [
                "/sys/fs/cgroup/cpu,cpuacct/moored/conmon",
                "/sys/fs/cgroup/freezer/moored/conmon",
                "/sys/fs/cgroup/systemd/moored/conmon",
                "/sys/fs/cgroup/unified/moored/conmon",
            ]
        );
    }

    #[test]
    fn a_path_cannot_leave_its_root() {
        let refused = Hierarchies::default().remove_if_empty(Path::new("/a/../../b"));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_process_is_placed_found_and_its_cgroup_removed_when_empty() {
        let host = Hierarchies::detect().unwrap();
        let name = format!("moored-test-{}/conmon", std::process::id());
        let path = Path::new(&name);
        let mut child = std::process::Command::new("/bin/sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = Pid::new(i64::from(child.id())).unwrap();
        host.place(path, pid).unwrap();
        let inside = proc::cgroups(pid).unwrap().unwrap();
        let here = Path::new("/").join(path);
        let placed = inside.iter().filter(|m| m.path == here).count();
        assert_eq!(placed, host.directories(path).unwrap().len());
        assert_eq!(host.processes(pid).unwrap(), [pid]);
        assert_eq!(host.is_frozen(pid).unwrap(), Some(false));

        host.remove_if_empty(path).unwrap();
        assert!(host.directories(path).unwrap().iter().all(|d| d.exists()));
        child.kill().unwrap();
        child.wait().unwrap();
        host.remove_if_empty(path).unwrap();
        let left = host.directories(path.parent().unwrap()).unwrap();
        assert!(left.iter().all(|d| !d.exists()));
    }

    #[tokio::test]
    async fn whatever_is_in_a_doomed_cgroup_is_killed_and_nothing_else() {
        let host = Hierarchies::detect().unwrap();
        let name = format!("moored-doomed-{}/it", std::process::id());
        let path = Path::new(&name);
        let sleep = || std::process::Command::new("/bin/sleep").arg("60").spawn();
        let [mut inside, mut below, mut outside] = [(); 3].map(|()| sleep().unwrap());
        let pid = |child: &std::process::Child| Pid::new(i64::from(child.id())).unwrap();
        host.place(path, pid(&inside)).unwrap();
        host.place(&path.join("deeper"), pid(&below)).unwrap();
        // Collected beside it, as init does with orphans: a zombie keeps its cgroup.
        let reaper = std::thread::spawn(move || {
            assert!(!inside.wait().unwrap().success());
            assert!(!below.wait().unwrap().success());
        });
        host.kill_and_remove(path).unwrap();
        reaper.join().unwrap();
        for dir in host.directories(path).unwrap() {
            assert!(!dir.exists(), "{}", dir.display());
        }
        assert!(outside.try_wait().unwrap().is_none(), "it lives");
        outside.kill().unwrap();
        outside.wait().unwrap();
        assert!(host.kill_and_remove(Path::new("/")).is_err());
        assert!(host.kill_and_remove(Path::new("a/../b")).is_err());
    }
}
