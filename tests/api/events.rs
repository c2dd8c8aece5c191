//! Events: Docker's actions and attributes in Docker's order, filters, times and numbers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use testkit::{query, until};

use crate::daemon;

/// `container start`, and what the event says beside the container's name and image.
fn told(event: &Value) -> String {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut line = format!("{} {}", text(&event["Type"]), text(&event["Action"]));
    let attributes = event["Actor"]["Attributes"].as_object().expect("a map");
    for (key, value) in attributes {
        if !["name", "image", "container", "execID", "execDuration"].contains(&key.as_str()) {
            line.push_str(&format!(" {key}={}", text(value)));
        }
    }
    line
}

fn all_told(events: &[Value]) -> Vec<String> {
    events.iter().map(told).collect()
}

#[test]
fn the_life_of_a_container_in_dockers_order() {
    let d = daemon();
    let mut stream = d.http.events("/events");
    let body = json!({
        "Cmd": ["sh", "-c", "trap '' TERM; while :; do sleep 0.01; done"],
        "Labels": {"tier": "front"}, "Tty": true, "OpenStdin": true,
        "HostConfig": {"Binds": ["data:/data:ro"]},
    });
    d.create("it", body);
    let mut attached = d
        .http
        .hijack("/containers/it/attach?stream=1&stdin=1&stdout=1", true);
    d.start_container("it");
    d.http.post("/containers/it/resize?h=24&w=80").expect(200);
    d.http.get("/containers/it/top").expect(200);
    d.http.post("/containers/it/pause").expect(204);
    d.http.post("/containers/it/unpause").expect(204);
    d.http.post("/containers/it/rename?name=that").expect(204);
    d.http.post("/containers/that/kill?signal=URG").expect(204);
    attached.write([0x10, 0x11]);
    attached.read_to_end();
    d.http.post("/containers/that/restart?t=0").expect(204);
    d.http.post("/containers/that/stop?t=1").expect(204);
    d.http.delete("/containers/that?v=1").expect(204);
    d.http.delete("/volumes/data").expect(204);
    let events = stream.up_to("destroy");
    let id = events[1]["Actor"]["ID"].as_str().expect("an id");
    for event in events.iter().filter(|e| e["Type"] == "container") {
        assert_eq!(event["Actor"]["ID"], id);
        assert_eq!(event["id"], id);
        assert_eq!(event["status"], event["Action"]);
        assert_eq!(event["from"], "busybox:latest");
        assert_eq!(event["scope"], "local");
        assert_eq!(event["Actor"]["Attributes"]["image"], "busybox:latest");
        let nanos = event["timeNano"].as_i64().expect("a number");
        assert_eq!(event["time"], nanos / 1_000_000_000);
    }
    let expected = [
        "volume create driver=local",
        "container create tier=front",
        "container attach tier=front",
        "volume mount destination=/data driver=local propagation= read/write=false",
        "container start tier=front",
        "container resize height=24 tier=front width=80",
        "container top tier=front",
        "container pause tier=front",
        "container unpause tier=front",
        "container rename oldName=/it tier=front",
        "container kill signal=23 tier=front",
        "container detach tier=front",
        "container kill signal=9 tier=front",
        "volume unmount driver=local",
        "container die exitCode=137 tier=front",
        "container stop tier=front",
        "volume mount destination=/data driver=local propagation= read/write=false",
        "container start tier=front",
        "container restart tier=front",
        "container kill signal=15 tier=front",
        "container kill signal=9 tier=front",
        "volume unmount driver=local",
        "container die exitCode=137 tier=front",
        "container stop tier=front",
        "container destroy tier=front",
    ];
    assert_eq!(all_told(&events), expected);
    drop(stream);
    d.finish();
}

#[test]
fn ends_of_every_kind() {
    let d = daemon();
    let mut events = d
        .http
        .events("/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D");
    // One that ends by itself and is removed with it.
    let auto = json!({"Cmd": ["sh", "-c", "exit 3"], "HostConfig": {"AutoRemove": true}});
    d.create("one", auto);
    d.start_container("one");
    let by_itself = ["create", "start", "die exitCode=3", "destroy"];
    let all = all_told(&events.up_to("destroy"));
    assert_eq!(all, by_itself.map(|e| format!("container {e}")));
    // One that is removed while it runs.
    d.run_detached("two", json!({"Cmd": ["sleep", "1000"]}));
    d.http.delete("/containers/two?force=1").expect(204);
    let by_force = [
        "create",
        "start",
        "kill signal=9",
        "die exitCode=137",
        "destroy",
    ];
    let all = all_told(&events.up_to("destroy"));
    assert_eq!(all, by_force.map(|e| format!("container {e}")));
    // One whose command is not there never ran.
    d.create("three", json!({"Cmd": ["/no/such"]}));
    d.http.post("/containers/three/start").error(400);
    d.http.delete("/containers/three").expect(204);
    let all = all_told(&events.up_to("destroy"));
    assert_eq!(all, ["container create", "container destroy"]);
    d.http.post("/containers/prune").expect(200);
    let all = all_told(&events.up_to("prune"));
    assert_eq!(all, ["container prune reclaimed=0"]);
    drop(events);
    d.finish();
}

#[test]
fn sessions_images_and_volumes() {
    let d = daemon();
    let id = d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    let mut events = d.http.events("/events");
    let made = d.http.post_json(
        &format!("/containers/{id}/exec"),
        &json!({"Cmd": ["sh", "-c", "exit 4"], "AttachStdout": true}),
    );
    let exec = made.expect(201).json()["Id"].clone();
    let path = format!("/exec/{}/start", exec.as_str().expect("an id"));
    d.http.hijack_json(&path, &json!({}), true).read_to_end();
    let session = events.up_to("exec_die");
    assert_eq!(
        all_told(&session),
        [
            "container exec_create: sh -c exit 4",
            "container exec_start: sh -c exit 4",
            "container exec_die exitCode=4"
        ]
    );
    for event in &session {
        assert_eq!(event["Actor"]["ID"], id);
        assert_eq!(event["Actor"]["Attributes"]["execID"], exec);
        assert_eq!(event["Actor"]["Attributes"]["name"], "it");
    }
    d.http
        .post("/images/busybox/tag?repo=other&tag=1")
        .expect(201);
    d.http.delete("/images/other:1").expect(200);
    let image = events.up_to("untag");
    assert_eq!(image[0]["Actor"]["Attributes"]["name"], "other:1");
    let digest = image[1]["Actor"]["ID"].as_str().expect("an id");
    assert!(digest.starts_with("sha256:"), "{digest}");
    assert_eq!(image[1]["Actor"]["Attributes"]["name"], digest);
    assert_eq!(image[1]["status"], "untag");
    d.http
        .post_json("/volumes/create", &json!({"Name": "vol"}))
        .expect(201);
    d.http.delete("/volumes/vol").expect(204);
    let volume = events.up_to("destroy");
    assert_eq!(volume[0]["Actor"]["ID"], "vol");
    let told = all_told(&volume);
    assert_eq!(
        told,
        ["volume create driver=local", "volume destroy driver=local"]
    );
    assert_eq!(volume[0].get("status"), None);
    drop(events);
    d.finish();
}

#[test]
fn filters_and_times_choose() {
    let d = daemon();
    let before = seconds();
    d.run("one", json!({"Cmd": ["true"], "Labels": {"a": "b"}}));
    let between = seconds();
    d.run("two", json!({"Cmd": ["false"]}));
    let after = seconds();
    let past = |filters: Value, since: &str, until: &str| {
        let filters = filters.to_string();
        let pairs = [
            ("filters", filters.as_str()),
            ("since", since),
            ("until", until),
        ];
        let events = d.http.events(&query("/events", &pairs)).rest();
        let name = |e: &Value| format!("{} {}", e["Action"], e["Actor"]["Attributes"]["name"]);
        let names = events.iter().map(name);
        names.map(|text| text.replace('"', "")).collect::<Vec<_>>()
    };
    let both = [
        "create one",
        "start one",
        "die one",
        "create two",
        "start two",
        "die two",
    ];
    let container = json!({"type": ["container"]});
    assert_eq!(past(container.clone(), &before, &after), both);
    assert_eq!(past(container.clone(), &between, &after), both[3..]);
    assert_eq!(past(container.clone(), &before, &between), both[..3]);
    // Docker's two spellings of filters; values are alternatives, keys are not.
    let event = json!({"event": {"die": true, "start": true}, "container": ["two"]});
    assert_eq!(past(event, &before, &after), ["start two", "die two"]);
    let label = json!({"label": ["a=b"], "event": ["die"]});
    assert_eq!(past(label, &before, &after), ["die one"]);
    let image = json!({"image": ["busybox"], "event": ["create"]});
    assert_eq!(past(image, &before, &after), ["create one", "create two"]);
    assert_eq!(
        past(json!({"container": ["nosuch"]}), &before, &after),
        [""; 0]
    );
    // Without a beginning: all there is, up to the end.
    assert_eq!(past(container, "", &between), both[..3]);
    d.http
        .get("/events?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D")
        .expect_error(400, "invalid filter 'nosuch'");
    d.http
        .get("/events?since=7&until=5")
        .expect_error(400, "`since` time (7) cannot be after `until` time (5)");
    d.http.get("/events?since=yesterday").error(400);
    d.finish();
}

/// Now, as the docker CLI sends it.
fn seconds() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970");
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

#[test]
fn a_stream_ends_at_its_time_and_with_its_client() {
    let d = daemon();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let soon = now.expect("after 1970").as_secs() + 2;
    let mut events = d.http.events(&format!("/events?until={soon}"));
    d.http
        .post_json("/volumes/create", &json!({"Name": "vol"}))
        .expect(201);
    let last = events.rest();
    assert_eq!(last.last().expect("one")["Action"], "create");
    // Idle clients that leave are noticed, though nothing is written to them.
    let listeners = || d.http.get("/info").expect(200).json()["NEventsListener"].clone();
    let idle: Vec<_> = (0..10).map(|_| d.http.events("/events")).collect();
    assert_eq!(listeners(), 10);
    drop(idle);
    until("they are let go", || listeners() == 0);
    drop(events);
    d.finish();
}

#[test]
fn numbers_lead_on_from_anywhere() {
    let d = daemon();
    let make = |n: u32| {
        let body = json!({"Name": format!("v{n}")});
        d.http.post_json("/volumes/create", &body).expect(201);
    };
    let number = |event: &Value| event["number"].as_u64().expect("a number");
    let mut live = d.http.events("/moored/events");
    let began = live.began_at();
    assert_eq!(d.http.events("/events").began_at(), began);
    (0..5).for_each(make);
    let seen: Vec<Value> = (0..5).map(|_| live.next_event().expect("one")).collect();
    let numbers: Vec<u64> = seen.iter().map(number).collect();
    assert_eq!(numbers, (began + 1..=began + 5).collect::<Vec<_>>());
    assert!(live.is_waiting());
    // From the middle: what is left, then what comes.
    let mut later = d
        .http
        .events(&format!("/moored/events?since={}", began + 3));
    assert_eq!(later.next_event().as_ref(), Some(&seen[3]));
    assert_eq!(later.next_event().as_ref(), Some(&seen[4]));
    make(5);
    assert_eq!(number(&later.next_event().expect("one")), began + 6);
    // One of another ledger, perhaps: waiting for it would miss all before.
    let said = d.http.get("/moored/events?since=99999999").error(400);
    assert!(said.starts_with("there is no event 99999999 yet"), "{said}");
    make(6);
    // Those that Docker's clients get have none.
    let docker = d.http.events("/events?since=1&until=2000000000");
    drop(docker);
    let path = query("/events", &[("since", "1"), ("until", &seconds())]);
    let plain = d.http.events(&path).rest();
    assert!(plain.len() >= 7 && plain.iter().all(|e| e.get("number").is_none()));
    d.http.get("/moored/events?since=-1").error(400);
    drop((live, later));
    d.finish();
}

/// Who hears of a change finds it made.
#[test]
fn what_is_told_is_so() {
    let d = daemon();
    let follower = d.http.clone();
    let path = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D";
    let mut events = follower.events(path);
    // The makings that were looked at; whoever removes one waits for that.
    let looked_at = Arc::new(Mutex::new(HashSet::new()));
    let looking = looked_at.clone();
    let remove = |name: &str| {
        until("its making was looked at", || {
            looked_at.lock().expect("nobody panicked").contains(name)
        });
        let path = format!("/containers/{name}?v=1");
        d.http.delete(&path).expect(204);
    };
    let watching = std::thread::spawn(move || {
        let mut seen = 0;
        loop {
            let event = events.next_event().expect("more");
            let attributes = &event["Actor"]["Attributes"];
            let name = attributes["name"].as_str().expect("a name");
            let shown = follower.get(&format!("/containers/{name}/json"));
            let status = || shown.json()["State"]["Status"].clone();
            match event["Action"].as_str().expect("text") {
                "create" => {
                    assert_eq!(shown.status, 200, "{event}");
                    let name = name.to_owned();
                    looking.lock().expect("nobody panicked").insert(name);
                }
                // It may have ended, and may be gone, by now.
                "start" if shown.status == 200 => assert_ne!(status(), "created", "{event}"),
                "die" if shown.status == 200 => assert_ne!(status(), "running", "{event}"),
                "destroy" if name == "last" => return seen,
                "destroy" => assert_eq!(shown.status, 404, "{event}"),
                _ => {}
            }
            seen += 1;
        }
    });
    std::thread::scope(|scope| {
        for lane in 0..4 {
            let (d, remove) = (&d, &remove);
            scope.spawn(move || {
                for n in 0..8 {
                    let name = format!("lane-{lane}-{n}");
                    d.create(&name, json!({"Cmd": ["true"], "Volumes": {"/data": {}}}));
                    d.start_container(&name);
                    d.wait(&name);
                    remove(&name);
                }
            });
        }
    });
    d.create("last", json!({"Cmd": ["true"]}));
    remove("last");
    assert_eq!(watching.join().expect("all was so"), 4 * 8 * 4 + 1);
    d.finish();
}

#[test]
fn a_volume_is_made_once() {
    let d = daemon();
    let only = "/events?filters=%7B%22type%22%3A%5B%22volume%22%5D%7D";
    let mut events = d.http.events(only);
    let binds = json!({"Binds": ["data:/a", "data:/b"]});
    d.create("it", json!({"Cmd": ["true"], "HostConfig": binds}));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let body = json!({"Name": "other"});
                d.http.post_json("/volumes/create", &body).expect(201)
            });
        }
    });
    d.http.delete("/containers/it").expect(204);
    for name in ["data", "other"] {
        d.http.delete(&format!("/volumes/{name}")).expect(204);
    }
    let told: Vec<String> = (0..4)
        .map(|_| told(&events.next_event().expect("one")))
        .collect();
    let [create, destroy] = ["volume create driver=local", "volume destroy driver=local"];
    assert_eq!(told, [create, create, destroy, destroy]);
    assert!(events.is_waiting());
    drop(events);
    d.finish();
}

#[test]
fn out_of_memory_is_told_before_the_end() {
    let d = daemon();
    let mut stream = d
        .http
        .events("/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D");
    let body = json!({
        "Cmd": ["sh", "-c", "x=1; while :; do x=$x$x$x$x; done"],
        "HostConfig": {"Memory": 8 << 20, "MemorySwap": 8 << 20},
    });
    d.run("hungry", body);
    let events = stream.up_to("die");
    let actions: Vec<_> = events
        .iter()
        .map(|e| e["Action"].as_str().expect("text"))
        .collect();
    assert_eq!(actions, ["create", "start", "oom", "die"]);
    drop(stream);
    d.finish();
}
