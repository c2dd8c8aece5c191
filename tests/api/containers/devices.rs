//! Devices of the host: single ones, rules for the device cgroup, and those that the Container Device
//! Interface knows by name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::Daemon;

use crate::{daemon, options};

#[expect(
    clippy::needless_pass_by_value,
    reason = "every caller makes one for this"
)]
fn sh(script: &str, host: Value) -> Value {
    json!({"Cmd": ["sh", "-c", script], "HostConfig": host})
}

fn device(path: &str, inside: &str, permissions: &str) -> Value {
    json!({"PathOnHost": path, "PathInContainer": inside, "CgroupPermissions": permissions})
}

fn make_node(path: &Path, minor: &str) {
    let made = Command::new("mknod")
        .arg(path)
        .args(["c", "1", minor])
        .status();
    assert!(made.expect("mknod").success(), "{}", path.display());
}

#[test]
fn devices_are_where_and_as_they_were_asked_for() {
    let d = daemon();
    let dir = d.root().join("nodes");
    fs::create_dir_all(dir.join("sub")).expect("ours");
    make_node(&dir.join("null"), "3");
    make_node(&dir.join("sub/zero"), "5");
    let link = d.root().join("link");
    std::os::unix::fs::symlink("/dev/full", &link).expect("ours");
    let text = |path: &Path| path.display().to_string();
    let host = json!({"Devices": [
        device(&text(&dir), "/dev/mine", "rwm"),
        device(&text(&link), "/dev/followed", "rw"),
        // The runtime lets every container have it, so a node of it is no sign.
        device("/dev/full", "", ""),
    ]});
    let script = "cd /dev; ls -l mine/null mine/sub/zero followed full | \
                  sed 's/ \\+/ /g' | cut -d' ' -f1,5,6,10";
    let out = d.run("given", sh(script, host)).output.stdout;
    let kinds: Vec<&str> = out.lines().map(|line| &line[..1]).collect();
    assert_eq!(kinds, ["c"; 4], "{out}");
    for wanted in [
        "1, 3 mine/null",
        "1, 5 mine/sub/zero",
        "1, 7 followed",
        "1, 7 full",
    ] {
        assert!(out.contains(wanted), "{wanted} in {out}");
    }
    for (path, why) in [
        ("/dev/nosuch", "no such file or directory"),
        ("/etc", "not a device node"),
    ] {
        let id = d.create(
            "",
            sh("true", json!({"Devices": [device(path, "/dev/x", "r")]})),
        );
        let said = d.http.post(&format!("/containers/{id}/start")).error(500);
        let words = "error gathering device information while adding custom device";
        assert_eq!(said, format!("{words} {path:?}: {why}"));
    }
    d.finish();
}

/// Number 2 of the memory devices is of no driver any more: an open that the cgroup lets through fails
/// otherwise.
#[test]
fn rules_allow_what_no_device_brings_under_runc() {
    rules_allow_what_no_device_brings("runc");
}

#[test]
fn rules_allow_what_no_device_brings_under_crun() {
    rules_allow_what_no_device_brings("crun");
}

fn rules_allow_what_no_device_brings(runtime: &str) {
    let d = Daemon::start(options().runtime(runtime));
    let script =
        "mknod /x c 1 2; dd if=/x of=/null count=1 2>&1 | grep -o 'not permitted\\|No such device'";
    let rules = |rules: &[&str]| json!({"DeviceCgroupRules": rules});
    for (name, host, wanted) in [
        ("without", json!({}), "not permitted\n"),
        ("with", rules(&["c 1:2 r"]), "No such device\n"),
        (
            "other",
            rules(&["c 1:99 rwm", "b *:* rwm"]),
            "not permitted\n",
        ),
        ("all", rules(&["c *:* rwm"]), "No such device\n"),
    ] {
        assert_eq!(
            d.run(name, sh(script, host)).output.stdout,
            wanted,
            "{name}"
        );
    }
    assert_eq!(
        d.inspect("with")["HostConfig"]["DeviceCgroupRules"],
        json!(["c 1:2 r"])
    );
    d.finish();
}

#[test]
fn what_is_no_device_is_refused_in_dockers_words() {
    let d = daemon();
    for (host, words) in [
        (
            json!({"DeviceCgroupRules": ["c 1:3 x"]}),
            "invalid device cgroup rule format: 'c 1:3 x'",
        ),
        (
            json!({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}),
            "could not select device driver \"\" with capabilities: [[gpu]]",
        ),
        (
            json!({"DeviceRequests": [{"Driver": "cdi", "Count": 1, "DeviceIDs": ["a/b=c"]}]}),
            "unexpected count in CDI device request",
        ),
        (
            json!({"Devices": [device("null", "/dev/x", "r")]}),
            "null is not an absolute path",
        ),
        (
            json!({"Devices": [device("/dev/null", "/dev/x", "rx")]}),
            "bad mode specified: rx",
        ),
    ] {
        let body = json!({"Image": testkit::BUSYBOX, "HostConfig": host});
        assert_eq!(
            d.http.post_json("/containers/create", &body).error(400),
            words
        );
    }
    let all = d.http.get("/containers/json?all=1").expect(200).json();
    assert_eq!(all, json!([]), "nothing was made");
    d.finish();
}

fn by_name(name: &str) -> Value {
    json!({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": [name]}]})
}

/// A vendor's file: a node, a mount, a variable, a group, and a hook that leaves a sign.
fn vendor(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"
cdiVersion: "0.7.0"
kind: vendor.com/thing
containerEdits:
  env: ["VENDOR=yes"]
  hooks:
  - hookName: createRuntime
    path: {dir}/hook
    args: [hook, called]
devices:
- name: one
  containerEdits:
    deviceNodes:
    - path: /dev/thing
      hostPath: /dev/full
      fileMode: 0640
    mounts:
    - hostPath: {dir}/library
      containerPath: /opt/vendor/library
      options: [ro, nosuid, nodev, bind]
    additionalGids: [4711]
"#
    )
}

#[test]
fn devices_by_name_bring_what_their_file_says() {
    for runtime in ["runc", "crun"] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path();
        let config = format!("cdi-spec-dirs = [{:?}, \"/nosuch\"]\n", path.join("cdi"));
        let d = Daemon::start(options().config(&config).runtime(runtime));
        let info = d.http.get("/info").expect(200).json();
        assert_eq!(info["CDISpecDirs"], json!([path.join("cdi"), "/nosuch"]));
        let script = "echo $VENDOR; cat /opt/vendor/library; id -G; stat -c %a,%t,%T /dev/thing; \
                      echo x 2>&1 > /dev/thing; touch /opt/vendor/library 2>&1";
        let id = d.create("it", sh(script, by_name("vendor.com/thing=one")));
        // Whether there is such a device is looked at when it starts.
        let said = d.http.post(&format!("/containers/{id}/start")).error(500);
        let words = "CDI device injection failed: unresolvable CDI devices vendor.com/thing=one";
        assert_eq!(said, words);
        fs::create_dir(path.join("cdi")).expect("ours");
        fs::write(path.join("library"), "library\n").expect("ours");
        let hook = format!("#!/bin/sh\necho $1 > {}/sign\n", path.display());
        fs::write(path.join("hook"), hook).expect("ours");
        fs::set_permissions(path.join("hook"), fs::Permissions::from_mode(0o755)).expect("ours");
        fs::write(path.join("cdi/vendor.yaml"), vendor(path)).expect("ours");
        fs::write(path.join("cdi/broken.json"), "{").expect("ours");
        d.start_container(&id);
        assert_eq!(d.wait(&id), 1, "its library is read-only");
        let out = d.logs(&id).stdout;
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[..2], ["yes", "library"], "{out}");
        assert!(lines[2].split(' ').any(|group| group == "4711"), "{out}");
        assert_eq!(lines[3], "640,1,7", "{out}");
        assert!(out.contains("No space left on device"), "{out}");
        assert!(out.contains("Read-only file system"), "{out}");
        let sign = fs::read_to_string(path.join("sign")).expect("the hook ran");
        assert_eq!(sign, "called\n");
        let shown = &d.inspect(&id)["HostConfig"]["DeviceRequests"][0];
        assert_eq!(shown["DeviceIDs"], json!(["vendor.com/thing=one"]));
        d.finish();
    }
}

/// The programs of a container with ids of its own cannot go where they like on the host.
#[test]
fn a_container_with_ids_of_its_own_gets_them_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    fs::create_dir(path.join("closed")).expect("ours");
    fs::write(path.join("closed/library"), "library\n").expect("ours");
    fs::set_permissions(path.join("closed"), fs::Permissions::from_mode(0o700)).expect("ours");
    let edits = json!({"mounts": [{"hostPath": path.join("closed/library"),
        "containerPath": "/library", "options": ["rbind", "ro"]}]});
    let file = json!({"cdiVersion": "0.3.0", "kind": "v/c",
        "devices": [{"name": "d", "containerEdits": edits}]});
    fs::write(path.join("v.json"), file.to_string()).expect("ours");
    let d = Daemon::start(options().config(&format!("cdi-spec-dirs = [{path:?}]\n")));
    let mut host = by_name("v/c=d");
    host["UsernsMode"] = json!("0:300000:1000");
    let out = d.run("mapped", sh("cat /library; cat /proc/self/uid_map", host));
    assert!(out.output.stdout.starts_with("library\n"), "{out:?}");
    assert!(out.output.stdout.contains("300000"), "{out:?}");
    d.finish();
}

#[test]
fn without_directories_there_is_no_such_driver() {
    let d = Daemon::start(options().config("cdi-spec-dirs = []\n"));
    let id = d.create("it", sh("true", by_name("v/c=d")));
    let said = d.http.post(&format!("/containers/{id}/start")).error(500);
    let words = "could not select device driver \"cdi\" with capabilities: []";
    assert_eq!(said, words);
    let info = d.http.get("/info").expect(200).json();
    assert_eq!(info["CDISpecDirs"], json!([]));
    d.finish();
}
