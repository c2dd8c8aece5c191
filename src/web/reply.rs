//! Answers in Docker's form: one JSON value and a line feed, or a stream of JSON messages.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use engine::{Download, Job, Progress};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use wire::{ErrorDetail, JsonMessage, ProgressDetail, PushResult};

use crate::error::ApiResult;

/// Docker's content type, without a charset: moby's client compares the string.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// 200 with one JSON value.
pub fn json(value: &impl Serialize) -> Response {
    json_with_status(StatusCode::OK, value)
}

/// One JSON value and a line feed, as Go's encoder writes it.
pub fn json_with_status(status: StatusCode, value: &impl Serialize) -> Response {
    let mut response = Response::new(Body::from(line(value, b"\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// One JSON value and a line feed, for a body that is sent later than its head.
pub fn json_line(value: &impl Serialize) -> Bytes {
    line(value, b"\n").into()
}

/// An error among the frames of a stream whose head is sent: on the stream of the daemon's own
/// messages (moby `stdcopy.Systemerr`).
pub fn system_error_frame(text: &str) -> Bytes {
    const SYSTEM_ERROR: u8 = 3;
    frame(SYSTEM_ERROR, text)
}

/// Words of the daemon's own on a container's stdout, where Docker puts some.
pub fn stdout_frame(text: &str) -> Bytes {
    const STDOUT: u8 = 1;
    frame(STDOUT, text)
}

/// The same on its stderr.
pub fn stderr_frame(text: &str) -> Bytes {
    const STDERR: u8 = 2;
    frame(STDERR, text)
}

fn frame(stream: u8, text: &str) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + text.len());
    frame.put_slice(&[stream, 0, 0, 0]);
    frame.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    frame.put_slice(text.as_bytes());
    frame.freeze()
}

/// An archive on its way.
pub fn tar(archive: Download) -> Response {
    let mut answer = Response::new(Body::from_stream(archive));
    let tar = HeaderValue::from_static("application/x-tar");
    answer.headers_mut().insert(header::CONTENT_TYPE, tar);
    answer
}

/// 204.
pub fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// A job as Docker's JSON message stream: one object and CR LF per chunk.
///
/// The status is decided by the first step, as Docker's import and pull decide it by their first
/// byte: a job that fails before it has something to show is an error as any other. One that
/// fails later ends a 200 with an `errorDetail` message.
///
/// # Errors
/// The job's error, when that is its first step.
pub async fn job(job: Job) -> ApiResult {
    messages_or_error(steps(job)).await
}

/// A job as [`job`] shows it, but always a 200: Docker's load tells every failure as a message.
/// The head waits for the first step all the same: some clients take an early answer for the end
/// of their upload.
pub async fn job_without_error(job: Job) -> Response {
    let mut steps = Box::pin(steps(job));
    let first = steps.next().await;
    messages(stream::iter(first).chain(steps))
}

fn steps(job: Job) -> impl Stream<Item = model::Result<Progress>> + Send + 'static {
    stream::unfold(job, |mut job| async move { Some((job.next().await?, job)) })
}

async fn messages_or_error(
    steps: impl Stream<Item = model::Result<Progress>> + Send + 'static,
) -> ApiResult {
    let mut steps = Box::pin(steps);
    let first = steps.next().await.transpose()?;
    Ok(messages(stream::iter(first.map(Ok)).chain(steps)))
}

fn messages(steps: impl Stream<Item = model::Result<Progress>> + Send + 'static) -> Response {
    let chunks = steps.map(|step| Ok::<_, Infallible>(chunk(step)));
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

fn chunk(step: model::Result<Progress>) -> Bytes {
    let message = match step {
        Ok(Progress::Text(text)) => JsonMessage {
            stream: Some(text),
            ..JsonMessage::default()
        },
        Ok(Progress::Status(status)) => JsonMessage {
            status: Some(status),
            ..JsonMessage::default()
        },
        Ok(Progress::Step {
            id,
            status,
            current,
            total,
        }) => JsonMessage {
            progress: ProgressDetail { current, total }.bar(),
            id: Some(id),
            status: Some(status),
            progress_detail: Some(ProgressDetail { current, total }),
            ..JsonMessage::default()
        },
        Ok(Progress::Note { id, status }) => JsonMessage {
            id: Some(id),
            status: Some(status),
            ..JsonMessage::default()
        },
        Ok(Progress::Pushed {
            tag,
            digest,
            size_bytes,
        }) => JsonMessage {
            progress_detail: Some(ProgressDetail::default()),
            aux: Some(PushResult {
                tag,
                digest: digest.to_string(),
                size: size_bytes,
            }),
            ..JsonMessage::default()
        },
        Err(error) => JsonMessage {
            error_detail: Some(ErrorDetail {
                message: error.message().to_owned(),
            }),
            error: Some(error.message().to_owned()),
            ..JsonMessage::default()
        },
    };
    line(&message, b"\r\n").into()
}

fn line(value: &impl Serialize, end: &[u8]) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec(value).expect("wire types have string keys and no failing serializer");
    bytes.extend_from_slice(end);
    bytes
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use model::Error;

    use super::*;

    /// The chunks of an answer, each as the client gets it.
    async fn chunks(response: Response) -> Vec<String> {
        let mut body = response.into_body();
        let mut chunks = Vec::new();
        while let Some(frame) = body.frame().await {
            let bytes = frame.unwrap().into_data().unwrap();
            chunks.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
        chunks
    }

    #[tokio::test]
    async fn each_step_is_one_chunk_that_ends_in_cr_lf() {
        let steps = [
            Ok(Progress::Step {
                id: "0123456789ab".to_owned(),
                status: "Loading layer".to_owned(),
                current: 1,
                total: 2,
            }),
            Ok(Progress::Text("Loaded image: busybox:bench\n".to_owned())),
            Ok(Progress::Status("sha256:00".to_owned())),
        ];
        let response = messages_or_error(stream::iter(steps)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            chunks(response).await,
            [
                "{\"status\":\"Loading layer\",\"progressDetail\":{\"current\":1,\"total\":2},\
                 \"progress\":\"[=========================>                         ] \
                 \x20     1B/2B\",\"id\":\"0123456789ab\"}\r\n",
                // As dockerd 26 answered a load.
                "{\"stream\":\"Loaded image: busybox:bench\\n\"}\r\n",
                "{\"status\":\"sha256:00\"}\r\n",
            ]
        );
    }

    #[tokio::test]
    async fn a_failure_at_once_is_an_error_and_later_a_message() {
        let failure = || Err(Error::invalid("not an archive"));
        let refused = messages_or_error(stream::iter([failure()]))
            .await
            .unwrap_err();
        assert_eq!(refused.0, Error::invalid("not an archive"));

        let step = Ok(Progress::Status("x".to_owned()));
        let response = messages_or_error(stream::iter([step, failure()]))
            .await
            .unwrap();
        assert_eq!(
            chunks(response).await[1],
            "{\"errorDetail\":{\"message\":\"not an archive\"},\"error\":\"not an archive\"}\r\n"
        );

        let told = messages(stream::iter([failure()]));
        assert_eq!(told.status(), 200);
        assert_eq!(
            chunks(told).await,
            ["{\"errorDetail\":{\"message\":\"not an archive\"},\"error\":\"not an archive\"}\r\n"]
        );

        let nothing = messages_or_error(stream::iter([])).await.unwrap();
        assert_eq!(nothing.status(), 200);
        assert!(chunks(nothing).await.is_empty());
    }
}
