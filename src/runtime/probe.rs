//! Which OCI runtime is the default: the first of crun, runc that really runs a container here.
//!
//! crun is two to four times faster, but refuses some hosts (a hybrid cgroup layout above all),
//! so it is tried, not guessed: `RUNTIME run` on a bundle whose only file is a program of some
//! hundred bytes, written by hand below, that exits with a code nobody else uses. The bundle
//! asks for what containers ask for: namespaces, mounts, a cgroup with limits of memory, CPU and
//! processes, a seccomp filter. No image and no
//! program of the host is needed. It takes some 50 ms, off the daemon's start; a create that
//! comes earlier waits. The verdict is kept in a file for as long as the boot and the files
//! behind the paths are the same.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sys::features::Cgroups;
use sys::proc;
use sys::spawn::Program;

use crate::failure;
use crate::layout::{make_dir, remove_dir};
use crate::placement::directory_of;
use crate::version::Stamp;
use crate::{RuntimeName, Runtimes};

/// The candidates, fastest first.
const CANDIDATES: [&str; 2] = ["crun", "runc"];
/// The exit code of the probe's program.
const PROBE_CODE: i32 = 42;
/// How long a verdict that nothing works is believed.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// How long a runtime may take to run it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// The default runtime and why it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub runtime: RuntimeName,
    /// Why: configured, or the verdicts in a sentence.
    pub reason: String,
    /// What was found out of each candidate, in order; empty when the default is configured.
    pub verdicts: Vec<Verdict>,
}

/// Whether one runtime runs containers on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The runtime's name.
    pub runtime: String,
    /// `None` when it does; otherwise what it said.
    pub failure: Option<String>,
}

/// The cached verdicts and what they hold for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cache {
    boot_id: String,
    cgroup_manager: String,
    cgroup_parent: String,
    programs: Vec<Stamp>,
    verdicts: Vec<Verdict>,
}

impl Runtimes {
    /// The runtime of containers that name none. Probes once; callers meanwhile wait.
    ///
    /// # Errors
    /// System, when no candidate runs a container, with what each said; the next call tries
    /// again.
    pub async fn default_runtime(&self) -> Result<RuntimeName> {
        Ok(self.default_choice().await?.runtime.clone())
    }

    /// As [`Runtimes::default_runtime`], with the reason.
    ///
    /// # Errors
    /// As there.
    pub async fn default_choice(&self) -> Result<Arc<Choice>> {
        let choose = || async {
            // Those who waited for an attempt that failed do not make one each.
            if let Some(e) = self.fresh_failure() {
                return Err(e);
            }
            let chosen = self.choose().await;
            if let Err(e) = &chosen {
                *self.last_failure() = Some((Instant::now(), e.clone()));
            }
            chosen.map(Arc::new)
        };
        self.inner.default.get_or_try_init(choose).await.cloned()
    }

    fn fresh_failure(&self) -> Option<Error> {
        let failure = self.last_failure();
        let fresh = failure
            .as_ref()
            .filter(|(at, _)| at.elapsed() < FAILURE_KEPT);
        fresh.map(|(_, e)| e.clone())
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<(Instant, Error)>> {
        let failure = &self.inner.default_failure;
        failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The choice if it has been made already: for answers that must not wait.
    pub fn known_default(&self) -> Option<Arc<Choice>> {
        self.inner.default.get().cloned()
    }

    async fn choose(&self) -> Result<Choice> {
        if let Some(name) = &self.inner.config.default_runtime {
            return Ok(Choice {
                runtime: self.named(name)?,
                reason: "configured".to_owned(),
                verdicts: Vec::new(),
            });
        }
        let cached = self.read_cache();
        let verdicts = match &cached {
            Some(verdicts) => verdicts.clone(),
            None => self.probe_all().await?,
        };
        let told: Vec<String> = verdicts.iter().map(tell).collect();
        let told = told.join("; ");
        let Some(good) = verdicts.iter().find(|v| v.failure.is_none()) else {
            return Err(Error::system(format!(
                "no OCI runtime runs containers here: {told}"
            )));
        };
        let runtime = self.named(&good.runtime)?;
        if cached.is_none() {
            if let Err(e) = self.write_cache(&verdicts) {
                tracing::warn!("the default runtime is probed again at the next start: {e}");
            }
            tracing::info!(%runtime, reason = told, "default runtime");
        }
        Ok(Choice {
            runtime,
            reason: told,
            verdicts,
        })
    }

    /// Tries the candidates until one works; those after it are not tried.
    async fn probe_all(&self) -> Result<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        for name in self.candidates() {
            let failure = match self.program(&name) {
                Ok(path) => self.probe(&name, &path).await.err(),
                Err(e) => Some(e),
            };
            let works = failure.is_none();
            verdicts.push(Verdict {
                runtime: name.as_str().to_owned(),
                failure: failure.map(|e| e.message().to_owned()),
            });
            if works {
                break;
            }
        }
        Ok(verdicts)
    }

    fn candidates(&self) -> Vec<RuntimeName> {
        let named = |name| self.named(name).ok();
        CANDIDATES.into_iter().filter_map(named).collect()
    }

    /// Runs the probe's program in a container of `runtime`.
    async fn probe(&self, runtime: &RuntimeName, path: &Path) -> Result<()> {
        let bundle = self.inner.layout.probe_dir().join(runtime.as_str());
        let id = format!("probe-{}-{runtime}", std::process::id());
        // What a daemon that did not live to see its probe's end has left.
        self.clear_cgroup(&bundle).await;
        let made = self.make_bundle(&bundle, &id);
        let ran = match made {
            Ok(()) => self.run_probe(runtime, path, &bundle, &id).await,
            Err(e) => Err(e),
        };
        remove_dir(&bundle).context("cannot remove the probe's bundle")?;
        let cgroup = self.inner.placement.of_container(&id, None);
        if let Ok(dir) = cgroup.and_then(|path| directory_of(&path)) {
            let _ = self.inner.placement.hierarchies.remove_if_empty(&dir);
        }
        ran
    }

    async fn run_probe(
        &self,
        runtime: &RuntimeName,
        path: &Path,
        bundle: &Path,
        id: &str,
    ) -> Result<()> {
        let mut global = vec!["--root".into(), bundle.join("state").into_os_string()];
        global.extend(self.own_args(runtime).iter().map(Into::into));
        if self.takes_json_log(runtime, path) {
            global.extend(["--log=/dev/null", "--log-format=json"].map(Into::into));
        }
        if self.inner.placement.by_systemd() {
            global.push("--systemd-cgroup".into());
        }
        let call = |args: Vec<std::ffi::OsString>| {
            Program::new(path)
                .args(global.clone())
                .args(args)
                .env(self.inner.environment.iter().cloned())
                .dir(bundle)
        };
        let run = call(vec![
            "run".into(),
            "--bundle".into(),
            bundle.into(),
            id.into(),
        ]);
        let done = run.run(PROBE_TIMEOUT).await;
        let works = done
            .as_ref()
            .is_ok_and(|d| d.status.code() == Some(PROBE_CODE));
        if !works {
            let delete = call(vec!["delete".into(), "--force".into(), id.into()]);
            let _ = delete.run(PROBE_TIMEOUT).await;
        }
        let done = done?;
        if works {
            return Ok(());
        }
        let said = failure::plain_text(&done.message());
        Err(Error::system(if said.is_empty() {
            format!("ended with {} and without a word", done.status)
        } else {
            said
        }))
    }

    fn make_bundle(&self, bundle: &Path, id: &str) -> Result<()> {
        let program = probe_program().ok_or_else(|| {
            Error::system("there is no probe for this machine: configure a default runtime")
        })?;
        let rootfs = bundle.join("rootfs");
        let path = rootfs.join("probe");
        let limits = limits(&sys::features::cgroups());
        let cgroups_path = self.inner.placement.of_container(id, None)?;
        let config = probe_config(&cgroups_path, &limits).to_string();
        let make = || -> std::io::Result<()> {
            remove_dir(bundle)?;
            make_dir(&bundle.join("state"))?;
            for dir in ["proc", "dev", "sys"] {
                make_dir(&rootfs.join(dir))?;
            }
            std::fs::write(&path, program)?;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
            std::fs::write(bundle.join("config.json"), config)
        };
        make().context(format_args!(
            "cannot make the probe's bundle {}",
            bundle.display()
        ))
    }

    fn read_cache(&self) -> Option<Vec<Verdict>> {
        let text = std::fs::read(self.inner.layout.probe_cache()).ok()?;
        let cache: Cache = serde_json::from_slice(&text).ok()?;
        let now = self.cache_of(cache.verdicts).ok()?;
        let same = now.boot_id == cache.boot_id
            && now.cgroup_manager == cache.cgroup_manager
            && now.cgroup_parent == cache.cgroup_parent
            && now.programs == cache.programs;
        // A failure is not kept: what was missing may have been installed.
        let works = now.verdicts.iter().any(|v| v.failure.is_none());
        (same && works).then_some(now.verdicts)
    }

    fn write_cache(&self, verdicts: &[Verdict]) -> Result<()> {
        let path = self.inner.layout.probe_cache();
        let cache = self.cache_of(verdicts.to_vec())?;
        let text = serde_json::to_vec(&cache).map_err(|e| Error::system(e.to_string()))?;
        let temporary = PathBuf::from(format!("{}.tmp", path.display()));
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .context(format_args!("cannot write {}", path.display()))
    }

    fn cache_of(&self, verdicts: Vec<Verdict>) -> Result<Cache> {
        let found = self
            .candidates()
            .into_iter()
            .filter_map(|n| self.program(&n).ok());
        Ok(Cache {
            boot_id: proc::boot_id().context("cannot read the boot id")?,
            cgroup_manager: self.cgroup_manager().as_str().to_owned(),
            cgroup_parent: self.inner.config.cgroup_parent.clone(),
            programs: found.map(|path| Stamp::of(&path)).collect::<Result<_>>()?,
            verdicts,
        })
    }
}

fn tell(verdict: &Verdict) -> String {
    match &verdict.failure {
        None => format!("{} runs containers here", verdict.runtime),
        Some(why) => format!("{} does not: {why}", verdict.runtime),
    }
}

/// Limits of each kind that can be had here: real containers are not given the others either.
fn limits(host: &Cgroups) -> serde_json::Value {
    let mut limits = json!({"devices": [{"allow": false, "access": "rwm"}]});
    if host.pids_limit {
        limits["pids"] = json!({"limit": 64});
    }
    if host.memory_limit {
        limits["memory"] = json!({"limit": 64 << 20});
    }
    if host.cpu_shares {
        limits["cpu"] = json!({"shares": 512});
    }
    limits
}

/// The least container that still meets what real ones meet.
fn probe_config(cgroups_path: &str, resources: &serde_json::Value) -> serde_json::Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": ["/probe"], "cwd": "/", "env": ["PATH=/"],
            "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "hostname": "probe",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "cgroupsPath": cgroups_path,
            "resources": resources,
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}],
            },
            "namespaces": [
                {"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "network"},
            ],
        },
    })
}

/// A static ELF program that makes one system call, `exit(42)`; `None` on machines we have no
/// code for.
fn probe_program() -> Option<Vec<u8>> {
    let (machine, code): (u16, &[u8]) = match std::env::consts::ARCH {
        // mov edi, 42; mov eax, 60; syscall
        "x86_64" => (62, &[0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]),
        // mov x0, #42; mov x8, #93; svc #0
        "aarch64" => (
            183,
            &[
                0x40, 0x05, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0, 0, 0xd4,
            ],
        ),
        // li a0, 42; li a7, 93; ecall
        "riscv64" => (
            243,
            &[
                0x13, 0x05, 0xa0, 0x02, 0x93, 0x08, 0xd0, 0x05, 0x73, 0, 0, 0,
            ],
        ),
        _ => return None,
    };
    Some(elf(machine, code))
}

/// elf(5): a 64-bit little-endian executable of one loaded segment, the headers and the code.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |values: &[u16]| {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let (kind, headers) = (half(&[2, machine]), half(&[64, 56, 1, 64, 0, 0]));
    // Type EXEC, machine, version 1, entry, program header offset, no sections, no flags.
    file.extend(kind);
    file.extend(1_u32.to_le_bytes());
    for value in [BASE + HEADERS, 64, 0] {
        file.extend(value.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    file.extend(headers);
    // PT_LOAD, readable and executable: offset, address twice, size twice, alignment.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for value in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_probes_program_runs_and_exits_with_its_code() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("probe");
        std::fs::write(&path, probe_program().expect("code for this machine")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let done = Program::new(&path).run(PROBE_TIMEOUT).await.unwrap();
        assert_eq!(done.status.code(), Some(PROBE_CODE));
    }

    #[test]
    fn the_probe_has_a_cgroup_with_the_limits_of_the_host() {
        let config = probe_config("/moored/x", &limits(&Cgroups::default()));
        assert_eq!(config["linux"]["cgroupsPath"], "/moored/x");
        // What a host cannot limit is not asked for.
        let resources = &config["linux"]["resources"];
        assert_eq!(resources.as_object().unwrap().len(), 1, "{resources}");
    }
}
