//! Docker's framing of stdout and stderr on one connection (moby `api/pkg/stdcopy`).
//!
//! A frame is `[stream, 0, 0, 0, length as u32 big endian]` and the payload. Terminals are not
//! framed, for they have one stream. A WebSocket is not either: [`Unframer`].

use bytes::{Buf as _, BufMut, Bytes, BytesMut};

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

/// Takes the frames off a stream that is cut anywhere.
#[derive(Debug, Default)]
pub struct Unframer {
    input: Bytes,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Of the present frame's payload.
    payload_left: usize,
}

impl Unframer {
    /// Takes more of the stream; what came before must have been taken out.
    pub fn feed(&mut self, input: Bytes) {
        debug_assert!(
            self.input.is_empty(),
            "payloads are taken before more comes"
        );
        self.input = input;
    }

    /// The next piece of payload: of one frame, and never empty. `None` when more is needed.
    pub fn next_payload(&mut self) -> Option<Bytes> {
        while !self.input.is_empty() {
            if self.payload_left > 0 {
                let taken = self.payload_left.min(self.input.len());
                self.payload_left -= taken;
                return Some(self.input.split_to(taken));
            }
            self.header[self.header_bytes] = self.input.get_u8();
            self.header_bytes += 1;
            if self.header_bytes == HEADER_BYTES {
                self.header_bytes = 0;
                let [_, _, _, _, a, b, c, d] = self.header;
                // A frame's length fits: ours are bounded far below 4 GiB.
                self.payload_left = u32::from_be_bytes([a, b, c, d]) as usize;
            }
        }
        None
    }
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

    #[test]
    fn frames_come_off_wherever_the_stream_is_cut() {
        let mut wire = BytesMut::new();
        for text in ["one", "", "two", "a longer one"] {
            put_frame(&mut wire, StreamId::Stderr, text.as_bytes());
        }
        let wire = wire.freeze();
        for cut in 1..=wire.len() {
            let mut unframer = Unframer::default();
            let mut payload = Vec::new();
            for piece in wire.chunks(cut) {
                unframer.feed(Bytes::copy_from_slice(piece));
                while let Some(part) = unframer.next_payload() {
                    assert!(!part.is_empty());
                    payload.extend_from_slice(&part);
                }
            }
            assert_eq!(payload, b"onetwoa longer one", "cut at {cut}");
        }
    }
}
