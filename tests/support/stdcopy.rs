//! Docker's framing of stdout and stderr: `[type][0 0 0][length, big endian][payload]`.

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// 0 stdin, 1 stdout, 2 stderr, 3 an error of the engine.
    pub stream: u8,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What both streams carried, each in its own order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streams {
    /// Of type 1.
    pub stdout: String,
    /// Of type 2.
    pub stderr: String,
}

/// Splits framed bytes.
///
/// # Panics
/// When they are not whole frames of the types 0 to 3.
pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let whole = bytes;
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (frame, rest) = split_frame(bytes).unwrap_or_else(|| {
            panic!(
                "no whole frame at byte {}: {}",
                whole.len() - bytes.len(),
                String::from_utf8_lossy(whole).escape_debug()
            )
        });
        found.push(frame);
        bytes = rest;
    }
    found
}

/// The first frame and what follows it; `None` until it is whole.
///
/// # Panics
/// When the bytes cannot be the start of a frame.
pub(crate) fn split_frame(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (head, rest) = bytes.split_at_checked(8)?;
    assert!(
        head[0] <= 3 && head[1..4] == [0; 3],
        "not a frame: {}",
        String::from_utf8_lossy(bytes).escape_debug()
    );
    let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let (payload, rest) = rest.split_at_checked(length as usize)?;
    let frame = Frame {
        stream: head[0],
        payload: payload.to_vec(),
    };
    Some((frame, rest))
}

/// Joins framed bytes by stream.
///
/// # Panics
/// As [`frames`], and when the output is not UTF-8 or of another type.
pub fn demux(bytes: &[u8]) -> Streams {
    let mut joined = [Vec::new(), Vec::new()];
    for frame in frames(bytes) {
        match frame.stream {
            1 => joined[0].extend(frame.payload),
            2 => joined[1].extend(frame.payload),
            other => panic!("a frame of type {other}: {frame:?}"),
        }
    }
    let [stdout, stderr] =
        joined.map(|bytes| String::from_utf8(bytes).expect("the tests print UTF-8"));
    Streams { stdout, stderr }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_and_joined_by_stream() {
        let bytes = b"\x01\0\0\0\0\0\0\x02a\n\x02\0\0\0\0\0\0\x01e\x01\0\0\0\0\0\0\x01b";
        assert_eq!(frames(bytes).len(), 3);
        let joined = demux(bytes);
        assert_eq!(
            (joined.stdout.as_str(), joined.stderr.as_str()),
            ("a\nb", "e")
        );
        assert_eq!(split_frame(&bytes[..9]), None);
    }

    #[test]
    #[should_panic(expected = "no whole frame at byte 10")]
    fn half_a_frame_fails_the_test() {
        frames(b"\x01\0\0\0\0\0\0\x02a\n\x02\0\0\0\0\0\0\x05e");
    }
}
