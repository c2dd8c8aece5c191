//! Volumes when something fails on the way: what is in them is not lost, and not another's.

use serde_json::json;
use testkit::Daemon;

use crate::daemon;

/// A daemon that fails at the points of `plan` from here on.
fn failing_at(d: &mut Daemon, plan: &str) {
    d.set_failpoints(plan);
    d.stop();
    d.restart();
}

#[test]
fn a_removal_that_fails_leaves_the_files_where_they_are() {
    let mut d = daemon();
    let write = json!({
        "Cmd": ["sh", "-c", "echo kept > /named/file; echo kept > /unnamed/file"],
        "HostConfig": {"Binds": ["named:/named"]}, "Volumes": {"/unnamed": {}},
    });
    let writer = d.run("writer", write).id;
    failing_at(&mut d, "remove-volumes-doomed=full");
    d.http.delete("/containers/writer?v=1").error(500);
    let unnamed = d.inspect(&writer)["Mounts"].clone();
    let unnamed = unnamed.as_array().expect("a list").iter();
    let places: Vec<String> = unnamed
        .map(|m| m["Source"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(places.len(), 2);
    for place in &places {
        let file = d.inside(std::path::Path::new(place).join("file"));
        assert_eq!(std::fs::read_to_string(file).expect("it is kept"), "kept\n");
    }
    failing_at(&mut d, "volume-doomed=full");
    d.http.delete("/volumes/named").error(500);
    let read = json!({"Cmd": ["cat", "/v/file"], "HostConfig": {"Binds": ["named:/v"]}});
    assert_eq!(d.run("reader", read).output.stdout, "kept\n");
    d.finish();
}
