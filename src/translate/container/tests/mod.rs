//! The translation as a whole: what real clients send, what is refused, what is shown.
//!
//! `fixtures` holds bytes of others: requests that the docker CLI and docker-py sent to a
//! listener of ours, answers that dockerd 20.10.24 and 26.1.5 gave.

mod connected;
mod networked;
mod refused;
mod requests;
mod shown;
mod stats;
mod wrong;

use model::{Kind, LogConfig, Result};
use serde_json::{Value, json};

use super::{Translated, create};
use wire::version::{ApiVersion, NEWEST};

/// Translates a body in the newest version.
fn translate(body: &str) -> Result<Translated> {
    translate_as(body, NEWEST)
}

fn translate_as(body: &str, version: ApiVersion) -> Result<Translated> {
    translate_with(body, version, &LogConfig::default())
}

fn translate_with(body: &str, version: ApiVersion, log: &LogConfig) -> Result<Translated> {
    create(
        serde_json::from_str(body).unwrap(),
        None,
        None,
        version,
        log,
    )
}

/// A minimal request with one field changed: `HostConfig.Init` or `Config.User`.
fn with(field: &str, value: &Value) -> String {
    let mut body = json!({"Image": "busybox", "HostConfig": {}, "NetworkingConfig": {}});
    let mut place = &mut body;
    for key in field.strip_prefix("Config.").unwrap_or(field).split('.') {
        place = &mut place[key];
    }
    *place = value.clone();
    body.to_string()
}

/// The kind and message of a refusal.
#[track_caller]
fn refusal(field: &str, value: &Value) -> (Kind, String) {
    let error =
        translate(&with(field, value)).expect_err(&format!("{field} = {value} was accepted"));
    (error.kind(), error.message().to_owned())
}
