//! conmon's command lines, for creating a container and for an exec. Pure: values in, arguments
//! out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Features, Journal, Stdin};
use crate::Restore;
use crate::config::LogLevel;
use crate::layout::AttemptFiles;

/// Everything the command line depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Create<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) log_path: Option<&'a Path>,
    pub(crate) journal: Option<&'a Journal>,
    pub(crate) tty: bool,
    pub(crate) stdin: Stdin,
    pub(crate) runtime: &'a Path,
    pub(crate) runtime_root: &'a Path,
    /// What the runtime is told besides.
    pub(crate) runtime_args: &'a [String],
    /// The runtime takes `--log` and `--log-format=json`.
    pub(crate) json_log: bool,
    pub(crate) files: &'a AttemptFiles,
    pub(crate) exit_dir: &'a Path,
    pub(crate) persist_dir: &'a Path,
    pub(crate) socket_dir: &'a Path,
    pub(crate) log_level: LogLevel,
    /// The runtime is to ask systemd for cgroups.
    pub(crate) by_systemd: bool,
    /// The runtime is to make none.
    pub(crate) no_cgroups: bool,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) restore: Option<&'a Restore>,
    /// How many descriptors the process gets besides its streams.
    pub(crate) descriptors: usize,
    pub(crate) features: Features,
}

impl Create<'_> {
    /// The arguments, without the program.
    ///
    /// Three choices that could have gone otherwise: no `--log-size-max`, with which conmon throws
    /// the log away at the limit; `--syslog` always, for it is the only voice
    /// conmon has after it detached; `--no-sync-log`, because an fsync of the log before every
    /// exit file would make each exit wait for the disk, and Docker promises none.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut args = Args(Vec::with_capacity(48));
        args.flag("--api-version");
        args.systemd(self.by_systemd);
        args.pair("-c", self.id);
        args.pair("-u", self.id);
        args.pair("-r", self.runtime);
        args.pair("-b", self.bundle);
        args.pair("-p", &self.files.pidfile);
        args.pair("--conmon-pidfile", &self.files.conmon_pidfile);
        match self.journal {
            Some(journal) => args.journal(journal),
            None => args.log(self.log_path),
        }
        args.pair("--exit-dir", self.exit_dir);
        args.pair("--persist-dir", self.persist_dir);
        if self.features.full_attach {
            args.flag("--full-attach");
        } else {
            args.pair("--socket-dir-path", self.socket_dir);
        }
        if self.features.no_sync_log {
            args.flag("--no-sync-log");
        }
        args.pair("--log-level", self.log_level.as_str());
        args.flag("--syslog");
        args.streams(self.tty, self.stdin);
        if self.no_pivot {
            args.flag("--no-pivot");
        }
        if self.no_new_keyring {
            args.flag("--no-new-keyring");
        }
        if let Some(restore) = self.restore {
            args.pair("--restore", &restore.images);
            for word in restore.options.words() {
                args.pair("--runtime-opt", word);
            }
        }
        args.descriptors(self.descriptors);
        if self.no_cgroups {
            args.runtime_arg("--cgroup-manager=", "disabled");
        }
        for arg in self.runtime_args {
            args.runtime_arg(arg, "");
        }
        args.runtime(
            self.runtime_root,
            self.json_log.then_some(&self.files.oci_log),
        );
        args.0
    }
}

/// Everything an exec's command line depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exec<'a> {
    pub(crate) container: &'a str,
    pub(crate) id: &'a str,
    /// What is to run, an OCI process object.
    pub(crate) process: &'a Path,
    pub(crate) log_path: Option<&'a Path>,
    pub(crate) tty: bool,
    pub(crate) stdin: Stdin,
    pub(crate) runtime: &'a Path,
    pub(crate) runtime_root: &'a Path,
    /// What the runtime is told besides.
    pub(crate) runtime_args: &'a [String],
    /// The runtime takes `--log` and `--log-format=json`.
    pub(crate) json_log: bool,
    /// Its directory is conmon's bundle.
    pub(crate) files: &'a AttemptFiles,
    pub(crate) exit_dir: &'a Path,
    pub(crate) socket_dir: &'a Path,
    pub(crate) log_level: LogLevel,
    /// The runtime is to ask systemd for cgroups.
    pub(crate) by_systemd: bool,
    /// How many descriptors the process gets besides its streams.
    pub(crate) descriptors: usize,
    pub(crate) features: Features,
}

impl Exec<'_> {
    /// The arguments, without the program. What an exec writes is its clients' and, where that was
    /// asked for, its own log's; never the container's log's.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut args = Args(Vec::with_capacity(40));
        args.flag("--api-version");
        args.systemd(self.by_systemd);
        args.pair("-c", self.container);
        args.pair("-u", self.id);
        args.pair("-r", self.runtime);
        args.pair("-b", &self.files.dir);
        args.pair("-p", &self.files.pidfile);
        args.pair("--conmon-pidfile", &self.files.conmon_pidfile);
        args.flag("-e");
        args.flag("--exec-attach");
        args.pair("--exec-process-spec", self.process);
        args.log(self.log_path);
        args.pair("--exit-dir", self.exit_dir);
        if self.features.full_attach {
            args.flag("--full-attach");
        } else {
            args.pair("--socket-dir-path", self.socket_dir);
        }
        if self.log_path.is_some() && self.features.no_sync_log {
            args.flag("--no-sync-log");
        }
        args.pair("--log-level", self.log_level.as_str());
        args.flag("--syslog");
        args.streams(self.tty, self.stdin);
        args.descriptors(self.descriptors);
        for arg in self.runtime_args {
            args.runtime_arg(arg, "");
        }
        args.runtime(
            self.runtime_root,
            self.json_log.then_some(&self.files.oci_log),
        );
        args.0
    }
}

struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn pair(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }

    /// conmon hands it on to the runtime, as `--systemd-cgroup`.
    fn systemd(&mut self, wanted: bool) {
        if wanted {
            self.flag("-s");
        }
    }

    /// Never `-t` and `-i` together: the terminal's input would die with the first client.
    fn streams(&mut self, tty: bool, stdin: Stdin) {
        if tty {
            self.flag("-t");
        } else if stdin != Stdin::Closed {
            self.flag("-i");
        }
        // A terminal ends by its own end-of-file byte, so its input is never closed by a client.
        if tty || stdin == Stdin::Open {
            self.flag("--leave-stdin-open");
        }
    }

    /// Where output is kept, if anywhere.
    fn log(&mut self, path: Option<&Path>) {
        match path {
            Some(path) => {
                let mut driver = OsString::from("k8s-file:");
                driver.push(path);
                self.pair("-l", driver);
            }
            None => self.pair("-l", "none"),
        }
    }

    /// Every entry carries the container's id.
    fn journal(&mut self, journal: &Journal) {
        self.pair("-l", "journald:");
        self.pair("-n", &journal.name);
        self.pair("--log-tag", &journal.tag);
    }

    /// The runtime leaves as many open, from 3 up.
    fn descriptors(&mut self, count: usize) {
        if count > 0 {
            self.pair("--runtime-opt", "--preserve-fds");
            self.pair("--runtime-opt", count.to_string());
        }
    }

    /// The runtime's own arguments, the last ones.
    fn runtime(&mut self, root: &Path, json_log: Option<&PathBuf>) {
        self.runtime_arg("--root=", root);
        if let Some(log) = json_log {
            self.runtime_arg("--log-format=json", "");
            self.runtime_arg("--log=", log);
        }
    }

    /// `--runtime-arg=NAME VALUE` in one word, so that a value may start with a dash.
    fn runtime_arg(&mut self, name: &str, value: impl Into<OsString>) {
        let mut word = OsString::from("--runtime-arg=");
        word.push(name);
        word.push(value.into());
        self.0.push(word);
    }
}

#[cfg(test)]
mod tests;
