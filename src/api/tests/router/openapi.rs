//! The OpenAPI document: complete in itself, and committed as it is generated.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::send;

fn document() -> Value {
    serde_json::to_value(api::openapi()).unwrap()
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/moored.json");
    let generated = api::openapi_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&file, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == generated,
        "openapi/moored.json is stale; write it anew with `moored openapi > openapi/moored.json` \
         or `UPDATE_OPENAPI=1 cargo test -p moored-api openapi`"
    );
}

#[tokio::test]
async fn the_daemon_serves_the_same_document() {
    let served = send("GET", "/openapi.json").await;
    assert_eq!(served.header("content-type"), Some("application/json"));
    assert_eq!(served.json(), document());
    assert!(
        served.json()["openapi"]
            .as_str()
            .unwrap()
            .starts_with("3.1")
    );
}

#[test]
fn every_reference_points_at_a_schema_and_every_schema_is_used() {
    let document = document();
    let mut referred = BTreeSet::new();
    collect_references(&document, &mut referred);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let defined: BTreeSet<String> = schemas
        .keys()
        .map(|name| format!("#/components/schemas/{name}"))
        .collect();
    assert_eq!(referred, defined);
}

fn collect_references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                into.insert(reference.clone());
            }
            fields.values().for_each(|v| collect_references(v, into));
        }
        Value::Array(items) => items.iter().for_each(|v| collect_references(v, into)),
        _ => {}
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_a_known_tag_and_a_summary() {
    let document = document();
    let tags: BTreeSet<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{method} {path}: {id} twice");
            let tag = operation["tags"][0].as_str().unwrap();
            assert!(tags.contains(tag), "{method} {path}: {tag}");
            assert!(operation["summary"].is_string(), "{method} {path}");
        }
    }
}

#[test]
fn what_attach_refuses_is_text_as_it_is_sent() {
    let document = document();
    let paths = &document["paths"];
    let answers = &paths["/containers/{id}/attach"]["post"]["responses"];
    for status in ["400", "404", "409"] {
        let content = answers[status]["content"].as_object().unwrap();
        let kinds: Vec<&String> = content.keys().collect();
        assert_eq!(kinds, ["application/vnd.docker.raw-stream"], "{status}");
    }
    let logs = &paths["/containers/{id}/logs"]["get"]["responses"];
    assert!(logs["501"].is_object());
}
