//! `DELETE /networks/{id}` and `POST /networks/prune`.

use serde_json::json;
use testkit::{query, until};

use super::{connect, daemon, disconnect, make, on, stays, subnet};

#[test]
fn one_in_use_stays() {
    let d = daemon();
    let id = make(&d, "net", subnet("10.80.0.0/24"));
    d.run_detached("one", stays("net"));
    let said = d.http.delete("/networks/net").error(403);
    let begin = "error while removing network: network net ";
    assert!(
        said.starts_with(begin) && said.contains("has active endpoints") && said.contains("one"),
        "{said}"
    );
    // A container that does not run keeps none, as in Docker: it finds out at its start.
    d.http.post("/containers/one/stop?t=0").expect(204);
    d.http
        .delete(&format!("/networks/{}", &id[..12]))
        .expect(204);
    let gone = d.http.delete("/networks/net");
    gone.expect_error(404, "network net not found");
    let said = d.http.post("/containers/one/start").error(404);
    assert!(said.contains(&format!("network {id} not found")), "{said}");
    assert_eq!(d.status("one"), "exited");
    // Off the one that is gone, it runs again on another.
    disconnect(&d, "net", "one");
    make(&d, "other", subnet("10.80.1.0/24"));
    connect(&d, "other", "one", &json!({}));
    assert_eq!(on(&d, "one"), ["other"]);
    d.start_container("one");
    for name in ["bridge", "host", "none"] {
        let words = format!("{name} is a pre-defined network and cannot be removed");
        d.http
            .delete(&format!("/networks/{name}"))
            .expect_error(403, &words);
    }
    d.finish();
}

/// Who stops a container and removes its network at once is not told that it is in use.
#[test]
fn one_that_is_being_left_is_waited_for() {
    let d = daemon();
    for n in 0..3 {
        make(&d, "net", subnet("10.81.0.0/24"));
        let name = format!("c{n}");
        d.run_detached(&name, stays("net"));
        d.http.post(&format!("/containers/{name}/kill")).expect(204);
        until("it is killed", || {
            d.inspect(&name)["State"]["Running"] == false
        });
        d.http.delete("/networks/net").expect(204);
    }
    d.finish();
}

#[test]
fn prune_takes_what_nobody_runs_on() {
    let d = daemon();
    let prune = |filters: serde_json::Value| -> Vec<String> {
        let path = query("/networks/prune", &[("filters", &filters.to_string())]);
        let answer = d.http.post(&path).expect(200).json();
        let names = answer["NetworksDeleted"].as_array().cloned();
        let names = names.unwrap_or_default().into_iter();
        let mut names: Vec<String> = names
            .map(|n| n.as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    // Nothing is null, as in Docker.
    let nothing = d.http.post("/networks/prune").expect(200).json();
    assert_eq!(nothing, json!({"NetworksDeleted": null}));
    for (n, (name, label)) in [
        ("used", "x"),
        ("rests", "x"),
        ("kept", "keep"),
        ("old", "x"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = subnet(&format!("10.82.{n}.0/24"));
        body["Labels"] = json!({label: ""});
        make(&d, name, body);
    }
    d.run_detached("one", stays("used"));
    d.create("two", stays("rests"));
    assert_eq!(prune(json!({"until": ["1h"]})), [""; 0]);
    assert_eq!(prune(json!({"label": ["nosuch"]})), [""; 0]);
    assert_eq!(prune(json!({"label!": ["keep"]})), ["old", "rests"]);
    assert_eq!(prune(json!({"label": ["keep"]})), ["kept"]);
    assert_eq!(prune(json!({})), [""; 0]);
    d.http.get("/networks/used").expect(200);
    d.finish();
}
