//! conmon's command lines, word for word.

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
        journal: None,
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
fn a_container_whose_log_is_the_journal() {
    let journal = Journal {
        name: "web".to_owned(),
        tag: "-t".to_owned(),
    };
    let files = files();
    let create = Create {
        journal: Some(&journal),
        log_path: None,
        ..plain(&files)
    };
    let all = golden_of(&create);
    let log = "-l journald: -n web --log-tag -t";
    assert!(all.starts_with(&format!("{HEAD} {log} {DIRS}")), "{all}");
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
