//! What is mounted in a container, and what happens to it while files go in and out.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;
use testkit::{Daemon, TarBuilder, tar_entries};

use super::archive::{TAR, exec_as, files, get, head, names, path_of, put};
use crate::daemon;

/// An archive that replaces whatever is there.
fn replace(d: &Daemon, dir: &str, tar: &[u8]) -> testkit::Response {
    d.http
        .send("PUT", &path_of("box", &[("path", dir)]), &TAR, tar)
}

/// What a file or a directory is mounted at stays, whatever an archive would put there.
#[test]
fn an_archive_takes_no_mount_away() {
    let d = daemon();
    let host = d.root().join("host");
    fs::create_dir(&host).expect("ours");
    fs::write(host.join("app.conf"), "of the host").expect("ours");
    let binds = json!([
        format!("{}:/etc/app.conf", host.join("app.conf").display()),
        "kept:/srv/deep/data"
    ]);
    d.create(
        "box",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": binds}}),
    );
    let volume = d.root().join("data/volumes/kept/_data");
    let round = |state: &str| {
        put(&d, "box", "/srv/deep/data", &files(&[(state, "x")])).expect(200);
        for (dir, name, busy) in [
            ("/etc", "app.conf", "/etc/app.conf"),
            ("/srv/deep", "data", "/srv/deep/data"),
            // What is mounted in it is met on the way.
            ("/srv", "deep", "/srv/deep"),
        ] {
            let sentence = format!("unlinkat {busy}: device or resource busy");
            replace(&d, dir, &files(&[(name, "new")])).expect_error(500, &sentence);
            let mut link = TarBuilder::new();
            link.symlink(name, "/tmp");
            replace(&d, dir, &link.finish()).expect_error(500, &sentence);
        }
        let seen = tar_entries(&get(&d, "box", "/etc/app.conf").expect(200).body);
        assert_eq!(seen[0].content, b"of the host", "{state}");
        let path = format!("/srv/deep/data/{state}");
        head(&d, "box", &path).expect(200);
        assert!(volume.join(state).exists());
        assert_eq!(
            fs::read(host.join("app.conf")).expect("it is there"),
            b"of the host"
        );
    };
    round("created");
    d.start_container("box");
    round("running");
    let script = "cat /etc/app.conf; ls /srv/deep/data; grep -c -e app.conf -e deep/data /proc/self/mountinfo";
    let seen = "of the hostcreated\nrunning\n2\n";
    assert_eq!(exec_as(&d, "box", "", script), seen);
    // What the engine mounts is no exception.
    for name in ["hosts", "hostname", "resolv.conf"] {
        let sentence = format!("unlinkat /etc/{name}: device or resource busy");
        put(&d, "box", "/etc", &files(&[(name, "x")])).expect_error(500, &sentence);
    }
    d.http.post("/containers/box/stop?t=0").expect(204);
    round("exited");
    d.start_container("box");
    let seen = "of the hostcreated\nexited\nrunning\n2\n";
    assert_eq!(exec_as(&d, "box", "", script), seen);
    d.finish();
}

/// Overlayfs moves no directory of an image, and one is replaced all the same.
#[test]
fn a_directory_of_the_image_is_replaced() {
    let d = daemon();
    let mut image = testkit::Image::with("deep:latest", &json!({}));
    let mut layer = TarBuilder::new();
    layer
        .dir("app/", 0o755)
        .dir("app/node_modules/", 0o755)
        .dir("app/node_modules/a/", 0o755)
        .dir("app/node_modules/a/b/", 0o755)
        .file("app/node_modules/a/b/f", 0o644, b"x");
    image.layers.push(layer.finish());
    d.http
        .send("POST", "/images/load", &TAR, &image.docker_archive())
        .expect(200);
    d.create("box", json!({"Image": "deep", "Cmd": ["sleep", "1000"]}));
    let mut tar = TarBuilder::new();
    tar.symlink("node_modules", "/elsewhere");
    replace(&d, "/app", &tar.finish()).expect(200);
    let entries = tar_entries(&get(&d, "box", "/app").expect(200).body);
    assert_eq!(names(&entries), ["app/", "app/node_modules"]);
    assert_eq!(entries[1].link, "/elsewhere");
    d.finish();
}

/// The root of the container is not what its first process makes its own, and nothing that the runtime
/// mounts is in the way of an archive.
#[test]
fn a_process_does_not_choose_what_is_seen() {
    let d = daemon();
    let script = "mkdir -p /jail/bin /jail/etc; cp /bin/busybox /jail/bin; touch /jail/ready; \
                  echo in memory > /memory/f; exec chroot /jail /bin/busybox sleep 1000";
    let host = json!({"Tmpfs": {"/memory": ""}});
    d.run_detached(
        "box",
        json!({"Cmd": ["sh", "-c", script], "HostConfig": host}),
    );
    testkit::until("it is ready", || {
        let log = get(&d, "box", "/memory/f");
        log.status == 200 && head(&d, "box", "/jail/ready").status == 200
    });
    let pid = d.http.get("/containers/box/json").expect(200).json()["State"]["Pid"].clone();
    let root = format!("/proc/{pid}/root");
    testkit::until("it has another root", || {
        fs::read_link(&root).is_ok_and(|root| root.ends_with("jail"))
    });
    head(&d, "box", "/etc/passwd").expect(200);
    head(&d, "box", "/ready").expect(404);
    let entries = tar_entries(&get(&d, "box", "/memory/f").expect(200).body);
    assert_eq!(entries[0].content, b"in memory\n");
    put(&d, "box", "/memory", &files(&[("put", "x")])).expect(200);
    head(&d, "box", "/memory/put").expect(200);
    let entries = tar_entries(&get(&d, "box", "/etc/hostname").expect(200).body);
    assert!(!entries[0].content.is_empty());
    let mut tar = TarBuilder::new();
    tar.dir("sys/", 0o700)
        .dir("proc/", 0o700)
        .file("proc/f", 0o644, b"");
    put(&d, "box", "/", &tar.finish()).expect(200);
    d.finish();
}

/// Through a link that the archive itself brings.
#[test]
fn a_root_that_is_read_only_is_not_written_to() {
    let d = daemon();
    let host = json!({"ReadonlyRootfs": true, "Binds": ["kept:/kept"]});
    d.create("box", json!({"Cmd": ["sleep", "1000"], "HostConfig": host}));
    let mut tar = TarBuilder::new();
    tar.symlink("out", "/etc").file("out/f", 0o644, b"x");
    let tar = tar.finish();
    let round = || {
        let e = put(&d, "box", "/kept", &tar).error(500);
        assert!(e.contains("Read-only file system"), "{e}");
        head(&d, "box", "/etc/f").expect(404);
    };
    round();
    d.start_container("box");
    round();
    d.finish();
}

/// An export needs nothing of what is mounted.
#[test]
fn an_export_mounts_nothing() {
    let d = daemon();
    let host = d.root().join("host");
    fs::create_dir(&host).expect("ours");
    let mounts = json!([{"Type": "bind", "Source": host, "Target": "/b"}]);
    d.create(
        "box",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Mounts": mounts}}),
    );
    let export = || {
        let entries = tar_entries(&d.http.get("/containers/box/export").expect(200).body);
        assert!(names(&entries).contains(&"bin/busybox"));
    };
    d.start_container("box");
    fs::write(host.join("f"), "held").expect("ours");
    let held = fs::File::open(&host).expect("ours");
    fs::rename(&host, d.root().join("moved")).expect("ours");
    export();
    // Who runs has it still, and it is seen.
    head(&d, "box", "/b/f").expect(200);
    drop(held);
    d.http.post("/containers/box/stop?t=0").expect(204);
    export();
    assert!(!host.exists());
    d.finish();
}

/// What is left of a container that is removed meanwhile is not all there was.
#[test]
fn a_removal_cuts_what_is_being_sent() {
    let d = daemon();
    let paths = |how: &str| match how {
        "export" => "/containers/box/export".to_owned(),
        _ => path_of("box", &[("path", "/")]),
    };
    for how in ["export", "copy"] {
        d.create("box", json!({"Cmd": ["true"]}));
        let big = "x".repeat(8 << 20);
        put(&d, "box", "/root", &files(&[("big", &big)])).expect(200);
        let mut sent = d.http.stream("GET", &paths(how), &[], b"");
        drop(sent.body.piece());
        d.http.delete("/containers/box?force=1").expect(204);
        let end = catch_unwind(AssertUnwindSafe(|| sent.body.read_to_end().len()));
        assert!(end.is_err(), "{how} came to an end: {end:?}");
    }
    d.finish();
}

/// Programs that know no more than what POSIX says get every byte of a file with holes.
#[test]
fn holes_go_out_as_zeros() {
    let d = daemon();
    let script = "dd if=/dev/zero of=/hole bs=1 count=0 seek=3M; echo end >> /hole; sleep 1000";
    d.run_detached("box", json!({"Cmd": ["sh", "-c", script]}));
    let size = || {
        let answer = get(&d, "box", "/hole");
        (answer.status == 200).then(|| tar_entries(&answer.body)[0].content.len())
    };
    testkit::until("it is made", || size() == Some((3 << 20) + 4));
    let entries = tar_entries(&get(&d, "box", "/hole").expect(200).body);
    let (zeros, end) = entries[0].content.split_at(3 << 20);
    assert!(zeros.iter().all(|b| *b == 0));
    assert_eq!(end, b"end\n");
    d.finish();
}

/// Whose root a file's capabilities are of is the container's business: no id of the host goes out, and
/// what comes in is good for the container's root.
#[test]
fn capabilities_are_those_of_the_root_inside() {
    let d = daemon();
    let map = "u:0:300000:3000,g:0:500000:3000";
    let host = json!({"UsernsMode": map, "Binds": ["kept:/kept"]});
    d.create("box", json!({"Cmd": ["sleep", "1000"], "HostConfig": host}));
    let mut plain = vec![1, 0, 0, 2, 0, 4, 0, 0];
    plain.resize(20, 0);
    let key = "SCHILY.xattr.security.capability";
    let mut tar = TarBuilder::new();
    tar.extended(key, &plain).file("f", 0o755, b"x");
    let tar = tar.finish();
    let sent = |state: &str| {
        for dir in ["/root", "/kept"] {
            put(&d, "box", dir, &tar).expect(200);
            let entries = tar_entries(&get(&d, "box", &format!("{dir}/f")).expect(200).body);
            let told = (key.to_owned(), plain.clone());
            assert_eq!(entries[0].extended, [told], "{dir} {state}");
        }
    };
    sent("created");
    d.start_container("box");
    sent("running");
    d.finish();
}

/// Slow clients of one container hold up neither looks at it nor others.
#[test]
fn slow_clients_hold_up_nobody_else() {
    let d = daemon();
    for name in ["box", "other"] {
        d.create(name, json!({"Cmd": ["true"]}));
    }
    let big = "x".repeat(8 << 20);
    put(&d, "box", "/root", &files(&[("big", &big)])).expect(200);
    let path = path_of("box", &[("path", "/root")]);
    let slow: Vec<_> = (0..4)
        .map(|_| d.http.stream("GET", &path, &[], b""))
        .collect();
    head(&d, "box", "/root/big").expect(200);
    d.http.get("/containers/box/changes").expect(200);
    for _ in 0..8 {
        get(&d, "other", "/etc").expect(200);
    }
    put(&d, "other", "/etc", &files(&[("f", "x")])).expect(200);
    drop(slow);
    get(&d, "box", "/etc").expect(200);
    d.finish();
}

#[test]
fn names_need_not_be_text_and_users_must_be_there() {
    let d = daemon();
    d.create("box", json!({"Cmd": ["true"], "User": "nobody-knows"}));
    let mut tar = TarBuilder::new();
    tar.extended("path", b"caf\xe9").file("x", 0o644, b"odd");
    put(&d, "box", "/tmp", &tar.finish()).expect(200);
    let answer = d
        .http
        .get("/containers/box/archive?path=/tmp/caf%E9")
        .expect(200);
    let entries = tar_entries(&answer.body);
    assert_eq!(entries[0].content, b"odd");
    let path = path_of("box", &[("path", "/tmp"), ("copyUIDGID", "1")]);
    let e = d
        .http
        .send("PUT", &path, &TAR, &files(&[("f", "")]))
        .error(400);
    assert!(e.contains("unable to find user nobody-knows"), "{e}");
    let mut linked = TarBuilder::new();
    linked.hard_link("hard", "none");
    replace(&d, "/tmp", &linked.finish())
        .expect_error(404, "Could not find the file /tmp in container box");
    d.finish();
}
