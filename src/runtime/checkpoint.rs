//! Dumping a container's processes into files, by the runtime's `checkpoint` and CRIU under it.
//!
//! Restoring is a creation under a new conmon ([`crate::CreateTask::restore`]).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{ContainerId, Context, Error, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::conmon::launch::read_lossy;
use crate::failure;
use crate::{RuntimeName, Runtimes};

/// How long a dump may take: memory is written to the disk, all of it.
pub(crate) const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(600);
/// What the runtime said, beside CRIU's own log.
const RUNTIME_LOG: &str = "runtime.log";
/// Lines of CRIU's log that are told.
const TOLD_LINES: usize = 4;

/// What CRIU is to cope with; a restore must be told the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CriuOptions {
    /// Established TCP connections.
    pub tcp_established: bool,
    /// Locks of files.
    pub file_locks: bool,
}

impl CriuOptions {
    /// In the words of both runtimes.
    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        let words = [
            (self.tcp_established, "--tcp-established"),
            (self.file_locks, "--file-locks"),
        ];
        words
            .into_iter()
            .filter_map(|(set, word)| set.then_some(word))
    }
}

/// A dump to be made.
#[derive(Debug, Clone)]
pub struct Dump {
    /// Where CRIU's images are to be; a directory that is there.
    pub images: PathBuf,
    /// The container goes on; otherwise its processes end with SIGKILL.
    pub leave_running: bool,
    /// What it is to cope with.
    pub options: CriuOptions,
}

/// A container's processes, out of files.
#[derive(Debug, Clone)]
pub struct Restore {
    /// CRIU's images.
    pub images: PathBuf,
    /// As in the dump.
    pub options: CriuOptions,
}

impl Runtimes {
    /// Dumps a running container.
    ///
    /// # Errors
    /// System, with what the runtime and CRIU said. The container runs on then.
    pub async fn checkpoint(
        &self,
        id: &ContainerId,
        runtime: &RuntimeName,
        dump: &Dump,
    ) -> Result<()> {
        let done = self.dump(id, runtime, dump).await;
        done.map_err(|e| Error::new(e.kind(), with_log(e.message(), &dump.images, "dump.log")))
    }

    async fn dump(&self, id: &ContainerId, runtime: &RuntimeName, dump: &Dump) -> Result<()> {
        let images = utf8(&dump.images)?;
        // CRIU's log stays with its images: it tells whether a dump came to its end.
        let mut args: Vec<&str> = vec!["checkpoint", "--image-path", images, "--work-path", images];
        args.extend(dump.leave_running.then_some("--leave-running"));
        for word in dump.options.words() {
            args.push(word);
        }
        args.push(id.as_str());
        // They take minutes where there is much memory: nobody waits for a place.
        let Ok(_place) = self.inner.dumps.try_acquire() else {
            let limit = model::limits::DUMPS_MAX;
            let told = format!("{limit} containers are being dumped: try again later");
            return Err(Error::new(Kind::Unavailable, told));
        };
        // Half-way through a dump the container cannot be had back, so it outlives this daemon; what
        // CRIU's helpers complain of must have a place then, too.
        let log = dump.images.join(RUNTIME_LOG);
        let opened = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = opened.context(format_args!("cannot make {}", log.display()))?;
        let dumping = self.call_program(runtime, &args)?.outlives();
        let dumping = dumping.fd(1, out.into()).fd(2, err.into());
        let done = dumping.run(CHECKPOINT_TIMEOUT).await?;
        if done.status.success() {
            return Ok(());
        }
        let said = failure::plain_text(&read_lossy(&log).unwrap_or_default());
        Err(Error::system(if said.is_empty() {
            format!("{runtime} checkpoint: {}", done.status)
        } else {
            said
        }))
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| Error::system(format!("{} is not UTF-8", path.display())))
}

/// What the runtime said, and the errors of CRIU's own log: that alone says why.
pub(crate) fn with_log(said: &str, dir: &Path, file: &str) -> String {
    let log = read_lossy(&dir.join(file)).unwrap_or_default();
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("Error ("))
        .map(|line| line.split_once(") ").map_or(line, |(_, rest)| rest))
        .collect();
    let first = &errors[..errors.len().min(TOLD_LINES)];
    if first.is_empty() {
        return said.to_owned();
    }
    format!("{said}: {}", first.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crius_errors_are_told_with_the_runtimes() {
        let dir = tempfile::tempdir().unwrap();
        let log = "(00.01) fine\n(00.02) Error (criu/util.c:641): execvp(\"iptables\") failed\n\
                   (00.03) Unfreezing\n(00.04) Error (criu/cr-dump.c:2111): Dumping FAILED.\n";
        std::fs::write(dir.path().join("dump.log"), log).unwrap();
        assert_eq!(
            with_log("criu failed", dir.path(), "dump.log"),
            "criu failed: Error (criu/util.c:641): execvp(\"iptables\") failed; \
             Error (criu/cr-dump.c:2111): Dumping FAILED."
        );
        assert_eq!(with_log("criu failed", dir.path(), "none"), "criu failed");
    }

    #[test]
    fn options_are_words_of_both_runtimes() {
        let all = CriuOptions {
            tcp_established: true,
            file_locks: true,
        };
        let words: Vec<_> = all.words().collect();
        assert_eq!(words, ["--tcp-established", "--file-locks"]);
        assert_eq!(CriuOptions::default().words().count(), 0);
    }
}
