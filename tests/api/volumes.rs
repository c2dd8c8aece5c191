//! Volumes of the local driver, and the mounts containers ask for.

use serde_json::json;
use testkit::{Image, query};

use crate::daemon;

#[test]
fn a_volume_is_made_listed_inspected_and_removed() {
    let d = daemon();
    let made = d
        .http
        .post_json(
            "/volumes/create",
            &json!({"Name": "capv", "Labels": {"a": "b"}}),
        )
        .expect(201)
        .json();
    assert_eq!(made["Name"], "capv");
    assert_eq!(made["Driver"], "local");
    assert_eq!(made["Scope"], "local");
    assert_eq!(made["Labels"], json!({"a": "b"}));
    assert_eq!(made["Options"], json!(null));
    let mountpoint = made["Mountpoint"].as_str().expect("text");
    assert!(mountpoint.ends_with("/capv/_data"), "{mountpoint}");
    assert_eq!(d.http.get("/volumes/capv").expect(200).json(), made);
    let again = d
        .http
        .post_json("/volumes/create", &json!({"Name": "capv"}));
    assert_eq!(again.expect(201).json()["CreatedAt"], made["CreatedAt"]);
    let list = d.http.get("/volumes").expect(200).json();
    assert_eq!(list, json!({"Volumes": [made], "Warnings": null}));
    let filtered = query("/volumes", &[("filters", r#"{"label":{"a=c":true}}"#)]);
    let list = d.http.get(&filtered).expect(200).json();
    assert_eq!(list["Volumes"].as_array().map(Vec::len), Some(0));
    for (name, found) in [("^capv$", 1), ("ap", 1), ("(", 0), ("^ap", 0)] {
        let filters = json!({"name": [name]}).to_string();
        let path = query("/volumes", &[("filters", &filters)]);
        let list = d.http.get(&path).expect(200).json();
        assert_eq!(list["Volumes"].as_array().map(Vec::len), Some(found));
    }
    d.http.delete("/volumes/capv").expect(204);
    d.http
        .delete("/volumes/capv")
        .expect_error(404, "get capv: no such volume");
    d.http.get("/volumes/capv").error(404);
    let unnamed = d
        .http
        .post_json("/volumes/create", &json!({}))
        .expect(201)
        .json();
    assert_eq!(unnamed["Name"].as_str().map(str::len), Some(64));
    d.http
        .post_json("/volumes/create", &json!({"Name": "../x"}))
        .error(400);
    d.finish();
}

#[test]
fn data_outlive_the_container_and_a_volume_in_use_stays() {
    let d = daemon();
    let write = json!({
        "Cmd": ["sh", "-c", "echo kept > /data/file"],
        "HostConfig": {"Binds": ["shared:/data"]},
    });
    assert_eq!(d.run("writer", write).code, 0);
    let message = d.http.delete("/volumes/shared").error(409);
    assert!(message.contains("volume is in use"), "{message}");
    d.http.delete("/containers/writer?v=1").expect(204);
    d.http.get("/volumes/shared").expect(200);
    let read = json!({
        "Cmd": ["sh", "-c", "cat /data/file; touch /data/x"],
        "HostConfig": {"Binds": ["shared:/data:ro"]},
    });
    let out = d.run("reader", read);
    assert_eq!(out.output.stdout, "kept\n");
    assert!(out.output.stderr.contains("Read-only"), "{out:?}");
    assert_eq!(out.code, 1);
    d.finish();
}

#[test]
fn an_image_volume_is_anonymous_filled_from_the_image_and_goes_with_v() {
    let mut image = Image::with("with-volume:1", &json!({"Volumes": {"/etc": {}}}));
    image.tags = vec!["with-volume:1".to_owned()];
    let d = daemon();
    d.load(&image);
    let out = d.run(
        "uses",
        json!({"Image": "with-volume:1", "Cmd": ["head", "-n1", "/etc/passwd"]}),
    );
    assert_eq!(out.output.stdout, "root:x:0:0:root:/root:/bin/sh\n");
    let mounts = &d.inspect("uses")["Mounts"];
    assert_eq!(mounts[0]["Type"], "volume");
    assert_eq!(mounts[0]["Destination"], "/etc");
    let name = mounts[0]["Name"].as_str().expect("text").to_owned();
    assert_eq!(name.len(), 64);
    d.http.get(&format!("/volumes/{name}")).expect(200);
    d.http.delete("/containers/uses?v=1").expect(204);
    d.http.get(&format!("/volumes/{name}")).error(404);
    d.create(
        "file",
        json!({"Cmd": ["true"], "Volumes": {"/etc/passwd": {}}}),
    );
    let message = d.http.post("/containers/file/start").error(500);
    let why = "cannot mount volume over existing file, file exists /";
    assert!(message.starts_with(why), "{message}");
    d.finish();
}

#[test]
fn binds_tmpfs_and_mounts_arrive_as_asked() {
    let d = daemon();
    let host = d.root().join("host");
    std::fs::create_dir(&host).expect("a directory in ours");
    std::fs::write(host.join("f"), "from the host\n").expect("a file in ours");
    let host = host.display().to_string();
    let body = json!({
        "Cmd": ["sh", "-c", "cat /b/f; cat /m/f; df -k /t | tail -n1 | awk '{print $2}'; \
                             grep -c ' /t ' /proc/mounts; touch /m/no"],
        "HostConfig": {
            "Binds": [format!("{host}:/b")],
            "Mounts": [{"Type": "bind", "Source": host, "Target": "/m", "ReadOnly": true}],
            "Tmpfs": {"/t": "size=1m"},
        },
    });
    let out = d.run("mounts", body);
    assert_eq!(out.output.stdout, "from the host\nfrom the host\n1024\n1\n");
    assert!(out.output.stderr.contains("Read-only"), "{out:?}");
    let missing = json!({
        "Cmd": ["true"],
        "HostConfig": {"Mounts": [{"Type": "bind", "Source": "/no/such/dir", "Target": "/m"}]},
    });
    let answer = d.http.post_json(
        "/containers/create?name=missing",
        &json!({"Image": "busybox", "Cmd": missing["Cmd"], "HostConfig": missing["HostConfig"]}),
    );
    let message = answer.error(400);
    assert!(
        message.contains("bind source path does not exist"),
        "{message}"
    );
    // -v makes what is missing.
    let makes = d.root().join("made").display().to_string();
    let made = json!({"Cmd": ["true"], "HostConfig": {"Binds": [format!("{makes}:/m")]}});
    assert_eq!(d.run("makes", made).code, 0);
    assert!(std::fs::metadata(&makes).expect("it was made").is_dir());
    d.finish();
}

/// As Docker's: a volume is filled when the container is new, and what was emptied since stays
/// empty.
#[test]
fn a_volume_that_was_emptied_is_not_filled_again() {
    let d = daemon();
    let body = json!({
        "Cmd": ["sh", "-c", "ls /bin | wc -l; rm -rf /bin/*"],
        "HostConfig": {"Binds": ["bin:/bin"]},
    });
    let id = d.run_detached("it", body);
    d.wait(&id);
    let first = d.logs(&id).stdout;
    assert_ne!(first.trim(), "0", "it was filled");
    // Nothing is left to run, and nothing comes back.
    d.http.post("/containers/it/start").expect(400);
    let list = json!({
        "Cmd": ["ls", "/v"], "HostConfig": {"Binds": ["bin:/v"]},
    });
    assert_eq!(d.run("look", list).output.stdout, "");
    d.finish();
}

/// Names that a prune has removed.
fn pruned(d: &testkit::Daemon, path: &str, filters: &serde_json::Value) -> Vec<String> {
    let path = query(path, &[("filters", &filters.to_string())]);
    let report = d.http.post(&path).expect(200).json();
    let mut names = Vec::new();
    for name in report["VolumesDeleted"].as_array().expect("a list") {
        let name = name.as_str().expect("text");
        names.push(if name.len() == 64 { "unnamed" } else { name }.to_owned());
    }
    names
}

#[test]
fn a_prune_takes_what_nobody_uses_and_tells() {
    let d = daemon();
    let make = |body: serde_json::Value| {
        let made = d
            .http
            .post_json("/volumes/create", &body)
            .expect(201)
            .json();
        made["Name"].as_str().expect("text").to_owned()
    };
    let mut stream = d.http.events("/events");
    make(json!({"Name": "named", "Labels": {"a": "b"}}));
    make(json!({"Name": "plain"}));
    make(json!({"Name": "mem", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}}));
    let unnamed = make(json!({}));
    let file = d
        .root()
        .join("data/volumes")
        .join(&unnamed)
        .join("_data/file");
    std::fs::write(file, vec![1; 5000]).expect("ours");
    make(json!({"Labels": {"keep": "me"}}));
    d.create(
        "user",
        json!({"Cmd": ["true"], "HostConfig": {"Binds": ["used:/u"]}}),
    );
    d.create(
        "too",
        json!({"Cmd": ["true"], "HostConfig": {"Binds": ["used:/u"]}}),
    );
    let refuse = |filters: &str, message: &str| {
        let path = query("/volumes/prune", &[("filters", filters)]);
        d.http.post(&path).expect_error(400, message);
    };
    refuse(r#"{"dangling":["1"]}"#, "invalid filter 'dangling'");
    refuse(
        r#"{"all":["so"]}"#,
        r#"invalid filter 'all': strconv.ParseBool: parsing "so": invalid syntax"#,
    );
    let path = query("/volumes/prune", &[("filters", r#"{"label!":["keep"]}"#)]);
    let report = d.http.post(&path).expect(200).json();
    assert_eq!(
        report,
        json!({"VolumesDeleted": [unnamed], "SpaceReclaimed": 5000})
    );
    assert_eq!(pruned(&d, "/volumes/prune", &json!({})), ["unnamed"]);
    let all = json!({"all": ["1"], "label": ["a=b"]});
    assert_eq!(pruned(&d, "/volumes/prune", &all), ["named"]);
    assert_eq!(pruned(&d, "/v1.41/volumes/prune", &json!({})), ["plain"]);
    let list = d.http.get("/volumes").expect(200).json();
    let left = list["Volumes"].as_array().expect("a list").iter();
    let left: Vec<_> = left.map(|v| v["Name"].as_str().expect("text")).collect();
    assert_eq!(left, ["mem", "used"]);
    let usage = d.http.get("/system/df?type=volume").expect(200).json();
    let volumes = usage["Volumes"].as_array().expect("a list");
    assert_eq!(volumes.len(), 1, "one with options has no size here");
    assert_eq!(volumes[0]["UsageData"], json!({"RefCount": 2, "Size": 0}));
    let ids = ["user", "too"].map(|name| d.inspect(name)["Id"].as_str().expect("text").to_owned());
    let message = d.http.delete("/volumes/used?force=1").error(409);
    assert!(ids.iter().all(|id| message.contains(id)), "{message}");
    assert!(
        message.starts_with("remove used: volume is in use - ["),
        "{message}"
    );
    let told = stream.up_to("prune");
    let last = told.last().expect("the prune");
    assert_eq!(last["Type"], "volume");
    assert_eq!(
        last["Actor"],
        json!({"ID": "", "Attributes": {"reclaimed": "5000"}})
    );
    let gone = told
        .iter()
        .find(|event| event["Action"] == "destroy")
        .expect("it was told");
    assert_eq!(
        gone["Actor"],
        json!({"ID": unnamed, "Attributes": {"driver": "local"}})
    );
    drop(stream);
    d.finish();
}

#[test]
fn two_containers_that_race_for_a_new_volume_find_all_of_the_image_in_it() {
    let d = daemon();
    let body = json!({"Cmd": ["sh", "-c", "ls /bin | wc -l; stat -c %a /bin"],
        "HostConfig": {"Binds": ["bin:/bin"]}});
    let names: Vec<String> = (0..6).map(|n| format!("racer-{n}")).collect();
    for name in &names {
        d.create(name, body.clone());
    }
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| d.start_container(name));
        }
    });
    let said: Vec<String> = names
        .iter()
        .map(|name| {
            assert_eq!(d.wait(name), 0);
            d.logs(name).stdout
        })
        .collect();
    assert!(said.iter().all(|out| *out == said[0]), "{said:?}");
    assert!(!said[0].starts_with('0'), "{said:?}");
    d.finish();
}
