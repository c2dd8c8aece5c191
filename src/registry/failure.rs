//! What went wrong, in Docker's words.

use std::time::Duration;

use model::{Error, Kind, Reference};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

/// What is shown of an answer that nobody can make sense of.
const SHOWN_BYTES_MAX: usize = 256;
/// Errors of one answer that are told.
const TOLD_MAX: usize = 8;
/// The longest that a registry may make anybody wait before it is asked again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Why a server did not give what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There was no answer, or it ended early.
    Line {
        message: String,
        /// It may be another the next time.
        passing: bool,
    },
    /// The server said no.
    Refused(Refusal),
    /// The answer is wrong, and will be the next time.
    Wrong(Error),
}

/// How a server said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// `MANIFEST_UNKNOWN` and the like, of the first error it named.
    pub(crate) code: Option<String>,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
}

/// The body of a refusal (OCI distribution spec, "Error Codes").
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    errors: Vec<Told>,
    /// Of token servers that speak no such list.
    details: String,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    code: String,
    message: String,
}

impl Failure {
    /// A line that broke or was never there.
    pub(crate) fn line(method: &Method, url: &Url, e: &reqwest::Error) -> Self {
        let reason = reason(e, url);
        let passing = !e.is_builder() && !e.is_redirect() && !reason.contains("certificate");
        Self::Line {
            message: format!("{} \"{}\": {reason}", capital(method), shown(url)),
            passing,
        }
    }

    /// One that will not pass.
    pub(crate) fn for_good(self) -> Self {
        match self {
            Self::Line { message, .. } => Self::Line {
                message,
                passing: false,
            },
            other => other,
        }
    }

    /// Nothing came for that long.
    pub(crate) fn silence(method: &Method, url: &Url, waited: Duration) -> Self {
        Self::Line {
            message: format!(
                "{} \"{}\": nothing came for {} s",
                capital(method),
                shown(url),
                waited.as_secs()
            ),
            passing: true,
        }
    }

    /// A failure with one request.
    pub(crate) fn with(method: &Method, url: &Url, reason: &str) -> Self {
        let message = format!("{} \"{}\": {reason}", capital(method), shown(url));
        Self::Wrong(Error::system(message))
    }

    /// What an answer that is no success says.
    pub(crate) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let words = |told: &Told| {
            let code = told.code.to_lowercase().replace('_', " ");
            match told.message.is_empty() {
                true => code,
                false => format!("{code}: {}", told.message),
            }
        };
        let told: Vec<String> = body.errors.iter().take(TOLD_MAX).map(words).collect();
        let message = match told.as_slice() {
            [] if !body.details.is_empty() => format!("unauthorized: {}", body.details),
            [] if !body.message.is_empty() => body.message.clone(),
            [] if status == StatusCode::UNAUTHORIZED => {
                "unauthorized: authentication required".to_owned()
            }
            [] => format!("received unexpected HTTP status: {status}"),
            [one] => one.clone(),
            several => format!("errors:\n{}\n", several.join("\n")),
        };
        let seconds = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        let seconds = seconds.and_then(|text| text.parse().ok());
        Self::Refused(Refusal {
            status,
            code: body.errors.first().map(|told| told.code.clone()),
            message: message
                .chars()
                .filter(|c| !c.is_control() || *c == '\n')
                .take(4096)
                .collect(),
            retry_after: seconds.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX)),
        })
    }

    /// An answer that is not what it should be.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self::Wrong(Error::system(message))
    }

    /// Whether it may go well the next time, and how long the server wants to be left alone.
    pub(crate) fn passes(&self) -> Option<Option<Duration>> {
        match self {
            Self::Line { passing: true, .. } => Some(None),
            Self::Refused(refusal)
                if refusal.status.is_server_error()
                    || refusal.status == StatusCode::TOO_MANY_REQUESTS
                    || refusal.status == StatusCode::REQUEST_TIMEOUT =>
            {
                Some(refusal.retry_after)
            }
            _ => None,
        }
    }

    /// Without a name of an image in it.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Line { message, .. } => Error::system(message),
            Self::Refused(refusal) => Error::system(refusal.message),
            Self::Wrong(e) => e,
        }
    }

    /// As a pull tells of it (moby `translatePullError`).
    pub(crate) fn of_pull(self, reference: &Reference) -> Error {
        let Self::Refused(refusal) = &self else {
            return self.into_error();
        };
        let what = match refusal.code.as_deref() {
            Some("DENIED") => format!(
                "pull access denied for {}, repository does not exist or may require 'docker login'",
                reference.familiar_name()
            ),
            Some("MANIFEST_UNKNOWN") => format!("manifest for {} not found", reference.familiar()),
            Some("NAME_UNKNOWN") => format!("repository {} not found", reference.familiar_name()),
            None if refusal.status == StatusCode::NOT_FOUND => {
                format!("manifest for {} not found", reference.familiar())
            }
            _ => return self.into_error(),
        };
        Error::new(Kind::NotFound, format!("{what}: {}", refusal.message))
    }
}

/// `Get`, as Go's client says it.
fn capital(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "Get",
        "HEAD" => "Head",
        "POST" => "Post",
        "PUT" => "Put",
        "PATCH" => "Patch",
        _ => "Send",
    }
}

/// Without what may be secret: a query may be somebody's signature.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// The innermost reason. Docker's users look for some of Go's sentences.
fn reason(e: &reqwest::Error, url: &Url) -> String {
    let mut inner: &(dyn std::error::Error + 'static) = e;
    let mut all = e.to_string();
    while let Some(source) = inner.source() {
        inner = source;
        all.push_str(": ");
        all.push_str(&inner.to_string());
    }
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let text = inner.to_string();
    if e.is_redirect() {
        return text;
    }
    if all.contains("dns error") {
        return match text.contains("not known") || text.contains("No address") {
            true => format!("dial tcp: lookup {host}: no such host"),
            false => format!("dial tcp: lookup {host}: {text}"),
        };
    }
    if all.contains("Connection refused") {
        return format!("dial tcp {host}:{port}: connect: connection refused");
    }
    if e.is_timeout() && e.is_connect() {
        return format!("dial tcp {host}:{port}: i/o timeout");
    }
    // A server that shows the certificate of an authority, one that nobody here knows.
    if all.contains("UnknownIssuer") || all.contains("CaUsedAsEndEntity") {
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            .to_owned();
    }
    if all.contains("InvalidContentType") || all.contains("corrupt message") {
        return "http: server gave HTTP response to HTTPS client".to_owned();
    }
    if let Some((_, why)) = all.split_once("invalid peer certificate: ") {
        return format!("tls: failed to verify certificate: {why}");
    }
    text.chars().take(SHOWN_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Failure {
        Failure::refused(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            body.as_bytes(),
        )
    }

    #[test]
    fn a_pull_is_refused_in_dockers_words() {
        let reference: Reference = "localhost:5000/a:1".parse().unwrap();
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        let e = refused(404, unknown).of_pull(&reference);
        assert_eq!(e.kind(), Kind::NotFound);
        assert_eq!(
            e.message(),
            "manifest for localhost:5000/a:1 not found: manifest unknown: manifest unknown"
        );
        let denied = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied","detail":[{"x":1}]}]}"#;
        let e = refused(401, denied).of_pull(&"priv".parse().unwrap());
        assert_eq!(e.kind(), Kind::NotFound);
        assert_eq!(
            e.message(),
            "pull access denied for priv, repository does not exist or may require 'docker login': \
             denied: requested access to the resource is denied"
        );
        let e = refused(500, "<html>").of_pull(&reference);
        assert_eq!(
            (e.kind(), e.message()),
            (
                Kind::System,
                "received unexpected HTTP status: 500 Internal Server Error"
            )
        );
        let e = refused(401, "").into_error();
        assert_eq!(e.message(), "unauthorized: authentication required");
    }

    #[test]
    fn servers_that_are_busy_are_asked_again_and_others_not() {
        assert_eq!(refused(503, "").passes(), Some(None));
        assert_eq!(refused(404, "").passes(), None);
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let busy = Failure::refused(StatusCode::TOO_MANY_REQUESTS, &headers, b"");
        assert_eq!(busy.passes(), Some(Some(Duration::from_secs(7))));
        headers.insert(RETRY_AFTER, "99999".parse().unwrap());
        let busy = Failure::refused(StatusCode::TOO_MANY_REQUESTS, &headers, b"");
        assert_eq!(busy.passes(), Some(Some(RETRY_AFTER_MAX)));
    }

    #[test]
    fn control_characters_of_a_server_do_not_reach_a_terminal() {
        let body = r#"{"errors":[{"code":"DENIED","message":"a\u001b[2Jb"}]}"#;
        assert_eq!(refused(403, body).into_error().message(), "denied: a[2Jb");
    }
}
