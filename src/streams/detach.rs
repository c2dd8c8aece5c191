//! The keys that leave a terminal and let the container run on.
//!
//! A pure state machine over what a client types. It decides nothing about terminals: callers
//! use it only where the container has one.

use model::{Error, Result};

/// What Docker detaches on when nobody said otherwise: ctrl-p, ctrl-q.
pub const DEFAULT_KEYS: &[u8] = &[0x10, 0x11];

/// Reads Docker's way to write keys: single characters, `ctrl-` and one of `@ a-z [ \ ] ^ _`, or
/// `DEL`, between commas (moby `term.ToBytes`). The empty string is Docker's default.
///
/// # Errors
/// [`model::Kind::InvalidParameter`] in Docker's words, for any other word.
pub fn parse(keys: &str) -> Result<Vec<u8>> {
    if keys.is_empty() {
        return Ok(DEFAULT_KEYS.to_vec());
    }
    keys.split(',')
        .map(|word| key(word.as_bytes()))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::invalid(format!("Invalid detach keys ({keys}) provided")))
}

fn key(word: &[u8]) -> Option<u8> {
    match word {
        [byte] => Some(*byte),
        [b'c', b't', b'r', b'l', b'-', named] => match named {
            b'@' => Some(0),
            b'a'..=b'z' => Some(named - b'a' + 1),
            b'['..=b'_' => Some(named - b'[' + 27),
            _ => None,
        },
        b"DEL" => Some(127),
        _ => None,
    }
}

/// What came of one read of the client's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// What goes on to the container. Bytes that may yet become the keys are held back; they
    /// come with a later feed when they did not.
    pub pass: Vec<u8>,
    /// The keys were typed. Nothing after them is passed.
    pub detached: bool,
}

/// Looks for the keys in everything a client sends, however it is cut into reads.
///
/// Docker's proxy forgets a byte that broke a match; this one looks at it again, so that keys
/// typed after a false start (ctrl-p, ctrl-p, ctrl-q) detach too.
#[derive(Debug)]
pub struct Detector {
    keys: Vec<u8>,
    /// For each length of a match, the longest shorter match it also ends in (Knuth, Morris and
    /// Pratt's failure function).
    shorter: Vec<usize>,
    matched: usize,
}

impl Detector {
    /// A detector of `keys`; without keys it passes everything.
    pub fn new(keys: &[u8]) -> Self {
        let mut shorter = vec![0; keys.len() + 1];
        let mut matched = 0;
        for end in 1..keys.len() {
            while matched > 0 && keys[end] != keys[matched] {
                matched = shorter[matched];
            }
            if keys[end] == keys[matched] {
                matched += 1;
            }
            shorter[end + 1] = matched;
        }
        Self {
            keys: keys.to_vec(),
            shorter,
            matched: 0,
        }
    }

    /// Takes what the client sent. After `detached` the detector stays detached.
    pub fn feed(&mut self, input: &[u8]) -> Feed {
        let mut pass = Vec::with_capacity(self.matched + input.len());
        if self.keys.is_empty() {
            pass.extend_from_slice(input);
            return Feed {
                pass,
                detached: false,
            };
        }
        for &byte in input {
            if self.matched == self.keys.len() {
                break;
            }
            while self.matched > 0 && byte != self.keys[self.matched] {
                let kept = self.shorter[self.matched];
                pass.extend_from_slice(&self.keys[..self.matched - kept]);
                self.matched = kept;
            }
            if byte == self.keys[self.matched] {
                self.matched += 1;
            } else {
                pass.push(byte);
            }
        }
        Feed {
            pass,
            detached: self.matched == self.keys.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_written_as_docker_writes_them() {
        let cases: [(&str, &[u8]); 9] = [
            ("", b"\x10\x11"),
            ("ctrl-p,ctrl-q", b"\x10\x11"),
            ("ctrl-a", b"\x01"),
            ("ctrl-z", b"\x1a"),
            ("ctrl-@", b"\x00"),
            (
                "ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_",
                b"\x1b\x1c\x1d\x1e\x1f",
            ),
            ("a,b,c", b"abc"),
            ("DEL", b"\x7f"),
            ("ctrl-x,x,@", b"\x18x@"),
        ];
        for (text, keys) in cases {
            assert_eq!(parse(text).unwrap(), keys, "{text}");
        }
    }

    #[test]
    fn other_words_are_refused_in_dockers_words() {
        for text in [
            "ctrl-", "ctrl-A", "ctrl-1", "shift-a", "ctrl-p,", ",", "del", "é", "ab",
        ] {
            let e = parse(text).unwrap_err();
            assert_eq!(e.kind(), model::Kind::InvalidParameter);
            assert_eq!(
                e.message(),
                format!("Invalid detach keys ({text}) provided")
            );
        }
    }

    fn feed(detector: &mut Detector, input: &[u8]) -> (Vec<u8>, bool) {
        let fed = detector.feed(input);
        (fed.pass, fed.detached)
    }

    #[test]
    fn keys_typed_one_by_one_detach_and_are_swallowed() {
        let mut d = Detector::new(DEFAULT_KEYS);
        assert_eq!(feed(&mut d, b"ls\n"), (b"ls\n".to_vec(), false));
        assert_eq!(feed(&mut d, b"\x10"), (vec![], false));
        assert_eq!(feed(&mut d, b"\x11"), (vec![], true));
        assert_eq!(feed(&mut d, b"after"), (vec![], true));
    }

    #[test]
    fn keys_pasted_in_one_read_detach_after_what_stood_before() {
        let mut d = Detector::new(DEFAULT_KEYS);
        assert_eq!(feed(&mut d, b"exit\x10\x11rest"), (b"exit".to_vec(), true));
    }

    #[test]
    fn half_a_match_is_held_back_and_then_released() {
        let mut d = Detector::new(DEFAULT_KEYS);
        assert_eq!(feed(&mut d, b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(feed(&mut d, b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(feed(&mut d, b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(feed(&mut d, b"\x11"), (vec![], true));
    }

    #[test]
    fn without_keys_everything_passes() {
        let mut d = Detector::new(&[]);
        assert_eq!(feed(&mut d, b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }

    proptest! {
        /// However the input is cut: everything before the first occurrence of the keys passes,
        /// in order; without one, everything but a held-back beginning of the keys passes.
        #[test]
        fn the_first_occurrence_decides(
            keys in proptest::collection::vec(0_u8..3, 1..5),
            reads in proptest::collection::vec(proptest::collection::vec(0_u8..3, 0..6), 0..8),
        ) {
            let mut d = Detector::new(&keys);
            let mut passed = Vec::new();
            let mut detached = false;
            for read in &reads {
                let fed = d.feed(read);
                passed.extend(fed.pass);
                detached = fed.detached;
                if detached {
                    break;
                }
            }
            let whole = reads.concat();
            match whole.windows(keys.len()).position(|w| w == keys) {
                Some(at) => {
                    prop_assert!(detached);
                    prop_assert_eq!(&passed[..], &whole[..at]);
                }
                None => {
                    prop_assert!(!detached);
                    let held = &whole[passed.len()..];
                    prop_assert_eq!(&passed[..], &whole[..passed.len()]);
                    prop_assert!(held.len() < keys.len() && keys.starts_with(held));
                }
            }
        }
    }
}
