//! Volumes and limits, made, used and removed while the daemon is killed again and again: what was
//! written to a volume with a name is there, and nothing else is left.
//!
//! `MOORED_SEED=number` makes the same choices again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Attempt, Client, Daemon, until};

use crate::daemon;
use crate::search::seed::Random;
use crate::search::truth;

/// Clients at work, each with volumes of its own.
const CLIENTS: usize = 3;

/// One client: each cycle makes containers with all kinds of volumes and limits, and removes them.
struct Worker {
    http: Client,
    random: Random,
    number: usize,
    /// What containers have written is noted here, on the host.
    notes: PathBuf,
}

impl Worker {
    fn run(mut self, cycles: &AtomicUsize, wanted: usize) -> Self {
        while cycles.fetch_add(1, Ordering::Relaxed) < wanted {
            self.cycle();
        }
        self
    }

    fn names(&self) -> [String; 2] {
        ["a", "b"].map(|which| format!("{which}{}", self.number))
    }

    /// Asks until a daemon has answered.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Attempt {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        loop {
            let answer = self
                .http
                .attempt(method, path, "application/json", body.as_bytes());
            // One that dies while it answers cuts the answer off; what answers HEAD has no text.
            match answer {
                Some(answer) if answer.status < 300 || method == "HEAD" => return answer,
                Some(answer) if answer.text.contains("\"message\"") => return answer,
                Some(answer) => assert!(!self.http.answers() || answer.status < 400, "{answer:?}"),
                None => {}
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn post(&self, path: &str) -> Attempt {
        self.ask("POST", path, &Value::Null)
    }

    fn user(&mut self) -> Value {
        let n = self.number;
        let mark = self.random.below(1 << 40);
        let script = format!(
            "echo {mark} >> /data/log && echo {mark} >> /part/log && echo {mark} >> /host/log \
             && echo {mark} >> /notes/{n}; echo > /memory/file; echo > /anon/file"
        );
        let host = json!({"type": "none", "device": "/srv/host", "o": "bind"});
        let in_memory = json!({"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=1777"});
        let volume = |name: String, at: &str, options: Value| json!({"Type": "volume", "Source": name, "Target": at, "VolumeOptions": options});
        let mut host = host;
        host["device"] = json!(
            self.notes
                .with_file_name(format!("host{n}"))
                .display()
                .to_string()
        );
        let limits = self.random.of(&["", "mem", "pids"]);
        json!({
            "Image": "busybox", "Cmd": ["sh", "-c", script], "Volumes": {"/anon": {}},
            "HostConfig": {
                "NetworkMode": "none",
                "UsernsMode": self.random.of(&["", "", "0:300000:65536"]),
                "Memory": if limits == "mem" { 64 << 20 } else { 0 },
                "PidsLimit": if limits == "pids" { 20 } else { 0 },
                "CpuShares": self.random.of(&[0, 512]),
                "Binds": [format!("{}:/notes", self.notes.display()), format!("data{n}:/data")],
                "Mounts": [
                    volume(format!("data{n}"), "/part", json!({"Subpath": "part"})),
                    volume(format!("host{n}"), "/host", json!({"DriverConfig": {"Options": host}})),
                    volume(format!("memory{n}"), "/memory", json!({"DriverConfig": {"Options": in_memory}})),
                ],
            },
        })
    }

    fn cycle(&mut self) {
        let [one, two] = self.names();
        let user = self.user();
        for name in [&one, &two] {
            self.remove(name, "?force=1&v=1");
        }
        self.ask("POST", &format!("/containers/create?name={one}"), &user);
        let borrows = json!({"Image": "busybox", "Cmd": ["sleep", "0.05"], "HostConfig": {
            "NetworkMode": "none", "VolumesFrom": [one]}});
        self.ask("POST", &format!("/containers/create?name={two}"), &borrows);
        self.post(&format!("/containers/{two}/start"));
        self.post(&format!("/containers/{one}/start"));
        match self.random.below(4) {
            0 => {
                self.post(&format!("/containers/{one}/kill"));
            }
            1 => {
                self.post("/volumes/prune");
            }
            2 => {
                let path = format!("/volumes/memory{}", self.number);
                self.ask("DELETE", &path, &Value::Null);
            }
            _ => {
                let path = format!("/containers/{one}/archive?path=/data");
                self.ask("HEAD", &path, &Value::Null);
            }
        }
        self.post(&format!("/containers/{one}/wait"));
        for name in [&two, &one] {
            self.remove(name, self.random.clone().of(&["?v=1", "?force=1&v=1"]));
        }
    }

    fn remove(&self, name: &str, how: &str) {
        self.ask("DELETE", &format!("/containers/{name}{how}"), &Value::Null);
    }
}

/// What containers noted is in the file, in the order in which it was noted; between it may be what one
/// has written that was killed before it noted that.
fn expect_written(file: &Path, notes: &Path) {
    let lines = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let written = lines(file);
    let mut rest = written.iter();
    for note in lines(notes) {
        let found = rest.any(|line| *line == note);
        assert!(found, "{}: {note} is lost", file.display());
    }
}

/// Volumes of whom nobody has any more: those without a name, and their directories.
fn expect_only_named(d: &Daemon) {
    let list = d.http.get("/volumes").expect(200).json();
    let list = list["Volumes"].as_array().expect("a list").iter();
    let mut names: Vec<String> = list
        .map(|volume| volume["Name"].as_str().expect("text").to_owned())
        .collect();
    assert!(names.iter().all(|name| name.len() < 64), "{names:?}");
    names.sort();
    let on_disk = || {
        let dir = fs::read_dir(d.root().join("data/volumes")).expect("it is there");
        let mut found: Vec<String> = dir
            .map(|entry| entry.expect("it can be read").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        found.sort();
        found
    };
    until("what was removed is gone", || on_disk() == names);
    let parts = fs::read_dir(d.root().join("run/parts"));
    assert_eq!(parts.map_or(0, Iterator::count), 0);
}

#[test]
fn killed_while_volumes_come_and_go() {
    let (cycles, kills) = match std::env::var_os("MOORED_SOAK") {
        Some(_) => (1000, 100),
        None => (30, 6),
    };
    let mut random = Random::seeded();
    let mut d = daemon();
    let notes = d.root().join("notes");
    fs::create_dir(&notes).expect("ours");
    for n in 0..CLIENTS {
        fs::create_dir(d.root().join(format!("host{n}"))).expect("ours");
        let volume = json!({"Name": format!("data{n}")});
        d.http.post_json("/volumes/create", &volume).expect(201);
        let data = d.root().join(format!("data/volumes/data{n}/_data"));
        fs::create_dir(data.join("part")).expect("ours");
    }
    let done = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let worker = Worker {
                http: d.http.clone(),
                random: random.another(),
                number,
                notes: notes.clone(),
            };
            let done = done.clone();
            std::thread::spawn(move || worker.run(&done, cycles))
        })
        .collect();
    let mut killed = 0;
    while workers.iter().any(|worker| !worker.is_finished()) {
        std::thread::sleep(Duration::from_millis(5));
        // Spread over all the cycles.
        if killed < kills && done.load(Ordering::Relaxed) * kills >= cycles * killed {
            std::thread::sleep(Duration::from_millis(random.below(300)));
            d.kill9();
            d.restart();
            truth::check_state(&d, false);
            killed += 1;
        }
    }
    for (n, worker) in workers.into_iter().enumerate() {
        let worker = worker.join().expect("no panic");
        let data = d.root().join(format!("data/volumes/data{n}/_data"));
        let notes = notes.join(n.to_string());
        for file in [
            data.join("log"),
            data.join("part/log"),
            d.root().join(format!("host{n}/log")),
        ] {
            expect_written(&file, &notes);
        }
        let noted = fs::read_to_string(&notes).unwrap_or_default();
        eprintln!("client {n}: {} noted", noted.lines().count());
        assert!(!noted.is_empty(), "client {n} has got nothing done");
        for name in worker.names() {
            let gone = d.http.delete(&format!("/containers/{name}?force=1&v=1"));
            assert!(matches!(gone.status, 204 | 404 | 409), "{}", gone.text());
        }
    }
    until("all containers are gone", || {
        let list = d.http.get("/containers/json?all=1").expect(200).json();
        list == json!([])
    });
    expect_only_named(&d);
    d.finish();
}
