//! AppArmor: the profile of containers that name none, in the kernel when it is needed.
//!
//! The kernel loses profiles when somebody unloads them, as upgrades of the distribution do, and a
//! profile of that name may be another version's. So ours is loaded anew by each daemon, before its
//! first container starts, and again when it is found to be gone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{Context, Error, Result};
use sys::spawn::Program;
use sys::task::blocking;

/// The profile of containers that name none.
const DEFAULT_PROFILE: &str = "moored-default";
const TEXT: &str = include_str!("moored-default.profile");
/// No profile at all.
const UNCONFINED: &str = "unconfined";

/// What the parser finds programs by; it needs none.
const PARSER_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// A parser that hangs must not hold up containers for ever.
const PARSER_PATIENCE: Duration = Duration::from_secs(20);
/// How long a failure is told again before it is tried again.
const FAILURE_KEPT: Duration = Duration::from_secs(30);

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
    /// Held by who loads.
    loading: tokio::sync::Mutex<()>,
    loaded: Mutex<Loaded>,
}

/// What this daemon did about the profile.
#[derive(Debug, Clone, Default)]
enum Loaded {
    /// Nothing yet.
    #[default]
    Untried,
    Done,
    Failed(Error, Instant),
}

impl AppArmor {
    /// Where the kernel has it switched `on`; the parser reads the profile from `dir`.
    pub fn new(on: bool, dir: &Path) -> Self {
        Self(on.then(|| {
            Arc::new(Kernel {
                profiles: "/sys/kernel/security/apparmor/profiles".into(),
                parser: sys::host::apparmor_parser(),
                text: dir.join(DEFAULT_PROFILE),
                loading: tokio::sync::Mutex::default(),
                loaded: Mutex::default(),
            })
        }))
    }

    /// Whether containers can be confined by a profile that they name.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The profile a container is to have: what it `asked` for, and Docker's choice where that is
    /// nothing. `None` where AppArmor is off, or cannot be used for want of a parser (as in containerd).
    pub fn choose(&self, asked: Option<&str>, privileged: bool) -> Option<String> {
        let kernel = self.0.as_ref()?;
        match (asked, privileged) {
            (Some(asked), _) => Some(asked.to_owned()),
            (None, true) => Some(UNCONFINED.to_owned()),
            (None, false) => kernel.parser.as_ref().map(|_| DEFAULT_PROFILE.to_owned()),
        }
    }

    /// The profile to put a container under, in the kernel if it is ours; else it is the container's
    /// own business to name one that is.
    ///
    /// # Errors
    /// System, when ours cannot be loaded: a container is not started without what it is to have.
    pub async fn ready(&self, asked: Option<&str>, privileged: bool) -> Result<Option<String>> {
        let chosen = self.choose(asked, privileged);
        if let (Some(kernel), Some(DEFAULT_PROFILE)) = (&self.0, chosen.as_deref()) {
            Kernel::ensure(kernel).await?;
        }
        Ok(chosen)
    }

    /// What is wrong where containers should have a profile of ours.
    pub fn trouble(&self) -> Option<Error> {
        let kernel = self.0.as_ref()?;
        if kernel.parser.is_none() {
            return Some(Error::system(
                "the kernel has AppArmor and apparmor_parser is not there to load a profile: \
                 install the package apparmor",
            ));
        }
        match &*kernel.loaded() {
            Loaded::Failed(e, _) => Some(e.clone()),
            Loaded::Untried | Loaded::Done => None,
        }
    }
}

impl Kernel {
    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees that our profile is in force.
    async fn ensure(kernel: &Arc<Self>) -> Result<()> {
        if let Some(known) = Self::known(kernel).await? {
            return known;
        }
        let _loading = kernel.loading.lock().await;
        // Somebody may have done it meanwhile.
        if let Some(known) = Self::known(kernel).await? {
            return known;
        }
        let done = Self::load(kernel).await;
        if let Err(e) = &done {
            tracing::warn!(error = %e, "the AppArmor profile of containers is not loaded");
        }
        *kernel.loaded() = match &done {
            Ok(()) => Loaded::Done,
            Err(e) => Loaded::Failed(e.clone(), Instant::now()),
        };
        done
    }

    /// How it stands, if that is known.
    async fn known(kernel: &Arc<Self>) -> Result<Option<Result<()>>> {
        let loaded = kernel.loaded().clone();
        Ok(match loaded {
            // The kernel may have lost it.
            Loaded::Done => Self::has(kernel).await?.then_some(Ok(())),
            Loaded::Failed(e, at) if at.elapsed() < FAILURE_KEPT => Some(Err(e)),
            Loaded::Failed(..) | Loaded::Untried => None,
        })
    }

    /// Whether it is in force now.
    async fn has(kernel: &Arc<Self>) -> Result<bool> {
        let kernel = kernel.clone();
        blocking(move || {
            let shown = kernel.profiles.display();
            let listed =
                std::fs::read_to_string(&kernel.profiles).context(format_args!("read {shown}"))?;
            let line = format!("{DEFAULT_PROFILE} (enforce)");
            Ok(listed.lines().any(|l| l == line))
        })
        .await
    }

    async fn load(kernel: &Arc<Self>) -> Result<()> {
        let parser = kernel.parser.as_ref().expect("it was chosen for that");
        let (text, shown) = (kernel.text.clone(), kernel.text.display().to_string());
        let written = shown.clone();
        blocking(move || std::fs::write(&text, TEXT).context(format_args!("write {written}")))
            .await?;
        // The cache would keep what an older version of ours has said.
        let parse = Program::new(parser)
            .args(["--skip-cache", "--replace"])
            .args([&kernel.text])
            .env([("PATH", PARSER_PATH), ("LC_ALL", "C")]);
        let done = parse.run(PARSER_PATIENCE).await?;
        if !done.status.success() {
            return Err(Error::system(format!(
                "{} cannot load {shown}: {}",
                parser.display(),
                done.message()
            )));
        }
        if !Self::has(kernel).await? {
            return Err(Error::system(format!(
                "the AppArmor profile {DEFAULT_PROFILE} was loaded and is not in force: is AppArmor in \
                 complain mode?"
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
            loading: tokio::sync::Mutex::default(),
            loaded: Mutex::default(),
        })))
    }

    fn calls(dir: &Path) -> usize {
        let calls = fs::read_to_string(dir.join("calls")).unwrap_or_default();
        calls.lines().count()
    }

    const LOADS: &str = "grep -q '^profile moored-default ' \"$3\" && \
                         echo 'moored-default (enforce)' >> profiles";

    #[tokio::test]
    async fn each_daemon_loads_it_once_and_again_when_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let apparmor = host(dir.path(), LOADS);
        let ready = async |asked, privileged| apparmor.ready(asked, privileged).await.unwrap();
        // Beside each other, too.
        let (a, b) = tokio::join!(ready(None, false), ready(None, false));
        assert_eq!(a.as_deref(), Some("moored-default"));
        assert_eq!((a, calls(dir.path())), (b, 1));
        assert_eq!(apparmor.trouble(), None);
        for (asked, privileged, profile) in [
            (None, false, "moored-default"),
            (None, true, "unconfined"),
            (Some("unconfined"), false, "unconfined"),
            (Some("own"), true, "own"),
        ] {
            assert_eq!(ready(asked, privileged).await.as_deref(), Some(profile));
        }
        assert_eq!(calls(dir.path()), 1);
        fs::write(dir.path().join("profiles"), "").unwrap();
        assert_eq!(ready(None, false).await.as_deref(), Some("moored-default"));
        assert_eq!(calls(dir.path()), 2);
    }

    #[tokio::test]
    async fn what_is_not_in_force_starts_nothing_and_is_not_tried_each_time() {
        for (parser, said) in [
            ("echo no feature >&2; exit 1", ": no feature"),
            (
                "echo 'moored-default (complain)' >> profiles",
                "complain mode?",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let apparmor = host(dir.path(), parser);
            for _ in 0..3 {
                let e = apparmor.ready(None, false).await.unwrap_err();
                assert!(e.message().ends_with(said), "{e}");
                assert_eq!(apparmor.trouble(), Some(e));
            }
            assert_eq!(calls(dir.path()), 1);
            let own = apparmor.ready(Some("own"), false).await.unwrap();
            assert_eq!(own.as_deref(), Some("own"));
        }
    }

    #[tokio::test]
    async fn where_it_is_off_or_has_no_parser_nothing_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let off = AppArmor::new(false, dir.path());
        assert!(!off.is_on());
        assert_eq!(off.ready(Some("own"), false).await.unwrap(), None);
        assert_eq!(off.trouble(), None);
        let mut none = host(dir.path(), "");
        let kernel = Arc::get_mut(none.0.as_mut().unwrap()).unwrap();
        kernel.parser = None;
        assert_eq!(none.ready(None, false).await.unwrap(), None);
        assert!(
            none.trouble()
                .unwrap()
                .message()
                .contains("package apparmor")
        );
    }
}
