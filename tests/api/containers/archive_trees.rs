//! What an export has, what a container has changed, whose files are, and who shares its tree.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};
use testkit::{Daemon, TarBuilder, tar_entries, until};

use super::archive::{TAR, exec_as, files, get, head, names, path_of, put};
use crate::daemon;

/// Owners are those inside, whatever the host has.
#[test]
fn owners_are_those_inside() {
    let d = daemon();
    let host = d.root().join("shared");
    fs::create_dir(&host).expect("ours");
    let binds = [format!("{}:/bind", host.display()), "kept:/kept".to_owned()];
    let map = "u:0:300000:3000,g:0:500000:3000";
    let body = json!({"Cmd": ["sleep", "1000"], "User": "app",
        "HostConfig": {"UsernsMode": map, "Binds": binds}});
    d.create("box", body);
    let mut tar = TarBuilder::new();
    tar.owned_by(7, 8)
        .file("f", 0o4755, b"x")
        .dir("d/", 0o755)
        .file("implied/f", 0o644, b"");
    let tar = tar.finish();
    let look = |path: &str| {
        let entries = tar_entries(&get(&d, "box", path).expect(200).body);
        (entries[0].owner, entries[0].mode)
    };
    let round = || {
        for dir in ["/root", "/kept", "/bind"] {
            put(&d, "box", dir, &tar).expect(200);
            assert_eq!(look(&format!("{dir}/f")), ((7, 8), 0o4755), "{dir}");
            assert_eq!(look(&format!("{dir}/implied")), ((0, 0), 0o755), "{dir}");
        }
        let found = fs::metadata(host.join("f")).expect("it is there");
        assert_eq!((found.uid(), found.gid()), (300_007, 500_008));
        let kept = fs::metadata(d.root().join("data/volumes/kept/_data/f")).expect("it is there");
        assert_eq!((kept.uid(), kept.gid()), (7, 8));
    };
    round();
    d.start_container("box");
    let out = exec_as(
        &d,
        "box",
        "0",
        "stat -c %u:%g:%a /root/f /kept/f /bind/f /root/implied/f",
    );
    assert_eq!(out, "7:8:4755\n7:8:4755\n7:8:4755\n7:8:644\n");
    round();
    let mut stranger = TarBuilder::new();
    stranger.owned_by(5000, 0).file("s", 0o644, b"");
    put(&d, "box", "/root", &stranger.finish())
        .expect_error(400, "Container ID 5000 cannot be mapped to a host ID");
    // With `copyUIDGID` everything is the container's user's.
    let path = path_of("box", &[("path", "/root"), ("copyUIDGID", "1")]);
    d.http
        .send("PUT", &path, &TAR, &files(&[("mine", "")]))
        .expect(200);
    assert_eq!(look("/root/mine").0, (1000, 1000));
    d.finish();
}

#[test]
fn an_export_has_the_tree_without_its_mounts() {
    let d = daemon();
    let host = d.root().join("host");
    fs::create_dir(&host).expect("ours");
    fs::write(host.join("secret"), "x").expect("ours");
    let binds = json!([format!("{}:/bind", host.display()), "kept:/kept"]);
    let script = "echo 1 > /kept/in-volume; echo 2 > /own; chown 5:6 /own; rm /bin/yes; sleep 1000";
    d.run_detached(
        "box",
        json!({"Cmd": ["sh", "-c", script], "HostConfig": {"Binds": binds}}),
    );
    until("it is done", || head(&d, "box", "/bin/yes").status == 404);
    let check = || {
        let answer = d.http.get("/containers/box/export").expect(200);
        let entries = tar_entries(&answer.body);
        let all = names(&entries);
        for there in [
            "own",
            "bin/",
            "bin/busybox",
            "kept/",
            "bind/",
            "etc/hosts",
            ".dockerenv",
        ] {
            assert!(all.contains(&there), "{there} in {all:?}");
        }
        for absent in [
            "kept/in-volume",
            "bind/secret",
            "bin/yes",
            "./",
            "/",
            "proc/1/",
        ] {
            assert!(!all.contains(&absent), "{absent} in {all:?}");
        }
        let of = |name: &str| {
            entries
                .iter()
                .find(|entry| entry.name == name)
                .expect("it is there")
        };
        assert_eq!(
            (of("own").owner, &of("own").content[..]),
            ((5, 6), &b"2\n"[..])
        );
        assert_eq!(of("etc/hosts").content, b"");
    };
    check();
    d.http.post("/containers/box/stop?t=0").expect(204);
    check();
    d.create("new", json!({"Cmd": ["true"]}));
    let entries = tar_entries(&d.http.get("/containers/new/export").expect(200).body);
    assert!(names(&entries).contains(&"etc/passwd"));
    d.http
        .get("/containers/nosuch/export")
        .expect_error(404, "No such container: nosuch");
    d.finish();
}

#[test]
fn changes_are_those_of_the_container_alone() {
    let d = daemon();
    d.create("new", json!({"Cmd": ["true"]}));
    let changes = |name: &str| {
        let answer = d
            .http
            .get(&format!("/containers/{name}/changes"))
            .expect(200);
        answer.text().to_owned()
    };
    assert_eq!(changes("new"), "null\n");
    // Looking makes what every container finds, and that is no change.
    head(&d, "new", "/etc").expect(200);
    assert_eq!(changes("new"), "null\n");
    assert_eq!(d.run("still", json!({"Cmd": ["true"]})).code, 0);
    assert_eq!(changes("still"), "null\n");
    let script =
        "echo >> /etc/passwd; rm /bin/yes; mkdir /d; touch /d/f; rm -r /home; touch /tmp/x";
    let body = json!({"Cmd": ["sh", "-c", script], "HostConfig": {"Binds": ["kept:/kept/deep"]}});
    assert_eq!(d.run("changed", body).code, 0);
    let kinds = |text: &str| -> Vec<(String, u64)> {
        let all: Vec<Value> = serde_json::from_str(text).expect("JSON");
        let one = |c: &Value| {
            let (path, kind) = (c["Path"].as_str(), c["Kind"].as_u64());
            (path.expect("text").to_owned(), kind.expect("a number"))
        };
        all.iter().map(one).collect()
    };
    let mut found = kinds(&changes("changed"));
    found.sort();
    let expected = [
        ("/bin", 0),
        ("/bin/yes", 2),
        ("/d", 1),
        ("/d/f", 1),
        ("/etc", 0),
        ("/etc/passwd", 0),
        ("/home", 2),
        ("/kept", 1),
        ("/kept/deep", 1),
        ("/tmp", 0),
        ("/tmp/x", 1),
    ];
    assert_eq!(found, expected.map(|(path, kind)| (path.to_owned(), kind)));
    d.finish();
}

/// A start does not wait for those who look, and what they hold stays with it.
#[test]
fn those_who_look_and_those_who_run_share_a_tree() {
    let d = daemon();
    let id = d.create("box", json!({"Cmd": ["sleep", "1000"]}));
    let big = files(&[("big", &"x".repeat(8 << 20))]);
    put(&d, "box", "/root", &big).expect(200);
    let look = || {
        d.http
            .stream("GET", &path_of("box", &[("path", "/root")]), &[], b"")
    };
    let merged = d.root().join(format!("data/images/writable/{id}/merged"));
    let is_mounted = |d: &Daemon| {
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", d.pid()));
        table
            .expect("it runs")
            .contains(merged.to_str().expect("text"))
    };
    let mut first = look();
    let mut second = look();
    assert!(is_mounted(&d));
    d.start_container("box");
    put(&d, "box", "/root", &files(&[("late", "seen")])).expect(200);
    assert_eq!(exec_as(&d, "box", "", "cat /root/late"), "seen");
    assert!(first.body.read_to_end().len() > 8 << 20);
    drop(second.body.piece());
    // Of the run alone by now.
    assert!(is_mounted(&d));
    assert!(second.body.read_to_end().len() > 4 << 20);
    assert_eq!(exec_as(&d, "box", "", "cat /root/late"), "seen");
    let mut third = look();
    d.http.post("/containers/box/stop?t=0").expect(204);
    assert!(is_mounted(&d));
    d.start_container("box");
    assert_eq!(
        exec_as(&d, "box", "", "cat /root/late; echo more > /root/late"),
        "seen"
    );
    d.http.post("/containers/box/stop?t=0").expect(204);
    assert!(third.body.read_to_end().len() > 8 << 20);
    until("nobody needs it", || !is_mounted(&d));
    let entries = tar_entries(&get(&d, "box", "/root/late").expect(200).body);
    assert_eq!(entries[0].content, b"more\n");
    until("nobody needs it", || !is_mounted(&d));
    // Nor does a removal wait; who looks gets an end of some kind.
    let gone = look();
    d.http.delete("/containers/box").expect(204);
    drop(gone);
    d.finish();
}

/// A daemon that is killed while somebody looks leaves nothing behind.
#[test]
fn a_killed_daemon_leaves_no_mount() {
    let mut d = daemon();
    let id = d.create("box", json!({"Cmd": ["true"]}));
    put(&d, "box", "/root", &files(&[("big", &"x".repeat(8 << 20))])).expect(200);
    let looking = d
        .http
        .stream("GET", &path_of("box", &[("path", "/root")]), &[], b"");
    d.kill9();
    drop(looking);
    d.restart();
    let table = fs::read_to_string(format!("/proc/{}/mountinfo", d.pid())).expect("it runs");
    assert!(!table.contains(&id), "{table}");
    let entries = tar_entries(&get(&d, "box", "/root").expect(200).body);
    assert_eq!(names(&entries), ["root/", "root/big"]);
    d.finish();
}
