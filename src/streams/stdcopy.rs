//! Docker's framing of stdout and stderr on one connection (moby `api/pkg/stdcopy`).
//!
//! A frame is `[stream, 0, 0, 0, length as u32 big endian]` and the payload. Terminals are not
//! framed, for they have one stream. Nothing here reads frames: only clients do.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes in front of each payload.
pub const HEADER_BYTES: usize = 8;

/// The stream a frame belongs to; the value is its byte on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StreamId {
    /// Never sent by a daemon; part of the vocabulary.
    Stdin = 0,
    /// Standard output; everything a terminal shows.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// The header of a frame with `payload_bytes` of payload.
pub fn header(stream: StreamId, payload_bytes: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = payload_bytes.to_be_bytes();
    [stream as u8, 0, 0, 0, a, b, c, d]
}

/// One whole frame.
///
/// # Panics
/// Never in practice: with a payload of 4 GiB or more, which no bounded buffer of ours holds.
pub fn frame(stream: StreamId, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    put_frame(&mut frame, stream, payload);
    frame.freeze()
}

/// Appends one whole frame.
pub(crate) fn put_frame(to: &mut BytesMut, stream: StreamId, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("payloads are bounded far below 4 GiB");
    to.put_slice(&header(stream, length));
    to.put_slice(payload);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Takes frames apart, as a client does.
    pub(crate) fn parse(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(bytes[1..4], [0, 0, 0], "a header is where one is due");
            let length = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
            frames.push((bytes[0], bytes[8..8 + length].to_vec()));
            bytes = &bytes[8 + length..];
        }
        frames
    }

    #[test]
    fn a_frame_is_what_dockerd_sends() {
        // From a captured answer of dockerd 26: `logs?timestamps=1`.
        let line = b"2026-11-23T12:07:19.405570182Z err\n";
        let wire = frame(StreamId::Stderr, line);
        assert_eq!(&wire[..9], b"\x02\x00\x00\x00\x00\x00\x00#2");
        assert_eq!(parse(&wire), [(2, line.to_vec())]);
    }

    #[test]
    fn lengths_are_big_endian() {
        assert_eq!(
            header(StreamId::Stdout, 0x0102_0304),
            [1, 0, 0, 0, 1, 2, 3, 4]
        );
        assert_eq!(header(StreamId::Stdin, 0), [0; 8]);
    }
}
