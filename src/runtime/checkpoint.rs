//! Dumping a container's processes into files, by the runtime's `checkpoint` and CRIU under it.
//!
//! Restoring is a creation under a new conmon ([`crate::CreateTask::restore`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{ContainerId, Context, Error, Result};

use crate::conmon::launch::read_lossy;
use crate::failure;
use crate::layout::{make_dir, remove_dir};
use crate::{RuntimeName, Runtimes};

/// How long a dump may take: memory is written to the disk, all of it.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(600);
/// Lines of CRIU's log that are told.
const TOLD_LINES: usize = 4;

/// What CRIU is to cope with; a restore must be told the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
        let work = self.inner.layout.attempt(id).dir.join("criu");
        let made = remove_dir(&work).and_then(|()| make_dir(&work));
        made.context(format_args!("cannot make directory {}", work.display()))?;
        let done = self.dump(id, runtime, dump, &work).await;
        let told = done.map_err(|e| Error::new(e.kind(), with_log(e.message(), &work, "dump.log")));
        let _ = remove_dir(&work);
        told
    }

    async fn dump(
        &self,
        id: &ContainerId,
        runtime: &RuntimeName,
        dump: &Dump,
        work: &Path,
    ) -> Result<()> {
        let (images, work) = (utf8(&dump.images)?, utf8(work)?);
        let mut args: Vec<&str> = vec!["checkpoint", "--image-path", images, "--work-path", work];
        args.extend(dump.leave_running.then_some("--leave-running"));
        for word in dump.options.words() {
            args.push(word);
        }
        args.push(id.as_str());
        let done = self.call_within(runtime, &args, CHECKPOINT_TIMEOUT).await?;
        if done.status.success() {
            return Ok(());
        }
        let said = failure::plain_text(&done.message());
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
