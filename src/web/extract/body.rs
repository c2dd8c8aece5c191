//! Request bodies: JSON up to a limit, and uploads of any length.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use model::{Error, Result, limits};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use super::{fold_keys, go_json};
use crate::error::ApiError;

/// A JSON body, decoded. An empty body, or `null`, is `T`'s default, as moby's `httputils.ReadJSON` has it;
/// where Docker insists on a body, take [`JsonBody`].
///
/// Unknown fields are ignored and keys are found in any case, as in Docker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = JsonBody::from_request(request, state).await?;
        if body.bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let value: Option<T> = body.parse()?;
        Ok(Self(value.unwrap_or_default()))
    }
}

/// A JSON body, read whole but not decoded: for a handler that keeps what was sent.
#[derive(Debug, Clone)]
pub struct JsonBody {
    bytes: Bytes,
}

impl JsonBody {
    /// What was sent.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Decodes it; an empty body is an error here.
    ///
    /// # Errors
    /// 400 `invalid JSON: …`, in the words of Go's decoder where the text is not JSON.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        parse(&self.bytes).map_err(ApiError)
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers, body.is_end_stream())?;
        let bytes = read_limited(body).await?;
        Ok(Self { bytes })
    }
}

/// No content type is fine without a body; otherwise it must say JSON (moby
/// `httputils.CheckForJSON`).
fn check_content_type(headers: &HeaderMap, is_empty: bool) -> Result<()> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        if is_empty {
            return Ok(());
        }
        return Err(Error::invalid(
            "malformed Content-Type header (): mime: no media type",
        ));
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let media_type = text.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") || (text.is_empty() && is_empty) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "unsupported Content-Type header ({text}): must be 'application/json'"
    )))
}

async fn read_limited(body: Body) -> Result<Bytes> {
    match Limited::new(body, limits::JSON_BODY_BYTES_MAX)
        .collect()
        .await
    {
        Ok(body) => Ok(body.to_bytes()),
        // Docker has no limit here, so it has no words for it either.
        Err(e) if e.is::<LengthLimitError>() => Err(Error::invalid(format!(
            "request body is larger than {} bytes",
            limits::JSON_BODY_BYTES_MAX
        ))),
        Err(e) => Err(Error::invalid(format!("cannot read the request body: {e}"))),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    if is_too_deep(bytes) {
        return Err(Error::invalid("invalid JSON: exceeded max depth"));
    }
    // Go has words of its own for this one.
    if bytes.trim_ascii_start().starts_with(b"[") && go_json::mistake(bytes).is_none() {
        return Err(Error::invalid(
            "invalid JSON: json: cannot unmarshal array into Go value",
        ));
    }
    fold_keys::from_slice(bytes).map_err(|e| {
        Error::invalid(match go_json::mistake(bytes) {
            Some(go_json::Mistake::Syntax(words)) => format!("invalid JSON: {words}"),
            Some(go_json::Mistake::Trailing) => "unexpected content after JSON".to_owned(),
            // The text is JSON; its types are not ours, or it is too deep.
            None => format!("invalid JSON: {e}"),
        })
    })
}

/// Whether brackets nest deeper than [`limits::JSON_DEPTH_MAX`]. serde's own limit does not count
/// inside fields it ignores, and a document that is kept as text meets other parsers later.
fn is_too_deep(bytes: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limits::JSON_DEPTH_MAX {
            return true;
        }
    }
    false
}

/// A body of any length, read as it comes: the tar of a load or an import.
pub struct Upload {
    reader: StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequest<S> for Upload {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let chunks = request.into_body().into_data_stream();
        let stream = chunks.map(|chunk| chunk.map_err(io::Error::other)).boxed();
        Ok(Self {
            reader: StreamReader::new(stream),
        })
    }
}

impl AsyncRead for Upload {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(!is_too_deep(&nested(limits::JSON_DEPTH_MAX)));
        assert!(is_too_deep(&nested(limits::JSON_DEPTH_MAX + 1)));
        let text = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(1000));
        assert!(!is_too_deep(text.as_bytes()));
        let wide = "[],".repeat(1000);
        assert!(!is_too_deep(wide.as_bytes()));
    }

    #[test]
    fn null_leaves_a_field_at_its_default() {
        #[derive(serde::Deserialize, PartialEq, Debug)]
        struct Sample {
            #[serde(default, deserialize_with = "wire::null_as_default")]
            number: i64,
        }
        let read = |text: &str| parse::<Sample>(text.as_bytes()).unwrap().number;
        assert_eq!(read(r#"{"number":null}"#), 0);
        assert_eq!(read("{}"), 0);
        assert_eq!(read(r#"{"number":3}"#), 3);
    }
}
