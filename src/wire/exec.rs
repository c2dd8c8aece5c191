//! Exec sessions on the wire.

use data_encoding::BASE64;
use engine::ExecView;
use model::{ExecSpec, ExecState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::null_as_default;

/// The body of `POST /containers/{id}/exec`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecConfig {
    /// `user[:group]`; the container's when empty.
    #[serde(deserialize_with = "null_as_default")]
    pub user: String,
    /// All capabilities that the daemon may pass on.
    #[serde(deserialize_with = "null_as_default")]
    pub privileged: bool,
    /// A terminal.
    #[serde(deserialize_with = "null_as_default")]
    pub tty: bool,
    /// The terminal's first size: rows, columns (API 1.42).
    pub console_size: Option<[u32; 2]>,
    /// Its stdin is open.
    #[serde(deserialize_with = "null_as_default")]
    pub attach_stdin: bool,
    /// Clients get its stderr.
    #[serde(deserialize_with = "null_as_default")]
    pub attach_stderr: bool,
    /// Clients get its stdout.
    #[serde(deserialize_with = "null_as_default")]
    pub attach_stdout: bool,
    /// The keys that detach a terminal: `ctrl-p,ctrl-q`.
    #[serde(deserialize_with = "null_as_default")]
    pub detach_keys: String,
    /// Variables besides the container's own: `KEY=value`.
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// Working directory; the container's when empty.
    #[serde(deserialize_with = "null_as_default")]
    pub working_dir: String,
    /// The command and its arguments.
    #[serde(deserialize_with = "null_as_default")]
    pub cmd: Vec<String>,
    /// Keep the output in a log of its own, two files of 8 MiB, for those who attach
    /// later: it outlives the daemon, and the session's end by an hour. Not Docker's.
    #[serde(deserialize_with = "null_as_default")]
    pub keep_output: bool,
}

impl ExecConfig {
    /// As the engine takes it; the terminal's size only where there is a terminal.
    pub fn into_spec(self) -> ExecSpec {
        ExecSpec {
            args: self.cmd,
            env: self.env,
            working_dir: self.working_dir,
            user: self.user,
            tty: self.tty,
            stdin: self.attach_stdin,
            stdout: self.attach_stdout,
            stderr: self.attach_stderr,
            privileged: self.privileged,
            keep_output: self.keep_output,
            detach_keys: Some(self.detach_keys).filter(|keys| !keys.is_empty()),
            console_size: self.console_size.filter(|_| self.tty).and_then(size),
            is_probe: false,
        }
    }
}

/// A size in characters; one that no terminal has is none.
pub fn size([rows, columns]: [u32; 2]) -> Option<(u16, u16)> {
    let side = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0);
    side(rows).zip(side(columns))
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExecCreateResponse {
    /// The session's id.
    #[serde(rename = "Id")]
    pub id: String,
}

/// The body of `POST /exec/{id}/start`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecStartConfig {
    /// Nobody attaches.
    #[serde(deserialize_with = "null_as_default")]
    pub detach: bool,
    /// The client takes raw output, as of a terminal; otherwise frames.
    #[serde(deserialize_with = "null_as_default")]
    pub tty: bool,
    /// The terminal's first size: rows, columns (API 1.42).
    pub console_size: Option<[u32; 2]>,
}

/// `GET /exec/{id}/json`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExecInspect {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its process lives.
    #[serde(rename = "Running")]
    pub running: bool,
    /// Its exit code; `null` until it is over.
    #[serde(rename = "ExitCode")]
    #[schema(required)]
    pub exit_code: Option<i64>,
    /// What runs.
    #[serde(rename = "ProcessConfig")]
    pub process_config: ProcessConfig,
    /// Its stdin is open to clients.
    #[serde(rename = "OpenStdin")]
    pub open_stdin: bool,
    /// Clients get its stderr.
    #[serde(rename = "OpenStderr")]
    pub open_stderr: bool,
    /// Clients get its stdout.
    #[serde(rename = "OpenStdout")]
    pub open_stdout: bool,
    /// Docker's own; always false.
    #[serde(rename = "CanRemove")]
    pub can_remove: bool,
    /// Its container.
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    /// The bytes that detach, in base64; empty for the default.
    #[serde(rename = "DetachKeys")]
    pub detach_keys: String,
    /// Its process as the host sees it; 0 before it had one.
    #[serde(rename = "Pid")]
    pub pid: u32,
    /// Its output is kept. Not Docker's, and only there when it is.
    #[serde(rename = "KeepOutput", skip_serializing_if = "std::ops::Not::not")]
    pub keep_output: bool,
    /// How many bytes of the output are kept no more, with `KeepOutput`.
    #[serde(rename = "LostBytes", skip_serializing_if = "Option::is_none")]
    pub lost_bytes: Option<u64>,
}

/// The process of a session.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProcessConfig {
    /// It has a terminal.
    pub tty: bool,
    /// The command.
    pub entrypoint: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// It has all capabilities.
    pub privileged: bool,
    /// Its user: the one asked for, or the container's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
}

impl From<ExecView> for ExecInspect {
    fn from(view: ExecView) -> Self {
        let ExecView {
            id,
            container_id,
            spec,
            state,
            lost_bytes,
        } = view;
        let (exit_code, pid) = match &state {
            ExecState::Created | ExecState::Starting => (None, None),
            ExecState::Running(running) => (None, Some(running.process.pid)),
            ExecState::Ended(ended) => (Some(ended.status.code()), ended.pid),
        };
        let detach_keys = spec.detach_keys.as_deref();
        // Checked when the session was made.
        let detach_keys = detach_keys.and_then(|keys| engine::parse_detach_keys(keys).ok());
        let mut args = spec.args.into_iter();
        Self {
            id: id.to_string(),
            // moby counts from the start's claim on, before there is a process.
            running: matches!(state, ExecState::Starting | ExecState::Running(_)),
            exit_code,
            process_config: ProcessConfig {
                tty: spec.tty,
                entrypoint: args.next().unwrap_or_default(),
                arguments: args.collect(),
                privileged: spec.privileged,
                user: spec.user,
            },
            open_stdin: spec.stdin,
            open_stderr: spec.stderr,
            open_stdout: spec.stdout,
            can_remove: false,
            container_id: container_id.to_string(),
            detach_keys: detach_keys.map_or_else(String::new, |keys| BASE64.encode(&keys)),
            pid: pid.map_or(0, model::Pid::get),
            keep_output: spec.keep_output,
            lost_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_captured_bytes_of_an_inspect() {
        let view = ExecView {
            id: model::ExecId::from_bytes([0x1a; 32]),
            container_id: model::ContainerId::from_bytes([0x35; 32]),
            spec: ExecSpec {
                args: ["sh", "-c", "exit 3"].map(str::to_owned).into(),
                stdout: true,
                stderr: true,
                ..ExecSpec::default()
            },
            state: ExecState::Created,
            lost_bytes: None,
        };
        let (id, container) = ("1a".repeat(32), "35".repeat(32));
        // dockerd 26.1.5
        assert_eq!(
            serde_json::to_string(&ExecInspect::from(view)).unwrap(),
            format!(
                r#"{{"ID":"{id}","Running":false,"ExitCode":null,"ProcessConfig":{{"tty":false,"entrypoint":"sh","arguments":["-c","exit 3"],"privileged":false}},"OpenStdin":false,"OpenStderr":true,"OpenStdout":true,"CanRemove":false,"ContainerID":"{container}","DetachKeys":"","Pid":0}}"#
            )
        );
    }

    #[test]
    fn a_size_that_no_terminal_has_is_none() {
        assert_eq!(size([24, 80]), Some((24, 80)));
        assert_eq!(size([0, 80]), None);
        assert_eq!(size([24, 70_000]), None);
    }
}
