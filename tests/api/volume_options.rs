//! Volumes with options: mounted for who needs them, and for nobody else.

use std::fs;

use serde_json::{Value, json};
use testkit::{Daemon, tar_entries, until};

use crate::daemon;

fn make(d: &Daemon, name: &str, options: &Value) {
    let body = json!({"Name": name, "DriverOpts": options});
    let made = d.http.post_json("/volumes/create", &body).expect(201);
    assert_eq!(made.json()["Options"], *options);
}

/// Whether something is mounted for a volume where the daemon is.
fn is_mounted(d: &Daemon, name: &str) -> bool {
    let table = d.command_inside("cat").arg("/proc/self/mountinfo").output();
    let table = table.expect("cat(1) runs").stdout;
    let at = format!(" {}/data/volumes/{name}/_data ", d.root().display());
    String::from_utf8_lossy(&table).contains(&at)
}

fn memory() -> Value {
    json!({"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7"})
}

fn sleeping(binds: &[&str]) -> Value {
    json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": binds}})
}

fn exec(d: &Daemon, container: &str, script: &str) -> String {
    let body = json!({"Cmd": ["sh", "-c", script], "AttachStdout": true, "AttachStderr": true});
    let made = d
        .http
        .post_json(&format!("/containers/{container}/exec"), &body);
    let id = made.expect(201).json()["Id"]
        .as_str()
        .expect("text")
        .to_owned();
    let out = d
        .http
        .post_json(&format!("/exec/{id}/start"), &json!({"Tty": true}));
    out.text()
}

#[test]
fn what_cannot_be_is_refused_as_docker_does() {
    let d = daemon();
    let refused = |options: Value, message: &str| {
        let volume = json!({"Name": "vol", "DriverOpts": options});
        let answer = d.http.post_json("/volumes/create", &volume);
        answer.expect_error(400, message);
        let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Mounts": [
            {"Type": "volume", "Source": "vol", "Target": "/v",
                "VolumeOptions": {"DriverConfig": {"Options": options}}}]}});
        let answer = d.http.post_json("/containers/create", &body);
        answer.expect_error(400, message);
    };
    refused(json!({"foo": "x"}), r#"create vol: invalid option: "foo""#);
    refused(
        json!({"type": "tmpfs"}),
        r#"create vol: missing required option: "device""#,
    );
    refused(
        json!({"size": "1g"}),
        "create vol: quota size requested but no quota support",
    );
    let other = json!({"Image": "busybox", "Cmd": ["true"], "Volumes": {"/v": {}},
        "HostConfig": {"VolumeDriver": "foo"}});
    let message = d.http.post_json("/containers/create", &other).error(404);
    let tail = ": error looking up volume plugin foo: plugin \"foo\" not found";
    assert!(
        message.starts_with("create ") && message.ends_with(tail),
        "{message}"
    );
    let list = d.http.get("/volumes").expect(200).json();
    assert_eq!(list["Volumes"], json!([]), "nothing was made");
    let list = d.http.get("/containers/json?all=1").expect(200).json();
    assert_eq!(list, json!([]));
    d.finish();
}

#[test]
fn it_is_mounted_from_the_first_to_the_last_also_over_the_death_of_a_daemon() {
    let mut d = daemon();
    make(&d, "mem", &memory());
    make(&d, "other", &memory());
    let one = d.run_detached("one", sleeping(&["mem:/m"]));
    assert!(is_mounted(&d, "mem") && !is_mounted(&d, "other"));
    let script = "stat -c %u /m; df -k /m | tail -n1 | awk '{print $2}'; echo kept > /m/file";
    assert_eq!(exec(&d, "one", script), "7\n1024\n");
    d.kill9();
    d.restart();
    assert!(is_mounted(&d, "mem"), "one needs it");
    let two = d.run_detached("two", sleeping(&["mem:/m:ro"]));
    assert_eq!(exec(&d, "two", "cat /m/file"), "kept\n");
    d.http.post("/containers/one/kill").expect(204);
    d.wait(&one);
    d.http.delete("/containers/one").expect(204);
    assert!(is_mounted(&d, "mem"), "two needs it");
    // Of two that are needed no more, one is let go of by this daemon, the other by the next.
    let three = d.run_detached("three", sleeping(&["other:/o"]));
    let pids = [d.init_pid(&two), d.init_pid(&three)];
    d.http.post("/containers/two/kill").expect(204);
    until("it is unmounted", || !is_mounted(&d, "mem"));
    d.kill9();
    let pid = rustix::process::Pid::from_raw(pids[1].cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is alive");
    until("it has ended", || {
        rustix::process::test_kill_process(pid).is_err()
    });
    d.restart();
    until("it is unmounted", || !is_mounted(&d, "other"));
    for name in ["two", "three"] {
        d.http.delete(&format!("/containers/{name}")).expect(204);
    }
    for name in ["mem", "other"] {
        d.http.delete(&format!("/volumes/{name}")).expect(204);
    }
    d.finish();
}

#[test]
fn a_failed_mount_is_told_in_mobys_words_and_leaves_nothing() {
    let d = daemon();
    make(&d, "good", &memory());
    let bogus = json!({"type": "tmpfs", "device": "tmpfs", "o": "bogus=1"});
    make(&d, "bad", &bogus);
    let gone = json!({"type": "none", "device": "/no/such", "o": "bind"});
    make(&d, "gone", &gone);
    let secret = json!({"type": "nosuchfs", "device": "//h/s", "o": "password=secret"});
    make(&d, "secret", &secret);
    let causes = [
        ("bad", "mount tmpfs:AT, data: bogus=1: invalid argument"),
        (
            "gone",
            "mount /no/such:AT, flags: 0x1000: no such file or directory",
        ),
        (
            "secret",
            "mount //h/s:AT, data: password=********: no such device",
        ),
    ];
    for (name, cause) in causes {
        let binds = json!(["good:/g", format!("{name}:/b")]);
        d.create(
            name,
            json!({"Cmd": ["true"], "HostConfig": {"Binds": binds}}),
        );
        let at = format!("{}/data/volumes/{name}/_data", d.root().display());
        let message = format!(
            "error while mounting volume '{at}': failed to mount local volume: {}",
            cause.replace("AT", &at)
        );
        let answer = d.http.post(&format!("/containers/{name}/start"));
        answer.expect_error(500, &message);
        assert!(!is_mounted(&d, "good") && !is_mounted(&d, name));
        d.http.delete(&format!("/containers/{name}")).expect(204);
    }
    d.finish();
}

/// Its files are another's: they stay when the volume goes.
#[test]
fn a_bind_is_the_hosts_and_outlives_its_volume() {
    let d = daemon();
    let host = d.root().join("host");
    fs::create_dir(&host).expect("ours");
    fs::write(host.join("precious"), "kept").expect("ours");
    let device = host.display().to_string();
    make(
        &d,
        "here",
        &json!({"type": "none", "device": device, "o": "bind"}),
    );
    make(
        &d,
        "still",
        &json!({"type": "none", "device": device, "o": "bind,ro"}),
    );
    let body = json!({"Cmd": ["sh", "-c", "cat /w/precious; echo new > /w/new; touch /r/no"],
        "HostConfig": {"Binds": ["here:/w", "still:/r"]}});
    let out = d.run("it", body).output;
    assert_eq!(out.stdout, "kept");
    assert!(out.stderr.contains("Read-only"), "{out:?}");
    assert_eq!(
        fs::read_to_string(host.join("new")).expect("it is there"),
        "new\n"
    );
    d.http.delete("/containers/it").expect(204);
    for name in ["here", "still"] {
        d.http.delete(&format!("/volumes/{name}")).expect(204);
    }
    assert_eq!(
        fs::read(host.join("precious")).expect("it is there"),
        b"kept"
    );
    d.finish();
}

/// The root of a container with ids of its own is nobody there, as in a bind without a volume; and what
/// the words forbid is forbidden.
#[test]
fn a_bind_gives_nobody_the_hosts_ids() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let d = daemon();
    let host = d.root().join("host");
    fs::create_dir(&host).expect("ours");
    fs::set_permissions(&host, fs::Permissions::from_mode(0o777)).expect("ours");
    let device = host.display().to_string();
    make(
        &d,
        "here",
        &json!({"type": "none", "device": device, "o": "bind,noexec"}),
    );
    let script = "touch /h/made; cp /bin/busybox /h/true; chmod 4755 /h/true; /h/true";
    let body = json!({"Cmd": ["sh", "-c", script],
        "HostConfig": {"Binds": ["here:/h"], "UsernsMode": "0:300000:65536"}});
    let done = d.run("it", body);
    assert_eq!(done.code, 126, "{:?}", done.output);
    for file in ["made", "true"] {
        let found = fs::metadata(host.join(file)).expect("it is there");
        assert_eq!((found.uid(), found.gid()), (300_000, 300_000), "{file}");
    }
    d.http.delete("/containers/it").expect(204);
    d.http.delete("/volumes/here").expect(204);
    d.finish();
}

#[test]
fn copies_and_images_find_it_mounted() {
    let d = daemon();
    let host = d.root().join("host");
    fs::create_dir(&host).expect("ours");
    fs::write(host.join("file"), "of the host").expect("ours");
    let device = host.display().to_string();
    make(
        &d,
        "here",
        &json!({"type": "none", "device": device, "o": "bind"}),
    );
    make(&d, "mem", &json!({"type": "tmpfs", "device": "tmpfs"}));
    let binds = json!(["here:/h", "mem:/etc"]);
    let cmd = [
        "sh",
        "-c",
        "head -n1 /etc/passwd; ls -A /etc | grep moored; sleep 1000",
    ];
    d.create("it", json!({"Cmd": cmd, "HostConfig": {"Binds": binds}}));
    let read = || {
        let answer = d
            .http
            .get("/containers/it/archive?path=/h/file")
            .expect(200);
        assert_eq!(tar_entries(&answer.body)[0].content, b"of the host");
    };
    read();
    until("nobody looks any more", || {
        !is_mounted(&d, "here") && !is_mounted(&d, "mem")
    });
    d.start_container("it");
    read();
    until("it was filled", || {
        d.logs("it").stdout == "root:x:0:0:root:/root:/bin/sh\n"
    });
    assert!(is_mounted(&d, "here") && is_mounted(&d, "mem"));
    d.http.post("/containers/it/stop?t=0").expect(204);
    read();
    until("nobody needs it any more", || !is_mounted(&d, "here"));
    d.http.delete("/containers/it").expect(204);
    d.finish();
}

#[test]
fn containers_with_ids_of_their_own_have_it_too() {
    let d = daemon();
    make(
        &d,
        "mem",
        &json!({"type": "tmpfs", "device": "tmpfs", "o": "mode=777"}),
    );
    let body = |script: &str| {
        json!({"Cmd": ["sh", "-c", script], "HostConfig": {
            "Binds": ["mem:/m"], "UsernsMode": "0:300000:65536"}})
    };
    let holds = d.run_detached("holds", sleeping(&["mem:/m"]));
    let out = d.run("maps", body("touch /m/file; stat -c %u:%g /m/file"));
    assert_eq!(out.output.stdout, "0:0\n", "{out:?}");
    assert_eq!(exec(&d, "holds", "stat -c %u:%g /m/file"), "0:0\n");
    d.http.post("/containers/holds/kill").expect(204);
    d.wait(&holds);
    until("it is unmounted", || !is_mounted(&d, "mem"));
    d.finish();
}

#[test]
fn a_create_makes_volumes_with_labels_and_options() {
    let d = daemon();
    let options = json!({"Labels": {"a": "b"}, "NoCopy": true,
        "DriverConfig": {"Name": "local", "Options": memory()}});
    let body = json!({"Cmd": ["sh", "-c", "ls -A /etc; stat -c %u /etc /u"], "HostConfig": {"Mounts": [
        {"Type": "volume", "Source": "named", "Target": "/etc", "VolumeOptions": options},
        {"Type": "volume", "Target": "/u", "VolumeOptions": options}]}});
    let out = d.run("it", body).output;
    assert_eq!(
        out.stdout.lines().rev().take(2).collect::<Vec<_>>(),
        ["7", "7"]
    );
    assert!(!out.stdout.contains("passwd"), "{out:?}");
    let named = d.http.get("/volumes/named").expect(200).json();
    assert_eq!(named["Labels"], json!({"a": "b"}));
    assert_eq!(named["Options"], memory());
    let it = d.inspect("it");
    let mounts = it["Mounts"].as_array().expect("a list");
    let unnamed = mounts
        .iter()
        .find(|m| m["Destination"] == "/u")
        .expect("it is there");
    assert_eq!(unnamed["Mode"], "z");
    let path = format!("/volumes/{}", unnamed["Name"].as_str().expect("text"));
    let unnamed = d.http.get(&path).expect(200).json();
    assert_eq!(
        unnamed["Labels"],
        json!({"a": "b", "com.docker.volume.anonymous": ""})
    );
    assert_eq!(it["Config"]["Volumes"], Value::Null);
    d.http.delete("/containers/it?v=1").expect(204);
    d.http.get(&path).error(404);
    d.http.get("/volumes/named").expect(200);
    d.finish();
}
