//! The machine loses its power: what was answered is on the disk, what ran has ended and is told so,
//! policies start what they should, and images are whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde_json::{Value, json};
use testkit::{Client, Daemon, Image, TarBuilder, until};

use crate::options;
use crate::search::truth;

const DISK_BYTES: u64 = 256 << 20;
const JSON: &str = "application/json";

/// What the daemon has answered: it must be so after the power came back.
#[derive(Debug, Default)]
struct Answered {
    /// Containers that are there, and those that are gone.
    containers: BTreeMap<String, bool>,
    volumes: Vec<String>,
    tags: Vec<String>,
}

/// Changes one thing after the other, and notes what was answered, until there is no daemon.
fn work(http: &Client, answered: &Mutex<Answered>, from: usize) {
    let ask = |method: &str, path: &str, body: Value| {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        http.attempt(method, path, JSON, body.as_bytes())
    };
    let note = |what: &dyn Fn(&mut Answered)| what(&mut answered.lock().expect("no panic"));
    for n in from.. {
        let name = format!("work{n}");
        let body =
            json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}});
        let path = format!("/containers/create?name={name}");
        let Some(made) = ask("POST", &path, body) else {
            return;
        };
        assert_eq!(made.status, 201, "{}", made.text);
        note(&|a| _ = a.containers.insert(name.clone(), true));
        let volume = json!({"Name": format!("vol{n}")});
        let Some(_) = ask("POST", "/volumes/create", volume) else {
            return;
        };
        note(&|a| a.volumes.push(format!("vol{n}")));
        if n % 3 == 0 {
            let Some(_) = ask(
                "POST",
                &format!("/images/busybox/tag?repo=tag{n}"),
                Value::Null,
            ) else {
                return;
            };
            note(&|a| a.tags.push(format!("tag{n}")));
        }
        if n % 2 == 0 {
            // In between it is neither.
            note(&|a| _ = a.containers.remove(&name));
            let Some(gone) = ask("DELETE", &format!("/containers/{name}"), Value::Null) else {
                return;
            };
            assert_eq!(gone.status, 204, "{}", gone.text);
            note(&|a| _ = a.containers.insert(name.clone(), false));
        }
    }
}

fn expect_all(d: &Daemon, answered: &Answered) {
    for (name, is_there) in &answered.containers {
        let shown = d.http.get(&format!("/containers/{name}/json"));
        assert_eq!(shown.status == 200, *is_there, "{name}: {}", shown.text());
    }
    for volume in &answered.volumes {
        d.http.get(&format!("/volumes/{volume}")).expect(200);
    }
    for tag in &answered.tags {
        d.http.get(&format!("/images/{tag}/json")).expect(200);
    }
    // What was told of is what was answered.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let until = now.expect("it is later").as_secs() + 1;
    let mut events = d.http.events(&format!("/events?since=1&until={until}"));
    let mut told = BTreeSet::new();
    while let Some(event) = events.next_event() {
        let name = event["Actor"]["Attributes"]["name"].as_str();
        let action = event["Action"].as_str().expect("text");
        told.insert((name.unwrap_or_default().to_owned(), action.to_owned()));
    }
    for (name, is_there) in &answered.containers {
        for action in ["create", "destroy"]
            .iter()
            .take(2 - usize::from(*is_there))
        {
            let event = (name.clone(), (*action).to_owned());
            assert!(told.contains(&event), "not told: {event:?}");
        }
    }
}

/// busybox and a layer of its own.
fn image(name: &str, content: &str) -> Vec<u8> {
    let mut image = Image::with(name, &json!({}));
    let mut layer = TarBuilder::new();
    layer.file("new", 0o644, content.as_bytes());
    image.layers.push(layer.finish());
    image.docker_archive()
}

#[test]
fn what_was_answered_outlives_a_loss_of_power() {
    let losses = match std::env::var_os("MOORED_SOAK") {
        Some(_) => 100,
        None => 5,
    };
    let mut d = Daemon::start(options().data_root_on_disk_of_bytes(DISK_BYTES));
    let sleep = json!({"Cmd": ["sleep", "1000"]});
    d.run_detached("plain", sleep.clone());
    let mut always = sleep;
    always["HostConfig"] = json!({"RestartPolicy": {"Name": "always"}});
    d.run_detached("policy", always);
    let answered = Arc::new(Mutex::new(Answered::default()));
    for loss in 0..losses {
        let (name, content) = (format!("image{loss}"), format!("{loss} ").repeat(100_000));
        let image = image(&name, &content);
        let worker = {
            let (http, answered) = (d.http.clone(), answered.clone());
            std::thread::spawn(move || work(&http, &answered, loss * 10_000))
        };
        d.http
            .send(
                "POST",
                "/images/load",
                &[("Content-Type", "application/x-tar")],
                &image,
            )
            .expect(200);
        let at = answered.lock().expect("no panic").containers.len();
        until("more is done", || {
            answered.lock().expect("no panic").containers.len() > at + 4
        });
        d.lose_power();
        worker.join().expect("it found nothing wrong");
        let answered = answered.lock().expect("no panic");
        expect_all(&d, &answered);
        truth::check_state(&d, false);
        // An image that was loaded is whole.
        let seen = d.run(
            &format!("run{loss}"),
            json!({"Image": name, "Cmd": ["cat", "/new"]}),
        );
        assert!(seen.output.stdout == content, "{name} is not whole");
        until("its policy starts it", || d.status("policy") == "running");
        let state = d.inspect("plain")["State"].clone();
        assert_eq!(
            (&state["Status"], &state["ExitCode"]),
            (&json!("exited"), &json!(255)),
            "{state}"
        );
        d.start_container("plain");
    }
    d.finish();
}
