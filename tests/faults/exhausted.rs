//! Descriptors, processes or memory run out at the n-th call: the daemon gets room for none, for one
//! more, for two more, until all that was asked of it works. At each step a request either works or
//! says why not, others are answered, and with relief nothing is wrong and nothing left.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit, test_kill_process};
use serde_json::{Value, json};
use testkit::{Daemon, Kept, census, until};

use crate::search::truth;
use crate::{daemon, options};

const SLEEP: [&str; 2] = ["sleep", "1000"];
/// So many steps of room at most: more is needed by nothing that is asked here.
const STEPS: u64 = 120;
/// A step of memory, less than a thread's stack; a smaller one in `make soak`.
const MEMORY_STEP_BYTES: u64 = 1 << 20;
const SMALL_MEMORY_STEP_BYTES: u64 = 256 << 10;
/// Containers that are taken back.
const TAKEN_BACK: usize = 15;
/// Of a request that needs memory of its own.
const LABEL_BYTES: usize = 2 << 20;

/// What the daemon is short of.
enum Shortage {
    Descriptors,
    Processes(Group),
    Memory,
}

impl Shortage {
    /// Leaves room for so many more.
    fn begin(&self, d: &Daemon, room: u64) {
        match self {
            Self::Descriptors => limit(d, Resource::Nofile, Some(first_free(d) + room)),
            Self::Processes(group) => {
                let now: u64 = group.read("pids.current");
                group.write("pids.max", &(now + room).to_string());
            }
            Self::Memory => {
                let now = data(d);
                let step = match std::env::var_os("MOORED_SOAK") {
                    Some(_) => SMALL_MEMORY_STEP_BYTES,
                    None => MEMORY_STEP_BYTES,
                };
                limit(d, Resource::Data, Some(now + room * step));
            }
        }
    }

    fn end(&self, d: &Daemon) {
        match self {
            Self::Descriptors => limit(d, Resource::Nofile, None),
            Self::Processes(group) => group.write("pids.max", "max"),
            Self::Memory => limit(d, Resource::Data, None),
        }
    }
}

/// Sets the daemon's soft limit, or sets it to the hard one.
fn limit(d: &Daemon, of: Resource, to: Option<u64>) {
    let pid = Pid::from_raw(d.pid().cast_signed()).expect("a pid");
    let file = std::fs::read_to_string(format!("/proc/{}/limits", d.pid())).expect("it runs");
    let name = match of {
        Resource::Nofile => "Max open files",
        _ => "Max data size",
    };
    let line = file.lines().find(|line| line.starts_with(name));
    let hard = line.and_then(|l| l[name.len()..].split_whitespace().nth(1)?.parse().ok());
    let limit = Rlimit {
        current: to.or(hard),
        maximum: hard,
    };
    prlimit(Some(pid), of, limit).expect("we may");
}

/// The lowest descriptor that the daemon does not use.
fn first_free(d: &Daemon) -> u64 {
    let dir = std::fs::read_dir(format!("/proc/{}/fd", d.pid())).expect("it runs");
    let names = dir.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    let used: Vec<u64> = names.collect();
    (0..).find(|fd| !used.contains(fd)).expect("there is one")
}

/// What the daemon has mapped to write to, in bytes.
fn data(d: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", d.pid())).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("a number of kB") << 10
}

/// A cgroup that limits how many processes and threads the daemon may have.
struct Group(PathBuf);

impl Group {
    fn new(d: &Daemon) -> Self {
        let own = format!("{}-few", d.mark());
        // Version 1 has a hierarchy of its own for it.
        let root = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let root = root.map(PathBuf::from).into_iter().find(|dir| dir.exists());
        let root = root.expect("there are cgroups");
        let _ = std::fs::write(root.join("cgroup.subtree_control"), "+pids");
        let group = Self(root.join(own));
        std::fs::create_dir(&group.0).expect("we may");
        group
    }

    fn read<T: std::str::FromStr>(&self, file: &str) -> T {
        let text = std::fs::read_to_string(self.0.join(file)).expect("it is there");
        text.trim().parse().ok().expect("a number")
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).expect("we may");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let root = self.0.parent().expect("not the root").join("cgroup.procs");
        let inside = std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in inside.lines() {
            let _ = std::fs::write(&root, pid);
        }
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A client's whole use of one container. Counts what was refused; `None` when the daemon died.
fn cycle(line: &mut Kept) -> Option<usize> {
    let mut refused = 0;
    let mut ask = |method: &str, path: &str, body: Value| {
        let answer = line.attempt(method, path, &body)?;
        // Of a container that could not be made or started.
        refused += usize::from(answer.status >= 400);
        assert!(
            answer.status < 500 || answer.text.len() > 30,
            "it says why: {}",
            answer.text
        );
        Some(answer.text)
    };
    let host = json!({"NetworkMode": "none"});
    let body = json!({
        "Image": "busybox", "Cmd": SLEEP, "Volumes": {"/v": {}}, "HostConfig": host,
        "Labels": {"large": "x".repeat(LABEL_BYTES)},
    });
    ask("POST", "/containers/create?name=short", body)?;
    ask("POST", "/containers/short/start", Value::Null)?;
    let exec = json!({"Cmd": ["echo", "text"]});
    let made = ask("POST", "/containers/short/exec", exec)?;
    let made: Value = serde_json::from_str(&made).expect("JSON");
    if let Some(id) = made["Id"].as_str() {
        let detach = json!({"Detach": true});
        ask("POST", &format!("/exec/{id}/start"), detach)?;
    }
    ask("GET", "/containers/short/json", Value::Null)?;
    ask("POST", "/containers/short/stop?t=0", Value::Null)?;
    ask("DELETE", "/containers/short?v=1", Value::Null)?;
    Some(refused)
}

/// What needs nothing is answered whatever is short.
fn expect_others_answered(line: &mut Kept) -> Option<()> {
    for path in ["/_ping", "/containers/json", "/containers/well/json"] {
        let answer = line.attempt("GET", path, &Value::Null)?;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    Some(())
}

/// Everything is as if nothing had been.
fn expect_well(d: &Daemon, pid: u32) {
    assert_eq!(d.status("well"), "running");
    assert_eq!(d.init_pid("well"), pid);
    let gone = d.http.delete("/containers/short?force=1&v=1");
    assert!(matches!(gone.status, 204 | 404 | 409), "{}", gone.text());
    until("the name is free", || {
        d.http.get("/containers/short/json").status == 404
    });
    truth::check_state(d, false);
}

/// Gives the daemon more and more room, until all works.
fn search(d: &mut Daemon, shortage: &Shortage) {
    d.run_detached("well", json!({"Cmd": SLEEP}));
    let pid = d.init_pid("well");
    let (mut refusals, mut deaths) = (0, 0);
    for room in 0.. {
        assert!(room < STEPS, "it needs more and more");
        let mut line = d.http.keep();
        let mut other = d.http.keep();
        expect_others_answered(&mut other).expect("it is well");
        expect_others_answered(&mut line).expect("it is well");
        shortage.begin(d, room);
        let refused = cycle(&mut line);
        let answered = refused.and_then(|_| expect_others_answered(&mut other));
        if answered.is_none() {
            assert!(
                matches!(shortage, Shortage::Memory),
                "it died without {room} more"
            );
            until("it is dead", || d.ends_within(std::time::Duration::ZERO));
            d.restart();
            deaths += 1;
        } else {
            shortage.end(d);
        }
        drop((line, other));
        expect_well(d, pid);
        match refused {
            Some(0) => {
                eprintln!("{refusals} refusals, {deaths} deaths, all works with {room} more");
                break;
            }
            refused => refusals += refused.unwrap_or_default(),
        }
    }
    assert!(refusals + deaths > 0, "there was a shortage");
    assert_eq!(d.run("fine", json!({"Cmd": ["true"]})).code, 0);
}

#[test]
fn descriptors_run_out_at_each_call() {
    let mut d = daemon();
    search(&mut d, &Shortage::Descriptors);
    d.finish();
}

/// A client is told so, and not left to wait for better times.
#[test]
fn stats_without_descriptors_are_refused() {
    let d = daemon();
    d.run_detached("well", json!({"Cmd": SLEEP}));
    let mut line = d.http.keep();
    expect_others_answered(&mut line).expect("it is well");
    limit(&d, Resource::Nofile, Some(first_free(&d)));
    let path = "/containers/well/stats?stream=false";
    let refused = line.attempt("GET", path, &Value::Null).expect("it lives");
    assert_eq!(refused.status, 500, "{}", refused.text);
    let why = "cannot read what the container uses";
    assert!(refused.text.contains(why), "{}", refused.text);
    limit(&d, Resource::Nofile, None);
    let told = line.attempt("GET", path, &Value::Null).expect("it lives");
    assert_eq!(told.status, 200, "{}", told.text);
    drop(line);
    d.finish();
}

#[test]
fn processes_run_out_at_each_call() {
    let mut d = daemon();
    let group = Group::new(&d);
    group.write("cgroup.procs", &d.pid().to_string());
    let shortage = Shortage::Processes(group);
    search(&mut d, &shortage);
    drop(shortage);
    d.finish();
}

/// The runtime needs more than the daemon has, and is not what is looked at here.
#[test]
fn memory_runs_out_at_each_call() {
    let dir = tempfile::tempdir().expect("a directory");
    let unlimited = dir.path().join("runc");
    std::fs::write(
        &unlimited,
        "#!/bin/sh\nulimit -S -d unlimited\nexec runc \"$@\"\n",
    )
    .expect("a file in ours");
    std::fs::set_permissions(&unlimited, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let config = format!("[runtimes.runc]\npaths = [{unlimited:?}]\n");
    let mut d = Daemon::start(options().config(&config));
    search(&mut d, &Shortage::Memory);
    d.finish();
}

/// What becomes of a daemon that is started, through `through`, with too little, or just enough.
fn start_short(d: &mut Daemon, through: &[&str]) -> bool {
    d.set_through(through);
    d.spawn();
    let mut ended = false;
    until("it is there or says why not", || {
        ended = d.ends_within(std::time::Duration::ZERO);
        let knows = || d.http.attempt("GET", "/volumes", "", b"");
        ended || knows().is_some_and(|said| said.status == 200)
    });
    !ended
}

/// A daemon that is short of everything says what is so, or nothing; of a container that it cannot
/// look at it says that it does not know (`dead`, until it can), and of none that it has ended.
fn expect_list(d: &Daemon, running: usize) {
    let Some(list) = d.http.attempt("GET", "/containers/json?all=1", "", b"") else {
        return;
    };
    let rows: Value = serde_json::from_str(&list.text).expect("JSON");
    assert_eq!(list.status, 200, "{rows}");
    let rows = rows.as_array().expect("a list");
    let of = |state: &'static str| rows.iter().filter(move |row| row["State"] == state);
    let [known, unknown, ended] = ["running", "dead", "exited"].map(|state| of(state).count());
    assert_eq!(known + unknown + ended, running + 1, "{rows:?}");
    let mut ended = of("exited");
    assert!(ended.all(|row| row["Names"][0] == "/ends"), "{rows:?}");
}

/// Starts daemons that have too little to take containers back, with more and more, and after each
/// one that has enough.
fn recover_with_more_and_more(
    d: &mut Daemon,
    through: impl Fn(u64) -> Vec<String>,
    steps: impl Iterator<Item = u64>,
) {
    let well: Vec<_> = (0..TAKEN_BACK).map(|n| format!("well{n}")).collect();
    for name in &well {
        d.run_detached(name, json!({"Cmd": SLEEP}));
    }
    let pids: Vec<_> = well.iter().map(|name| d.init_pid(name)).collect();
    let ends = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done";
    let (mut came, mut refused) = (0, 0);
    for step in steps {
        d.run_detached("ends", json!({"Cmd": ["sh", "-c", ends]}));
        let ending = Pid::from_raw(d.init_pid("ends").cast_signed()).expect("a pid");
        // Before that the kernel drops what a first process does not handle.
        until("it handles the signal", || {
            d.logs("ends").stdout == "ready\n"
        });
        d.kill9();
        kill_process(ending, Signal::TERM).expect("it is there");
        until("it has ended", || test_kill_process(ending).is_err());
        let through = through(step);
        let words: Vec<&str> = through.iter().map(String::as_str).collect();
        let said_before = d.log().len();
        if start_short(d, &words) {
            came += 1;
            expect_list(d, well.len());
            d.kill9();
        } else {
            refused += 1;
            let said = d.log().split_off(said_before);
            assert_eq!(census::panic_in(&said), None, "with {step}: {said}");
            eprintln!("{step}: {}", said.lines().last().unwrap_or_default());
        }
        d.set_through(&[]);
        d.restart();
        for (name, pid) in well.iter().zip(&pids) {
            assert_eq!(d.status(name), "running", "{name} with {step}");
            assert_eq!(d.init_pid(name), *pid, "{name} with {step}");
        }
        assert_eq!(d.status("ends"), "exited", "with {step}");
        assert_eq!(d.inspect("ends")["State"]["ExitCode"], 7, "with {step}");
        truth::check_state(d, false);
        d.http.delete("/containers/ends").expect(204);
    }
    eprintln!("{refused} starts refused, {came} that came");
    assert!(came > 0 && refused > 0, "{came} came, {refused} refused");
}

#[test]
fn a_daemon_that_starts_without_descriptors_loses_no_container() {
    let mut d = daemon();
    let files = |files| vec!["prlimit".to_owned(), format!("--nofile={files}:{files}")];
    recover_with_more_and_more(&mut d, files, (60..130).step_by(5));
    d.finish();
}

#[test]
fn a_daemon_that_starts_without_threads_loses_no_container() {
    let mut d = daemon();
    let group = Group::new(&d);
    let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.0.display());
    let threads = |threads: u64| {
        group.write("pids.max", &threads.to_string());
        ["sh", "-c", &enter, "sh"].map(ToOwned::to_owned).to_vec()
    };
    recover_with_more_and_more(&mut d, threads, 1..16);
    drop(group);
    d.finish();
}

#[test]
fn a_daemon_that_starts_without_memory_loses_no_container() {
    let mut d = daemon();
    let memory = |mib: u64| {
        let bound = format!("--data={}:", mib << 20);
        // Not while it looks for the words of a backtrace.
        ["env", "-u", "RUST_BACKTRACE", "prlimit", &bound]
            .map(str::to_owned)
            .to_vec()
    };
    recover_with_more_and_more(&mut d, memory, (1..40).step_by(2));
    d.finish();
}

/// A daemon that rested for a while still has a thread for calls that block.
#[test]
fn without_threads_a_rested_daemon_answers() {
    let d = daemon();
    let group = Group::new(&d);
    group.write("cgroup.procs", &d.pid().to_string());
    d.create("well", json!({"Cmd": SLEEP}));
    let mut line = d.http.keep();
    expect_others_answered(&mut line).expect("it is well");
    // The main one, the ledger's, the kept one.
    let at_rest = std::thread::available_parallelism().expect("known").get() as u64 + 3;
    until("its threads have ended", || {
        group.read::<u64>("pids.current") <= at_rest
    });
    group.write("pids.max", "1");
    // Nothing can be started; all else works.
    assert_eq!(cycle(&mut line), Some(2));
    drop(line);
    group.write("pids.max", "max");
    drop(group);
    d.finish();
}
