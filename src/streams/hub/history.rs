//! The last output, kept for clients that come back and say how much they have.
//!
//! Bytes are counted in the order in which conmon delivered them, both streams together. What
//! all histories of the daemon hold is bounded, too: one that finds no room gives up its own
//! oldest bytes, never another's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;

use super::client::Want;
use crate::stdcopy::StreamId;

/// Pieces of one stream are joined up to this size.
const PIECE_BYTES_MAX: usize = 16 << 10;
/// What a piece costs besides its bytes.
const PIECE_COST: usize = 64;

/// What all histories together may hold; clones are the same budget.
#[derive(Debug, Clone)]
pub struct HistoryBudget {
    left: Arc<AtomicUsize>,
}

impl HistoryBudget {
    /// Of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let left = Arc::new(AtomicUsize::new(bytes));
        Self { left }
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        self.left.fetch_update(order.0, order.1, less).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// What a hub's history is told once.
#[derive(Debug, Clone)]
pub struct HistoryOptions {
    /// Of which streams. Clients that come back want the same.
    pub want: Want,
    /// Most bytes of this hub's.
    pub bytes_max: usize,
    /// What they are taken from.
    pub budget: HistoryBudget,
}

#[derive(Debug)]
pub(super) struct History {
    options: HistoryOptions,
    pieces: VecDeque<(StreamId, BytesMut)>,
    /// Where the oldest piece begins.
    begin: u64,
    /// How much came in all.
    end: u64,
    cost: usize,
}

impl History {
    pub(super) fn new(options: HistoryOptions) -> Box<Self> {
        Box::new(Self {
            options,
            pieces: VecDeque::new(),
            begin: 0,
            end: 0,
            cost: 0,
        })
    }

    pub(super) fn want(&self) -> Want {
        self.options.want
    }

    /// How much came in all.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Takes one write of the container.
    pub(super) fn push(&mut self, stream: StreamId, payload: &[u8]) {
        if !self.options.want.takes(stream) {
            return;
        }
        self.end += payload.len() as u64;
        let cost = payload.len() + PIECE_COST;
        if !self.make_room(cost) {
            // Nothing is left, and none of it can be kept.
            self.begin = self.end;
            return;
        }
        self.cost += cost;
        match self.pieces.back_mut() {
            Some((of, piece))
                if *of == stream && piece.len() + payload.len() <= PIECE_BYTES_MAX =>
            {
                piece.extend_from_slice(payload);
                self.cost -= PIECE_COST;
                self.options.budget.give_back(PIECE_COST);
            }
            _ => self.pieces.push_back((stream, BytesMut::from(payload))),
        }
    }

    /// What came from `offset` on, or from where it begins: that offset is returned.
    pub(super) fn since(&self, offset: u64, mut take: impl FnMut(StreamId, &[u8])) -> u64 {
        let from = offset.max(self.begin);
        let mut at = self.begin;
        for (stream, piece) in &self.pieces {
            let skip = from.saturating_sub(at);
            at += piece.len() as u64;
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            if let Some(rest) = piece.get(skip..).filter(|rest| !rest.is_empty()) {
                take(*stream, rest);
            }
        }
        from
    }

    /// Gives the oldest up until `cost` more bytes can be had.
    fn make_room(&mut self, cost: usize) -> bool {
        loop {
            if self.cost + cost <= self.options.bytes_max && self.options.budget.take(cost) {
                return true;
            }
            let Some((_, oldest)) = self.pieces.pop_front() else {
                return false;
            };
            self.begin += oldest.len() as u64;
            let freed = oldest.len() + PIECE_COST;
            self.cost -= freed;
            self.options.budget.give_back(freed);
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.options.budget.give_back(self.cost);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: Want = Want {
        stdout: true,
        stderr: true,
    };

    fn history(bytes_max: usize, budget: &HistoryBudget) -> Box<History> {
        History::new(HistoryOptions {
            want: BOTH,
            bytes_max,
            budget: budget.clone(),
        })
    }

    fn read(history: &History, offset: u64) -> (u64, Vec<u8>) {
        let mut all = Vec::new();
        let from = history.since(offset, |_, bytes| all.extend_from_slice(bytes));
        (from, all)
    }

    proptest! {
        /// Whatever is written: what is read from any offset is the end of it, from there on or
        /// from where it is kept; and nothing is kept from the budget in the end.
        #[test]
        fn the_end_of_all_is_there(
            writes in prop::collection::vec((any::<bool>(), 1_usize..9000), 0..60),
            offset in 0_u64..200_000,
            budget_bytes in 0_usize..100_000,
        ) {
            let budget = HistoryBudget::new(budget_bytes);
            let mut history = history(64 << 10, &budget);
            let mut all = Vec::new();
            for (n, (stderr, length)) in writes.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..=250).cycle().skip(n * 7).take(length).collect();
                history.push(if stderr { StreamId::Stderr } else { StreamId::Stdout }, &bytes);
                all.extend(bytes);
                prop_assert!(history.cost <= 64 << 10);
            }
            prop_assert_eq!(history.end(), all.len() as u64);
            let (from, got) = read(&history, offset);
            prop_assert!(from >= offset);
            if from <= all.len() as u64 {
                prop_assert!(got == all[usize::try_from(from).unwrap()..]);
            }
            drop(history);
            prop_assert_eq!(budget.left.load(Ordering::Relaxed), budget_bytes);
        }
    }

    #[test]
    fn streams_are_told_apart_and_unwanted_ones_not_counted() {
        let budget = HistoryBudget::new(1 << 20);
        let mut history = History::new(HistoryOptions {
            want: Want {
                stdout: true,
                stderr: false,
            },
            bytes_max: 1 << 20,
            budget,
        });
        history.push(StreamId::Stdout, b"one");
        history.push(StreamId::Stderr, b"other");
        history.push(StreamId::Stdout, b"two");
        assert_eq!(read(&history, 2), (2, b"etwo".to_vec()));
        assert_eq!(history.end(), 6);
    }

    #[test]
    fn one_takes_nothing_from_another() {
        let budget = HistoryBudget::new(2 * (1000 + PIECE_COST));
        let (mut one, mut two) = (history(1 << 20, &budget), history(1 << 20, &budget));
        one.push(StreamId::Stdout, &[1; 1000]);
        two.push(StreamId::Stdout, &[2; 1000]);
        two.push(StreamId::Stderr, &[3; 1000]);
        assert_eq!(read(&one, 0), (0, vec![1; 1000]));
        assert_eq!(read(&two, 0), (1000, vec![3; 1000]));
    }
}
