//! The query string, parsed as Go's `url.ParseQuery` does it, and names in paths.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::Uri;
use axum::http::request::Parts;
use model::{Error, Result};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// The query as a struct whose fields are [`super::DockerBool`] or `Option<String>`.
///
/// Unknown parameters are ignored; of a repeated one the first counts, as Go's `Form.Get`
/// returns it. Parameters that Docker takes as a list are read with [`repeated`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(parse(parts.uri.query().unwrap_or_default())?))
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T> {
    let mut seen: Vec<(String, String)> = Vec::new();
    for (key, value) in pairs(query)? {
        if !seen.iter().any(|(k, _)| *k == key) {
            seen.push((key, value));
        }
    }
    // Encoded again, so that axum's own deserializer for query structs does the rest.
    let canonical: Vec<String> = seen
        .iter()
        .map(|(key, value)| format!("{}={}", escape(key), escape(value)))
        .collect();
    let uri: Uri = format!("/?{}", canonical.join("&"))
        .parse()
        .map_err(|_| Error::invalid("query is too long"))?;
    let axum::extract::Query(value) =
        axum::extract::Query::try_from_uri(&uri).map_err(|e| Error::invalid(e.body_text()))?;
    Ok(value)
}

/// All values of one parameter that Docker takes as a list (`changes`).
///
/// # Errors
/// 400 for a malformed query.
pub fn repeated(query: &str, key: &str) -> Result<Vec<String>> {
    let pairs = pairs(query)?.into_iter();
    Ok(pairs.filter(|(k, _)| k == key).map(|(_, v)| v).collect())
}

fn pairs(query: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        if part.contains(';') {
            return Err(Error::invalid("invalid semicolon separator in query"));
        }
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        pairs.push((unescape(key)?, unescape(value)?));
    }
    Ok(pairs)
}

/// The parameter `path` of a file in a container, whose name need not be text.
#[derive(Debug, Clone)]
pub struct PathBytes(pub Vec<u8>);

impl<S: Sync> FromRequestParts<S> for PathBytes {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let mut all = query
            .split('&')
            .map(|part| part.split_once('=').unwrap_or((part, "")));
        let path = all.find(|(key, _)| unescape(key).is_ok_and(|key| key == "path"));
        match path.map(|(_, value)| unescape_bytes(value)).transpose()? {
            Some(path) if !path.is_empty() => Ok(Self(path)),
            // moby's words, with the space that they have not.
            _ => Err(Error::invalid("bad parameter: pathcannot be empty").into()),
        }
    }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `+` is a space, `%xx` a byte; a broken escape is an error, in the words of Go's `url`.
fn unescape(text: &str) -> Result<String> {
    let bytes = unescape_bytes(text)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unescape_bytes(text: &str) -> Result<Vec<u8>> {
    let bytes = text.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'%') {
        let escape = &bytes[at..bytes.len().min(at + 3)];
        if escape.len() < 3 || !escape[1..].iter().all(u8::is_ascii_hexdigit) {
            let shown = String::from_utf8_lossy(escape);
            return Err(Error::invalid(format!("invalid URL escape {shown:?}")));
        }
    }
    let spaced = text.replace('+', " ");
    Ok(percent_decode_str(&spaced).collect())
}

/// The one name in a path, decoded.
#[derive(Debug, Clone)]
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<Path<String>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        match path {
            Ok(Path(name)) => Ok(Self(name)),
            Err(e) => Err(Error::invalid(e.body_text()).into()),
        }
    }
}

/// The two names in a path, as [`Name`].
#[derive(Debug)]
pub struct Names(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<Path<(String, String)>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        match path {
            Ok(Path((first, second))) => Ok(Self(first, second)),
            Err(e) => Err(Error::invalid(e.body_text()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::DockerBool;
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Sample {
        #[serde(default)]
        all: DockerBool,
        size: Option<DockerBool>,
        name: Option<String>,
    }

    fn sample(query: &str) -> Result<Sample> {
        parse(query)
    }

    #[test]
    fn escapes_repeats_and_unknown_parameters() {
        let s = sample("all=1&name=a%2Fb+c&name=second&nosuch=1&&size").unwrap();
        assert_eq!(
            s,
            Sample {
                all: DockerBool(true),
                size: Some(DockerBool(false)),
                name: Some("a/b c".to_owned()),
            }
        );
        assert_eq!(sample("").unwrap().name, None);
        assert_eq!(sample("name=ä").unwrap().name.as_deref(), Some("ä"));
    }

    #[test]
    fn a_broken_query_is_refused_in_gos_words() {
        assert_eq!(
            sample("name=%zz").unwrap_err().message(),
            "invalid URL escape \"%zz\""
        );
        assert_eq!(
            sample("name=50%").unwrap_err().message(),
            "invalid URL escape \"%\""
        );
        assert!(sample("a;b").is_err());
    }
}
