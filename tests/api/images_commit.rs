//! Images made of containers.

use serde_json::{Value, json};
use testkit::{Daemon, Image, Response, query, until};

use crate::daemon;

fn commit(d: &Daemon, pairs: &[(&str, &str)]) -> Response {
    d.http.send("POST", &query("/commit", pairs), &[], b"")
}

fn id_of(answer: Response) -> String {
    let answer = answer.expect(201).json();
    answer["Id"].as_str().expect("text").to_owned()
}

#[test]
fn what_a_container_changed_is_in_its_image_and_nothing_else() {
    let d = daemon();
    let script = "echo new > /etc/new; rm /bin/vi; mkdir -p /a/b; ln -s b /a/l; chmod 4711 /etc/passwd; \
        echo ready; exec sleep 1000";
    let id = d.run_detached(
        "changed",
        json!({"Cmd": ["sh", "-c", script], "Env": ["A=1"]}),
    );
    until("it has changed all", || {
        d.logs(&id).stdout.contains("ready")
    });
    let made = id_of(commit(
        &d,
        &[
            ("container", "changed"),
            ("repo", "made"),
            ("tag", "1"),
            ("author", "me"),
            ("comment", "why"),
            (
                "changes",
                "CMD [\"sh\", \"-c\", \"cat /etc/new; ls -d /bin/vi /a/l/; stat -c %a /etc/passwd\"]",
            ),
            ("changes", "LABEL x=y"),
        ],
    ));
    // It runs on, and is not paused any more.
    let state = d.http.get("/containers/changed/json").expect(200).json()["State"].clone();
    assert_eq!(
        (&state["Running"], &state["Paused"]),
        (&json!(true), &json!(false))
    );
    let image = d.http.get("/images/made:1/json").expect(200).json();
    assert_eq!(image["Id"], made.as_str());
    assert_eq!(image["Parent"], Image::busybox().id());
    assert_eq!(
        (&image["Author"], &image["Comment"]),
        (&json!("me"), &json!("why"))
    );
    assert_eq!(image["Config"]["Labels"], json!({"x": "y"}));
    assert_eq!(image["Config"]["Env"][0], "A=1");
    let out = d.run("from-it", json!({"Image": "made:1"}));
    assert_eq!(out.output.stdout, "new\n/a/l/\n4711\n");
    let history = d.http.get("/images/made:1/history").expect(200).json();
    assert_eq!(history[0]["CreatedBy"], format!("sh -c {script}"));
    assert_eq!(history[0]["Comment"], "why");
    assert_eq!(history[1]["Id"], Image::busybox().id());
    // The layer is exact: it is saved, and the same elsewhere.
    let archive = d.http.get("/images/made:1/get").expect(200).body;
    let other = Daemon::start(crate::options().bare());
    other
        .http
        .send("POST", "/images/load", &[], &archive)
        .expect(200);
    assert_eq!(
        other.http.get("/images/made:1/json").expect(200).json()["Id"],
        made.as_str()
    );
    other.finish();
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let past = query("/events", &[("since", "1"), ("until", &until)]);
    let log = d.http.get(&past).expect(200).text();
    let events = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let words: Vec<(String, String)> = events
        .map(|e| (e["Type"].to_string(), e["Action"].to_string()))
        .collect();
    let place = |kind: &str, action: &str| {
        let wanted = (format!("{kind:?}"), format!("{action:?}"));
        words
            .iter()
            .position(|w| *w == wanted)
            .unwrap_or_else(|| panic!("no {action}: {words:?}"))
    };
    let order = [
        place("container", "pause"),
        place("image", "create"),
        place("container", "unpause"),
        place("container", "commit"),
    ];
    assert!(order.is_sorted(), "{words:?}");
    // What another image was made from stays; when that goes, and nothing names it, it goes along.
    d.http.delete("/containers/changed?force=1").expect(204);
    d.http.delete("/containers/from-it").expect(204);
    let busybox = Image::busybox().id();
    let refused = d
        .http
        .delete(&format!("/images/{}?force=1", &busybox[7..]))
        .error(409);
    assert!(
        refused.ends_with("(cannot be forced) - image has dependent child images"),
        "{refused}"
    );
    let gone = d.http.delete("/images/busybox:latest").expect(200).json();
    assert_eq!(gone, json!([{"Untagged": "busybox:latest"}]));
    let listed = d.http.get("/images/json").expect(200).json();
    assert_eq!(
        listed.as_array().map(Vec::len),
        Some(1),
        "a step is not shown: {listed}"
    );
    let gone = d.http.delete("/images/made:1").expect(200).json();
    assert_eq!(gone[0], json!({"Untagged": "made:1"}));
    assert_eq!(gone[1], json!({"Deleted": made}));
    assert!(
        gone.as_array()
            .expect("a list")
            .contains(&json!({"Deleted": busybox})),
        "{gone}"
    );
    d.finish();
}

#[test]
fn an_untouched_container_gives_no_layer() {
    let d = daemon();
    for (name, started) in [("never-ran", false), ("ran", true)] {
        let id = d.create(name, json!({"Cmd": ["true"]}));
        if started {
            d.start_container(&id);
            d.wait(&id);
        }
        let made = id_of(commit(&d, &[("container", name)]));
        let image = d
            .http
            .get(&format!("/images/{made}/json"))
            .expect(200)
            .json();
        let layers = image["RootFS"]["Layers"].as_array().map(Vec::len);
        assert_eq!(layers, Some(1), "{name}: {image}");
        assert_eq!(image["RepoTags"], json!([]));
        let history = d
            .http
            .get(&format!("/images/{made}/history"))
            .expect(200)
            .json();
        assert_eq!(history[0]["Size"], 0);
        d.http.delete(&format!("/images/{made}")).expect(200);
        d.http.delete(&format!("/containers/{id}")).expect(204);
    }
    d.finish();
}

#[test]
fn bad_commits_change_nothing() {
    let d = daemon();
    d.create("container", json!({"Cmd": ["true"]}));
    commit(&d, &[("container", "nosuch")]).expect_error(404, "No such container: nosuch");
    let run = commit(&d, &[("container", "container"), ("changes", "RUN true")]);
    run.expect_error(400, "RUN is not a valid change command");
    commit(&d, &[("container", "container"), ("repo", "UPPER")]).error(400);
    let images = d.http.get("/images/json?all=1").expect(200).json();
    assert_eq!(images.as_array().map(Vec::len), Some(1));
    let body = json!({"Cmd": ["echo", "sent"], "Labels": {"a": "b"}});
    let answer = d
        .http
        .post_json("/commit?container=container&pause=0&repo=sent", &body);
    let made = id_of(answer);
    let out = d.run("sent", json!({"Image": made}));
    assert_eq!(out.output.stdout, "sent\n");
    d.finish();
}

/// Somebody removes the container, and its image, while it is packed: the image has all the same.
#[cfg(feature = "failpoints")]
#[test]
fn what_is_removed_while_it_is_committed_is_in_its_image() {
    let mut d = daemon();
    d.stop();
    d.set_failpoints("commit-begun=delay:2000");
    d.restart();
    let script = "mkdir /many; for n in $(seq 500); do echo $n > /many/$n; done; \
        echo ready; exec sleep 1000";
    let id = d.run_detached("goes", json!({"Cmd": ["sh", "-c", script]}));
    until("it has made all", || d.logs(&id).stdout.contains("ready"));
    let pairs = [("container", "goes"), ("repo", "kept"), ("tag", "1")];
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| commit(&d, &pairs));
        until("it stands still", || {
            let state = d.http.get("/containers/goes/json").expect(200).json();
            state["State"]["Paused"] == true
        });
        d.http.delete("/containers/goes?force=1").expect(204);
        d.http.delete("/images/busybox:latest").expect(200);
        id_of(commit.join().expect("no panic"));
    });
    let count = json!({"Image": "kept:1", "Cmd": ["sh", "-c", "ls /many | wc -l"]});
    assert_eq!(d.run("counts", count).output.stdout, "500\n");
    let writable = d.root().join("data/images/writable").join(&id);
    until("its files are gone", || !writable.exists());
    d.finish();
}
