//! Checkpoints, as far as a host without CRIU shows them: what is refused changes nothing. What CRIU
//! does is tested in an emulated machine (`make vm`).

use serde_json::{Value, json};
use testkit::{Daemon, Fakes, Image, TarBuilder};

use crate::{daemon, options};

fn checkpoints(d: &Daemon, name: &str) -> Value {
    let path = format!("/containers/{name}/checkpoints");
    d.http.get(&path).expect(200).json()
}

fn create(d: &Daemon, name: &str, body: &Value) -> testkit::Response {
    d.http
        .post_json(&format!("/containers/{name}/checkpoints"), body)
}

#[test]
fn what_cannot_be_checkpointed_is_refused_and_goes_on() {
    let d = daemon();
    d.http.get("/containers/nosuch/checkpoints").error(404);
    d.create("rests", json!({"Cmd": ["true"]}));
    let one = json!({"CheckpointID": "one", "Exit": true});
    let said = create(&d, "rests", &one).error(409);
    assert!(said.ends_with("is not running"), "{said}");
    let said = create(&d, "rests", &json!({"CheckpointID": "../one"})).error(400);
    assert!(said.starts_with("Invalid checkpoint ID (../one)"), "{said}");
    let elsewhere = json!({"CheckpointID": "one", "CheckpointDir": "/tmp"});
    create(&d, "rests", &elsewhere).error(501);

    let sleep = json!({"Cmd": ["sleep", "1000"]});
    d.run_detached("runs", sleep.clone());
    let pid = d.init_pid("runs");
    d.http.post("/containers/runs/pause").expect(204);
    let said = create(&d, "runs", &one).error(409);
    let words = "is paused, unpause the container before checkpoint";
    assert!(said.ends_with(words), "{said}");
    d.http.post("/containers/runs/unpause").expect(204);
    let said = d
        .http
        .post("/containers/runs/start?checkpoint=one")
        .error(409);
    assert!(
        said.ends_with("is running: stop it before it is restored"),
        "{said}"
    );

    let mut terminal = sleep;
    terminal["Tty"] = json!(true);
    d.run_detached("terminal", terminal);
    let said = create(&d, "terminal", &one).error(400);
    assert_eq!(said, "checkpoint not support on containers with tty");

    // No CRIU here, or none that works on this kernel: what is said names it, and nothing is left.
    let policy = json!({"Cmd": ["sleep", "1000"],
        "HostConfig": {"RestartPolicy": {"Name": "always"}}});
    d.run_detached("policy", policy);
    for name in ["runs", "policy"] {
        let answer = create(&d, name, &one);
        if answer.status != 201 {
            let said = answer.error(500);
            let words = format!("Cannot checkpoint container {name}: ");
            assert!(said.starts_with(&words), "{said}");
            assert!(said.to_lowercase().contains("criu"), "{said}");
            assert_eq!(checkpoints(&d, name), json!([]));
            assert_eq!(d.status(name), "running");
        }
    }
    if d.status("policy") == "running" {
        // That it was to end with a checkpoint is forgotten with the checkpoint.
        assert_eq!(d.init_pid("runs"), pid);
        let init = d.init_pid("policy");
        let init = rustix::process::Pid::from_raw(init.cast_signed()).expect("a pid");
        rustix::process::kill_process(init, rustix::process::Signal::KILL).expect("it runs");
        testkit::until("its policy starts it", || {
            d.inspect("policy")["RestartCount"] == 1 && d.status("policy") == "running"
        });
    }
    d.http
        .delete("/containers/runs/checkpoints/one?x=1")
        .error(404);
    let said = d
        .http
        .post("/containers/rests/start?checkpoint=one")
        .error(404);
    assert_eq!(said, "checkpoint one does not exist for container rests");
    assert_eq!(d.status("rests"), "created");
    d.finish();
}

/// A daemon whose runtime plays CRIU's part: a dump is a page, a restore runs the bundle.
fn with_dumps(fakes: &Fakes) -> Daemon {
    let d = Daemon::start(options().fakes(fakes));
    let mut image = Image::with("with-files:latest", &json!({}));
    let mut layer = TarBuilder::new();
    layer.file("emptied/of-the-image", 0o644, b"");
    image.layers.push(layer.finish());
    d.load(&image);
    fakes.behave("runc checkpoint dump\nrunc restore anew\n");
    d
}

fn import(d: &Daemon, query: &str, archive: &[u8]) -> testkit::Response {
    let path = format!("/moored/containers/import{query}");
    d.http.send(
        "POST",
        &path,
        &[("Content-Type", "application/x-tar")],
        archive,
    )
}

const STEPS: &str = "cat /data/n /etc/made /again/n 2>/dev/null; ls /emptied; echo 1 >/data/n; \
                     echo 2 >/etc/made; rm -f /etc/group /emptied/*; echo ready; sleep 1000";
/// What a restored one, which begins anew, finds.
const FOUND: &str = "1\n2\n1\nready\n";

/// Runs, ends with the checkpoint `one`, and is exported.
fn exported(d: &Daemon, name: &str, policy: &str) -> Vec<u8> {
    let body = json!({"Cmd": ["sh", "-c", STEPS],
        "HostConfig": {"Binds": ["data:/data", "data:/again"], "Memory": 64 << 20,
            "RestartPolicy": {"Name": policy}},
        "Volumes": {"/own": {}, "/emptied": {}}, "Image": "with-files"});
    d.run_detached(name, body);
    testkit::until("it is ready", || d.logs(name).stdout.ends_with("ready\n"));
    let one = json!({"CheckpointID": "one", "Exit": true});
    create(d, name, &one).expect(201);
    assert_eq!(d.status(name), "exited");
    let answer = d.http.get(&export_path(name)).expect(200);
    assert_eq!(answer.header("content-type"), Some("application/x-tar"));
    answer.body
}

/// Starts it out of its checkpoint, and waits until it has said all.
fn restore(d: &Daemon, name: &str) {
    let start = format!("/containers/{name}/start?checkpoint=one");
    d.http.post(&start).expect(204);
    testkit::until("it is ready", || d.logs(name).stdout.ends_with("ready\n"));
}

fn export_path(name: &str) -> String {
    format!("/moored/containers/{name}/checkpoints/one/export")
}

#[test]
fn a_container_goes_to_another_daemon_with_its_files() {
    let fakes = Fakes::new();
    let first = with_dumps(&fakes);
    let archive = exported(&first, "moves", "always");
    let told = first.http.get("/moored/containers/moves/checkpoints/one");
    let told = told.expect(200).json();
    assert_eq!(told["Exit"], true);
    assert!(
        told["Size"].as_u64() > Some(0) && told["Statistics"].is_null(),
        "{told}"
    );
    let before = first.inspect("moves");

    let fakes_there = Fakes::new();
    let mut second = with_dumps(&fakes_there);
    let answer = import(&second, "", &archive).expect(201).json();
    assert_eq!(answer["Id"], before["Id"]);
    assert_eq!(answer["Checkpoint"], "one");
    let after = second.inspect("moves");
    assert_eq!(after["State"]["Status"], "exited");
    assert_eq!(after["State"]["StartedAt"], before["State"]["StartedAt"]);
    for same in ["Path", "Args", "Image", "Config", "HostConfig"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    let list = second.http.get("/containers/json?all=1").expect(200).json();
    assert_eq!(list[0]["Image"], "with-files");
    // It waits to be restored, whatever its policy.
    second.stop();
    second.restart();
    assert_eq!(second.status("moves"), "exited");
    // It has not run here: it goes on to a third just so.
    let onward = second.http.get(&export_path("moves")).expect(200).body;
    assert_eq!(onward.len(), archive.len());
    restore(&second, "moves");
    assert_eq!(second.logs("moves").stdout, FOUND);
    let removed = second.inside(after["GraphDriver"]["Data"]["MergedDir"].as_str().unwrap());
    let removed = second
        .command_inside("stat")
        .arg(removed.join("etc/group"))
        .output();
    assert!(
        !removed.unwrap().status.success(),
        "what it removed has come back"
    );

    // It has run: its files are others now, and there it is, too.
    second.http.post("/containers/moves/stop?t=0").expect(204);
    let said = second.http.get(&export_path("moves")).error(409);
    assert!(
        said.contains("export with ignoreRootFS=1 and ignoreVolumes=1"),
        "{said}"
    );
    let bare = format!("{}?ignoreRootFS=1&ignoreVolumes=1", export_path("moves"));
    assert!(second.http.get(&bare).expect(200).body.len() < archive.len());
    let said = import(&second, "?name=other", &archive).error(409);
    assert!(
        said.ends_with("is here already, or on its way: remove it first"),
        "{said}"
    );
    second.http.delete("/containers/moves?v=1").expect(204);

    // The volume is still there.
    let said = import(&second, "", &archive).error(409);
    assert_eq!(
        said,
        "there is a volume data: remove it, or import with ignoreVolumes=1"
    );
    import(
        &second,
        "?ignoreVolumes=1&ignoreRootFS=1&name=other",
        &archive,
    )
    .expect(201);
    restore(&second, "other");
    assert_eq!(second.logs("other").stdout, "1\n1\nof-the-image\nready\n");
    first.finish();
    second.finish();
}

#[test]
fn an_import_that_fails_leaves_nothing() {
    let fakes = Fakes::new();
    let d = with_dumps(&fakes);
    let archive = exported(&d, "moves", "no");
    let id = d.inspect("moves")["Id"].as_str().unwrap().to_owned();
    d.http.delete("/containers/moves?v=1").expect(204);
    d.http.delete("/volumes/data").expect(204);
    let root = d.root().join("data");
    let files = || {
        let mut found = Vec::new();
        for dir in ["containers", "volumes", "images/writable"] {
            let entries = std::fs::read_dir(root.join(dir)).unwrap();
            found.extend(entries.map(|entry| entry.unwrap().path()));
        }
        found
    };
    assert_eq!(files(), Vec::<std::path::PathBuf>::new());

    let said = import(&d, "", b"").error(400);
    assert!(said.starts_with("not an archive of a checkpoint"), "{said}");
    let said = import(&d, "", &archive[..archive.len() - 1536]).error(400);
    assert_eq!(said, "the archive is truncated");
    let mut damaged = archive.clone();
    let page = damaged.windows(6).position(|w| w == b"a page").unwrap();
    damaged[page] = b'b';
    let said = import(&d, "", &damaged).error(400);
    assert!(
        said.starts_with("checkpoint one is damaged: pages-1.img"),
        "{said}"
    );
    let said = import(&d, "?name=-", &archive).error(400);
    assert!(said.starts_with("Invalid container name (-)"), "{said}");
    d.create("taken", json!({"Cmd": ["true"]}));
    let said = import(&d, "?name=taken", &archive).error(409);
    assert!(said.contains("\"/taken\" is already in use"), "{said}");
    d.http.delete("/containers/taken").expect(204);
    d.http.get(&format!("/containers/{id}/json")).error(404);
    assert_eq!(files(), Vec::<std::path::PathBuf>::new());

    // Without the image it was made of.
    d.http.delete("/images/with-files").expect(200);
    let said = import(&d, "", &archive).error(404);
    assert!(
        said.starts_with("the container needs its image with-files: No such image: sha256:"),
        "{said}"
    );
    assert_eq!(files(), Vec::<std::path::PathBuf>::new());
    d.finish();
}

/// Wherever the daemon dies, the next one has the container with all its files, or nothing of it.
#[cfg(feature = "failpoints")]
#[test]
fn a_death_in_an_import_leaves_all_of_it_or_nothing() {
    let fakes = Fakes::new();
    let mut d = with_dumps(&fakes);
    let archive = exported(&d, "moves", "no");
    let data = d.root().join("data/volumes/data/_data/n");
    for (plan, is_there) in [
        ("create-begun=kill", false),
        ("ledger-commit=kill", false),
        // The row is durable, and the volume has not got its files.
        ("ledger-committed=kill", true),
        ("create-written=kill", true),
    ] {
        d.http.delete("/containers/moves?v=1").expect(204);
        d.http.delete("/volumes/data").expect(204);
        d.stop();
        d.set_failpoints(plan);
        d.restart();
        let path = "/moored/containers/import";
        let answer = d.http.attempt("POST", path, "application/x-tar", &archive);
        assert!(answer.is_none(), "{plan}: it lives");
        assert!(d.ends_within(testkit::DEADLINE));
        d.set_failpoints("");
        d.restart();
        if is_there {
            assert_eq!(std::fs::read_to_string(&data).unwrap(), "1\n", "{plan}");
        } else {
            d.http.get("/containers/moves/json").error(404);
            d.http.get("/volumes/data").error(404);
            testkit::until("what came is removed", || {
                let left = |dir: &str| std::fs::read_dir(d.root().join("data").join(dir));
                ["containers", "volumes", "images/writable"]
                    .iter()
                    .all(|dir| left(dir).unwrap().count() == 0)
            });
            testkit::until("its id is free again", || {
                let head = [("Content-Type", "application/x-tar")];
                let answer = d.http.send("POST", path, &head, &archive);
                // Its files are gone a moment before nobody holds on to it any more.
                assert!(matches!(answer.status, 201 | 409), "{plan}: {answer:?}");
                answer.status == 201
            });
        }
        restore(&d, "moves");
        assert_eq!(d.logs("moves").stdout, FOUND, "{plan}");
        d.http.post("/containers/moves/kill").expect(204);
        d.wait("moves");
    }
    d.finish();
}
