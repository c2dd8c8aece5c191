//! Bytes in memory for one client, in order, up to a limit.
//!
//! It holds ready bytes in chunks and gives whole chunks away, so a slow client costs what waits
//! for it and an idle one nothing. It never waits and knows no tasks.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::stdcopy::{self, HEADER_BYTES, StreamId};

/// Largest chunk handed out at once. Below malloc's mmap threshold (128 KiB), so that a fast
/// stream reuses the same memory.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// What a chunk starts with where little flows.
const CHUNK_BYTES_FIRST: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Ring {
    chunks: VecDeque<BytesMut>,
    bytes: usize,
    bytes_max: usize,
}

/// The limit would be passed; nothing was added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds one write of the container: a frame, or bare for a terminal.
    pub(super) fn push(
        &mut self,
        stream: StreamId,
        payload: &[u8],
        framed: bool,
    ) -> Result<(), Full> {
        let needed = payload.len() + if framed { HEADER_BYTES } else { 0 };
        if self.bytes + needed > self.bytes_max {
            return Err(Full);
        }
        let chunk = self.room(needed);
        if framed {
            stdcopy::put_frame(chunk, stream, payload);
        } else {
            chunk.extend_from_slice(payload);
        }
        self.bytes += needed;
        Ok(())
    }

    /// The oldest chunk.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.bytes -= chunk.len();
        Some(chunk.freeze())
    }

    /// Most bytes it holds.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Forgets everything and frees the memory.
    pub(super) fn clear(&mut self) {
        self.chunks = VecDeque::new();
        self.bytes = 0;
    }

    /// A chunk with room for `needed` bytes.
    fn room(&mut self, needed: usize) -> &mut BytesMut {
        let has_room = self
            .chunks
            .back()
            .is_some_and(|chunk| chunk.len() + needed <= CHUNK_BYTES_MAX);
        if !has_room {
            // Where one chunk is full already the next will be too.
            let first = if self.chunks.is_empty() {
                CHUNK_BYTES_FIRST
            } else {
                CHUNK_BYTES_MAX
            };
            self.chunks
                .push_back(BytesMut::with_capacity(first.max(needed)));
        }
        self.chunks
            .back_mut()
            .expect("there is a chunk: it was there or was just added")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdcopy::tests::parse;

    #[test]
    fn writes_come_out_in_order_and_batched() {
        let mut ring = Ring::new(1 << 20);
        ring.push(StreamId::Stdout, b"one", true).unwrap();
        ring.push(StreamId::Stderr, b"two", true).unwrap();
        let batch = ring.pop().unwrap();
        assert_eq!(parse(&batch), [(1, b"one".to_vec()), (2, b"two".to_vec())]);
        assert_eq!(ring.pop(), None);
    }

    #[test]
    fn a_terminal_is_not_framed() {
        let mut ring = Ring::new(100);
        ring.push(StreamId::Stdout, b"a\r\n", false).unwrap();
        ring.push(StreamId::Stdout, b"b", false).unwrap();
        assert_eq!(ring.pop().unwrap(), "a\r\nb");
    }

    #[test]
    fn the_limit_is_exact_and_room_comes_back() {
        let mut ring = Ring::new(3 * (8 + 8192));
        let write = [7; 8192];
        for _ in 0..3 {
            ring.push(StreamId::Stdout, &write, true).unwrap();
        }
        assert_eq!(ring.push(StreamId::Stdout, b"", true), Err(Full));
        ring.pop().unwrap();
        ring.push(StreamId::Stdout, &write, true).unwrap();
    }

    #[test]
    fn chunks_are_bounded_and_nothing_is_lost_between_them() {
        let mut ring = Ring::new(10 << 20);
        for n in 0..1000_u32 {
            let write = vec![n.to_le_bytes()[0]; 8192];
            ring.push(StreamId::Stdout, &write, true).unwrap();
        }
        let mut frames = Vec::new();
        while let Some(chunk) = ring.pop() {
            assert!(chunk.len() <= CHUNK_BYTES_MAX);
            frames.extend(parse(&chunk));
        }
        assert_eq!(frames.len(), 1000);
        for (n, (_, payload)) in (0_u32..).zip(&frames) {
            assert_eq!(payload[0], n.to_le_bytes()[0]);
            assert_eq!(payload.len(), 8192);
        }
        assert_eq!(ring.bytes, 0);
    }
}
