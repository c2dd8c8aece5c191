//! Whether containers can be checkpointed here, before anybody tries.
//!
//! Three have to agree: the runtime must have the command, CRIU must be where conmon's environment finds
//! it, and `criu check` must find in the kernel what it needs. crun also loads CRIU's library. CRIU may
//! still refuse a container for what that has open; it says so when it is tried.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Error, Result};
use sys::spawn;

use crate::version::Stamp;
use crate::{RuntimeName, Runtimes};
use sys::locate::locate;

/// How long CRIU may take to look at the kernel. It tries each feature, in an emulated machine slowly.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// What crun's version says when it was built with CRIU.
const CRUN_HAS_IT: &str = "+CRIU";
/// What crun loads then.
const LIBRARY: &str = "libcriu.so.2";

/// What was found out, while the programs are the same.
#[derive(Debug, Default)]
pub(crate) struct SupportCache {
    known: Mutex<HashMap<RuntimeName, Known>>,
}

/// The programs that were asked, and what came out.
type Known = (Vec<Stamp>, Result<()>);

impl Runtimes {
    /// Whether `runtime` can checkpoint containers here. Takes some tenths of a second the first time.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub async fn checkpoint_support(&self, runtime: &RuntimeName) -> Result<()> {
        let program = self.program(runtime)?;
        let criu = locate("criu", &[], self.program_path())?;
        let stamps = vec![Stamp::of(&program)?, Stamp::of(&criu)?];
        let known = self.supports().get(runtime).cloned();
        if let Some((of, known)) = known
            && of == stamps
        {
            return known;
        }
        let found = self.ask_support(runtime, &program, &criu).await;
        let fresh = (stamps, found.clone());
        self.supports().insert(runtime.clone(), fresh);
        found
    }

    async fn ask_support(&self, runtime: &RuntimeName, program: &Path, criu: &Path) -> Result<()> {
        self.ask(program, &["checkpoint", "--help"]).await?;
        let version = self.program_info(runtime.as_str(), program).await?.version;
        if version.starts_with("crun ") {
            if !version.contains(CRUN_HAS_IT) {
                return Err(Error::system(format!(
                    "{} was built without CRIU: use runc, or a crun that has it",
                    program.display()
                )));
            }
            if !library_dirs().iter().any(|dir| dir.join(LIBRARY).exists()) {
                return Err(Error::system(format!(
                    "{LIBRARY} was not found, which {} loads: install the package libcriu2 (Fedora: \
                     criu-libs)",
                    program.display()
                )));
            }
        }
        self.ask(criu, &["check"]).await
    }

    async fn ask(&self, program: &Path, args: &[&str]) -> Result<()> {
        let asked = spawn::Program::new(program)
            .args(args)
            .env(self.inner.environment.iter().cloned());
        let done = asked.run(CHECK_TIMEOUT).await?;
        if done.status.success() {
            return Ok(());
        }
        Err(Error::system(format!(
            "`{} {}` failed: {}",
            program.display(),
            args.join(" "),
            last_line(&done.message())
        )))
    }

    /// The `PATH` of what the runtimes start.
    fn program_path(&self) -> Option<&std::ffi::OsStr> {
        let mut variables = self.inner.environment.iter();
        let path = variables.find(|(name, _)| name == "PATH")?;
        Some(&path.1)
    }

    fn supports(&self) -> MutexGuard<'_, HashMap<RuntimeName, Known>> {
        let known = self.inner.supports.known.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one that says why: CRIU warns first, of what it can do without.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default().trim()
}

/// Where the dynamic linker looks by itself, Debian's directory of the machine among them.
fn library_dirs() -> Vec<PathBuf> {
    let usual = ["/usr/local/lib", "/usr/lib64", "/usr/lib", "/lib"];
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    usual
        .iter()
        .flat_map(|dir| [PathBuf::from(dir), Path::new(dir).join(&machine)])
        .collect()
}
