//! What went wrong, in Docker's words.

use std::time::Duration;

use model::{Error, Kind, Reference};
use reqwest::header::{HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

/// What is shown of an answer that nobody can make sense of.
const SHOWN_BYTES_MAX: usize = 256;
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
        /// There is a server: it was spoken to.
        reached: bool,
    },
    /// The server said no.
    Refused(Refusal),
    /// The answer is wrong, and will be the next time.
    Wrong(Error),
    /// It was not asked without TLS, for it speaks TLS.
    NotAsked,
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

/// The body of a refusal (OCI distribution spec, "Error Codes"), and what token servers say instead.
fn errors_of(body: &[u8]) -> Vec<(String, String)> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Vec::new();
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let listed = body["errors"].as_array().into_iter().flatten();
    let mut errors: Vec<_> = listed
        .map(|told| (text(&told["code"]), text(&told["message"])))
        .filter(|(code, message)| !code.is_empty() || !message.is_empty())
        .collect();
    let plain = [&body["details"], &body["message"]].map(text);
    if errors.is_empty()
        && let Some(message) = plain.into_iter().find(|text| !text.is_empty())
    {
        errors.push((String::new(), message));
    }
    errors
}

/// What a Bearer challenge says went wrong (RFC 6750, 3.1), as an error of the list above: Docker Hub
/// tells so that there is no such repository, or none for us (distribution `HandleErrorResponse`).
fn error_of_challenge(headers: &HeaderMap) -> Option<(String, String)> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    let text = values.filter_map(|value| value.to_str().ok());
    let challenges = text.flat_map(|text| http_auth::parse_challenges(text).unwrap_or_default());
    let mut errors = challenges.filter_map(|challenge| {
        let mut params = challenge.params.iter();
        let found = params.find(|(key, _)| key.eq_ignore_ascii_case("error"))?;
        Some(found.1.to_unescaped())
    });
    match errors.next()?.as_str() {
        "insufficient_scope" => Some((
            "DENIED".to_owned(),
            "requested access to the resource is denied".to_owned(),
        )),
        "invalid_token" => Some((
            "UNAUTHORIZED".to_owned(),
            "authentication required".to_owned(),
        )),
        _ => None,
    }
}

impl Failure {
    /// A line that broke or was never there.
    pub(crate) fn line(method: &Method, url: &Url, e: &reqwest::Error) -> Self {
        let reason = reason(e, url);
        let passing = !e.is_builder() && !e.is_redirect() && !reason.contains("certificate");
        Self::Line {
            message: format!("{} \"{}\": {reason}", capital(method), shown(url)),
            passing,
            reached: !e.is_connect(),
        }
    }

    /// One that will not pass.
    pub(crate) fn for_good(self) -> Self {
        match self {
            Self::Line {
                message, reached, ..
            } => Self::Line {
                message,
                passing: false,
                reached,
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
            reached: true,
        }
    }

    /// A failure with one request.
    pub(crate) fn with(method: &Method, url: &Url, reason: &str) -> Self {
        let message = format!("{} \"{}\": {reason}", capital(method), shown(url));
        Self::Wrong(Error::system(message))
    }

    /// What an answer that is no success says.
    pub(crate) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut errors = errors_of(body);
        if status == StatusCode::UNAUTHORIZED {
            // The first one counts.
            errors.splice(0..0, error_of_challenge(headers));
        }
        let words = |(code, message): &(String, String)| {
            let code = code.to_lowercase().replace('_', " ");
            match (code.is_empty(), message.is_empty()) {
                (false, false) => format!("{code}: {message}"),
                (true, _) if status == StatusCode::UNAUTHORIZED => {
                    format!("unauthorized: {message}")
                }
                (true, _) => message.clone(),
                (false, true) => code,
            }
        };
        let message = match errors.first() {
            Some(first) => words(first),
            None if status == StatusCode::UNAUTHORIZED => {
                "unauthorized: authentication required".to_owned()
            }
            None => match String::from_utf8_lossy(body).trim() {
                "" => format!("received unexpected HTTP status: {status}"),
                text => format!(
                    "received unexpected HTTP status: {status}: {:?}",
                    text.chars().take(SHOWN_BYTES_MAX).collect::<String>()
                ),
            },
        };
        let seconds = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        let seconds = seconds.and_then(|text| text.parse().ok());
        Self::Refused(Refusal {
            status,
            code: errors
                .into_iter()
                .next()
                .map(|(code, _)| code)
                .filter(|code| !code.is_empty()),
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

    /// The same of one that is there at all: whoever has mistyped a name is told so at once.
    pub(crate) fn passes_there(&self) -> Option<Option<Duration>> {
        match self {
            Self::Line { reached: false, .. } => None,
            other => other.passes(),
        }
    }

    /// Without a name of an image in it.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Line { message, .. } => Error::system(message),
            Self::Refused(refusal) => Error::system(refusal.message),
            Self::Wrong(e) => e,
            Self::NotAsked => Error::system("the registry speaks TLS, and was not asked without"),
        }
    }

    /// As a push tells of it: Unavailable where it may go well the next time.
    pub(crate) fn of_push(self) -> Error {
        let passes = self.passes().is_some();
        let e = self.into_error();
        match passes {
            true => Error::new(Kind::Unavailable, e.message()),
            false => e,
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
            // Some say no more than that.
            None if refusal.status == StatusCode::NOT_FOUND => {
                format!("manifest for {} not found", reference.familiar())
            }
            _ => return self.into_error(),
        };
        Error::new(Kind::NotFound, format!("{what}: {}", refusal.message))
    }
}

/// Why none of several servers gave what they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Failures(Option<Failure>);

impl Failures {
    pub(crate) fn add(&mut self, failure: Failure) {
        self.0 = Some(match self.0.take() {
            Some(before) => more_telling(before, failure),
            None => failure,
        });
    }

    /// The one to tell of.
    pub(crate) fn most_telling(self) -> Failure {
        let none = || Failure::wrong("no server is known for the registry");
        self.0.unwrap_or_else(none)
    }
}

/// Of two failures the one that the user can do more with: a registry without TLS fails at its TLS
/// line first, one with TLS that has no such image at its open line last.
fn more_telling(before: Failure, now: Failure) -> Failure {
    match (before, now) {
        (refused @ Failure::Refused(_), Failure::Line { .. }) => refused,
        (before, Failure::NotAsked) => before,
        (_, now) => now,
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
                "received unexpected HTTP status: 500 Internal Server Error: \"<html>\""
            )
        );
        let e = refused(401, "").into_error();
        assert_eq!(e.message(), "unauthorized: authentication required");
    }

    /// As Docker Hub tells of a repository that is not there, or private.
    #[test]
    fn what_the_hub_does_not_show_is_denied() {
        let mut headers = HeaderMap::new();
        let challenge = "Bearer realm=\"https://auth.docker.io/token\",service=\"x\",\
            scope=\"repository:library/nosuch:pull\",error=\"insufficient_scope\"";
        headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        let e = Failure::refused(StatusCode::UNAUTHORIZED, &headers, body);
        let e = e.of_pull(&"nosuch".parse().unwrap());
        assert_eq!(e.kind(), Kind::NotFound);
        assert_eq!(
            e.message(),
            "pull access denied for nosuch, repository does not exist or may require 'docker \
             login': denied: requested access to the resource is denied"
        );
        for odd in [
            r#"{"errors":null,"message":"m"}"#,
            r#"{"errors":[{"code":7}],"message":"m"}"#,
        ] {
            assert_eq!(refused(400, odd).into_error().message(), "m", "{odd}");
        }
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
