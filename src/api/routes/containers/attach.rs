//! `POST /containers/{id}/attach`: the connection becomes the container's streams.

use axum::extract::State;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use engine::{AttachInput, AttachOutput, AttachRequest, Attachment, Engine, InputEnd};
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use model::{Error, limits};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::version::ApiVersion;

use crate::error::ApiResult;
use crate::extract::{DockerBool, Name, Query};
use crate::reply;
use crate::serve::hijack::{Hijack, HijackedIo, MULTIPLEXED_STREAM, RAW_STREAM};
use crate::version::Asked;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new().routes(routes!(attach))
}

/// The query of an attach.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct AttachQuery {
    /// The keys that detach a terminal: `ctrl-p,ctrl-q`.
    #[serde(rename = "detachKeys")]
    detach_keys: Option<String>,
    /// First replay the log.
    #[param(value_type = bool, required = false)]
    logs: DockerBool,
    /// Stay for what comes.
    #[param(value_type = bool, required = false)]
    stream: DockerBool,
    /// Send to stdin.
    #[param(value_type = bool, required = false)]
    stdin: DockerBool,
    /// Receive stdout.
    #[param(value_type = bool, required = false)]
    stdout: DockerBool,
    /// Receive stderr.
    #[param(value_type = bool, required = false)]
    stderr: DockerBool,
}

impl AttachQuery {
    fn translate(&self) -> model::Result<AttachRequest> {
        let keys = self.detach_keys.as_deref();
        Ok(AttachRequest {
            stdin: self.stdin.0,
            stdout: self.stdout.0,
            stderr: self.stderr.0,
            stream: self.stream.0,
            logs: self.logs.0,
            detach_keys: keys.map(engine::parse_detach_keys).transpose()?,
        })
    }
}

/// Attach to a container's streams
///
/// The connection is taken over: after the head both directions are raw bytes, output framed by
/// stream unless the container has a terminal.
#[utoipa::path(post, path = "/containers/{id}/attach", operation_id = "ContainerAttach",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), AttachQuery),
    responses(
        (status = 101, description = "The streams, after an Upgrade header"),
        (status = 200, description = "The streams, without one",
            content((Vec<u8> = "application/vnd.docker.raw-stream"))),
        (status = 400, description = "Bad detach keys; as text",
            content((String = "application/vnd.docker.raw-stream"))),
        (status = 404, description = "No such container; as text",
            content((String = "application/vnd.docker.raw-stream"))),
        (status = 409, description = "It is paused; as text",
            content((String = "application/vnd.docker.raw-stream"))),
    ))]
async fn attach(
    State(engine): State<Engine>,
    Asked(version): Asked,
    Name(name): Name,
    Query(query): Query<AttachQuery>,
    hijack: Hijack,
) -> ApiResult<Response> {
    let attached = match query.translate() {
        Ok(request) => engine.attach_container(&name, request).await,
        Err(error) => Err(error),
    };
    Ok(match attached {
        Ok(attachment) => hijack.respond(content_type(attachment.tty, version), move |io| {
            session(attachment, io)
        }),
        Err(error) => hijack.refuse(&error),
    })
}

/// Frames have a content type of their own from 1.42 on.
pub(super) fn content_type(tty: bool, version: ApiVersion) -> &'static str {
    if !tty && version >= ApiVersion::v1(42) {
        MULTIPLEXED_STREAM
    } else {
        RAW_STREAM
    }
}

/// Ends with the output, with the client, or with what the client typed; whichever is first.
async fn session(attachment: Attachment, io: HijackedIo) {
    let HijackedIo {
        mut reader,
        writer,
        hang_up,
        ..
    } = io;
    let lost = if attachment.tty {
        told_bare
    } else {
        told_framed
    };
    tokio::select! {
        // Output first: what was written before the end must reach the client.
        biased;
        () = receive(pieces(attachment.output), lost, writer) => {}
        () = send(&mut reader, attachment.input) => {}
        () = hang_up.wait() => return,
    }
    // With input in it, the socket would close with a reset, and the client might lose output.
    reader.close().await;
}

fn pieces(output: AttachOutput) -> impl Stream<Item = model::Result<Bytes>> {
    stream::unfold(output, |mut output| async move {
        let piece = output.next().await?;
        Some((piece, output))
    })
}

/// Container to client, until the output ends or the client does not take it. `lost` makes the
/// last words for a client whose output is not whole.
async fn receive(
    output: impl Stream<Item = model::Result<Bytes>>,
    lost: fn(&Error) -> Bytes,
    mut writer: impl AsyncWrite + Unpin,
) {
    let mut output = std::pin::pin!(output);
    while let Some(piece) = output.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                tracing::warn!(%error, "an attached client lost its place");
                let _ = writer.write_all(&lost(&error)).await;
                break;
            }
        };
        if writer.write_all(&piece).await.is_err() {
            return;
        }
    }
    // The client reads the last byte, then the end.
    let _ = writer.shutdown().await;
}

/// Within frames, which makes docker CLI fail with these words instead of taking half an output
/// for the whole.
fn told_framed(error: &Error) -> Bytes {
    reply::system_error_frame(&error.to_string())
}

/// The same for a person at a terminal.
fn told_bare(error: &Error) -> Bytes {
    format!("\r\n{error}\r\n").into()
}

/// Client to container. Returns when the attachment is to end; never, when output goes on
/// without input.
async fn send(reader: &mut (impl AsyncRead + Unpin), mut input: Option<AttachInput>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(limits::STDIN_PACKET_BYTES_MAX);
        let read = reader.read_buf(&mut buffer).await;
        if !matches!(read, Ok(1..)) {
            break;
        }
        let sent = buffer.split().freeze();
        let Some(open) = &mut input else {
            // Nobody to give it to, but a client that writes must not be blocked.
            continue;
        };
        match open.write(sent).await {
            Ok(()) => {}
            Err(InputEnd::Detached) => return,
            Err(InputEnd::Closed) => input = None,
        }
    }
    // docker CLI closes its half at once when it has no stdin to send: output goes on then.
    let goes_on = match input {
        Some(input) => input.finish(),
        None => true,
    };
    if goes_on {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn content_types_by_version_and_terminal() {
        let new = ApiVersion::v1(42);
        assert_eq!(content_type(false, new), MULTIPLEXED_STREAM);
        assert_eq!(content_type(true, new), RAW_STREAM);
        assert_eq!(content_type(false, ApiVersion::v1(41)), RAW_STREAM);
    }

    #[tokio::test]
    async fn output_arrives_in_order_and_then_ends() {
        let (mut client, server) = tokio::io::duplex(4);
        let pieces = [
            Ok("one"),
            Ok("two"),
            Err(Error::system("lost")),
            Ok("three"),
        ]
        .map(|piece| piece.map(|text| Bytes::from_static(text.as_bytes())));
        let writing = tokio::spawn(receive(stream::iter(pieces), told_framed, server));
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "onetwo\u{3}\0\0\0\0\0\0\u{4}lost");
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_the_output() {
        let (client, server) = tokio::io::duplex(4);
        drop(client);
        let endless = stream::repeat(Ok(Bytes::from_static(b"again")));
        let done =
            tokio::time::timeout(Duration::from_secs(10), receive(endless, told_bare, server))
                .await;
        assert!(done.is_ok());
    }

    #[tokio::test]
    async fn without_stdin_input_is_dropped_and_its_end_ends_nothing() {
        let (mut client, mut server) = tokio::io::duplex(4);
        let sending = tokio::spawn(async move { send(&mut server, None).await });
        // More than the pipe holds: it must be taken.
        client.write_all(b"more than four bytes").await.unwrap();
        client.shutdown().await.unwrap();
        tokio::task::yield_now().await;
        assert!(!sending.is_finished());
        sending.abort();
    }
}
