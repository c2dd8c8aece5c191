//! User namespaces: whose ids a container has, what the host sees of them, and what is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};
use testkit::Daemon;

use crate::{daemon, options};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

fn sh(script: &str, userns: &str, binds: &[String]) -> Value {
    let host = json!({"UsernsMode": userns, "Binds": binds});
    json!({"Cmd": ["sh", "-c", script], "HostConfig": host})
}

/// What a script prints in a running container.
fn exec(d: &Daemon, name: &str, script: &str) -> String {
    let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["sh", "-c", script]});
    let made = d
        .http
        .post_json(&format!("/containers/{name}/exec"), &body)
        .expect(201);
    let id = made.json()["Id"].as_str().expect("an id").to_owned();
    let path = format!("/exec/{id}/start");
    let mut stream = d.http.hijack_json(&path, &json!({"Detach": false}), true);
    testkit::demux(&stream.read_to_end()).stdout
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let found = fs::symlink_metadata(path).expect("it is there");
    (found.uid(), found.gid())
}

fn pool(d: &Daemon, text: &str) -> String {
    let file = d.root().join("subids");
    fs::write(&file, text).expect("a file in our dir");
    format!("subuid = {file:?}\nsubgid = {file:?}\n")
}

const MAP: &str = "u:0:300000:1000,g:0:500000:1000";

/// A bind shows the host's ids, as under Docker; volumes, the tree and files of `/etc` keep those inside.
#[test]
fn the_host_sees_other_ids_than_the_container() {
    for runtime in ["runc", "crun"] {
        let d = Daemon::start(options().runtime(runtime));
        let shared = d.root().join("shared");
        fs::create_dir(&shared).expect("ours");
        set_mode(&shared, 0o777);
        let binds = [format!("{}:/shared", shared.display()), "kept:/kept".into()];
        let script = "cat /proc/self/uid_map; touch /shared/mine /kept/mine /mine; \
                      chown 7:8 /shared/mine /kept/mine /mine; echo 1.2.3.4 n >> /etc/hosts; \
                      stat -c %u:%g / /etc/hosts /kept /mine";
        let done = d.run("mapped", sh(script, MAP, &binds));
        let out = &done.output.stdout;
        let lines: Vec<&str> = out.lines().collect();
        let map: Vec<&str> = lines[0].split_whitespace().collect();
        assert_eq!(map, ["0", "300000", "1000"]);
        assert_eq!(lines[1..], ["0:0", "0:0", "0:0", "7:8"], "{runtime}");
        assert_eq!((done.code, done.output.stderr.as_str()), (0, ""));
        assert_eq!(owner(shared.join("mine")), (300_007, 500_008));
        let kept = d.root().join("data/volumes/kept/_data/mine");
        assert_eq!(owner(kept), (7, 8));
        let shown = d.inspect("mapped");
        let upper = shown["GraphDriver"]["Data"]["UpperDir"].as_str();
        assert_eq!(
            owner(Path::new(upper.expect("overlay")).join("mine")),
            (7, 8)
        );
        assert_eq!(shown["HostConfig"]["UsernsMode"], MAP);

        // The same files serve a container of other ids, and one of none.
        let other = sh("stat -c %u:%g /kept/mine", "0:700000:1000", &binds[1..]);
        assert_eq!(d.run("other", other).output.stdout, "7:8\n");
        let none = sh("stat -c %u:%g /kept/mine", "host", &binds[1..]);
        assert_eq!(d.run("none", none).output.stdout, "7:8\n");
        // And its own next run.
        d.start_container("mapped");
        assert_eq!(d.wait("mapped"), 0);
        d.finish();
    }
}

#[test]
fn containers_of_different_ranges_cannot_read_each_others_files() {
    let d = Daemon::start(options());
    let shared = d.root().join("shared");
    fs::create_dir(&shared).expect("ours");
    set_mode(&shared, 0o1777);
    let binds = [format!("{}:/shared", shared.display())];
    let write = "umask 077; echo secret > /shared/one; cat /shared/one";
    let one = d.run("one", sh(write, "0:300000:65536", &binds));
    assert_eq!((one.code, one.output.stdout.as_str()), (0, "secret\n"));
    let read = "stat -c %u /shared/one; cat /shared/one; echo x > /shared/one; rm -f /shared/one";
    let two = d.run("two", sh(read, "0:400000:65536", &binds));
    assert_eq!(two.code, 1);
    // To it, the owner is nobody.
    assert_eq!(two.output.stdout, "65534\n");
    let said = two.output.stderr;
    assert_eq!(said.matches("ermission denied").count(), 2, "{said}");
    assert_eq!(said.matches("peration not permitted").count(), 1, "{said}");
    let again = d.run("again", sh("cat /shared/one", "0:300000:65536", &binds));
    assert_eq!(again.output.stdout, "secret\n");
    d.finish();
}

/// What lies in a closed directory is reached, and nothing of the host is opened for that.
#[test]
fn it_runs_on_through_execs_and_daemons() {
    let mut d = Daemon::start(options());
    let closed = d.root().join("closed");
    fs::create_dir_all(closed.join("dir")).expect("ours");
    set_mode(&closed, 0o700);
    fs::write(closed.join("dir/f"), "inside").expect("ours");
    let binds = [format!("{}:/in:ro", closed.join("dir").display())];
    let script = "cat /in/f; trap 'exit 3' TERM; while :; do sleep 0.1; done";
    let id = d.run_detached("runs", sh(script, MAP, &binds));
    testkit::until("it is ready", || d.logs(&id).stdout == "inside");
    let mode = fs::metadata(&closed).expect("ours").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let who = |d: &Daemon| exec(d, "runs", "id -u; cat /proc/self/gid_map");
    let ids = |text: String| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(who(&d)), ["0", "0", "500000", "1000"]);
    let top = d
        .http
        .get("/containers/runs/top?ps_args=-o+uid,pid")
        .expect(200);
    assert_eq!(top.json()["Processes"][0][0], "300000");
    d.kill9();
    d.restart();
    assert_eq!(ids(who(&d)), ["0", "0", "500000", "1000"]);
    let dump = json!({"CheckpointID": "one"});
    let said = d
        .http
        .post_json("/containers/runs/checkpoints", &dump)
        .error(501);
    assert!(said.contains("user namespace"), "{said}");
    d.http.post("/containers/runs/stop").expect(204);
    assert_eq!(d.inspect("runs")["State"]["ExitCode"], 3);
    d.finish();
}

#[test]
fn ids_of_its_own_are_nobody_elses_and_come_back() {
    let mut d = Daemon::start(options().config(""));
    let config = pool(&d, "containers:1000000:200\nremapped:5000:70000\n");
    let remapped = format!("{config}userns-remap = 'remapped'\n");
    d.stop();
    d.reconfigure(&remapped);
    d.restart();
    let map = |name: &str, userns: &str| {
        let done = d.run(name, sh("cat /proc/self/uid_map", userns, &[]));
        done.output
            .stdout
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(map("first", "auto:size=100"), "0 1000000 100");
    assert_eq!(map("second", "auto:size=100"), "0 1000100 100");
    let third = sh("true", "auto:size=100", &[]);
    let said = d
        .http
        .post_json("/containers/create", &with_image(third.clone()))
        .error(500);
    assert!(said.starts_with("no 100 ids in a row are free"), "{said}");
    d.http.delete("/containers/first").expect(204);
    assert_eq!(map("fourth", "auto:size=100"), "0 1000000 100");
    // What wishes nothing has the ids of the daemon's choice, and keeps them when that changes.
    assert_eq!(map("remapped", ""), "0 5000 70000");
    assert_eq!(map("host", "host"), "0 0 4294967295");
    let options = &d.http.get("/info").expect(200).json()["SecurityOptions"];
    assert!(
        options
            .as_array()
            .expect("a list")
            .contains(&json!("name=userns"))
    );
    let labelled =
        json!({"Cmd": ["cat", "/proc/self/uid_map"], "Labels": {"moored.userns": "0:9000:5"}});
    let out = d.run("labelled", labelled).output.stdout;
    assert!(out.contains("9000"), "{out}");
    d.stop();
    d.reconfigure(&config);
    d.restart();
    d.start_container("remapped");
    d.wait("remapped");
    let out = d.logs("remapped").stdout;
    assert_eq!(out.lines().count(), 2);
    assert!(out.lines().all(|line| line.contains("5000")), "{out}");
    d.finish();
}

fn with_image(mut body: Value) -> Value {
    body["Image"] = json!("busybox");
    body
}

#[test]
fn what_cannot_be_is_refused() {
    let d = daemon();
    let create = |userns: &str, host: Value| {
        let mut body = with_image(sh("true", userns, &[]));
        for (key, value) in host.as_object().expect("an object") {
            body["HostConfig"][key] = value.clone();
        }
        d.http.post_json("/containers/create?name=refused", &body)
    };
    for (userns, said) in [
        ("private", "invalid userns mode: private"),
        ("container:other", "invalid userns mode: container:other"),
        (
            "0:1:2,1:5:5",
            "invalid id mapping: ranges 0:1:2 and 1:5:5 overlap",
        ),
        (
            "0:1:2,7:2:5",
            "invalid id mapping: ranges 0:1:2 and 7:2:5 overlap",
        ),
        (
            "0:4294967290:100",
            "invalid id mapping: range 0:4294967290:100 goes beyond the last id",
        ),
        ("0:1:0", "invalid id mapping: range 0:1:0 is empty"),
    ] {
        assert_eq!(create(userns, json!({})).error(400), said);
    }
    let both = json!({"Privileged": true});
    assert!(
        create(MAP, both)
            .error(400)
            .starts_with("privileged mode is incompatible with user")
    );
    let said = create(MAP, json!({"NetworkMode": "host"})).error(400);
    assert_eq!(
        said,
        "cannot share the host's network namespace when user namespaces are enabled"
    );
    let said = create(MAP, json!({"PidMode": "host"})).error(400);
    assert_eq!(
        said,
        "cannot share the host PID namespace when user namespaces are enabled"
    );
    let said = create(MAP, json!({"IpcMode": "host"})).error(400);
    assert!(
        said.contains("IPC namespace when user namespaces are enabled"),
        "{said}"
    );
    let mut body = with_image(sh("true", "auto", &[]));
    body["Labels"] = json!({"moored.userns": "host"});
    let said = d.http.post_json("/containers/create", &body).error(400);
    assert!(
        said.starts_with("conflicting options: the userns mode auto"),
        "{said}"
    );
    let said = create("auto", json!({})).error(500);
    assert!(
        said.contains("ranges found for user \"containers\" in /etc/subuid"),
        "{said}"
    );
    d.http.get("/containers/refused/json").error(404);

    // A closed directory above the run root is named.
    set_mode(d.root(), 0o700);
    d.create("closed", sh("true", MAP, &[]));
    let said = d.http.post("/containers/closed/start").error(500);
    let words = format!("{} is closed to it (mode 700)", d.root().display());
    assert!(said.contains(&words), "{said}");
    assert_eq!(d.status("closed"), "created");
    set_mode(d.root(), 0o711);
    d.start_container("closed");
    assert_eq!(d.wait("closed"), 0);
    d.finish();
}

/// What a runtime gives its process's user is never the host's: crun gives away its standard input.
#[test]
fn the_hosts_null_device_stays_the_hosts() {
    for runtime in ["runc", "crun"] {
        let d = Daemon::start(options().runtime(runtime));
        let null = || owner("/dev/null");
        let mut body = sh("id -u; cat; ls -ln /proc/self/fd/0", MAP, &[]);
        let run = d.run("mapped", body.clone());
        assert!(
            run.output.stdout.starts_with("0\n"),
            "its input ends at once: {:?}",
            run.output
        );
        body["User"] = json!("5");
        assert_eq!(d.run("user", body).code, 0);
        d.run_detached("plain", json!({"Cmd": ["sleep", "1000"]}));
        let asked =
            json!({"AttachStdout": true, "User": "1000", "Cmd": ["sh", "-c", "cat; id -u"]});
        let made = d
            .http
            .post_json("/containers/plain/exec", &asked)
            .expect(201);
        let id = made.json()["Id"].as_str().expect("an id").to_owned();
        let path = format!("/exec/{id}/start");
        let mut stream = d.http.hijack_json(&path, &json!({"Detach": false}), true);
        assert_eq!(
            testkit::demux(&stream.read_to_end()).stdout,
            "1000\n",
            "{runtime}"
        );
        assert_eq!(null(), (0, 0), "{runtime}: chown 0:0 /dev/null");
        d.finish();
    }
}

/// Programs that log to /dev/stdout open it by that name.
#[test]
fn its_output_can_be_opened_by_path() {
    for runtime in ["runc", "crun"] {
        let d = Daemon::start(options().runtime(runtime));
        let script = "echo out >/dev/stdout; echo err >/dev/stderr; id -u";
        for (name, user) in [("root", ""), ("user", "1000:1000")] {
            let mut body = sh(script, "0:300000:65536", &[]);
            body["User"] = json!(user);
            let run = d.run(name, body);
            let said = (run.output.stdout.as_str(), run.output.stderr.as_str());
            let id = if user.is_empty() { "0" } else { "1000" };
            assert_eq!(
                said,
                (format!("out\n{id}\n").as_str(), "err\n"),
                "{runtime} {name}"
            );
        }
        d.run_detached("runs", sh("sleep 1000", MAP, &[]));
        assert_eq!(
            exec(&d, "runs", "echo a >/dev/stdout; echo b"),
            "a\nb\n",
            "{runtime}"
        );
        d.finish();
    }
}

#[test]
fn what_is_made_for_a_bind_is_the_containers() {
    let d = daemon();
    let source = d.root().join("made/for/it");
    let binds = [format!("{}:/made", source.display())];
    let run = d.run(
        "binds",
        sh("touch /made/f && stat -c %u /made", MAP, &binds),
    );
    assert_eq!(run.output.stdout, "0\n", "{:?}", run.output);
    for dir in [
        source.as_path(),
        source.parent().expect("made"),
        &d.root().join("made"),
    ] {
        assert_eq!(owner(dir), (300_000, 500_000), "{}", dir.display());
    }
    assert_eq!(owner(d.root()), (0, 0));
    let plain = d.root().join("plain");
    d.run(
        "plain",
        sh("true", "", &[format!("{}:/made", plain.display())]),
    );
    assert_eq!(owner(&plain), (0, 0));
    d.finish();
}
