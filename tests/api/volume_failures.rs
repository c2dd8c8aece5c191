//! Volumes when something fails on the way: what is in them is not lost, and not another's.

use serde_json::json;
use testkit::{Daemon, tar_entries, until};

use crate::daemon;

/// A daemon that fails at the points of `plan` from here on.
fn failing_at(d: &mut Daemon, plan: &str) {
    d.set_failpoints(plan);
    d.stop();
    d.restart();
}

#[test]
fn a_removal_that_fails_leaves_the_files_where_they_are() {
    let mut d = daemon();
    let write = json!({
        "Cmd": ["sh", "-c", "echo kept > /named/file; echo kept > /unnamed/file"],
        "HostConfig": {"Binds": ["named:/named"]}, "Volumes": {"/unnamed": {}},
    });
    let writer = d.run("writer", write).id;
    failing_at(&mut d, "remove-volumes-doomed=full");
    d.http.delete("/containers/writer?v=1").error(500);
    let unnamed = d.inspect(&writer)["Mounts"].clone();
    let unnamed = unnamed.as_array().expect("a list").iter();
    let places: Vec<String> = unnamed
        .map(|m| m["Source"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(places.len(), 2);
    for place in &places {
        let file = d.inside(std::path::Path::new(place).join("file"));
        assert_eq!(std::fs::read_to_string(file).expect("it is kept"), "kept\n");
    }
    failing_at(&mut d, "volume-doomed=full");
    d.http.delete("/volumes/named").error(500);
    let read = json!({"Cmd": ["cat", "/v/file"], "HostConfig": {"Binds": ["named:/v"]}});
    assert_eq!(d.run("reader", read).output.stdout, "kept\n");
    d.finish();
}

/// As a disk leaves it that forgets.
fn damage_volume(d: &Daemon, name: &str) {
    let ledger = d.inside(d.root().join("data/ledger.db"));
    let sql = format!("UPDATE volumes SET record = '{{}}' WHERE name = '{name}'");
    let done = std::process::Command::new("sqlite3")
        .arg(ledger)
        .arg(sql)
        .status()
        .expect("sqlite3(1) runs");
    assert!(done.success());
}

#[test]
fn a_volume_with_a_damaged_row_is_not_taken_for_a_plain_one() {
    let mut d = daemon();
    let memory = json!({"Name": "mem", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}});
    d.http.post_json("/volumes/create", &memory).expect(201);
    let body = json!({"Cmd": ["touch", "/m/file"], "HostConfig": {"Binds": ["mem:/m"]}});
    d.run("it", body.clone());
    let files = |d: &Daemon| {
        let data = d.inside(d.root().join("data/volumes/mem/_data"));
        std::fs::read_dir(data).expect("it is there").count()
    };
    until("it is unmounted", || files(&d) == 0);
    d.stop();
    damage_volume(&d, "mem");
    d.restart();
    let said = d.http.post("/containers/it/start").error(500);
    assert!(said.contains("its row in the ledger is damaged"), "{said}");
    d.http.post_json("/volumes/create", &memory).error(409);
    let mut other = body;
    other["Image"] = json!("busybox");
    d.http
        .post_json("/containers/create?name=other", &other)
        .error(409);
    assert_eq!(files(&d), 0);
    d.finish();
}

#[test]
fn a_create_that_fails_leaves_no_volume() {
    let mut d = daemon();
    failing_at(&mut d, "volume-made=full");
    let body = json!({"Name": "vol"});
    d.http.post_json("/volumes/create", &body).error(500);
    d.http.get("/volumes/vol").error(404);
    assert!(!d.inside(d.root().join("data/volumes/vol")).exists());
    d.finish();
}

fn with_part() -> serde_json::Value {
    json!({
        "Cmd": ["sh", "-c", "umount /p && echo ready; sleep 1000"],
        "HostConfig": {"Privileged": true, "Mounts": [{
            "Type": "volume", "Source": "vol", "Target": "/p",
            "VolumeOptions": {"Subpath": "part"},
        }]},
    })
}

#[test]
fn a_part_that_was_unmounted_does_not_become_the_whole() {
    let d = daemon();
    let fill = json!({
        "Cmd": ["sh", "-c", "mkdir /v/part; touch /v/part/ours /v/others"],
        "HostConfig": {"Binds": ["vol:/v"]},
    });
    d.run("fill", fill);
    d.run_detached("it", with_part());
    until("it is ready", || d.logs("it").stdout == "ready\n");
    let answer = d.http.get("/containers/it/archive?path=/p").expect(200);
    let entries = tar_entries(&answer.body);
    let mut names: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["p/", "p/ours"]);
    d.http.delete("/containers/it?force=1").expect(204);
    d.finish();
}

#[test]
fn what_no_import_takes_is_not_exported() {
    let d = daemon();
    let body = json!({"Name": "vol"});
    d.http.post_json("/volumes/create", &body).expect(201);
    d.create("part", with_part());
    for (name, host) in [
        ("from", json!({"VolumesFrom": ["part"]})),
        ("pid", json!({"PidMode": "container:part"})),
    ] {
        d.create(name, json!({"Cmd": ["true"], "HostConfig": host}));
    }
    for (name, field) in [
        ("part", "VolumeOptions.Subpath"),
        ("from", "HostConfig.VolumesFrom"),
        ("pid", "HostConfig.PidMode"),
    ] {
        let path = format!("/moored/containers/{name}/checkpoints/one/export");
        let said = d.http.get(&path).error(501);
        assert!(said.contains(field), "{said}");
    }
    d.finish();
}
