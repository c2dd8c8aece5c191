//! What is used in a container's cgroups: where its files are, and reading them.
//!
//! They vanish at any moment, with the container. Nothing is kept open: a file is opened and read in
//! five microseconds, a container in seventy, and descriptors would be a dozen each.

use std::io;
use std::path::{Path, PathBuf};

use model::ProcessRef;
use model::stats::{Block, CgroupVersion, Cpu, Memory, Pids, Usage};
use nix::unistd::{SysconfVar, sysconf};

use super::{Hierarchies, Layout, parse};
use crate::proc::{self, Membership, is_gone};

/// The cgroups in which one run of a container is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// A directory in each hierarchy that is mounted.
    V1(Box<Directories>),
    /// The one directory, where there is one.
    V2(Option<PathBuf>),
}

/// Those of version 1, by controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directories {
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    blkio: Option<PathBuf>,
}

/// Why a file gives no number.
enum Trouble {
    /// Its cgroup was removed.
    Gone,
    /// The host's own: no descriptors, no memory.
    Host(io::Error),
}

type Read<T> = Result<T, Trouble>;

impl Hierarchies {
    /// Where the container `id` is counted whose first process is `init`; `None` when that is gone.
    ///
    /// # Errors
    /// What reading /proc says.
    pub fn accounts(&self, init: &ProcessRef, id: &str) -> io::Result<Option<Accounts>> {
        let memberships = proc::cgroups(init.pid)?;
        let found = memberships.and_then(|all| self.accounts_at(&of_container(all, id)));
        // Another process may have got its pid meanwhile.
        let is_same = found.is_none() || proc::process_ref(init.pid)?.as_ref() == Some(init);
        Ok(found.filter(|_| is_same))
    }

    /// One that has ended and is not collected yet is in the root of each hierarchy of version 1: then
    /// there is nothing left here.
    fn accounts_at(&self, own: &[Membership]) -> Option<Accounts> {
        let dir = |controller: &str| self.v1_dir(controller, own);
        match self.layout() {
            Layout::V1 | Layout::Hybrid => {
                let dirs = Directories {
                    cpu: dir("cpu"),
                    cpuacct: dir("cpuacct"),
                    memory: dir("memory"),
                    pids: dir("pids"),
                    blkio: dir("blkio"),
                };
                (dirs != Directories::default()).then(|| Accounts::V1(Box::new(dirs)))
            }
            Layout::V2 => self.v2_dir(own).map(|dir| Accounts::V2(Some(dir))),
            Layout::None => Some(Accounts::V2(None)),
        }
    }
}

/// The cgroups of the container `id`, from those of its first process.
///
/// It may have moved that deeper, as systemd does, and may be a container's container: its own cgroup is
/// the topmost with its id in the name. Where none has it, somebody has moved the process, and it is
/// counted where it is now; but never in the root, where everything is.
fn of_container(all: Vec<Membership>, id: &str) -> Vec<Membership> {
    let (mut own, elsewhere): (Vec<_>, Vec<_>) = (all.into_iter())
        .map(|mut membership| {
            let top = top_named(&membership.path, id).map(Path::to_owned);
            let is_own = top.is_some();
            membership.path = top.unwrap_or(membership.path);
            (is_own, membership)
        })
        .partition(|(is_own, _)| *is_own);
    if own.is_empty() {
        own = elsewhere;
        own.retain(|(_, membership)| membership.path.parent().is_some());
    }
    own.into_iter().map(|(_, membership)| membership).collect()
}

fn top_named<'a>(path: &'a Path, id: &str) -> Option<&'a Path> {
    let named = |part: &&Path| {
        let name = part.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.contains(id))
    };
    path.ancestors().filter(named).last()
}

impl Accounts {
    /// Everything that is counted there, now; `None` when the cgroups are gone. What the host does not
    /// count is missing, what cannot be read as it is documented is zero.
    ///
    /// # Errors
    /// The host's troubles: no descriptors are left, or no memory.
    pub fn read(&self) -> io::Result<Option<Usage>> {
        let read = match self {
            Self::V1(dirs) => dirs.read(),
            Self::V2(dir) => dir.as_deref().map_or_else(|| Ok(nothing()), read_v2),
        };
        match read {
            Ok(usage) => Ok(Some(usage)),
            Err(Trouble::Gone) => Ok(None),
            Err(Trouble::Host(e)) => Err(e),
        }
    }
}

impl Directories {
    fn read(&self) -> Read<Usage> {
        Ok(Usage {
            version: CgroupVersion::V1,
            cpu: self.cpu()?,
            memory: self.memory.as_deref().map_or(Ok(None), memory_v1)?,
            pids: self.pids.as_deref().map_or(Ok(None), pids)?,
            block: self.blkio.as_deref().map_or(Ok(None), block_v1)?,
        })
    }

    /// Two controllers, most often of one hierarchy.
    fn cpu(&self) -> Read<Option<Cpu>> {
        let mut cpu = Cpu::default();
        if let Some(dir) = &self.cpuacct {
            cpu.total_ns = number(dir, "cpuacct.usage")?.unwrap_or(0);
            let split = text(dir, "cpuacct.stat")?.unwrap_or_default();
            cpu.user_ns = ticks_to_ns(parse::value(&split, "user"));
            cpu.kernel_ns = ticks_to_ns(parse::value(&split, "system"));
            let by_processor = text(dir, "cpuacct.usage_percpu")?.unwrap_or_default();
            cpu.by_processor_ns = parse::numbers(&by_processor);
        }
        if let Some(dir) = &self.cpu {
            let throttling = text(dir, "cpu.stat")?.unwrap_or_default();
            cpu.periods = parse::value(&throttling, "nr_periods");
            cpu.throttled_periods = parse::value(&throttling, "nr_throttled");
            cpu.throttled_ns = parse::value(&throttling, "throttled_time");
        }
        Ok((self.cpu.is_some() || self.cpuacct.is_some()).then_some(cpu))
    }
}

fn memory_v1(dir: &Path) -> Read<Option<Memory>> {
    let Some(details) = text(dir, "memory.stat")? else {
        return Ok(None);
    };
    Ok(Some(Memory {
        usage_bytes: number(dir, "memory.usage_in_bytes")?.unwrap_or(0),
        peak_bytes: number(dir, "memory.max_usage_in_bytes")?,
        limit_bytes: number(dir, "memory.limit_in_bytes")?.unwrap_or(u64::MAX),
        failures: number(dir, "memory.failcnt")?.unwrap_or(0),
        details: parse::chosen(&details, parse::MEMORY_V1),
    }))
}

/// In both versions the same.
fn pids(dir: &Path) -> Read<Option<Pids>> {
    let Some(current) = number(dir, "pids.current")? else {
        return Ok(None);
    };
    let limit = number(dir, "pids.max")?;
    Ok(Some(Pids {
        current,
        limit: limit.filter(|limit| *limit != u64::MAX),
    }))
}

/// What the kernel counts where it may throttle, and else what its scheduler BFQ counts.
fn block_v1(dir: &Path) -> Read<Option<Block>> {
    let mut found = None;
    for by in ["throttle", "bfq"] {
        let name = |what: &str| format!("blkio.{by}.{what}_recursive");
        let Some(bytes) = text(dir, &name("io_service_bytes"))? else {
            continue;
        };
        let bytes = parse::block_v1(&bytes);
        let is_used = !bytes.is_empty();
        let operations = match is_used {
            true => text(dir, &name("io_serviced"))?.unwrap_or_default(),
            false => String::new(),
        };
        found = Some(Block {
            bytes,
            operations: parse::block_v1(&operations),
        });
        if is_used {
            break;
        }
    }
    Ok(found)
}

fn read_v2(dir: &Path) -> Read<Usage> {
    Ok(Usage {
        version: CgroupVersion::V2,
        cpu: text(dir, "cpu.stat")?.map(|text| parse::cpu_v2(&text)),
        memory: memory_v2(dir)?,
        pids: pids(dir)?,
        block: text(dir, "io.stat")?.map(|text| Block {
            bytes: parse::block_v2(&text),
            operations: Vec::new(),
        }),
    })
}

fn memory_v2(dir: &Path) -> Read<Option<Memory>> {
    let Some(usage_bytes) = number(dir, "memory.current")? else {
        return Ok(None);
    };
    let events = text(dir, "memory.events")?.unwrap_or_default();
    let details = text(dir, "memory.stat")?.unwrap_or_default();
    Ok(Some(Memory {
        usage_bytes,
        peak_bytes: None,
        limit_bytes: number(dir, "memory.max")?.unwrap_or(u64::MAX),
        failures: parse::value(&events, "oom"),
        details: parse::chosen(&details, parse::MEMORY_V2),
    }))
}

fn nothing() -> Usage {
    Usage {
        version: CgroupVersion::V2,
        cpu: None,
        memory: None,
        pids: None,
        block: None,
    }
}

fn number(dir: &Path, name: &str) -> Read<Option<u64>> {
    Ok(text(dir, name)?.map(|text| parse::number(text.trim()).unwrap_or(0)))
}

/// A file's text; `None` when this cgroup has no such file.
fn text(dir: &Path, name: &str) -> Read<Option<String>> {
    let e = match proc::read(&dir.join(name)) {
        Ok(bytes) => return Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) => e,
    };
    match e.raw_os_error() {
        // Opened, and then the cgroup was removed.
        Some(libc::ENODEV) => Err(Trouble::Gone),
        _ if is_gone(&e) => match dir.exists() {
            true => Ok(None),
            false => Err(Trouble::Gone),
        },
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Err(Trouble::Host(e)),
        _ => Ok(None),
    }
}

fn ticks_to_ns(ticks: u64) -> u64 {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    // Linux has had 100 for as long as there is `/proc`.
    let per_second = per_second
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or(100);
    ticks.saturating_mul(1_000_000_000 / per_second.max(1))
}

#[cfg(test)]
mod tests;
