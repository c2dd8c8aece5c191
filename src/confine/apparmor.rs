//! AppArmor: the profile of containers that name none, in the kernel when it is needed.
//!
//! The kernel loses profiles when somebody unloads them, as upgrades of the distribution do, and a
//! profile of that name may be another version's. So ours is loaded anew by each daemon, before its
//! first container starts, and again when it is found to be gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Context, Error, Result};
use sys::spawn::Program;
use tokio::sync::Mutex;

/// The profile of containers that name none.
const DEFAULT_PROFILE: &str = "moored-default";
const TEXT: &str = include_str!("moored-default.profile");
/// Docker's, which does where ours cannot be loaded.
const DOCKERS_PROFILE: &str = "docker-default";

/// No profile at all.
const UNCONFINED: &str = "unconfined";

const PARSER: &str = "apparmor_parser";
/// What the parser finds programs by; it needs none.
const PARSER_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// A parser that hangs must not hold up containers for ever.
const PARSER_PATIENCE: Duration = Duration::from_secs(20);

/// AppArmor on this host.
#[derive(Debug, Clone)]
pub struct AppArmor(Option<Arc<Kernel>>);

/// Where it is on.
#[derive(Debug)]
struct Kernel {
    /// The kernel's list of profiles.
    profiles: PathBuf,
    parser: Option<PathBuf>,
    /// Where the profile's text is put for the parser.
    text: PathBuf,
    /// This daemon has loaded it, or why not.
    loaded: Mutex<Option<Result<()>>>,
}

impl AppArmor {
    /// Where the kernel has it switched `on`; the parser reads the profile from `dir`.
    pub fn new(on: bool, dir: &Path) -> Self {
        let parser = sys::host::find_program(PARSER);
        let usual = || ["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).join(PARSER));
        Self(on.then(|| {
            Arc::new(Kernel {
                profiles: "/sys/kernel/security/apparmor/profiles".into(),
                parser: parser.or_else(|| usual().into_iter().find(|path| path.is_file())),
                text: dir.join(DEFAULT_PROFILE),
                loaded: Mutex::default(),
            })
        }))
    }

    /// Whether containers can be confined by a profile that they name.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The profile a container is to have: what it `asked` for, and Docker's choice where that is
    /// nothing. `None` where AppArmor is off.
    pub fn choose(&self, asked: Option<&str>, privileged: bool) -> Option<String> {
        let usual = if privileged {
            UNCONFINED
        } else {
            DEFAULT_PROFILE
        };
        self.is_on().then(|| asked.unwrap_or(usual).to_owned())
    }

    /// The profile to put a container under, in the kernel if it is ours; else it is the container's
    /// own business to name one that is.
    pub async fn ready(&self, asked: Option<&str>, privileged: bool) -> Option<String> {
        match self.choose(asked, privileged)? {
            ours if ours == DEFAULT_PROFILE => self.default_profile().await.map(str::to_owned),
            other => Some(other),
        }
    }

    /// The profile of a container that names none, in the kernel. `None` where AppArmor is off, and
    /// where no profile could be loaded, which was logged.
    async fn default_profile(&self) -> Option<&'static str> {
        let kernel = self.0.as_ref()?;
        let mut loaded = kernel.loaded.lock().await;
        let is_fine = matches!(&*loaded, Some(Ok(()))) && kernel.has(DEFAULT_PROFILE);
        if !is_fine {
            let again = kernel.load().await;
            if let (Err(e), true) = (&again, !matches!(&*loaded, Some(Err(_)))) {
                tracing::warn!(error = %e, "containers have no AppArmor profile of ours");
            }
            *loaded = Some(again);
        }
        let usable = [DEFAULT_PROFILE, DOCKERS_PROFILE];
        usable.into_iter().find(|name| kernel.has(name))
    }

    /// Why containers run without a profile of ours, where one was to be loaded and could not.
    pub async fn trouble(&self) -> Option<Error> {
        let kernel = self.0.as_ref()?;
        let loaded = kernel.loaded.lock().await;
        loaded.as_ref()?.as_ref().err().cloned()
    }
}

impl Kernel {
    fn has(&self, name: &str) -> bool {
        let loaded = std::fs::read_to_string(&self.profiles).unwrap_or_default();
        let line = format!("{name} (enforce)");
        loaded.lines().any(|l| l == line)
    }

    async fn load(&self) -> Result<()> {
        let parser = self.parser.as_ref().ok_or_else(|| {
            Error::system(
                "the kernel has AppArmor and apparmor_parser is not there to load a profile: \
                 install the package apparmor",
            )
        })?;
        let shown = self.text.display().to_string();
        sys::durable::write_whole(&self.text, TEXT.as_bytes(), 0o600)
            .context(format_args!("write {shown}"))?;
        // The cache would keep what an older version of ours has said.
        let parse = Program::new(parser)
            .args(["--skip-cache", "--replace"])
            .args([&self.text])
            .env([("PATH", PARSER_PATH), ("LC_ALL", "C")]);
        let done = parse.run(PARSER_PATIENCE).await?;
        if !done.status.success() {
            return Err(Error::system(format!(
                "{} cannot load {shown}: {}",
                parser.display(),
                done.message()
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A kernel whose list is a file, and a parser that is a script.
    fn host(dir: &Path, parser: &str) -> AppArmor {
        let (list, program) = (dir.join("profiles"), dir.join("parser"));
        fs::write(&list, "docker-default (complain)\n").unwrap();
        let script = format!(
            "#!/bin/sh\ncd {}\necho $* >> calls\n{parser}\n",
            dir.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        AppArmor(Some(Arc::new(Kernel {
            profiles: list,
            parser: Some(program),
            text: dir.join(DEFAULT_PROFILE),
            loaded: Mutex::default(),
        })))
    }

    fn calls(dir: &Path) -> usize {
        let calls = fs::read_to_string(dir.join("calls")).unwrap_or_default();
        calls.lines().count()
    }

    #[tokio::test]
    async fn each_daemon_loads_it_once_and_again_when_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let parser = "grep -q '^profile moored-default ' \"$3\" && \
                      echo 'moored-default (enforce)' >> profiles";
        let apparmor = host(dir.path(), parser);
        for _ in 0..3 {
            assert_eq!(apparmor.default_profile().await, Some("moored-default"));
        }
        assert_eq!(calls(dir.path()), 1);
        assert_eq!(apparmor.trouble().await, None);
        assert_eq!(calls(dir.path()), 1);
        for (asked, privileged, profile) in [
            (None, false, "moored-default"),
            (None, true, "unconfined"),
            (Some("unconfined"), false, "unconfined"),
            (Some("own"), true, "own"),
        ] {
            let ready = apparmor.ready(asked, privileged).await;
            assert_eq!(ready.as_deref(), Some(profile));
        }
        fs::write(dir.path().join("profiles"), "").unwrap();
        assert_eq!(apparmor.default_profile().await, Some("moored-default"));
        assert_eq!(calls(dir.path()), 2);
    }

    #[tokio::test]
    async fn where_it_cannot_be_loaded_dockers_does_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let apparmor = host(dir.path(), "echo no feature >&2; exit 1");
        assert_eq!(apparmor.default_profile().await, None);
        let trouble = apparmor.trouble().await.unwrap();
        assert!(trouble.message().ends_with(": no feature"), "{trouble}");
        fs::write(dir.path().join("profiles"), "docker-default (enforce)\n").unwrap();
        assert_eq!(apparmor.default_profile().await, Some("docker-default"));
        let off = AppArmor::new(false, dir.path());
        assert!(!off.is_on());
        assert_eq!(off.default_profile().await, None);
        assert_eq!(off.trouble().await, None);
    }
}
