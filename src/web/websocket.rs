//! A WebSocket and an attachment, one to the other until either ends (RFC 6455).

use std::time::Duration;

use engine::{AttachInput, AttachOutput, Attachment, InputEnd};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use model::limits;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::serve::hijack::HijackedIo;

/// How long a client may take to read that it is over.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Ends with the output, with the client, or with what the client typed; whichever is first.
pub async fn session(attachment: Attachment, io: HijackedIo) {
    let HijackedIo {
        reader,
        writer,
        hang_up,
        ..
    } = io;
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits::WEBSOCKET_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(limits::WEBSOCKET_MESSAGE_BYTES_MAX));
    let stream = tokio::io::join(reader, writer);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let (mut to_client, mut from_client) = socket.split();
    let code = tokio::select! {
        // Output first: what was written before the end must reach the client.
        biased;
        code = receive(attachment.output, &mut to_client) => Some(code),
        code = send(&mut from_client, attachment.input) => code,
        () = hang_up.wait() => return,
    };
    let closing = async {
        match code {
            Some(code) => {
                let reason = "".into();
                let close = Message::Close(Some(CloseFrame { code, reason }));
                drop(to_client.send(close).await);
            }
            // The answer to the client's close is written already, but not sent.
            None => drop(to_client.flush().await),
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(CLOSE_PATIENCE, closing) => {}
        () = hang_up.wait() => return,
    }
    let Ok(socket) = to_client.reunite(from_client) else {
        return;
    };
    // With input in it, the socket would close with a reset, and the client might lose output.
    let (reader, writer) = socket.into_inner().into_inner();
    drop(writer);
    reader.close().await;
}

/// Container to client, until the output ends or the client does not take it.
async fn receive(
    mut output: AttachOutput,
    to_client: &mut (impl Sink<Message, Error = Error> + Unpin),
) -> CloseCode {
    while let Some(piece) = output.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                tracing::warn!(%error, "an attached client lost its place");
                return CloseCode::Error;
            }
        };
        if to_client.send(Message::Binary(piece)).await.is_err() {
            return CloseCode::Away;
        }
    }
    CloseCode::Normal
}

/// Client to container. Returns when the client detaches, or without a code when it closes.
async fn send(
    from_client: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    mut input: Option<AttachInput>,
) -> Option<CloseCode> {
    loop {
        let bytes = match from_client.next().await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => text.into(),
            // tungstenite answers pings.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(_))) | None => return None,
            Some(Err(Error::Capacity(_))) => return Some(CloseCode::Size),
            Some(Err(_)) => return Some(CloseCode::Protocol),
        };
        let Some(open) = &mut input else {
            // Nobody to give it to, but a client that writes must not be blocked.
            continue;
        };
        match open.write(bytes).await {
            Ok(()) => {}
            Err(InputEnd::Detached) => return Some(CloseCode::Normal),
            Err(InputEnd::Closed) => input = None,
        }
    }
}
