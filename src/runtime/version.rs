//! What the programs say of themselves, and which package owns them.
//!
//! Asked when somebody wants to know (`info`, `version`, `check`), and kept until the file behind
//! the path is another one.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use sys::spawn;

use crate::{RuntimeName, Runtimes};

/// How long a program may take to tell its version, or a package manager its package.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A program of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What `--version` says: conmon's two lines joined by a comma, a runtime's lines as they are.
    pub version: String,
    /// The package of the distribution that owns it; empty when none does.
    pub package: String,
}

/// All programs of this configuration; an error says why one cannot be used.
#[derive(Debug, Clone)]
pub struct Programs {
    /// conmon.
    pub conmon: Result<Program>,
    /// The OCI runtimes by name.
    pub runtimes: Vec<(RuntimeName, Result<Program>)>,
}

/// Which file is behind a path: another one after an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    modified_s: i64,
    modified_ns: i64,
    size_bytes: u64,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let found =
            std::fs::metadata(path).context(format_args!("cannot stat {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
            modified_s: found.mtime(),
            modified_ns: found.mtime_nsec(),
            size_bytes: found.size(),
        })
    }
}

/// What was asked already, by path.
#[derive(Debug, Default)]
pub(crate) struct VersionCache {
    known: Mutex<HashMap<PathBuf, (Stamp, Known)>>,
}

#[derive(Debug, Clone)]
struct Known {
    version: String,
    /// Asking a package manager takes a tenth of a second: only when it is wanted.
    package: Option<String>,
}

impl Runtimes {
    /// conmon and the runtimes, with versions and packages. Takes some tenths of a second the
    /// first time.
    pub async fn programs(&self) -> Programs {
        let conmon = async {
            let path = self.conmon()?;
            self.program_with_package("conmon", &path).await
        };
        // Side by side: one that hangs costs the time of one.
        let asked: Vec<_> = self
            .names()
            .into_iter()
            .map(|name| {
                let (this, of) = (self.clone(), name.clone());
                let ask = async move {
                    let path = this.program(&of)?;
                    this.program_with_package(of.as_str(), &path).await
                };
                (name, tokio::spawn(ask))
            })
            .collect();
        let conmon = conmon.await;
        let mut runtimes = Vec::new();
        for (name, program) in asked {
            let program = program
                .await
                .unwrap_or_else(|e| Err(Error::system(format!("asking {name} ended early: {e}"))));
            runtimes.push((name, program));
        }
        Programs { conmon, runtimes }
    }

    /// Whether a runtime knows the mount option `rro`: runc since 1.1, crun (for files, too) since 1.12. Another
    /// might refuse the word, or ignore it and leave the mount writable.
    pub async fn knows_rro(&self, name: &RuntimeName) -> bool {
        let Ok(path) = self.program(name) else {
            return false;
        };
        let known = self.known(name.as_str(), &path).await;
        known.is_ok_and(|known| version_knows_rro(&known.version))
    }

    /// A program with its version; the package only if it is known already.
    pub(crate) async fn program_info(&self, name: &str, path: &Path) -> Result<Program> {
        let known = self.known(name, path).await?;
        Ok(Program {
            path: path.to_owned(),
            version: known.version,
            package: known.package.unwrap_or_default(),
        })
    }

    async fn program_with_package(&self, name: &str, path: &Path) -> Result<Program> {
        let known = self.known(name, path).await?;
        let package = match known.package {
            Some(package) => package,
            None => self.owner(path).await,
        };
        let kept = Known {
            version: known.version.clone(),
            package: Some(package.clone()),
        };
        self.remember(path, kept)?;
        Ok(Program {
            path: path.to_owned(),
            version: known.version,
            package,
        })
    }

    async fn known(&self, name: &str, path: &Path) -> Result<Known> {
        let stamp = Stamp::of(path)?;
        let found = self.cache().get(path).cloned();
        if let Some((of, known)) = found
            && of == stamp
        {
            return Ok(known);
        }
        let known = Known {
            version: self.ask_version(name, path).await?,
            package: None,
        };
        self.remember(path, known.clone())?;
        Ok(known)
    }

    async fn ask_version(&self, name: &str, path: &Path) -> Result<String> {
        let program = spawn::Program::new(path)
            .args(["--version"])
            .env(self.inner.environment.iter().cloned());
        let done = program.run(VERSION_TIMEOUT).await?;
        if !done.status.success() {
            return Err(Error::system(format!(
                "{} --version failed ({}): {}",
                path.display(),
                done.status,
                done.message()
            )));
        }
        let text = String::from_utf8_lossy(&done.stdout);
        let text = text.trim_end();
        Ok(if name == "conmon" {
            text.replacen('\n', ", ", 1)
        } else {
            text.to_owned()
        })
    }

    /// Asked of dpkg, then of rpm; empty when neither knows the file.
    async fn owner(&self, path: &Path) -> String {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        for path in [path, &real] {
            let dpkg = self.ask_package("/usr/bin/dpkg", "-S", path).await;
            if let Some((package, _)) = dpkg.as_deref().and_then(|t| t.split_once(": ")) {
                return package.to_owned();
            }
            if let Some(package) = self.ask_package("/usr/bin/rpm", "-qf", path).await {
                return package;
            }
            if real == path {
                break;
            }
        }
        String::new()
    }

    async fn ask_package(&self, manager: &str, option: &str, path: &Path) -> Option<String> {
        if !Path::new(manager).exists() {
            return None;
        }
        let program = spawn::Program::new(manager)
            .args([option.as_ref(), path.as_os_str()])
            .env(self.inner.environment.iter().cloned());
        let done = program.run(VERSION_TIMEOUT).await.ok()?;
        let text = String::from_utf8_lossy(&done.stdout);
        let line = text.lines().next()?.trim().to_owned();
        (done.status.success() && !line.is_empty()).then_some(line)
    }

    fn remember(&self, path: &Path, known: Known) -> Result<()> {
        let stamp = Stamp::of(path)?;
        self.cache().insert(path.to_owned(), (stamp, known));
        Ok(())
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, Known)>> {
        let known = &self.inner.versions.known;
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version_knows_rro(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let mut words = first.split_whitespace();
    let (Some(name), Some("version"), Some(number)) = (words.next(), words.next(), words.next())
    else {
        return false;
    };
    let mut parts = number.split(['.', '-', '+', '~']).map(str::parse::<u32>);
    let mut next = || parts.next().and_then(Result::ok).unwrap_or(0);
    let version = (next(), next());
    match name {
        "runc" => version >= (1, 1),
        // 1.8 refuses it for files.
        "crun" => version >= (1, 12),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use std::os::unix::fs::PermissionsExt;

    fn program(path: &Path, script: &str) {
        std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn versions_are_asked_once_and_again_after_an_upgrade() {
        let run = tempfile::tempdir().unwrap();
        let at = |name: &str| run.path().join(name);
        program(
            &at("conmon"),
            &format!(
                "echo x >> {}; printf 'conmon version 2.1.6\\ncommit: unknown\\n'",
                at("asked").display()
            ),
        );
        program(&at("good"), "printf 'good version 1\\nspec: 1.0.2\\n'");
        program(&at("bad"), "echo broken >&2; exit 3");
        let mut config = Config::new(at("run"));
        config.conmon_paths = vec![at("conmon")];
        config.runtimes = ["good", "bad"].map(|n| (n.to_owned(), vec![at(n)])).into();
        let runtimes = Runtimes::open(config).unwrap();
        for _ in 0..2 {
            let found = runtimes.programs().await;
            let conmon = found.conmon.unwrap();
            assert_eq!(conmon.version, "conmon version 2.1.6, commit: unknown");
            assert_eq!(conmon.package, "");
            let (bad, good) = (&found.runtimes[0].1, &found.runtimes[1].1);
            assert!(
                bad.as_ref()
                    .unwrap_err()
                    .message()
                    .contains("/bad --version failed (exit status: 3): broken")
            );
            assert_eq!(
                good.as_ref().unwrap().version,
                "good version 1\nspec: 1.0.2"
            );
        }
        assert_eq!(std::fs::read_to_string(at("asked")).unwrap(), "x\n");
        program(&at("conmon"), "echo conmon version 2.2.1");
        let found = runtimes.programs().await;
        assert_eq!(found.conmon.unwrap().version, "conmon version 2.2.1");
    }

    #[tokio::test]
    async fn the_owning_package_is_found() {
        let run = tempfile::tempdir().unwrap();
        let runtimes = Runtimes::open(Config::new(run.path())).unwrap();
        // A program every Debian and Fedora has, whatever package it is in.
        assert!(
            runtimes
                .owner(Path::new("/usr/bin/env"))
                .await
                .contains("coreutils")
        );
        assert_eq!(runtimes.owner(run.path()).await, "");
    }

    #[test]
    fn versions_tell_who_knows_rro() {
        for (text, knows) in [
            ("runc version 1.1.5+ds1\ncommit: x\nspec: 1.0.2", true),
            ("runc version 1.0.0~rc93", false),
            ("runc version 1.2.0-rc.1", true),
            ("crun version 1.8.1\ncommit: y", false),
            ("crun version 0.17", false),
            ("youki version 0.5", false),
            ("runsc version release-20240101", false),
            ("", false),
        ] {
            assert_eq!(version_knows_rro(text), knows, "{text:?}");
        }
    }
}
