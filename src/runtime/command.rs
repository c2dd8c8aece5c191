//! Calls of the OCI runtime's command line: start, kill, pause, resume, update, delete, state.
//!
//! Each call is bounded in number and time and gets the fixed environment; what a runtime
//! complains of is in the error. Nothing here retries, and none of it is on the way of an exit.

use std::path::{Path, PathBuf};

use model::{ContainerId, Context, Error, Kind, Pid, Result, Signal};
use serde::Deserialize;
use sys::spawn::{Finished, Program};

use crate::failure::{self, BundleFacts, Step};
use crate::{RuntimeName, RuntimeTraits, Runtimes, StartError};

/// Runtimes that take `--log FILE --log-format json` (podman's `runtime_supports_json`).
const JSON_RUNTIMES: &[&str] = &["crun", "runc", "kata", "runsc", "youki", "krun", "ocijail"];

/// What the runtime itself says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeState {
    /// `creating`, `created`, `running`, `paused`, `stopped` (OCI runtime spec, state), or a
    /// word of the runtime's own.
    pub status: String,
    /// The first process while there is one.
    pub pid: Option<Pid>,
}

impl Runtimes {
    /// Starts the command of a created container.
    ///
    /// # Errors
    /// In Docker's words, with the exit code it leaves.
    pub async fn start(
        &self,
        id: &ContainerId,
        runtime: &RuntimeName,
        bundle: &Path,
    ) -> Result<(), StartError> {
        let done = self.call(runtime, &["start", id.as_str()]).await?;
        if done.status.success() {
            return Ok(());
        }
        let said = failure::plain_text(&done.message());
        let config = std::fs::read(bundle.join("config.json")).unwrap_or_default();
        let facts = BundleFacts::parse(&config);
        Err(failure::start_error(
            Step::Start,
            runtime.as_str(),
            &said,
            &facts,
        ))
    }

    /// Sends a signal to the first process, or to `all` processes where the container has no pid
    /// namespace of its own (without one the others outlive the first).
    ///
    /// # Errors
    /// Conflict when it does not run, NotFound when the runtime does not know it.
    pub async fn kill(
        &self,
        id: &ContainerId,
        runtime: &RuntimeName,
        signal: Signal,
        all: bool,
    ) -> Result<()> {
        let number = signal.number().to_string();
        let mut args = vec!["kill"];
        args.extend(all.then_some("--all"));
        args.extend([id.as_str(), &number]);
        self.call_well(runtime, &args).await
    }

    /// Freezes all processes.
    ///
    /// # Errors
    /// Conflict when it does not run, NotFound when the runtime does not know it.
    pub async fn pause(&self, id: &ContainerId, runtime: &RuntimeName) -> Result<()> {
        self.call_well(runtime, &["pause", id.as_str()]).await
    }

    /// Thaws them.
    ///
    /// # Errors
    /// Conflict when it is not paused, NotFound when the runtime does not know it.
    pub async fn resume(&self, id: &ContainerId, runtime: &RuntimeName) -> Result<()> {
        self.call_well(runtime, &["resume", id.as_str()]).await
    }

    /// Gives a container that was created other limits: `resources` is the `linux.resources` of an OCI
    /// spec with those that change. What was changed when a later one is refused stays so.
    ///
    /// # Errors
    /// System, in the words that dockerd has from containerd; NotFound when the runtime does not know it.
    pub async fn update(
        &self,
        id: &ContainerId,
        runtime: &RuntimeName,
        resources: &[u8],
    ) -> Result<()> {
        let args = ["update", "--resources", "-", id.as_str()];
        let program = self.call_program(runtime, &args)?;
        let program = program
            .input(resources)
            .context("pass the limits to the runtime")?;
        let done = self.run_call(program).await?;
        if done.status.success() {
            return Ok(());
        }
        let said = failure::plain_text(&done.message());
        let how = match done.status.code() {
            Some(code) => format!("exit status {code}"),
            None => done.status.to_string(),
        };
        Err(Error::new(
            refusal(&said),
            format!("{runtime} did not terminate successfully: {how}: {said}"),
        ))
    }

    /// What a runtime takes for no limit of processes in [`Runtimes::update`]. crun writes the number as
    /// it is, and the kernel takes no -1 there; no host has more than this.
    pub fn no_pids_limit(&self, runtime: &RuntimeName) -> i64 {
        const PID_MAX_LIMIT: i64 = 4_194_304;
        match self.is_crun(runtime) {
            true => PID_MAX_LIMIT,
            false => -1,
        }
    }

    /// Makes the runtime forget a container; one it does not know is done already, without a
    /// call. `force` kills what still runs, at the price of runc's 100 ms poll: a container that
    /// has ended needs none.
    ///
    /// # Errors
    /// Conflict when it runs and `force` is not set.
    pub async fn delete(&self, id: &ContainerId, runtime: &RuntimeName, force: bool) -> Result<()> {
        if !self.is_known(id, runtime) {
            return Ok(());
        }
        let mut args = vec!["delete"];
        args.extend(force.then_some("--force"));
        args.push(id.as_str());
        match self.call_well(runtime, &args).await {
            Err(e) if e.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    /// What the runtime knows of a container; `None` when nothing. For reconciling after a
    /// restart, never on the way of a start or an exit.
    ///
    /// # Errors
    /// System, when the runtime's answer cannot be read.
    pub async fn state(
        &self,
        id: &ContainerId,
        runtime: &RuntimeName,
    ) -> Result<Option<RuntimeState>> {
        if !self.is_known(id, runtime) {
            return Ok(None);
        }
        let done = self.call(runtime, &["state", id.as_str()]).await?;
        if !done.status.success() {
            let e = call_error(runtime, "state", &done);
            return if e.kind() == Kind::NotFound {
                Ok(None)
            } else {
                Err(e)
            };
        }
        parse_state(&done.stdout).map(Some).ok_or_else(|| {
            let shown = String::from_utf8_lossy(&done.stdout);
            let shown: String = shown.chars().take(200).collect();
            Error::system(format!(
                "{runtime} state said something unreadable: {shown}"
            ))
        })
    }

    /// Whether the private root has anything of this container: a stat in place of a process.
    pub(crate) fn is_known(&self, id: &ContainerId, runtime: &RuntimeName) -> bool {
        let root = self.inner.layout.oci_root(runtime.as_str());
        root.join(id.as_str()).exists()
    }

    /// The runtimes that have something of this container and are configured no more: a name
    /// that was taken out of the configuration while it ran.
    pub fn unconfigured_of(&self, id: &ContainerId) -> Vec<String> {
        let roots = std::fs::read_dir(self.inner.layout.oci_roots());
        let stranger = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let has_it = entry.path().join(id.as_str()).exists();
            (has_it && self.named(&name).is_err()).then_some(name)
        };
        roots
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(stranger)
            .collect()
    }

    async fn call_well(&self, runtime: &RuntimeName, args: &[&str]) -> Result<()> {
        let done = self.call(runtime, args).await?;
        if done.status.success() {
            return Ok(());
        }
        Err(call_error(runtime, args[0], &done))
    }

    /// Runs the runtime on its private root. The log goes nowhere: given a log file, runc tells
    /// its error plainly on stderr, without one in logrus' frame.
    async fn call(&self, runtime: &RuntimeName, args: &[&str]) -> Result<Finished> {
        self.run_call(self.call_program(runtime, args)?).await
    }

    async fn run_call(&self, program: Program) -> Result<Finished> {
        let _place = self.inner.calls.acquire().await.expect("never closed");
        Ok(program.run(self.inner.config.call_timeout).await?)
    }

    /// Such a call, not yet made.
    pub(crate) fn call_program(&self, runtime: &RuntimeName, args: &[&str]) -> Result<Program> {
        let path = self.program(runtime)?;
        let mut global = vec![
            "--root".into(),
            self.inner
                .layout
                .oci_root(runtime.as_str())
                .into_os_string(),
        ];
        global.extend(self.own_args(runtime).iter().map(Into::into));
        if self.takes_json_log(runtime, &path) {
            global.extend(["--log=/dev/null", "--log-format=json"].map(Into::into));
        }
        Ok(Program::new(path)
            .args(global)
            .args(args)
            .env(self.inner.environment.iter().cloned()))
    }
}

impl Runtimes {
    /// Whether a runtime gives the input of an exec to the exec's user, whatever it is: crun does, with
    /// the host's own /dev/null.
    pub fn gives_input_away(&self, runtime: &RuntimeName) -> bool {
        self.is_crun(runtime)
    }

    /// Whether a runtime can leave a container without a cgroup of its own.
    pub fn can_do_without_cgroups(&self, runtime: &RuntimeName) -> bool {
        let told = self.traits(runtime).and_then(|told| told.without_cgroups);
        told.unwrap_or_else(|| self.is_crun(runtime))
    }

    /// Whether a runtime has the options of a JSON log.
    pub(crate) fn takes_json_log(&self, runtime: &RuntimeName, program: &Path) -> bool {
        let told = self.traits(runtime).and_then(|told| told.json_errors);
        told.unwrap_or_else(|| takes_json_log(runtime.as_str(), program))
    }

    /// What the operator wants a runtime to be told each time.
    pub fn own_args(&self, runtime: &RuntimeName) -> &[String] {
        self.traits(runtime).map_or(&[], |told| &told.args)
    }

    fn traits(&self, runtime: &RuntimeName) -> Option<&RuntimeTraits> {
        self.inner.config.traits.get(runtime.as_str())
    }

    /// By its name or its program's.
    fn is_crun(&self, runtime: &RuntimeName) -> bool {
        const CRUN: &str = "crun";
        let is_it = |path: &PathBuf| path.file_name().is_some_and(|file| file == CRUN);
        runtime.as_str() == CRUN || self.program(runtime).is_ok_and(|path| is_it(&path))
    }
}

/// Whether a runtime, by its name or its program's, has the options of a JSON log.
fn takes_json_log(name: &str, program: &Path) -> bool {
    let file = program
        .file_name()
        .and_then(|f| f.to_str())
        .unwrap_or_default();
    JSON_RUNTIMES.contains(&name) || JSON_RUNTIMES.contains(&file)
}

fn call_error(runtime: &RuntimeName, verb: &str, done: &Finished) -> Error {
    let said = failure::plain_text(&done.message());
    let told = if said.is_empty() {
        done.status.to_string()
    } else {
        said.clone()
    };
    Error::new(refusal(&said), format!("{runtime} {verb} failed: {told}"))
}

/// The kind of a refusal, from the texts of runc 1.1 and crun 1.8.
fn refusal(said: &str) -> Kind {
    let text = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
    let unknown = [
        "does not exist",
        "/status`: no such file or directory",
        "cannot open directory",
    ];
    let wrong_state = [
        "not running",
        "not paused",
        "no such process",
        "already running",
        "that is not stopped",
        "that has stopped",
        "in `created` or `stopped` state",
        "exec.fifo`: no such file",
        "already paused",
    ];
    if has(&unknown) {
        Kind::NotFound
    } else if has(&wrong_state) {
        Kind::Conflict
    } else {
        Kind::System
    }
}

fn parse_state(stdout: &[u8]) -> Option<RuntimeState> {
    #[derive(Deserialize)]
    struct State {
        status: String,
        #[serde(default)]
        pid: i64,
    }
    let state: State = serde_json::from_slice(stdout).ok()?;
    Some(RuntimeState {
        status: state.status,
        pid: Pid::new(state.pid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_both_runtimes_have_a_kind() {
        for (said, kind) in [
            ("container does not exist", Kind::NotFound),
            (
                "error opening file `/r/nope/status`: No such file or directory",
                Kind::NotFound,
            ),
            (
                "cannot open directory '/r/nope': No such file or directory",
                Kind::NotFound,
            ),
            ("container not running", Kind::Conflict),
            ("the container `a` is not running", Kind::Conflict),
            ("kill container: No such process", Kind::Conflict),
            ("container not paused", Kind::Conflict),
            ("cannot start an already running container", Kind::Conflict),
            (
                "cannot open `/r/a/exec.fifo`: No such file or directory",
                Kind::Conflict,
            ),
            (
                "cannot delete container a that is not stopped: running",
                Kind::Conflict,
            ),
            (
                "the container `a` is not in `created` or `stopped` state",
                Kind::Conflict,
            ),
            ("cannot start a container that has stopped", Kind::Conflict),
            ("something else", Kind::System),
        ] {
            assert_eq!(refusal(said), kind, "{said}");
        }
    }

    #[test]
    fn states_are_read_and_rubbish_is_not() {
        let state = parse_state(br#"{"ociVersion":"1.0.0","pid":42,"status":"running"}"#).unwrap();
        assert_eq!(
            (state.status.as_str(), state.pid),
            ("running", Pid::new(42))
        );
        let stopped = parse_state(br#"{"pid":0,"status":"stopped"}"#).unwrap();
        assert_eq!(stopped.pid, None);
        assert_eq!(parse_state(b""), None);
    }

    #[test]
    fn json_logs_are_asked_of_those_that_have_them() {
        assert!(takes_json_log("runc", Path::new("/opt/x")));
        assert!(takes_json_log("fast", Path::new("/usr/bin/crun")));
        assert!(!takes_json_log("own", Path::new("/opt/own-runtime")));
    }
}
