//! Containers whose files are copies of their image's: what Docker's clients see is the same.

use std::path::PathBuf;

use serde_json::json;
use testkit::{Daemon, TarBuilder, query, tar_entries, until};

use super::archive::{files, get, put};
use crate::options;

const VFS: &str = "storage-driver = \"vfs\"\n";

fn changes(d: &Daemon, name: &str) -> Vec<String> {
    let told = d.http.get(&format!("/containers/{name}/changes"));
    let told = told.expect(200).json();
    let all = told.as_array().into_iter().flatten();
    let mut lines: Vec<_> = all
        .map(|c| format!("{} {}", c["Kind"], c["Path"].as_str().expect("a path")))
        .collect();
    lines.sort();
    lines
}

fn writable(d: &Daemon) -> PathBuf {
    d.inside(d.root().join("data/images/writable"))
}

const SCRIPT: &str = "echo new > /etc/new; rm /bin/vi; mkdir -p /a/b; ln -s b /a/l; \
                      chmod 4711 /etc/passwd; echo ready";

#[test]
fn a_container_of_a_copy_lives_as_any_other() {
    let mut d = Daemon::start(options().config(VFS));
    assert_eq!(d.http.get("/info").expect(200).json()["Driver"], "vfs");
    let body = json!({"Cmd": ["sh", "-c", SCRIPT]});
    assert_eq!(d.run("it", body).output.stdout, "ready\n");
    let shown = d.inspect("it");
    assert_eq!(shown["Driver"], "vfs");
    assert_eq!(shown["GraphDriver"], json!({"Data": null, "Name": "vfs"}));
    let image = d.http.get("/images/busybox/json").expect(200).json();
    assert_eq!(image["GraphDriver"], json!({"Data": null, "Name": "vfs"}));
    let told = [
        "0 /bin",
        "0 /etc",
        "0 /etc/passwd",
        "1 /a",
        "1 /a/b",
        "1 /a/l",
        "1 /etc/new",
        "2 /bin/vi",
    ];
    assert_eq!(changes(&d, "it"), told);
    let sized = d.http.get("/containers/it/json?size=1").expect(200).json();
    let passwd = d.run("size", json!({"Cmd": ["stat", "-c", "%s", "/etc/passwd"]}));
    let passwd: u64 = passwd.output.stdout.trim().parse().expect("a size");
    // With the text of the link, and without what every container has.
    assert_eq!(sized["SizeRw"], 4 + passwd + 1);

    put(&d, "it", "/a", &files(&[("in", "x")])).expect(200);
    let out = tar_entries(&get(&d, "it", "/a/in").expect(200).body);
    assert_eq!(out[0].content, b"x");
    // It goes on as what it is, by another daemon, which would make overlays.
    d.kill9();
    d.reconfigure("");
    d.spawn();
    d.wait_ready();
    assert_eq!(d.http.get("/info").expect(200).json()["Driver"], "overlay2");
    assert_eq!(d.inspect("it")["Driver"], "vfs");
    d.start_container("it");
    assert_eq!(d.wait("it"), 0);
    let commit = query("/commit", &[("container", "it"), ("repo", "made")]);
    d.http.send("POST", &commit, &[], b"").expect(201);
    let check = "cat /etc/new /a/in; ls /bin/vi /a/l/; stat -c %a /etc/passwd";
    let both = json!({"Image": "made", "Cmd": ["sh", "-c", check]});
    let overlay = d.run("overlay", both.clone());
    assert_eq!(overlay.output.stdout, "new\nx/a/l/:\nb\n4711\n");
    d.stop();
    d.reconfigure(VFS);
    d.restart();
    assert_eq!(d.run("copy", both).output.stdout, overlay.output.stdout);
    let pruned = d.http.post("/containers/prune").expect(200).json();
    assert_eq!(
        pruned["ContainersDeleted"].as_array().map(Vec::len),
        Some(4)
    );
    assert_eq!(std::fs::read_dir(writable(&d)).expect("ours").count(), 0);
    d.finish();
}

/// Layers that hide and replace what is below, and files of several names.
const RICH: &str = "mkdir -p -m 2751 /d/e; echo 1 > /d/one; chmod 4755 /d/one; ln /d/one /d/two; \
                    ln -s /etc/passwd /d/out; mkfifo /d/pipe; chown 7:8 /d/e; rm /bin/vi; \
                    rm -rf /var /tmp; mkdir /var /tmp; echo 2 > /var/new; rm /bin/wc; \
                    mkdir /bin/wc; touch -t 200001020304.05 /d/one /d/e";

#[test]
fn an_export_of_a_copy_is_that_of_an_overlay() {
    let overlays = Daemon::start(options());
    assert_eq!(
        overlays
            .run("made", json!({"Cmd": ["sh", "-c", RICH]}))
            .code,
        0
    );
    let commit = query("/commit", &[("container", "made"), ("repo", "rich")]);
    overlays.http.send("POST", &commit, &[], b"").expect(201);
    let archive = overlays.http.get("/images/rich/get").expect(200).body;
    let copies = Daemon::start(options().bare().config(VFS));
    let loaded = copies.http.send("POST", "/images/load", &[], &archive);
    loaded.expect(200);
    let [one, other] = [overlays, copies].map(|d| {
        d.run("it", json!({"Image": "rich", "Cmd": ["true"]}));
        let told = d.http.get("/containers/it/export").expect(200).body;
        let mut entries = tar_entries(&told);
        // The root is as old as the container.
        entries.retain(|entry| !matches!(entry.name.as_str(), "./" | "/" | ""));
        let lines = entries.iter().map(|entry| {
            let crc = entry.content.iter().fold(0_u64, |sum, b| {
                sum.wrapping_mul(31).wrapping_add(u64::from(*b))
            });
            let (kind, mode, owner) = (entry.kind, entry.mode, entry.owner);
            format!(
                "{} {kind} {mode:o} {owner:?} {} {crc}",
                entry.name, entry.link
            )
        });
        let lines = lines.collect::<Vec<_>>();
        d.finish();
        lines
    });
    let has = |part: &str| one.iter().any(|line| line.contains(part));
    assert!(
        has("d/two 1") && has("var/new") && !has("bin/vi "),
        "{one:#?}"
    );
    assert_eq!(one, other);
}

fn big_image() -> Vec<u8> {
    let mut tar = TarBuilder::new();
    for n in 0..24 {
        tar.file(&format!("big{n}"), 0o644, &vec![1; 1 << 20]);
    }
    tar.finish()
}

fn import_big(d: &Daemon) {
    let source = query("/images/create", &[("fromSrc", "-"), ("repo", "big")]);
    d.http.send("POST", &source, &[], &big_image()).expect(200);
}

#[test]
fn a_full_disk_leaves_no_part_of_a_copy() {
    let d = Daemon::start(options().config(VFS).data_root_of_bytes(48 << 20));
    import_big(&d);
    d.create("it", json!({"Image": "big", "Cmd": ["none"]}));
    let said = d.http.post("/containers/it/start").error(500);
    assert!(said.to_lowercase().contains("no space left"), "{said}");
    let staging = d.inside(d.root().join("data/images/staging"));
    assert_eq!(std::fs::read_dir(&staging).expect("ours").count(), 0);
    assert_eq!(d.inspect("it")["State"]["Status"], "created");
    assert!(changes(&d, "it").is_empty());
    d.run("after", json!({"Cmd": ["true"]}));
    d.finish();
}

#[test]
fn a_daemon_that_is_killed_in_a_copy_leaves_none() {
    let mut d = Daemon::start(options().config(VFS));
    import_big(&d);
    let id = d.create("it", json!({"Image": "big", "Cmd": ["none"]}));
    let staging = d.root().join("data/images/staging");
    let copy = writable(&d).join(&id).join("copy");
    let path = format!("/containers/{id}/start");
    let http = d.http.clone();
    let starting = std::thread::spawn(move || drop(http.attempt("POST", &path, "", b"")));
    until("it copies, or has", || {
        let made = std::fs::read_dir(&staging).expect("ours").count();
        made > 0 || copy.exists()
    });
    d.kill9();
    starting.join().expect("it ended");
    let was_whole = copy.exists();
    d.spawn();
    d.wait_ready();
    assert_eq!(std::fs::read_dir(&staging).expect("ours").count(), 0);
    assert_eq!(copy.exists(), was_whole);
    d.http
        .delete(&format!("/containers/{id}?force=1"))
        .expect(204);
    assert_eq!(std::fs::read_dir(writable(&d)).expect("ours").count(), 0);
    d.finish();
}

/// Other ids are shown by the mount of the copy; on the disk there are those inside.
#[test]
fn a_copy_serves_a_user_namespace() {
    let d = Daemon::start(options().config(VFS));
    let mapped = json!({
        "Cmd": ["sh", "-c", "touch /mine; chown 7:8 /mine; stat -c %u:%g / /mine /bin/sh"],
        "HostConfig": {"UsernsMode": "0:300000:1000"},
    });
    let done = d.run("it", mapped);
    assert_eq!((done.code, done.output.stderr.as_str()), (0, ""));
    assert_eq!(done.output.stdout, "0:0\n7:8\n0:0\n");
    assert_eq!(changes(&d, "it"), ["1 /mine"]);
    d.finish();
}
