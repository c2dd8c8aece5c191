//! Why a container did not start, told in the words Docker's clients know.
//!
//! The docker CLI derives its exit status from the text of the error ("executable file not
//! found" and "no such file or directory" are 127, "permission denied" and "is a directory" 126,
//! docker/cli `toStatusError`), and dockerd sets `State.ExitCode` by the same words (moby
//! `translateContainerdStartErr`). They are runc's words. crun says the same things otherwise, so
//! the cause is found first, from both runtimes' corpora, and told in runc's words with the
//! runtime's own text after it. Pure; the corpora are the tests.

use model::{Error, Kind};

/// A start that failed: what `State.ExitCode` becomes, and the error for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    /// 127: no such command; 126: it cannot be invoked; 128: anything else (moby `exitUnknown`).
    pub exit_code: u8,
    /// InvalidParameter where the container's own configuration is at fault, else System (or
    /// Conflict for an id in use).
    pub error: Error,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for StartError {}

impl From<StartError> for Error {
    fn from(e: StartError) -> Self {
        e.error
    }
}

impl From<Error> for StartError {
    /// The daemon or the host is at fault, not the command: 128.
    fn from(error: Error) -> Self {
        Self {
            exit_code: 128,
            error,
        }
    }
}

/// What was tried when the runtime failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Start,
    Exec,
}

/// What the bundle's config.json says, to tell causes apart and to name the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BundleFacts {
    /// `process.args[0]`.
    pub(crate) command: String,
    /// `root.path`.
    pub(crate) rootfs: String,
    /// `linux.cgroupsPath`.
    pub(crate) cgroups_path: Option<String>,
}

impl BundleFacts {
    /// From an OCI process object, which is all that an exec has.
    pub(crate) fn of_process(process_json: &[u8]) -> Self {
        let process: serde_json::Value = serde_json::from_slice(process_json).unwrap_or_default();
        let command = process.pointer("/args/0").and_then(|v| v.as_str());
        Self {
            command: command.unwrap_or_default().to_owned(),
            ..Self::default()
        }
    }

    /// From the text of a config.json; what is not there stays empty.
    pub(crate) fn parse(config_json: &[u8]) -> Self {
        let config: serde_json::Value = serde_json::from_slice(config_json).unwrap_or_default();
        let text = |pointer: &str| {
            let found = config.pointer(pointer).and_then(|v| v.as_str());
            found.unwrap_or_default().to_owned()
        };
        Self {
            command: text("/process/args/0"),
            rootfs: text("/root/path"),
            cgroups_path: Some(text("/linux/cgroupsPath")).filter(|path| !path.is_empty()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The id is in use.
    IdInUse,
    /// The root file system is missing or unusable: our fault, whatever the words.
    RootFs,
    /// No such command.
    CommandMissing,
    /// The command is there and cannot be executed.
    CommandRefused,
    /// Some other path the container asked for is missing.
    PathMissing,
    /// Some other thing the container asked for is not permitted, or a directory.
    PathRefused,
    /// A file where a directory was expected, or the reverse: a mount above all.
    NotADirectory,
    Other,
}

/// The error for what `runtime` said. `said` is its own text, one or several lines.
pub(crate) fn start_error(
    step: Step,
    runtime: &str,
    said: &str,
    facts: &BundleFacts,
) -> StartError {
    let said = said.trim();
    let cause = classify(said, facts);
    let mut told = match words(cause, facts) {
        Some(words) if !tells(cause, said) => {
            format!("unable to start container process: {words}: {runtime}: {said}")
        }
        _ if said.is_empty() => format!("{runtime} failed without a word"),
        _ => said.to_owned(),
    };
    if cause == Cause::NotADirectory {
        // moby's hint, word for word.
        told.push_str(
            ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the \
             specified host path exists and is the expected type",
        );
    }
    let message = match step {
        Step::Create => format!(
            "failed to create task for container: failed to create shim task: OCI runtime create \
             failed: {told}: unknown"
        ),
        Step::Start => format!("OCI runtime start failed: {told}: unknown"),
        Step::Exec => format!("OCI runtime exec failed: {told}: unknown"),
    };
    let (exit_code, kind) = match cause {
        Cause::CommandMissing | Cause::PathMissing => (127, Kind::InvalidParameter),
        Cause::CommandRefused | Cause::PathRefused | Cause::NotADirectory => {
            (126, Kind::InvalidParameter)
        }
        Cause::IdInUse => (128, Kind::Conflict),
        Cause::RootFs | Cause::Other => (128, Kind::System),
    };
    // Whatever the cause: moby's `ContainerExecStart` sets it last.
    let exit_code = if step == Step::Exec { 126 } else { exit_code };
    StartError {
        exit_code,
        error: Error::new(kind, message),
    }
}

/// In this order: a text can hold the words of several causes, and the more specific one counts.
fn classify(said: &str, facts: &BundleFacts) -> Cause {
    let text = said.to_lowercase();
    let has = |words: &str| text.contains(words);
    let missing = has("no such file or directory");
    let refused = has("permission denied") || has("is a directory");
    let rootfs = facts.rootfs.to_lowercase();
    let names_rootfs = |verb: &str| !rootfs.is_empty() && has(&format!("{verb} `{rootfs}`"));

    if has("already exists") && has("container ") {
        Cause::IdInUse
    } else if has("invalid rootfs")
        || has("error preparing rootfs")
        || names_rootfs("make")
        || names_rootfs("open")
    {
        Cause::RootFs
    } else if has("executable file not found")
        || (has("executable file `") && has("not found"))
        || (has("exec: \"") && missing)
    {
        Cause::CommandMissing
    } else if has("open executable") && facts.command.is_empty() {
        // crun opens an empty command as the root directory; runc finds no such file.
        Cause::CommandMissing
    } else if (has("exec: \"") && (refused || has("operation not permitted")))
        || (has("open executable") && !has("not a directory"))
        || has("is not a regular file")
    {
        Cause::CommandRefused
    } else if missing {
        Cause::PathMissing
    } else if refused {
        Cause::PathRefused
    } else if has("not a directory") {
        Cause::NotADirectory
    } else {
        Cause::Other
    }
}

/// The cause in runc's words; `None` where clients expect none.
fn words(cause: Cause, facts: &BundleFacts) -> Option<String> {
    let command = &facts.command;
    match cause {
        Cause::CommandMissing if command.contains('/') => Some(format!(
            "exec: \"{command}\": stat {command}: no such file or directory"
        )),
        Cause::CommandMissing => Some(format!(
            "exec: \"{command}\": executable file not found in $PATH"
        )),
        Cause::CommandRefused => Some(format!("exec: \"{command}\": permission denied")),
        Cause::PathMissing => Some("no such file or directory".to_owned()),
        Cause::PathRefused => Some("permission denied".to_owned()),
        Cause::NotADirectory => Some("not a directory".to_owned()),
        Cause::IdInUse | Cause::RootFs | Cause::Other => None,
    }
}

/// Whether the text already has the words that clients look for. They compare the case.
fn tells(cause: Cause, said: &str) -> bool {
    match cause {
        Cause::CommandMissing | Cause::PathMissing => {
            said.contains("executable file not found") || said.contains("no such file or directory")
        }
        Cause::CommandRefused | Cause::PathRefused => {
            said.contains("permission denied") || said.contains("is a directory")
        }
        Cause::NotADirectory => said.contains("not a directory"),
        Cause::IdInUse | Cause::RootFs | Cause::Other => true,
    }
}

/// The last error of a runtime's JSON log (`--log-format=json`), which holds one object a line:
/// warnings come before it, and an older attempt would too. `None` when there is none.
pub(crate) fn last_logged_error(log: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    log.lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        .find(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic"))
        .map(|line| line.msg)
        .filter(|msg| !msg.trim().is_empty())
}

/// What a runtime printed, without logrus' frame (`time="..." level=error msg="..."`), which runc
/// uses where it was given no log file.
pub(crate) fn plain_text(printed: &str) -> String {
    let framed = |line: &str| -> Option<String> {
        let (head, rest) = line.split_once(" msg=")?;
        if !head.starts_with("time=") {
            return None;
        }
        if !rest.starts_with('"') {
            return rest.split(' ').next().map(str::to_owned);
        }
        // Go's %q and JSON agree on what appears in messages: \" \\ \n \t.
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        values.next()?.ok()
    };
    let lines: Vec<String> = printed
        .lines()
        .map(|line| framed(line).unwrap_or_else(|| line.to_owned()))
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
