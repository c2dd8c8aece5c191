//! Create, start, exit, remove; names; prune.

use serde_json::json;
use testkit::{BUSYBOX, Image, query};

use crate::daemon;

#[test]
fn a_container_runs_from_create_to_remove() {
    let d = daemon();
    let body = json!({
        "Image": BUSYBOX,
        "Cmd": ["sh", "-c", "echo out; echo err >&2; exit 7"],
        "HostConfig": {"NetworkMode": "none"},
    });
    let made = d
        .http
        .post_json("/containers/create?name=cap1", &body)
        .expect(201);
    let text = made.text();
    let made = made.json();
    let id = made["Id"].as_str().expect("text");
    assert_eq!(id.len(), 64);
    assert_eq!(text, format!("{{\"Id\":\"{id}\",\"Warnings\":[]}}\n"));
    let state = &d.inspect(id)["State"];
    assert_eq!(state["Status"], "created");
    assert_eq!(state["StartedAt"], "0001-01-01T00:00:00Z");

    let start = d.http.post("/containers/cap1/start").expect(204);
    assert_eq!(start.text(), "");
    assert_eq!(d.wait(id), 7);
    let out = d.logs(id);
    assert_eq!(
        (out.stdout.as_str(), out.stderr.as_str()),
        ("out\n", "err\n")
    );

    let inspect = d.inspect("cap1");
    assert_eq!(inspect["Id"], id);
    assert_eq!(inspect["Name"], "/cap1");
    assert_eq!(inspect["Path"], "sh");
    assert_eq!(
        inspect["Args"],
        json!(["-c", "echo out; echo err >&2; exit 7"])
    );
    assert_eq!(inspect["Image"], Image::busybox().id().as_str());
    assert_eq!(inspect["Config"]["Image"], BUSYBOX);
    let state = &inspect["State"];
    assert_eq!(state["Status"], "exited");
    for flag in ["Running", "Paused", "Restarting", "OOMKilled", "Dead"] {
        assert_eq!(state[flag], false, "{flag}");
    }
    assert_eq!(state["Pid"], 0);
    assert_eq!(state["ExitCode"], 7);
    assert_eq!(state["Error"], "");
    let [started, finished] = ["StartedAt", "FinishedAt"].map(|k| state[k].as_str().expect("text"));
    assert!(
        started <= finished && started > "2024",
        "{started} {finished}"
    );

    d.http.delete("/containers/cap1").expect(204);
    d.http
        .get("/containers/cap1/json")
        .expect_error(404, "No such container: cap1");
    d.expect_nothing_left();
    d.finish();
}

#[test]
fn every_exit_code_comes_through() {
    let d = daemon();
    for code in [0, 1, 2, 42, 125, 126, 127, 128, 137, 143, 254, 255] {
        let name = format!("code-{code}");
        let out = d.run(&name, json!({"Cmd": ["sh", "-c", format!("exit {code}")]}));
        assert_eq!(out.code, code);
        assert_eq!(d.inspect(&name)["State"]["ExitCode"], code);
    }
    d.finish();
}

#[test]
fn a_container_is_found_by_id_prefix_and_name() {
    let d = daemon();
    let id = d.create("found", json!({"Cmd": ["true"]}));
    for reference in [id.as_str(), &id[..12], &id[..3], "found", "/found"] {
        let path = format!("/containers/{}/json", reference.replace('/', "%2F"));
        assert_eq!(d.http.get(&path).expect(200).json()["Id"], id.as_str());
    }
    d.finish();
}

#[test]
fn a_name_is_taken_once_and_free_again() {
    let d = daemon();
    let id = d.create("same", json!({"Cmd": ["true"]}));
    let again = json!({"Image": BUSYBOX, "Cmd": ["true"]});
    let conflict = format!(
        "Conflict. The container name \"/same\" is already in use by container \"{id}\". You \
         have to remove (or rename) that container to be able to reuse that name."
    );
    let clash = d.http.post_json("/containers/create?name=same", &again);
    clash.expect_error(409, &conflict);
    d.create("other", json!({"Cmd": ["true"]}));
    d.http
        .post("/containers/other/rename?name=same")
        .expect_error(409, &format!("Error when allocating new name: {conflict}"));
    d.http.post("/containers/same/rename?name=free").expect(204);
    assert_eq!(d.inspect("free")["Id"], id.as_str());
    d.http.get("/containers/same/json").error(404);
    d.create("same", json!({"Cmd": ["true"]}));
    d.http.delete("/containers/free").expect(204);
    d.create("free", json!({"Cmd": ["true"]}));
    d.finish();
}

#[test]
fn a_name_survives_many_who_want_it_at_once() {
    let d = daemon();
    let body = json!({"Image": BUSYBOX, "Cmd": ["true"]});
    let codes: Vec<u16> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    d.http
                        .post_json("/containers/create?name=one", &body)
                        .status
                })
            })
            .collect();
        lanes
            .into_iter()
            .map(|l| l.join().expect("it answers"))
            .collect()
    });
    assert_eq!(codes.iter().filter(|c| **c == 201).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|c| **c == 409).count(), 15, "{codes:?}");
    d.finish();
}

#[test]
fn start_and_stop_of_what_is_so_already_are_304() {
    let d = daemon();
    d.run_detached("it", json!({"Cmd": ["sleep", "1000"]}));
    let answer = d.http.post("/containers/it/start").expect(304);
    assert_eq!(answer.text(), "");
    d.http.post("/containers/it/stop?t=0").expect(204);
    let answer = d.http.post("/containers/it/stop").expect(304);
    assert_eq!(answer.text(), "");
    d.http.post("/containers/it/start").expect(204);
    d.http.post("/containers/it/restart?t=0").expect(204);
    assert_eq!(d.status("it"), "running");
    d.finish();
}

#[test]
fn what_runs_is_removed_by_force_only() {
    let d = daemon();
    let id = d.run_detached("cap2", json!({"Cmd": ["sleep", "1000"]}));
    d.http.delete("/containers/cap2").expect_error(
        409,
        "cannot remove container \"/cap2\": container is running: stop the container before \
         removing or force remove",
    );
    d.http.post("/containers/cap2/pause").expect(204);
    let message = d.http.delete("/containers/cap2").error(409);
    assert!(message.contains("container is paused"), "{message}");
    d.http.delete("/containers/cap2?force=1&v=1").expect(204);
    d.http.get(&format!("/containers/{id}/json")).error(404);
    d.http
        .delete("/containers/cap2")
        .expect_error(404, "No such container: cap2");
    d.finish();
}

#[test]
fn auto_remove_takes_the_container_and_its_volumes() {
    let d = daemon();
    d.run_detached(
        "brief",
        json!({
            "Cmd": ["sh", "-c", "read x; exit 5"],
            "OpenStdin": true,
            "Volumes": {"/v": {}},
            "HostConfig": {"AutoRemove": true},
        }),
    );
    let volumes = d.http.get("/volumes").expect(200).json();
    assert_eq!(volumes["Volumes"].as_array().map(Vec::len), Some(1));
    let mut wait = d
        .http
        .stream("POST", "/containers/brief/wait?condition=removed", &[], b"");
    let mut attach = d
        .http
        .hijack("/containers/brief/attach?stream=1&stdin=1", true);
    attach.write("go\n");
    assert_eq!(wait.body.read_to_end(), b"{\"StatusCode\":5}\n");
    d.http.get("/containers/brief/json").error(404);
    let volumes = d.http.get("/volumes").expect(200).json();
    assert_eq!(volumes["Volumes"].as_array().map(Vec::len), Some(0));
    d.finish();
}

#[test]
fn prune_takes_what_does_not_run() {
    let d = daemon();
    let created = d.create("made", json!({"Cmd": ["true"], "Labels": {"keep": "no"}}));
    let exited = d
        .run("done", json!({"Cmd": ["true"], "Labels": {"keep": "yes"}}))
        .id;
    d.run_detached("runs", json!({"Cmd": ["sleep", "1000"]}));
    let filter = query(
        "/containers/prune",
        &[("filters", r#"{"label":["keep=no"]}"#)],
    );
    let pruned = d.http.post(&filter).expect(200).json();
    assert_eq!(pruned["ContainersDeleted"], json!([created]));
    assert!(pruned["SpaceReclaimed"].is_u64(), "{pruned}");
    // Nothing here is as old as these; the last is no time.
    for until in ["1h30m", "2017-01-04T13:10:00", "2017-01-04", "1483535400.5"] {
        let filters = json!({"until": [until]}).to_string();
        let path = query("/containers/prune", &[("filters", &filters)]);
        let pruned = d.http.post(&path).expect(200).json();
        assert_eq!(pruned["ContainersDeleted"], json!(null), "{until}");
    }
    for (filters, message) in [
        (
            r#"{"until":["soon"]}"#,
            "failed to parse value as time or duration: \"soon\"",
        ),
        (
            r#"{"until":["1h","2h"]}"#,
            "more than one until filter specified",
        ),
        (r#"{"name":["x"]}"#, "invalid filter 'name'"),
    ] {
        let path = query("/containers/prune", &[("filters", filters)]);
        d.http.post(&path).expect_error(400, message);
    }
    let pruned = d.http.post("/containers/prune").expect(200).json();
    assert_eq!(pruned["ContainersDeleted"], json!([exited]));
    let pruned = d.http.post("/containers/prune").expect(200).json();
    assert_eq!(pruned["ContainersDeleted"], json!(null));
    assert_eq!(d.status("runs"), "running");
    d.finish();
}

/// What a container wrote is there when it is started again; nothing of it is in the image.
#[test]
fn the_writable_layer_lives_as_long_as_the_container() {
    let d = daemon();
    let script = "test -e /mark && echo again; touch /mark";
    let id = d.run("layer", json!({"Cmd": ["sh", "-c", script]})).id;
    d.start_container(&id);
    d.wait(&id);
    assert_eq!(d.logs(&id).stdout, "again\n");
    let other = d.run("other", json!({"Cmd": ["sh", "-c", script]}));
    assert_eq!(other.output.stdout, "");
    d.finish();
}
