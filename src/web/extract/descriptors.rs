//! Descriptors that a client passes with a request, over the unix socket.

use std::convert::Infallible;
use std::os::fd::OwnedFd;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use model::{Error, Result, limits};
use socket::Passed;

/// Says how many come. Without it nobody looks at them, and they are closed.
const HEADER: &str = "moored-descriptors";

/// What a client passes with the request's first bytes (`SCM_RIGHTS`).
#[derive(Debug)]
pub struct Descriptors {
    announced: Option<String>,
    passed: Passed,
}

impl<S: Sync> FromRequestParts<S> for Descriptors {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let announced = parts.headers.get(HEADER);
        Ok(Self {
            announced: announced.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()),
            passed: parts.extensions.get().cloned().unwrap_or_default(),
        })
    }
}

impl Descriptors {
    /// Takes them, once the request was read.
    ///
    /// # Errors
    /// 400 when they are not as many as was said, or too many; they are closed then.
    pub fn take(self) -> Result<Vec<OwnedFd>> {
        let Some(announced) = self.announced else {
            return Ok(Vec::new());
        };
        let max = limits::PASSED_DESCRIPTORS_MAX;
        let count = announced.parse().ok().filter(|count| *count <= max);
        let count: usize = count.ok_or_else(|| {
            let shown: String = announced.chars().take(32).collect();
            Error::invalid(format!(
                "invalid Moored-Descriptors: {shown:?}: it must be a number of at most {max}"
            ))
        })?;
        let came = self.passed.take().ok_or_else(|| {
            Error::invalid(format!(
                "more descriptors were passed than the {max} that are taken, or than the daemon can \
                 have open"
            ))
        })?;
        if came.len() != count {
            return Err(Error::invalid(format!(
                "{count} descriptors were announced and {} were passed",
                came.len()
            )));
        }
        Ok(came)
    }
}
