//! The program around the engine: settings, readiness, sockets handed over, the end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Anything that takes longer has hung.
const DEADLINE: Duration = Duration::from_secs(30);
/// The daemon promises one second; the tests share their machine.
const END_MAX: Duration = Duration::from_secs(3);

/// Directories for one daemon, and the daemon.
struct Bed {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Bed {
    fn new() -> Self {
        Self {
            dir: tempfile::Builder::new()
                .prefix("moored-daemon-")
                .tempdir()
                .expect("a directory"),
            child: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `moored COMMAND` on our directories, with nothing from the machine's own settings.
    fn moored(&self, command: &str) -> Command {
        let mut moored = Command::new(env!("CARGO_BIN_EXE_moored"));
        moored.arg(command).args(self.flags()).stdin(Stdio::null());
        moored
    }

    fn flags(&self) -> Vec<String> {
        let flag = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        vec![
            flag("socket", "s"),
            flag("data-root", "data"),
            flag("run-root", "run"),
            "--config=/dev/null".to_owned(),
        ]
    }

    /// Ends the daemon as an operator does; its exit code and how long it took.
    fn terminate(&mut self) -> (Option<i32>, Duration) {
        let mut child = self.child.take().expect("a daemon");
        let start = Instant::now();
        signal(&child, "TERM");
        let status = child.wait().expect("our child");
        (status.code(), start.elapsed())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The tmpfs for exit codes is kept for the next daemon; none will come.
        let _ = Command::new("umount")
            .stderr(Stdio::null())
            .arg(self.path("run/exits"))
            .status();
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.is_ok_and(|s| s.success()), "kill -s {name} {pid}");
}

/// The answer to one GET.
fn get(socket: &Path, path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "{what}: not after {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn ready_is_told_when_the_socket_answers_and_stopping_at_the_end() {
    let mut bed = Bed::new();
    let notified = UnixDatagram::bind(bed.path("notify")).expect("a socket");
    notified
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout");
    let mut moored = bed.moored("serve");
    moored
        .env("NOTIFY_SOCKET", bed.path("notify"))
        .stderr(Stdio::null());
    bed.child = Some(moored.spawn().expect("it starts"));

    let mut message = [0; 256];
    let n = notified.recv(&mut message).expect("a message in time");
    assert!(message[..n].starts_with(b"READY=1"), "{:?}", &message[..n]);
    let answer = get(&bed.path("s"), "/_ping").expect("ready means that it answers");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    let (code, took) = bed.terminate();
    assert_eq!(code, Some(0));
    assert!(took < END_MAX, "{took:?}");
    let n = notified.recv(&mut message).expect("a message in time");
    assert!(
        message[..n].starts_with(b"STOPPING=1"),
        "{:?}",
        &message[..n]
    );
    assert!(!bed.path("s").exists(), "its socket is gone");
}

#[test]
fn a_socket_that_is_handed_over_is_served_and_left_in_place() {
    let mut bed = Bed::new();
    let path = bed.path("handed");
    let listener = UnixListener::bind(&path).expect("a socket");
    // A client may come before the daemon, as under systemd.
    let mut early = UnixStream::connect(&path).expect("it listens");
    early
        .write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
        .expect("it is queued");

    // The shell moves its stdin to descriptor 3 and becomes the daemon, so that LISTEN_PID is right.
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_moored"), "serve"])
        .args(bed.flags())
        .stdin(std::os::fd::OwnedFd::from(listener))
        .stderr(Stdio::null());
    bed.child = Some(shell.spawn().expect("it starts"));

    early.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut first = String::new();
    BufReader::new(&early)
        .read_line(&mut first)
        .expect("an answer");
    assert_eq!(first, "HTTP/1.1 200 OK\r\n");
    assert!(!bed.path("s").exists(), "it binds nothing of its own");
    assert_eq!(bed.terminate().0, Some(0));
    assert!(path.exists(), "the file is systemd's");
}

#[test]
fn every_socket_is_served_whoever_made_it() {
    let mut bed = Bed::new();
    let handed = ["a", "b"].map(|name| bed.path(name));
    let [a, b] = handed
        .clone()
        .map(|path| UnixListener::bind(path).expect("a socket"));
    // From stdin and stdout to descriptors 3 and 4.
    let script = "exec 3<&0 4>&1 0</dev/null 1>&2; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\"";
    let mut start = |docker_socket: &str| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script, "sh", env!("CARGO_BIN_EXE_moored"), "serve"])
            .args(bed.flags())
            .arg("--docker-socket")
            .arg(bed.path(docker_socket))
            .stdin(std::os::fd::OwnedFd::from(a.try_clone().expect("a copy")))
            .stdout(std::os::fd::OwnedFd::from(b.try_clone().expect("a copy")))
            .stderr(Stdio::null());
        bed.child = Some(shell.spawn().expect("it starts"));
        let own = bed.path(docker_socket);
        for path in handed.iter().chain([&own]) {
            wait_until("it answers", || get(path, "/_ping").is_ok());
        }
        assert!(!bed.path("s").exists(), "the first is handed over");
        assert_eq!(bed.terminate().0, Some(0));
    };
    start("own");
    start("b");
    assert!(!bed.path("own").exists(), "its own is gone");
    assert!(
        handed.iter().all(|path| path.exists()),
        "they are systemd's"
    );
}

#[test]
fn a_thousand_open_streams_do_not_delay_the_end() {
    let mut bed = Bed::new();
    bed.child = Some(
        bed.moored("serve")
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts"),
    );
    let socket = bed.path("s");
    wait_until("it serves", || get(&socket, "/_ping").is_ok());
    let open: Vec<UnixStream> = (0..1000)
        .map(|i| {
            let mut stream = UnixStream::connect(&socket).expect("room for a thousand");
            // Half of them are in the middle of a request.
            if i % 2 == 0 {
                stream
                    .write_all(
                        b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 9\r\n\r\nx",
                    )
                    .expect("it is read");
            }
            stream
        })
        .collect();
    assert!(
        get(&socket, "/_ping").is_ok(),
        "a good client is served beside them"
    );
    let (code, took) = bed.terminate();
    assert_eq!(code, Some(0));
    assert!(took < END_MAX, "{took:?}");
    drop(open);
}

#[test]
fn sigint_before_and_after_the_start_ends_it() {
    let mut bed = Bed::new();
    bed.child = Some(
        bed.moored("serve")
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts"),
    );
    let socket = bed.path("s");
    wait_until("it serves", || get(&socket, "/_ping").is_ok());
    let mut child = bed.child.take().expect("it was started");
    signal(&child, "INT");
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

#[test]
fn a_refused_start_names_the_cause_and_leaves_nothing() {
    let bed = Bed::new();
    let _taken = UnixListener::bind(bed.path("s")).expect("a socket");
    let refused = bed.moored("serve").output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("another process serves it"),
        "{}",
        stderr(&refused)
    );
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
    assert!(
        !mounts.contains(&*bed.dir.path().to_string_lossy()),
        "{mounts}"
    );

    let refused = bed
        .moored("serve")
        .args(["--cgroup-manager", "systemd"])
        .args(["--cgroup-parent", "/no/slice"])
        .output()
        .expect("it runs");
    assert!(!refused.status.success());
    // Whichever this host lacks first.
    let said = stderr(&refused);
    assert!(
        said.contains("use \"cgroupfs\"") || said.contains("should be a valid slice"),
        "{said}"
    );
    let refused = bed
        .moored("serve")
        .args(["--socket-group", "no-such-group"])
        .output()
        .expect("it runs");
    assert!(
        stderr(&refused).contains("no-such-group"),
        "{}",
        stderr(&refused)
    );
    let refused = bed
        .moored("serve")
        .args(["--log-level", "a=b=c"])
        .output()
        .expect("it runs");
    assert!(stderr(&refused).contains("a=b=c"), "{}", stderr(&refused));
}

#[test]
fn flags_weigh_more_than_the_environment_and_that_more_than_the_file() {
    let bed = Bed::new();
    let file = bed.path("moored.toml");
    fs::write(&file, "data-root = '/from-file'\n").expect("a file");
    let check = |env: Option<&str>, flag: Option<&str>| {
        let mut moored = Command::new(env!("CARGO_BIN_EXE_moored"));
        moored.arg("check").arg("--config").arg(&file);
        if let Some(env) = env {
            moored.env("MOORED_DATA_ROOT", env);
        }
        moored.args(flag);
        stdout(&moored.output().expect("it runs"))
    };
    assert!(check(None, None).contains("/from-file"));
    assert!(check(Some("/from-env"), None).contains("/from-env"));
    let all = check(Some("/from-env"), Some("--data-root=/from-flag"));
    assert!(
        all.contains("/from-flag") && !all.contains("/from-env"),
        "{all}"
    );
}

#[test]
fn check_fails_when_a_runtime_that_was_asked_for_is_missing() {
    let bed = Bed::new();
    let fine = bed.moored("check").output().expect("it runs");
    assert_eq!(fine.status.code(), Some(0), "{}", stdout(&fine));
    assert!(
        stdout(&fine).contains("conmon version"),
        "{}",
        stdout(&fine)
    );

    let file = bed.path("moored.toml");
    fs::write(&file, "[runtimes.mine]\npaths = ['/no/such/runtime']\n").expect("a file");
    let mut moored = Command::new(env!("CARGO_BIN_EXE_moored"));
    let broken = moored
        .arg("check")
        .arg("--config")
        .arg(&file)
        .output()
        .expect("it runs");
    assert_eq!(broken.status.code(), Some(1));
    let said = stdout(&broken);
    assert!(said.contains("FAIL runtime mine"), "{said}");

    // A default without a section is one on $PATH.
    let check = |name: &str| {
        let mut moored = bed.moored("check");
        moored.args(["--runtime", name]).env("PATH", bed.path(""));
        moored.output().expect("it runs")
    };
    let said = stdout(&check("youki"));
    assert!(
        said.contains("FAIL runtime youki") && said.contains("(looked at $PATH)"),
        "{said}"
    );
    let runc = testkit::require("runc", "runc");
    std::os::unix::fs::symlink(runc, bed.path("youki")).expect("a link");
    let found = check("youki");
    let said = stdout(&found);
    assert_eq!(found.status.code(), Some(0), "{said}");
    assert!(said.contains("youki: configured"), "{said}");
}

#[test]
fn the_log_can_be_json_and_names_the_peer_of_a_request() {
    let mut bed = Bed::new();
    let log = fs::File::create(bed.path("log")).expect("a file");
    let mut moored = bed.moored("serve");
    moored
        .args(["--log-format=json", "--log-level=debug"])
        .stderr(log);
    bed.child = Some(moored.spawn().expect("it starts"));
    let socket = bed.path("s");
    wait_until("it serves", || get(&socket, "/_ping").is_ok());
    bed.terminate();
    let log = fs::read_to_string(bed.path("log")).expect("a log");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let pid = std::process::id();
    let ours = lines
        .iter()
        .find(|l| l["span"]["pid"] == pid && l["span"]["path"] == "/_ping");
    assert!(ours.is_some_and(|l| l["span"]["uid"].is_u64()), "{log}");
}

#[test]
fn openapi_prints_the_document_and_needs_no_host() {
    let printed = Command::new(env!("CARGO_BIN_EXE_moored"))
        .arg("openapi")
        .env_clear()
        .output()
        .expect("it runs");
    let document: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
}
