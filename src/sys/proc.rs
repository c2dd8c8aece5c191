//! Reading /proc: start time, parent, state, exit code and cgroups of a process.
//!
//! Everything here is a snapshot: a pid read from a file may belong to someone else a moment
//! later, so what must stay true is checked again through a pidfd (`pidfd`).

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Pid, ProcessRef, Signal};
use nix::unistd::{SysconfVar, sysconf};

/// Nearly all files read here are shorter.
const FILE_BYTES_USUAL: usize = 4 << 10;
/// No file read here is longer: a dozen cgroup paths of at most 4 KiB, or the counters of a thousand
/// processors.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What `/proc/<pid>/stat` tells, proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// One letter: `R`, `S`, `D`, `T`, `Z`, ...
    pub state: u8,
    /// The parent, 0 for the first process and those adopted from another namespace.
    pub parent: u32,
    /// Field 22: clock ticks after boot.
    pub start_ticks: u64,
    /// Field 52: the wait status of a zombie; the kernel shows 0 to those who may not trace it.
    pub wait_status: i32,
}

impl Stat {
    /// Ended, but not yet collected by its parent.
    pub fn is_zombie(&self) -> bool {
        self.state == b'Z'
    }
}

/// The state of `pid` now; `None` when there is no such process.
///
/// # Errors
/// What reading /proc says, and `InvalidData` for a line that is not as documented.
pub fn stat(pid: Pid) -> io::Result<Option<Stat>> {
    match read(Path::new(&format!("/proc/{}/stat", pid.get()))) {
        Ok(text) => parse_stat(&text)
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc stat")),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// `pid` with its start time; `None` when there is no such process.
///
/// # Errors
/// As [`stat`].
pub fn process_ref(pid: Pid) -> io::Result<Option<ProcessRef>> {
    Ok(stat(pid)?.map(|s| ProcessRef {
        pid,
        start_ticks: s.start_ticks,
    }))
}

/// The arguments of `pid`, its program's name first; none of a zombie, `None` when there is no such process.
///
/// # Errors
/// As [`stat`].
pub fn arguments(pid: Pid) -> io::Result<Option<Vec<OsString>>> {
    let text = match read(Path::new(&format!("/proc/{}/cmdline", pid.get()))) {
        Err(e) if is_gone(&e) => return Ok(None),
        text => text?,
    };
    let text = text.strip_suffix(b"\0").unwrap_or(&text);
    let arguments = text.split(|b| *b == 0);
    Ok(Some(
        arguments.map(|a| OsString::from_vec(a.to_vec())).collect(),
    ))
}

/// Whether `pid` has a handler of its own for `signal` (`SigCgt` of proc_pid_status(5)); not when it is gone.
///
/// # Errors
/// As [`stat`].
pub fn catches(pid: Pid, signal: Signal) -> io::Result<bool> {
    let text = match read(Path::new(&format!("/proc/{}/status", pid.get()))) {
        Err(e) if is_gone(&e) => return Ok(false),
        text => text?,
    };
    let text = String::from_utf8_lossy(&text);
    let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Ok(mask.unwrap_or(0) >> (signal.number() - 1) & 1 == 1)
}

/// How long ago a process with this start time was started, to a clock tick.
pub fn age(start_ticks: u64) -> Duration {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    // Linux has had 100 for as long as there is `/proc`.
    let per_second = ticks.and_then(|t| u64::try_from(t).ok()).unwrap_or(100);
    let started = Duration::from_secs_f64(start_ticks as f64 / per_second as f64);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::try_from(now).unwrap_or_default();
    now.saturating_sub(started)
}

/// One line of `/proc/<pid>/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Controllers of a v1 hierarchy (`memory`, `name=systemd`); empty for v2.
    pub controllers: Vec<String>,
    /// The path below the hierarchy's root, absolute.
    pub path: PathBuf,
}

/// The cgroups of `pid`; `None` when there is no such process.
///
/// # Errors
/// What reading /proc says.
pub fn cgroups(pid: Pid) -> io::Result<Option<Vec<Membership>>> {
    match read(Path::new(&format!("/proc/{}/cgroup", pid.get()))) {
        Ok(text) => Ok(Some(parse_cgroups(&String::from_utf8_lossy(&text)))),
        Err(e) if is_gone(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The processes of the pid namespace of `pid`, not those of namespaces below it; none when it is gone.
///
/// # Errors
/// What reading /proc says.
pub fn same_pid_namespace(pid: Pid) -> io::Result<Vec<Pid>> {
    let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    let own = match namespace(pid.get()) {
        Err(e) if is_gone(&e) => return Ok(Vec::new()),
        own => own?,
    };
    let entries = std::fs::read_dir("/proc")?.flatten();
    let pids = entries.filter_map(|entry| Pid::new(entry.file_name().to_str()?.parse().ok()?));
    // One that ends meanwhile has none.
    let same = pids.filter(|pid| namespace(pid.get()).is_ok_and(|found| found == own));
    Ok(same.collect())
}

/// The id of this boot: another value means that every process of before is gone.
///
/// # Errors
/// What reading /proc says.
pub fn boot_id() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

/// A small file of /proc or of a cgroup: none says how long it is, and [`std::fs::read`] feels its way from 32
/// bytes up, a dozen calls for a file that two would read. A daemon that takes hundreds of
/// containers back reads thousands.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(FILE_BYTES_USUAL);
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// A process that ends while it is read answers ESRCH instead of ENOENT.
pub(crate) fn is_gone(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH)
}

/// The command name is in parentheses and may hold anything, parentheses included: the fields
/// start after the last one.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
        wait_status: fields.get(49).and_then(|f| f.parse().ok()).unwrap_or(0),
    })
}

fn parse_cgroups(text: &str) -> Vec<Membership> {
    let line = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some(Membership {
            controllers: controllers
                .split(',')
                .filter(|c| !c.is_empty())
                .map(str::to_owned)
                .collect(),
            path: Path::new(path).to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Makes `uid` and `gid` the owner of the pipes without a name that process `pid` has open as descriptor
/// `from` or above: who writes to one can then open it again by path, as /dev/stdout.
///
/// # Errors
/// When its descriptors cannot be read, or a pipe cannot be given away.
pub fn give_pipes(pid: Pid, from: i32, uid: u32, gid: u32) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Gid, Uid};
    for entry in std::fs::read_dir(format!("/proc/{}/fd", pid.get()))? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if number.is_none_or(|number: i32| number < from) {
            continue;
        }
        let is_pipe = match std::fs::read_link(&path) {
            Ok(target) => target.as_os_str().as_encoded_bytes().starts_with(b"pipe:["),
            // Closed since.
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
        if is_pipe {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            match rustix::fs::chownat(CWD, &path, Some(uid), Some(gid), AtFlags::empty()) {
                Err(rustix::io::Errno::NOENT) => {}
                given => given?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_young() {
        let own = process_ref(own_pid()).unwrap().unwrap();
        let once = age(own.start_ticks);
        assert!(once < Duration::from_secs(3600), "{once:?}");
        assert!(age(own.start_ticks) >= once);
        assert!(age(0) > once, "the first tick is the boot's");
    }
    use proptest::prelude::*;

    fn own_pid() -> Pid {
        Pid::new(i64::from(std::process::id())).unwrap()
    }

    #[test]
    fn this_process_has_a_start_time_and_a_parent() {
        let me = stat(own_pid()).unwrap().unwrap();
        assert!(me.start_ticks > 0);
        assert_eq!(me.parent, std::os::unix::process::parent_id());
        assert!(!me.is_zombie());
        assert!(cgroups(own_pid()).unwrap().is_some());
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    #[test]
    fn a_pid_nobody_has_is_none() {
        let nobody = Pid::new(4_194_304).unwrap();
        assert_eq!(stat(nobody).unwrap(), None);
        assert_eq!(process_ref(nobody).unwrap(), None);
        assert_eq!(cgroups(nobody).unwrap(), None);
    }

    #[test]
    fn a_command_name_cannot_forge_fields() {
        let mut fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        fields[0] = "Z".into();
        let line = format!("77 (evil) S 1 (x) {}\n", fields.join(" "));
        let stat = parse_stat(line.as_bytes()).unwrap();
        assert_eq!((stat.state, stat.parent), (b'Z', 4));
        assert_eq!((stat.start_ticks, stat.wait_status), (22, 52));
    }

    #[test]
    fn v1_and_v2_cgroups_are_told_apart() {
        let all = parse_cgroups("4:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/\nrubbish\n");
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(all[1].path, Path::new("/b:c"));
        assert!(all[2].controllers.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_stat(&text);
            let _ = parse_cgroups(&String::from_utf8_lossy(&text));
        }
    }
}
