//! A hijacked connection and an attachment, one to the other until either ends: attach, and an
//! exec's start.

use bytes::{Bytes, BytesMut};
use engine::{AttachInput, AttachOutput, Attachment, InputEnd};
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use model::{Error, limits};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::reply;
use crate::serve::hijack::HijackedIo;

/// Says a few last words to a client whose session never came about (moby writes them to stdout),
/// and ends.
pub async fn refuse(error: &Error, tty: bool, io: HijackedIo) {
    let HijackedIo {
        reader, mut writer, ..
    } = io;
    let text = format!("{error}\r\n");
    let words = match tty {
        true => text.into(),
        false => reply::stdout_frame(&text),
    };
    let _ = writer.write_all(&words).await;
    let _ = writer.shutdown().await;
    reader.close().await;
}

/// Ends with the output, with the client, or with what the client typed; whichever is first.
pub async fn session(attachment: Attachment, io: HijackedIo) {
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

/// Within frames: on stderr for people, for docker CLI forgets a stream's failure when the container
/// has ended before; then as a failure, which makes it take half an output for what it is.
fn told_framed(error: &Error) -> Bytes {
    let text = error.to_string();
    let stderr = reply::stderr_frame(&format!("moored: {text}\n"));
    [stderr, reply::system_error_frame(&text)].concat().into()
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
        let stderr = "\u{2}\0\0\0\0\0\0\u{d}moored: lost\n";
        assert_eq!(text, format!("onetwo{stderr}\u{3}\0\0\0\0\0\0\u{4}lost"));
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
