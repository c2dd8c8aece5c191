//! The files of a container from outside, in every state: what goes in and out, and what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};
use testkit::{Daemon, Response, TarBuilder, TarEntry, query, tar_entries};

use crate::{daemon, options};

pub(super) const TAR: [(&str, &str); 1] = [("Content-Type", "application/x-tar")];

pub(super) fn path_of(id: &str, pairs: &[(&str, &str)]) -> String {
    query(&format!("/containers/{id}/archive"), pairs)
}

pub(super) fn get(d: &Daemon, id: &str, path: &str) -> Response {
    d.http.get(&path_of(id, &[("path", path)]))
}

pub(super) fn head(d: &Daemon, id: &str, path: &str) -> Response {
    d.http
        .send("HEAD", &path_of(id, &[("path", path)]), &[], b"")
}

pub(super) fn put(d: &Daemon, id: &str, path: &str, tar: &[u8]) -> Response {
    let path = path_of(id, &[("path", path), ("noOverwriteDirNonDir", "true")]);
    d.http.send("PUT", &path, &TAR, tar)
}

pub(super) fn files(names: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    for (name, content) in names {
        tar.file(name, 0o644, content.as_bytes());
    }
    tar.finish()
}

fn stat_of(answer: &Response) -> Value {
    let header = answer.header("X-Docker-Container-Path-Stat");
    serde_json::from_slice(&unbase64(header.expect("a stat"))).expect("JSON")
}

fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        let six = ALPHABET.iter().position(|a| *a == c).expect("base64");
        bits = bits << 6 | u32::try_from(six).expect("six bits");
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).expect("a byte"));
        }
    }
    bytes
}

fn sleeper() -> Value {
    json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": ["kept:/data"]}})
}

pub(super) fn names(entries: &[TarEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

/// What is put in is there for the container, and comes out as it went in.
#[test]
fn files_go_in_and_out_in_every_state() {
    let d = daemon();
    let id = d.create("box", sleeper());
    let volume = d.root().join("data/volumes/kept/_data");
    let round = |state: &str| {
        let tar = files(&[(state, state)]);
        for dir in ["/tmp", "/data", "/data/../root/."] {
            let answer = put(&d, "box", dir, &tar).expect(200);
            assert_eq!(answer.body, b"", "{state}");
            assert_eq!(answer.header("Content-Length"), Some("0"));
            let path = format!("{dir}/{state}");
            let answer = get(&d, &id, &path).expect(200);
            assert_eq!(answer.header("Content-Type"), Some("application/x-tar"));
            assert_eq!(
                stat_of(&answer),
                stat_of(&head(&d, "box", &path).expect(200))
            );
            let entries = tar_entries(&answer.body);
            assert_eq!(names(&entries), [state]);
            assert_eq!(
                (entries[0].mode, &entries[0].content[..]),
                (0o644, state.as_bytes())
            );
        }
        assert_eq!(
            fs::read(volume.join(state)).expect("in the volume"),
            state.as_bytes()
        );
    };
    round("created");
    d.start_container(&id);
    round("running");
    d.http.post("/containers/box/pause").expect(204);
    round("paused");
    d.http.post("/containers/box/unpause").expect(204);
    d.http.post("/containers/box/stop?t=0").expect(204);
    round("exited");
    // The container has them all, those of before its first start too.
    d.start_container(&id);
    let out = exec_as(&d, "box", "", "cat /tmp/* /data/* /root/*");
    assert_eq!(out, "createdexitedpausedrunning".repeat(3));
    d.finish();
}

/// What a script prints in a running container.
pub(super) fn exec_as(d: &Daemon, name: &str, user: &str, script: &str) -> String {
    let command = ["sh", "-c", script];
    let body = json!({"AttachStdout": true, "AttachStderr": true, "User": user, "Cmd": command});
    let path = format!("/containers/{name}/exec");
    let made = d.http.post_json(&path, &body).expect(201).json();
    let path = format!("/exec/{}/start", made["Id"].as_str().expect("an id"));
    let mut stream = d.http.hijack_json(&path, &json!({"Detach": false}), true);
    let streams = testkit::demux(&stream.read_to_end());
    streams.stdout + &streams.stderr
}

/// A volume gets what the image has at its place before anything is put into it.
#[test]
fn a_volume_of_a_new_container_is_filled_first() {
    let d = daemon();
    d.create(
        "box",
        json!({"HostConfig": {"Binds": ["full:/etc"]}, "Cmd": ["true"]}),
    );
    put(&d, "box", "/etc", &files(&[("own", "x")])).expect(200);
    let data = d.root().join("data/volumes/full/_data");
    assert!(data.join("passwd").exists() && data.join("own").exists());
    let done = d.run(
        "other",
        json!({"Cmd": ["ls", "/etc"], "HostConfig": {"Binds": ["full:/etc"]}}),
    );
    assert!(
        done.output.stdout.contains("own\npasswd\n"),
        "{}",
        done.output.stdout
    );
    d.finish();
}

#[test]
fn what_is_told_of_a_path_is_as_dockerd_tells_it() {
    let d = daemon();
    let script = "mkdir -p /d/e; mkfifo /d/p; chmod 4750 /d/e; ln -s e /d/l; ln -s /d/l/../x /d/gone; \
                  touch /d/f; chmod 1600 /d/f; sleep 1000";
    d.run_detached("box", json!({"Cmd": ["sh", "-c", script]}));
    testkit::until("it is made", || head(&d, "box", "/d/f").status == 200);
    testkit::until("its mode is set", || {
        stat_of(&head(&d, "box", "/d/f"))["mode"] == 0o600 | 1 << 20
    });
    let stat = |path: &str| stat_of(&head(&d, "box", path).expect(200));
    let file = stat("/d/f");
    assert_eq!(
        (&file["name"], &file["size"], &file["linkTarget"]),
        (&json!("f"), &json!(0), &json!(""))
    );
    assert_eq!(stat("/d/e")["mode"], 0o750_u32 | 1 << 31 | 1 << 23);
    assert_eq!(stat("/d/p")["mode"], 0o644_u32 | 1 << 25);
    let link = stat("/d/l");
    assert_eq!(link["mode"], 134_218_239);
    assert_eq!(
        (&link["size"], &link["linkTarget"]),
        (&json!(1), &json!("/d/e"))
    );
    assert_eq!(stat("/d/gone")["linkTarget"], "/d/x");
    assert_eq!(stat("/bin/sh")["linkTarget"], "/bin/busybox");
    for (path, name) in [
        ("/", "/"),
        ("d", "d"),
        ("/d/l/", "l"),
        ("/d/.", "."),
        (".", "."),
    ] {
        let stat = stat(path);
        assert_eq!(stat["name"], name, "{path}");
        assert!(
            stat["mode"].as_u64().expect("a number") >= 1 << 31,
            "{path}"
        );
    }
    d.finish();
}

/// The names in an archive are those of the path that was asked for.
#[test]
fn an_archive_has_the_names_that_were_asked_for() {
    let d = daemon();
    let script = "mkdir -p /d/e; echo x > /d/f; ln /d/f /d/g; ln -s d /l; ln -s f /d/s; sleep 1000";
    d.run_detached("box", json!({"Cmd": ["sh", "-c", script]}));
    testkit::until("it is made", || head(&d, "box", "/d/s").status == 200);
    let entries = |path: &str| tar_entries(&get(&d, "box", path).expect(200).body);
    let cases: [(&str, &[&str]); 6] = [
        ("/d", &["d/", "d/f", "d/g", "d/s", "d/e/"]),
        ("/d/", &["d/", "d/f", "d/g", "d/s", "d/e/"]),
        ("/d/.", &["./", "./f", "./g", "./s", "./e/"]),
        ("/l/", &["l/", "l/f", "l/g", "l/s", "l/e/"]),
        ("/l", &["l"]),
        ("/d/s", &["s"]),
    ];
    for (path, expected) in cases {
        assert_eq!(names(&entries(path)), expected, "{path}");
    }
    assert_eq!(
        (entries("/l")[0].kind, entries("/l")[0].link.as_str()),
        ('2', "d")
    );
    let hard = &entries("/d")[2];
    assert_eq!((hard.kind, hard.link.as_str()), ('1', "d/f"));
    let all = entries("/");
    assert_eq!((all[0].name.as_str(), all[0].kind), ("/", '5'));
    assert!(names(&all).contains(&"/d/f"), "{:?}", names(&all));
    // What the kernel makes up is no file of the container.
    assert!(
        !all.iter().any(|entry| entry.name.starts_with("/proc/1")),
        "{:?}",
        names(&all)
    );
    get(&d, "box", "/proc/version").expect_error(
        404,
        "Could not find the file /proc/version in container box",
    );
    let packed = d.http.send(
        "GET",
        &path_of("box", &[("path", "/d")]),
        &[("Accept-Encoding", "gzip")],
        b"",
    );
    let packed = packed.expect(200);
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    assert_eq!(packed.body[..2], [0x1f, 0x8b]);
    d.finish();
}

#[test]
fn refusals_are_in_dockers_words() {
    let d = daemon();
    let host =
        json!({"ReadonlyRootfs": true, "Binds": ["aa:/ro:ro", "bb:/rw"], "Tmpfs": {"/t": ""}});
    d.create(
        "cap2",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": host}),
    );
    let tar = files(&[("f", "x")]);
    let both = |d: &Daemon| {
        for path in ["/nope", "/etc/nope/x"] {
            let sentence = format!("Could not find the file {path} in container cap2");
            get(d, "cap2", path).expect_error(404, &sentence);
            put(d, "cap2", path, &tar).expect_error(404, &sentence);
            let answer = head(d, "cap2", path).expect(404);
            assert_eq!(answer.header("Content-Type"), Some("application/json"));
            assert_eq!(answer.header("X-Docker-Container-Path-Stat"), None);
        }
        get(d, "cap2", "/etc/passwd/").expect_error(400, "lstat /etc/passwd: not a directory");
        put(d, "cap2", "/etc/passwd", &tar)
            .expect_error(400, "extraction point is not a directory");
        put(d, "cap2", "/", &tar).expect_error(400, "container rootfs is marked read-only");
        put(d, "cap2", "/rw/../etc", &tar)
            .expect_error(400, "container rootfs is marked read-only");
        put(d, "cap2", "/ro", &tar).expect_error(400, "mounted volume is marked read-only");
        put(d, "cap2", "/rw", &tar).expect(200);
        put(d, "cap2", "/t", &tar).expect(200);
    };
    both(&d);
    d.start_container("cap2");
    both(&d);
    for path in ["/containers/cap2/archive", "/containers/cap2/archive?path="] {
        for method in ["GET", "PUT"] {
            d.http
                .send(method, path, &TAR, &tar)
                .expect_error(400, "bad parameter: pathcannot be empty");
        }
    }
    get(&d, "nosuch", "/").expect_error(404, "No such container: nosuch");
    put(&d, "cap2", "/rw", b"no tar at all, and that is told").error(400);
    put(&d, "cap2", "/rw", b"BZh91AY").error(400);
    d.finish();
}

#[test]
fn kinds_are_kept_when_that_is_asked_for() {
    let d = daemon();
    d.create("box", json!({"Cmd": ["true"]}));
    let mut tar = TarBuilder::new();
    tar.dir("d/", 0o755).file("f", 0o644, b"old");
    put(&d, "box", "/tmp", &tar.finish()).expect(200);
    let mut to_dir = TarBuilder::new();
    to_dir.dir("f/", 0o755);
    let to_dir = to_dir.finish();
    let to_file = files(&[("d", "new")]);
    put(&d, "box", "/tmp", &to_dir).expect_error(
        400,
        "cannot overwrite non-directory \"/tmp/f\" with directory \"/tmp\"",
    );
    put(&d, "box", "/tmp", &to_file).expect_error(
        400,
        "cannot overwrite directory \"/tmp/d\" with non-directory \"/tmp\"",
    );
    let anyway = path_of("box", &[("path", "/tmp")]);
    for tar in [&to_dir, &to_file] {
        d.http.send("PUT", &anyway, &TAR, tar).expect(200);
    }
    let entries = tar_entries(&get(&d, "box", "/tmp").expect(200).body);
    assert_eq!(names(&entries), ["tmp/", "tmp/d", "tmp/f/"]);
    // The directory itself stays as it is, whatever the archive says of it.
    let mut root = TarBuilder::new();
    root.dir("./", 0o700).owned_by(7, 7).file("./x", 0o600, b"");
    put(&d, "box", "/tmp", &root.finish()).expect(200);
    let entries = tar_entries(&get(&d, "box", "/tmp").expect(200).body);
    assert_eq!((entries[0].mode, entries[0].owner), (0o1777, (0, 0)));
    d.finish();
}

#[test]
fn what_is_done_is_told() {
    let d = daemon();
    let id = d.create("box", json!({"Cmd": ["true"]}));
    head(&d, "box", "/etc").expect(200);
    get(&d, "box", "/etc").expect(200);
    put(&d, "box", "/tmp", &files(&[("f", "")])).expect(200);
    put(&d, "box", "/nope", &files(&[])).error(404);
    d.http.get("/containers/box/export").expect(200);
    let until = query("/events", &[("since", "0"), ("until", &now_s())]);
    let told = d.http.get(&until).expect(200);
    let actions: Vec<String> = told
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|event| event["Actor"]["ID"] == id.as_str())
        .map(|event| event["Action"].as_str().expect("a word").to_owned())
        .collect();
    assert_eq!(
        actions,
        ["create", "archive-path", "extract-to-dir", "export"]
    );
    d.finish();
}

fn now_s() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (now.expect("after 1970").as_secs() + 1).to_string()
}

/// Who puts an archive and goes away in the middle leaves whole files and no part of one.
#[test]
fn an_archive_that_breaks_off_leaves_no_part_of_a_file() {
    let d = daemon();
    d.create("box", json!({"Cmd": ["true"]}));
    let whole = files(&[("first", "1"), ("second", &"x".repeat(100_000))]);
    put(&d, "box", "/tmp", &whole[..20_000]).error(400);
    let entries = tar_entries(&get(&d, "box", "/tmp").expect(200).body);
    assert_eq!(names(&entries), ["tmp/", "tmp/first"]);
    // Compressed, and with more behind the end than a tar has.
    let long = [whole, vec![0; 1 << 20]].concat();
    put(&d, "box", "/tmp", &long).expect(200);
    d.finish();
}

/// A full disk is named, and does not take the daemon with it.
#[test]
fn a_full_disk_is_told_of() {
    let d = Daemon::start(options().data_root_on_disk_of_bytes(256 << 20));
    d.create("box", json!({"Cmd": ["true"]}));
    head(&d, "box", "/etc").expect(200);
    let full = testkit::Full::new(&d);
    let e = put(&d, "box", "/tmp", &files(&[("f", &"x".repeat(1 << 20))])).error(500);
    assert!(e.contains("No space left on device"), "{e}");
    full.relieve();
    d.finish();
}

/// A bind of a single file, and one that leads elsewhere by a link.
#[test]
fn binds_of_files_are_seen() {
    let d = daemon();
    let host = d.root().join("host");
    fs::create_dir(&host).expect("ours");
    fs::write(host.join("f"), "from the host").expect("ours");
    fs::set_permissions(host.join("f"), fs::Permissions::from_mode(0o640)).expect("ours");
    symlink("f", host.join("l")).expect("ours");
    let binds = json!([format!("{}:/etc/one", host.join("l").display())]);
    d.create(
        "box",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": binds}}),
    );
    let look = || {
        let entries = tar_entries(&get(&d, "box", "/etc/one").expect(200).body);
        assert_eq!(entries[0].content, b"from the host");
    };
    look();
    d.start_container("box");
    look();
    d.finish();
}

/// What a start mounts into /etc is seen when its container has ended, too.
#[test]
fn the_engines_own_files_are_seen_afterwards() {
    let d = daemon();
    d.run("box", json!({"Cmd": ["true"], "Hostname": "its-name"}));
    let entries = tar_entries(&get(&d, "box", "/etc/hostname").expect(200).body);
    assert_eq!(entries[0].content, b"its-name\n");
    assert_eq!(entries[0].mode, 0o644);
    let entries = tar_entries(&get(&d, "box", "/etc/hosts").expect(200).body);
    assert!(String::from_utf8_lossy(&entries[0].content).contains("localhost"));
    d.finish();
}
