//! Mounts beyond a plain bind: of other containers, parts of volumes, how far read-only reaches.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use testkit::{Daemon, tar_entries, until};

use crate::daemon;

/// Destination, name or source, mode and whether it can be written to, sorted.
fn mounts(d: &Daemon, container: &str) -> Vec<String> {
    let shown = &d.inspect(container)["Mounts"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |m: &Value| {
        let name = text(&m["Name"]);
        let name = if name.len() == 64 {
            "unnamed".to_owned()
        } else {
            name
        };
        let words = [
            text(&m["Destination"]),
            name,
            text(&m["Mode"]),
            m["RW"].to_string(),
        ];
        words.join(" ")
    };
    let mut lines: Vec<String> = shown.as_array().expect("a list").iter().map(line).collect();
    lines.sort();
    lines
}

fn volume_of(d: &Daemon, container: &str, destination: &str) -> String {
    let shown = d.inspect(container);
    let mounts = shown["Mounts"].as_array().expect("a list");
    let found = mounts.iter().find(|m| m["Destination"] == destination);
    let name = &found.expect("it is mounted")["Name"];
    name.as_str().expect("text").to_owned()
}

#[test]
fn mounts_of_other_containers() {
    let d = daemon();
    let cmd = json!([
        "sh",
        "-c",
        "cat /n/file; touch /n/no /anon/yes; cat /own/x; ls /t"
    ]);
    let one = json!({"Cmd": ["sh", "-c", "echo kept > /n/file; echo own > /own/x"],
        "Volumes": {"/anon": {}},
        "HostConfig": {"Binds": ["named:/n", "/tmp:/host:ro", "first:/own"], "Tmpfs": {"/t": ""}}});
    d.run("one", one);
    let two = json!({"Cmd": cmd, "HostConfig": {
        "VolumesFrom": ["one:ro"], "Binds": ["second:/own"],
        "Mounts": [{"Type": "volume", "Target": "/anon"}]}});
    let out = d.run("two", two).output;
    assert_eq!(out.stdout, "kept\n");
    assert!(out.stderr.contains("/n/no: Read-only"), "{out:?}");
    assert!(
        out.stderr.contains("can't open '/own/x'"),
        "its own mounts win: {out:?}"
    );
    assert_eq!(
        mounts(&d, "two"),
        [
            "/anon unnamed z true",
            "/host   false",
            "/n named  false",
            "/own second z true"
        ]
    );
    let shown = d.inspect("two");
    assert_eq!(shown["HostConfig"]["VolumesFrom"], json!(["one:ro"]));
    assert_eq!(shown["Config"]["Volumes"], Value::Null);
    // The later wins, and what was read-only stays so.
    let three = json!({"Cmd": ["true"], "HostConfig": {"VolumesFrom": ["two", "one"]}});
    d.create("three", three);
    let all = mounts(&d, "three");
    assert_eq!(all[0], "/anon unnamed  true");
    assert_eq!(all[2..], ["/n named  true", "/own first  true"]);
    let shared = volume_of(&d, "one", "/anon");
    assert_eq!(volume_of(&d, "three", "/anon"), shared);
    // A volume goes with the last who has it.
    d.http.delete("/containers/one?v=1").expect(204);
    d.http.get(&format!("/volumes/{shared}")).expect(200);
    d.http.delete("/containers/three?v=1").expect(204);
    d.http.get(&format!("/volumes/{shared}")).error(404);
    d.http.get("/volumes/named").expect(200);
    d.finish();
}

#[test]
fn nobody_borrows_from_nobody() {
    let d = daemon();
    let refused = |from: &str, message: &str| {
        let body =
            json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"VolumesFrom": [from]}});
        d.http
            .post_json("/containers/create", &body)
            .expect_error(400, message);
    };
    refused("nosuch", "No such container: nosuch");
    refused("", "volumes-from specification cannot be an empty string");
    refused("nosuch:nocopy", "invalid mode: nocopy");
    refused("nosuch:ro,rslave", "invalid mode: ro,rslave");
    refused(":ro", "invalid name or ID supplied: \"\"");
    d.finish();
}

fn part(subpath: &str) -> Value {
    json!([{"Type": "volume", "Source": "vol", "Target": "/p",
        "VolumeOptions": {"Subpath": subpath, "NoCopy": true}}])
}

fn with_part(cmd: &[&str], subpath: &str) -> Value {
    json!({"Cmd": cmd, "HostConfig": {"Mounts": part(subpath)}})
}

#[test]
fn a_part_of_a_volume_is_what_it_was_at_the_start() {
    let d = daemon();
    let data = d.root().join("data/volumes/vol/_data");
    d.http
        .post_json("/volumes/create", &json!({"Name": "vol"}))
        .expect(201);
    fs::create_dir_all(data.join("in/it")).expect("ours");
    fs::write(data.join("in/it/file"), "part").expect("ours");
    symlink("in/it", data.join("link")).expect("ours");
    let out = d
        .run("file", with_part(&["cat", "/p"], "in/it/file"))
        .output;
    assert_eq!(out.stdout, "part");
    let out = d.run("link", with_part(&["cat", "/p/file"], "link")).output;
    assert_eq!(out.stdout, "part");
    let runs = d.run_detached("runs", with_part(&["sleep", "1000"], "in/it"));
    // What it has is no path any more.
    fs::rename(data.join("in/it"), data.join("in/that")).expect("ours");
    symlink("/etc", data.join("in/it")).expect("ours");
    let read = || {
        let answer = d
            .http
            .get("/containers/runs/archive?path=/p/file")
            .expect(200);
        tar_entries(&answer.body)[0].content.clone()
    };
    assert_eq!(read(), b"part");
    let left = || fs::read_dir(d.root().join("run/parts")).map_or(0, Iterator::count);
    assert_eq!(left(), 0, "needed until the runtime has made it");
    d.http.post("/containers/runs/kill").expect(204);
    d.wait(&runs);
    d.http
        .get("/containers/runs/archive?path=/p/file")
        .error(500);
    fs::remove_file(data.join("in/it")).expect("ours");
    fs::rename(data.join("in/that"), data.join("in/it")).expect("ours");
    assert_eq!(read(), b"part");
    until("nobody looks any more", || left() == 0);
    d.finish();
}

#[test]
fn no_link_leads_out_of_a_part() {
    let d = daemon();
    let data = d.root().join("data/volumes/vol/_data");
    d.http
        .post_json("/volumes/create", &json!({"Name": "vol"}))
        .expect(201);
    fs::create_dir_all(data.join("in")).expect("ours");
    symlink("/etc", data.join("absolute")).expect("ours");
    symlink("../../..", data.join("in/up")).expect("ours");
    symlink("/proc/self/root", data.join("magic")).expect("ours");
    let base = data.display().to_string();
    let escapes = |subpath: &str| {
        format!("path concatenation escapes the base directory, base: {base}, subpath: {subpath}")
    };
    let gone =
        format!("cannot access path {base}/gone: lstat {base}/gone: no such file or directory");
    let wrong = [
        ("absolute", escapes("absolute")),
        ("in/up/x", escapes("in/up/x")),
        ("magic", escapes("magic")),
        ("gone", gone),
    ];
    for (subpath, message) in wrong {
        d.create("it", with_part(&["ls", "/p"], subpath));
        d.http
            .post("/containers/it/start")
            .expect_error(500, &message);
        d.http.delete("/containers/it").expect(204);
    }
    let old = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Mounts": part("in")}});
    d.http
        .post_json("/v1.44/containers/create", &old)
        .expect_error(400, "VolumeOptions.Subpath needs API v1.45 or newer");
    d.finish();
}

/// A part of a volume with options, for one with ids of its own.
#[test]
fn a_part_of_what_is_mounted_for_it() {
    let d = daemon();
    let host = d.root().join("host");
    fs::create_dir_all(host.join("sub")).expect("ours");
    fs::write(host.join("sub/file"), "").expect("ours");
    let options = json!({"type": "none", "device": host.display().to_string(), "o": "bind"});
    let body = json!({"Cmd": ["stat", "-c", "%u", "/p/file"], "HostConfig": {
        "UsernsMode": "0:300000:65536",
        "Mounts": [{"Type": "volume", "Source": "vol", "Target": "/p", "VolumeOptions": {
            "Subpath": "sub", "DriverConfig": {"Options": options}}}]}});
    let out = d.run("it", body);
    // What belongs to the host's root is nobody's there, as in any bind.
    assert_eq!(out.output.stdout, "65534\n", "{out:?}");
    d.finish();
}

#[test]
fn read_only_reaches_down_or_does_not() {
    let d = daemon();
    let host = d.root().join("host");
    fs::create_dir_all(host.join("below")).expect("ours");
    let mounted = d
        .command_inside("mount")
        .args(["-t", "tmpfs", "below"])
        .arg(host.join("below"))
        .status();
    assert!(mounted.expect("mount(8) runs").success());
    let run = |name: &str, options: Value| {
        let body = json!({"Cmd": ["sh", "-c", "touch /m/top 2>&1; touch /m/below/it && echo written"],
            "HostConfig": {"Mounts": [{"Type": "bind", "Source": host.display().to_string(),
                "Target": "/m", "ReadOnly": true, "BindOptions": options}]}});
        d.run(name, body).output.stdout
    };
    let top = "touch: /m/top: Read-only file system\n";
    assert_eq!(run("usual", json!({})), top);
    assert_eq!(run("all", json!({"ReadOnlyForceRecursive": true})), top);
    let written = format!("{top}written\n");
    assert_eq!(run("one", json!({"ReadOnlyNonRecursive": true})), written);
    let alone = run("alone", json!({"NonRecursive": true}));
    assert_eq!(alone, top, "what is mounted below is not there");
    // Before API 1.44 nobody meant more than the one.
    let body = json!({"Image": "busybox", "Cmd": ["touch", "/m/below/old"],
        "HostConfig": {"Binds": [format!("{}:/m:ro", host.display())]}});
    d.http
        .post_json("/v1.43/containers/create?name=old", &body)
        .expect(201);
    d.start_container("old");
    assert_eq!(d.wait("old"), 0);
    let unmounted = d.command_inside("umount").arg(host.join("below")).status();
    assert!(unmounted.expect("umount(8) runs").success());
    d.finish();
}

/// A mount of the daemon's that is shared with the host, a container that has the host's files sees, and
/// is told of its end.
#[test]
fn who_has_the_data_root_keeps_no_mount_of_the_daemon() {
    let d = daemon();
    let volumes = d.root().join("data/volumes").display().to_string();
    let mount = |args: &[&str]| {
        let done = d.command_inside("mount").args(args).status();
        assert!(done.expect("mount(8) runs").success());
    };
    mount(&["--bind", &volumes, &volumes]);
    mount(&["--make-shared", &volumes]);
    let volume = json!({"Name": "mem", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}});
    d.http.post_json("/volumes/create", &volume).expect(201);
    let has_it = |watcher: &str| {
        let table = format!("/proc/{}/mountinfo", d.init_pid(watcher));
        let table = fs::read_to_string(table).expect("it runs");
        table.contains(" /host/mem/_data ") || table.contains(" /host/data/volumes/mem/_data ")
    };
    let with = |bind: String| json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": [bind]}});
    d.run_detached("shared", with(format!("{volumes}:/host")));
    // Of what is private nothing comes, and that is no error.
    d.run_detached("private", with(format!("{}:/host", d.root().display())));
    for name in ["shared", "private"] {
        assert_eq!(d.inspect(name)["Mounts"][0]["Propagation"], "rslave");
    }
    let user = d.run_detached("user", with("mem:/m".to_owned()));
    assert!(has_it("shared") && !has_it("private"));
    d.http.post("/containers/user/kill").expect(204);
    d.wait(&user);
    until("it is unmounted there, too", || !has_it("shared"));
    let wish = json!({"Image": "busybox", "Cmd": ["true"],
        "HostConfig": {"Binds": [format!("{volumes}:/host:rprivate")]}});
    let message = d.http.post_json("/containers/create", &wish).error(400);
    let why = "invalid mount config: must use either propagation mode";
    assert!(message.starts_with(why), "{message}");
    for name in ["private", "shared"] {
        d.http
            .delete(&format!("/containers/{name}?force=1"))
            .expect(204);
    }
    let unmounted = d.command_inside("umount").arg(&volumes).status();
    assert!(unmounted.expect("umount(8) runs").success());
    d.finish();
}
