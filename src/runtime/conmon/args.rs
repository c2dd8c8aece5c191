//! conmon's command lines, for creating a container and for an exec. Pure: values in, arguments
//! out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Features, Stdin};
use crate::Restore;
use crate::config::LogLevel;
use crate::layout::AttemptFiles;

/// Everything the command line depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Create<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) log_path: Option<&'a Path>,
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
        args.log(self.log_path);
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
mod tests {
    use super::*;
    use crate::CriuOptions;

    fn files() -> AttemptFiles {
        AttemptFiles {
            dir: "/run/m/containers/ID".into(),
            pidfile: "/run/m/containers/ID/pidfile".into(),
            conmon_pidfile: "/run/m/containers/ID/conmon.pid".into(),
            oci_log: "/run/m/containers/ID/oci-log".into(),
        }
    }

    fn plain(files: &AttemptFiles) -> Create<'_> {
        Create {
            id: "ID",
            bundle: Path::new("/data/ID"),
            log_path: Some(Path::new("/data/ID/ctr.log")),
            tty: false,
            stdin: Stdin::Closed,
            runtime: Path::new("/usr/bin/runc"),
            runtime_root: Path::new("/run/m/oci/runc"),
            runtime_args: &[],
            json_log: true,
            files,
            exit_dir: Path::new("/run/m/exits"),
            persist_dir: Path::new("/run/m/exits/persist/ID"),
            socket_dir: Path::new("/run/m/socket"),
            log_level: LogLevel::Error,
            by_systemd: false,
            no_cgroups: false,
            no_pivot: false,
            no_new_keyring: false,
            restore: None,
            descriptors: 0,
            features: Features::of_version("conmon version 2.1.6"),
        }
    }

    fn golden(change: impl Fn(&mut Create<'_>)) -> String {
        let files = files();
        let mut create = plain(&files);
        change(&mut create);
        golden_of(&create)
    }

    fn golden_of(create: &Create<'_>) -> String {
        let words: Vec<_> = create
            .arguments()
            .into_iter()
            .map(|w| w.into_string().unwrap())
            .collect();
        words.join(" ")
    }

    const HEAD: &str = "--api-version -c ID -u ID -r /usr/bin/runc -b /data/ID \
        -p /run/m/containers/ID/pidfile --conmon-pidfile /run/m/containers/ID/conmon.pid";
    const DIRS: &str = "--exit-dir /run/m/exits --persist-dir /run/m/exits/persist/ID";
    const RUNTIME: &str = "--runtime-arg=--root=/run/m/oci/runc --runtime-arg=--log-format=json \
        --runtime-arg=--log=/run/m/containers/ID/oci-log";

    #[test]
    fn a_plain_container() {
        assert_eq!(
            golden(|_| {}),
            format!(
                "{HEAD} -l k8s-file:/data/ID/ctr.log {DIRS} --full-attach --no-sync-log \
                 --log-level error --syslog {RUNTIME}"
            )
        );
    }

    #[test]
    fn what_the_operator_tells_the_runtime_comes_first() {
        let args = ["--debug".to_owned(), "--criu=/x".to_owned()];
        let files = files();
        let create = Create {
            runtime_args: &args,
            ..plain(&files)
        };
        let all = golden_of(&create);
        let own = "--runtime-arg=--debug --runtime-arg=--criu=/x";
        assert!(all.ends_with(&format!("{own} {RUNTIME}")), "{all}");
    }

    #[test]
    fn without_cgroups_the_runtime_makes_none() {
        let all = golden(|create| create.no_cgroups = true);
        let (_, rest) = all.split_once("--syslog ").unwrap();
        assert_eq!(
            rest,
            format!("--runtime-arg=--cgroup-manager=disabled {RUNTIME}")
        );
    }

    #[test]
    fn streams_by_kind() {
        let tail = |change: fn(&mut Create<'_>)| {
            let all = golden(change);
            let (_, rest) = all.split_once("--syslog").unwrap();
            rest.trim_end_matches(RUNTIME).trim().to_owned()
        };
        assert_eq!(tail(|c| c.stdin = Stdin::Open), "-i --leave-stdin-open");
        assert_eq!(tail(|c| c.stdin = Stdin::Once), "-i");
        assert_eq!(tail(|c| c.tty = true), "-t --leave-stdin-open");
        let tty_and_stdin = |c: &mut Create<'_>| (c.tty, c.stdin) = (true, Stdin::Once);
        assert_eq!(tail(tty_and_stdin), "-t --leave-stdin-open");
    }

    #[test]
    fn no_log_and_the_runtimes_switches() {
        let all = golden(|c| {
            c.log_path = None;
            c.log_level = LogLevel::Debug;
            c.no_pivot = true;
            c.no_new_keyring = true;
            c.json_log = false;
        });
        assert_eq!(
            all,
            format!(
                "{HEAD} -l none {DIRS} --full-attach --no-sync-log \
                 --log-level debug --syslog --no-pivot --no-new-keyring \
                 --runtime-arg=--root=/run/m/oci/runc"
            )
        );
    }

    #[test]
    fn a_restore_says_what_its_dump_said() {
        let restore = Restore {
            images: "/data/ID/checkpoints/one".into(),
            options: CriuOptions {
                tcp_established: true,
                file_locks: true,
            },
        };
        let files = files();
        let all = golden_of(&Create {
            restore: Some(&restore),
            ..plain(&files)
        });
        assert!(
            all.contains(&format!(
                "--restore /data/ID/checkpoints/one --runtime-opt --tcp-established \
                 --runtime-opt --file-locks {RUNTIME}"
            )),
            "{all}"
        );
    }

    #[test]
    fn systemd_makes_the_cgroups() {
        let all = golden(|c| c.by_systemd = true);
        assert!(all.starts_with("--api-version -s -c ID "), "{all}");
    }

    #[test]
    fn an_old_conmon_gets_a_socket_dir() {
        let all = golden(|c| c.features = Features::of_version("conmon version 2.0.5"));
        assert!(all.contains(&format!(
            "{DIRS} --socket-dir-path /run/m/socket --log-level"
        )));
    }

    #[test]
    fn an_exec() {
        let files = AttemptFiles {
            dir: "/run/m/execs/E".into(),
            pidfile: "/run/m/execs/E/pidfile".into(),
            conmon_pidfile: "/run/m/execs/E/conmon.pid".into(),
            oci_log: "/run/m/execs/E/oci-log".into(),
        };
        let exec = Exec {
            container: "ID",
            id: "E",
            process: Path::new("/run/m/execs/E/process.json"),
            log_path: None,
            tty: false,
            stdin: Stdin::Once,
            runtime: Path::new("/usr/bin/runc"),
            runtime_root: Path::new("/run/m/oci/runc"),
            runtime_args: &[],
            json_log: true,
            files: &files,
            exit_dir: Path::new("/run/m/exits/execs/E"),
            socket_dir: Path::new("/run/m/socket"),
            log_level: LogLevel::Error,
            by_systemd: false,
            descriptors: 0,
            features: Features::of_version("conmon version 2.1.6"),
        };
        let words: Vec<_> = exec
            .arguments()
            .into_iter()
            .map(|w| w.into_string().unwrap())
            .collect();
        assert_eq!(
            words.join(" "),
            "--api-version -c ID -u E -r /usr/bin/runc -b /run/m/execs/E \
             -p /run/m/execs/E/pidfile --conmon-pidfile /run/m/execs/E/conmon.pid -e --exec-attach \
             --exec-process-spec /run/m/execs/E/process.json -l none \
             --exit-dir /run/m/exits/execs/E --full-attach --log-level error --syslog -i \
             --runtime-arg=--root=/run/m/oci/runc --runtime-arg=--log-format=json \
             --runtime-arg=--log=/run/m/execs/E/oci-log"
        );
        let log_path = Some(Path::new("/data/E/output.log"));
        let kept = Exec { log_path, ..exec }.arguments();
        assert!(kept.contains(&"k8s-file:/data/E/output.log".into()));
        assert!(kept.contains(&"--no-sync-log".into()));
        let by_systemd = Exec {
            by_systemd: true,
            ..exec
        }
        .arguments();
        assert_eq!(by_systemd[1], "-s");
        let with = Exec {
            descriptors: 2,
            ..exec
        }
        .arguments();
        let at = with.iter().position(|w| w == "--preserve-fds").unwrap();
        assert_eq!(
            with[at - 1..at + 3],
            ["--runtime-opt", "--preserve-fds", "--runtime-opt", "2"]
        );
        let terminal = Exec { tty: true, ..exec }.arguments();
        assert!(terminal.contains(&"-t".into()) && !terminal.contains(&"-i".into()));
    }
}
