//! `kill -9` of the daemon at random moments, under a mixed load of twenty containers.
//!
//! All that is random comes from one number, which is printed: `MOORED_SEED=number` makes the same
//! choices again (when which of them meets a death is the machine's own).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Client, Daemon};

use super::seed::Random;
use super::truth;
use crate::daemon;

/// Clients at work, and containers of each.
const CLIENTS: usize = 4;
const CONTAINERS: usize = 5;

/// One client: it makes, uses and removes its own containers.
struct Worker {
    http: Client,
    random: Random,
    names: Vec<String>,
    notes: PathBuf,
}

/// What a container is to do: note its code on the host, then end with it.
fn script(random: &mut Random) -> String {
    let code = 1 + random.below(100);
    let lines = random.below(50);
    let pause = random.of(&["0", "0.01", "0.05", "0.2", "1", "100"]);
    format!(
        "for n in $(seq {lines}); do echo line $n; done; sleep {pause}; \
         echo {code} >> /notes/$NAME; exit {code}"
    )
}

impl Worker {
    fn run(mut self, enough: &AtomicBool) {
        while !enough.load(Ordering::Relaxed) {
            let at = usize::try_from(self.random.below(CONTAINERS as u64)).expect("few");
            let name = self.names[at].clone();
            if self.act(&name).is_none() {
                // No daemon: it will come back.
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn act(&mut self, name: &str) -> Option<()> {
        let path = |rest: &str| format!("/containers/{name}{rest}");
        match self.random.below(20) {
            0..4 => self.create(name),
            4..9 => self.post(&path("/start")),
            9 => self.post(&path("/stop?t=0")),
            10 => self.post(&path("/stop?t=1")),
            11 => self.post(&path("/kill?signal=KILL")),
            12 => self.post(&path("/restart?t=0")),
            13 => self.post(&path("/pause")),
            14 => self.post(&path("/unpause")),
            15 => self.exec(name),
            16 => self.send("GET", &path("/logs?stdout=1"), &Value::Null),
            17 => self.send("DELETE", &path(""), &Value::Null),
            _ => self.send("DELETE", &path("?force=1&v=1"), &Value::Null),
        }
    }

    fn create(&mut self, name: &str) -> Option<()> {
        let policy = self
            .random
            .of(&["no", "no", "no", "on-failure", "unless-stopped"]);
        let auto_remove = policy == "no" && self.random.below(4) == 0;
        let tty = self.random.below(3) == 0;
        let body = json!({
            "Image": "busybox", "Cmd": ["sh", "-c", script(&mut self.random)],
            "Env": [format!("NAME={name}")], "Tty": tty, "Volumes": {"/data": {}},
            "HostConfig": {
                "NetworkMode": "none", "AutoRemove": auto_remove,
                "RestartPolicy": {"Name": policy},
                "Binds": [format!("{}:/notes", self.notes.display())],
            },
        });
        self.send("POST", &format!("/containers/create?name={name}"), &body)
    }

    fn exec(&self, name: &str) -> Option<()> {
        let body = json!({"Cmd": ["sh", "-c", "echo out; exit 3"]}).to_string();
        let path = format!("/containers/{name}/exec");
        let made = self
            .http
            .attempt("POST", &path, "application/json", body.as_bytes())?;
        if made.status != 201 {
            return Some(());
        }
        let made: Value = serde_json::from_str(&made.text).expect("JSON");
        let id = made["Id"].as_str().expect("an id");
        self.send(
            "POST",
            &format!("/exec/{id}/start"),
            &json!({"Detach": true}),
        )
    }

    fn post(&self, path: &str) -> Option<()> {
        self.send("POST", path, &Value::Null)
    }

    /// `None` when there was no daemon, or it died on it. Whatever is refused says why.
    fn send(&self, method: &str, path: &str, body: &Value) -> Option<()> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = self
            .http
            .attempt(method, path, "application/json", body.as_bytes())?;
        if answer.status >= 400 {
            let said: Result<Value, _> = serde_json::from_str(&answer.text);
            let told = said.is_ok_and(|said| said["message"].is_string());
            // One that dies while it answers cuts the answer off.
            assert!(
                told || !self.http.answers(),
                "{method} {path}: {}",
                answer.text
            );
            assert!(
                answer.status < 500 || told,
                "{method} {path}: {}",
                answer.text
            );
        }
        Some(())
    }
}

/// The codes that containers noted themselves are the ones that are shown, unless they were killed.
fn check_codes(d: &Daemon, notes: &Path) {
    let listed = d.http.get("/containers/json?all=1").expect(200).json();
    for row in listed.as_array().expect("a list") {
        let name = row["Names"][0]
            .as_str()
            .expect("a name")
            .trim_start_matches('/');
        let answer = d.http.get(&format!("/containers/{name}/json"));
        if answer.status == 404 {
            continue;
        }
        let state = &answer.json()["State"];
        if state["Status"] != "exited" {
            continue;
        }
        let code = state["ExitCode"].as_i64().expect("a number");
        let noted = std::fs::read_to_string(notes.join(name)).unwrap_or_default();
        let noted: Vec<i64> = noted.lines().filter_map(|line| line.parse().ok()).collect();
        let logs = || {
            let path = format!("/containers/{name}/logs?stdout=1&stderr=1&tail=5");
            d.http.get(&path).text()
        };
        // runc's own first process, not yet the container's, ends with 2 by a SIGTERM: Go raises the
        // signal again, which a first process does not die of, and gives up (dieFromSignal).
        let was_killed = matches!(code, 137 | 143) || (code == 2 && logs().is_empty());
        // A start that was given up has the daemon's own code and words.
        let never_ran = state["Error"] != "" && matches!(code, 125..=128);
        assert!(
            was_killed || never_ran || noted.last() == Some(&code),
            "{name} ended with {code} and noted {noted:?}: {state}\n{:?}\n{}",
            logs(),
            d.log_of(row["Id"].as_str().expect("an id"))
        );
    }
}

/// Processes that are nobody's business.
struct Canaries(Vec<std::process::Child>);

impl Canaries {
    fn new() -> Self {
        let canary = || std::process::Command::new("sleep").arg("100000").spawn();
        Self((0..3).map(|_| canary().expect("sleep(1) runs")).collect())
    }

    fn expect_alive(&mut self) {
        for canary in &mut self.0 {
            let ended = canary.try_wait().expect("it is our child");
            assert_eq!(ended, None, "a process of somebody else was killed");
        }
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        for canary in &mut self.0 {
            let _ = canary.kill();
            let _ = canary.wait();
        }
    }
}

#[test]
fn killed_at_random_under_load() {
    let kills = match std::env::var_os("MOORED_SOAK") {
        Some(_) => 1000,
        None => 50,
    };
    let mut random = Random::seeded();
    let mut d = daemon();
    let mut canaries = Canaries::new();
    let notes = d.root().join("notes");
    std::fs::create_dir(&notes).expect("a directory in ours");
    let enough = std::sync::Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let names = (0..CONTAINERS).map(|n| format!("w{client}-{n}")).collect();
            let worker = Worker {
                http: d.http.clone(),
                random: random.another(),
                names,
                notes: notes.clone(),
            };
            let enough = enough.clone();
            std::thread::spawn(move || worker.run(&enough))
        })
        .collect();
    let mut told = truth::Told::default();
    let mut seen = BTreeMap::<String, usize>::new();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(random.below(400)));
        d.kill9();
        std::thread::sleep(Duration::from_millis(random.below(50)));
        d.restart();
        told.check(&d);
        check_codes(&d, &notes);
        canaries.expect_alive();
        let listed = d.http.get("/containers/json?all=1").expect(200).json();
        for row in listed.as_array().expect("a list") {
            let state = row["State"].as_str().expect("text");
            *seen.entry(state.to_owned()).or_default() += 1;
        }
        if workers.iter().any(std::thread::JoinHandle::is_finished) {
            break;
        }
    }
    enough.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().expect("it found nothing wrong");
    }
    eprintln!("containers seen after deaths: {seen:?}");
    eprintln!("{kills} kills; {} events", told.last());
    assert!(
        seen.contains_key("running") && seen.contains_key("exited"),
        "{seen:?}"
    );
    truth::check(&d);
    check_codes(&d, &notes);
    d.finish();
}
