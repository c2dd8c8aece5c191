//! Containers come, go and move between networks, at random, and the daemon is killed at random moments.

use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::Client;

use super::{daemon, make_network, remove, truth};
use crate::search::seed::Random;

const CLIENTS: usize = 3;
const NETWORKS: [&str; 4] = ["bridge", "one", "two", "three"];

/// A client with two containers of its own.
struct Worker<'a> {
    http: Client,
    random: Random,
    names: [String; 2],
    /// Taken for reading while something is asked for.
    pause: &'a RwLock<()>,
    cycles: &'a AtomicUsize,
    enough: usize,
}

impl Worker<'_> {
    /// Asks for one thing; whatever is answered, if anything.
    fn ask(&self, method: &str, path: &str, body: &Value) {
        let _at_work = self.pause.read().expect("nobody panicked");
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = self
            .http
            .attempt(method, path, "application/json", body.as_bytes());
        if let Some(answer) = answer.filter(|answer| answer.status == 500) {
            // Not: another's address, port or interface was in the way.
            let in_the_way = ["in use", "allocated", "exists", "netavark"];
            assert!(
                !in_the_way.iter().any(|word| answer.text.contains(word)),
                "{method} {path}: {}",
                answer.text
            );
        }
    }

    fn run(mut self, port: usize) {
        while self.cycles.fetch_add(1, Ordering::Relaxed) < self.enough {
            let name = self.random.of(&[0, 1]);
            let port = (port + name).to_string();
            let name = self.names[name].clone();
            let network = self.random.of(&NETWORKS);
            let body = json!({
                "Image": "busybox", "Cmd": ["sleep", "1000"], "ExposedPorts": {"80/tcp": {}},
                "HostConfig": {"NetworkMode": network,
                    "PortBindings": {"80/tcp": [{"HostPort": port}]}},
            });
            self.ask("POST", &format!("/containers/create?name={name}"), &body);
            self.ask("POST", &format!("/containers/{name}/start"), &Value::Null);
            for _ in 0..self.random.below(4) {
                let network = self.random.of(&NETWORKS);
                let verb = self.random.of(&["connect", "disconnect"]);
                let body = json!({"Container": name});
                self.ask("POST", &format!("/networks/{network}/{verb}"), &body);
            }
            match self.random.below(4) {
                0 => self.ask(
                    "POST",
                    &format!("/containers/{name}/stop?t=0"),
                    &Value::Null,
                ),
                1 => self.ask(
                    "POST",
                    &format!("/containers/{name}/restart?t=0"),
                    &Value::Null,
                ),
                _ => self.ask(
                    "DELETE",
                    &format!("/containers/{name}?force=1"),
                    &Value::Null,
                ),
            }
        }
    }
}

#[test]
fn killed_at_random_while_networks_come_and_go() {
    let (cycles, kills) = match std::env::var_os("MOORED_SOAK") {
        Some(_) => (1000, 100),
        None => (40, 6),
    };
    let mut random = Random::seeded();
    let mut d = daemon();
    for name in &NETWORKS[1..] {
        make_network(&d, name);
    }
    let (pause, done) = (RwLock::new(()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let worker = Worker {
                http: d.http.clone(),
                random: random.another(),
                names: [0, 1].map(|n| format!("w{client}-{n}")),
                pause: &pause,
                cycles: &done,
                enough: cycles,
            };
            scope.spawn(move || worker.run(18080 + client * 2));
        }
        for kill in 0..kills {
            std::thread::sleep(Duration::from_millis(random.below(2000)));
            d.kill9();
            let _all_wait = pause.write().expect("nobody panicked");
            d.restart();
            truth::expect(&d, &format!("after {} kills", kill + 1));
        }
    });
    truth::expect(&d, "at the end");
    for client in 0..CLIENTS {
        for n in 0..2 {
            remove(&d, &format!("w{client}-{n}"));
        }
    }
    for name in &NETWORKS[1..] {
        d.http.delete(&format!("/networks/{name}")).expect(204);
    }
    truth::expect(&d, "with nothing");
    d.finish();
}
