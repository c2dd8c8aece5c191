//! Events of networks (moby v27.5.1 `daemon/events.go`).

use serde_json::{Value, json};

use super::{connect, daemon, disconnect, kill, make, stays, subnet};

#[test]
fn every_change_of_a_network_is_told() {
    let d = daemon();
    let filters = json!({"type": ["network"]}).to_string();
    let mut events = d
        .http
        .events(&testkit::query("/events", &[("filters", &filters)]));
    let mut body = subnet("10.100.0.0/24");
    body["Labels"] = json!({"label": "is not told"});
    let net = make(&d, "net", body);
    let other = make(&d, "other", subnet("10.100.1.0/24"));
    let c = d.run_detached("cc", stays("net"));
    connect(&d, "other", "cc", &json!({}));
    disconnect(&d, "other", "cc");
    kill(&d, "cc");
    // What a run had is taken away a little after its end was told.
    let mut told: Vec<Value> = events.up_to("disconnect");
    told.extend(events.up_to("disconnect"));
    d.http.delete("/networks/other").expect(204);
    d.http.delete("/containers/cc").expect(204);
    d.http.post("/networks/prune").expect(200);
    told.extend(events.up_to("prune"));
    let short: Vec<(&str, &str)> = told
        .iter()
        .map(|e| {
            let name = e["Actor"]["Attributes"]["name"].as_str();
            (e["Action"].as_str().expect("text"), name.unwrap_or(""))
        })
        .collect();
    let expected = [
        ("create", "net"),
        ("create", "other"),
        ("connect", "net"),
        ("connect", "other"),
        ("disconnect", "other"),
        ("disconnect", "net"),
        ("destroy", "other"),
        ("destroy", "net"),
        ("prune", ""),
    ];
    assert_eq!(short, expected);
    let actor =
        |id: &str, name: &str| json!({"ID": id, "Attributes": {"name": name, "type": "bridge"}});
    assert_eq!(told[0]["Actor"], actor(&net, "net"));
    assert_eq!(told[0]["Type"], "network");
    assert_eq!(told[0]["scope"], "local");
    let with = |id: &str, name: &str| {
        let mut actor = actor(id, name);
        actor["Attributes"]["container"] = json!(c);
        actor
    };
    assert_eq!(told[2]["Actor"], with(&net, "net"));
    assert_eq!(told[4]["Actor"], with(&other, "other"));
    assert_eq!(told[7]["Actor"], actor(&net, "net"));
    assert_eq!(
        told[8]["Actor"],
        json!({"ID": "", "Attributes": {"reclaimed": "0"}})
    );
    // By the network's name, too.
    let filters = json!({"network": ["other"]}).to_string();
    let path = testkit::query(
        "/events",
        &[
            ("since", "0"),
            ("until", "9999999999"),
            ("filters", &filters),
        ],
    );
    let mut past = d.http.events(&path);
    let actions: Vec<String> = (0..4)
        .map(|_| past.next_event().expect("there are four")["Action"].to_string())
        .collect();
    let expected = ["\"create\"", "\"connect\"", "\"disconnect\"", "\"destroy\""];
    assert_eq!(actions, expected);
    drop((events, past));
    d.finish();
}
