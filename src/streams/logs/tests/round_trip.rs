//! Any bytes, written as conmon writes them and read back.

use proptest::prelude::*;

use super::*;

/// What conmon writes for one read of a container's pipe (`write_k8s_log`).
fn conmon_writes(log: &mut Vec<u8>, stream: &str, read: &[u8]) {
    for line in read.split_inclusive(|byte| *byte == b'\n') {
        let (tag, text) = match line.strip_suffix(b"\n") {
            Some(text) => ("F", text),
            None => ("P", line),
        };
        log.extend(format!("{}+00:00 {stream} {tag} ", time(9)).as_bytes());
        log.extend(text);
        log.push(b'\n');
    }
}

/// Cuts the log into files, at ends of records, and packs the first.
fn rotate_anywhere(log: &Log, seed: usize) {
    let whole = std::fs::read(&log.path).unwrap();
    let mut records = whole.split_inclusive(|byte| *byte == b'\n').peekable();
    let files = LogFiles::new(log.path.clone());
    let mut count = 0;
    std::fs::write(&log.path, "").unwrap();
    while let Some(record) = records.next() {
        log.append().write_all(record).unwrap();
        count += 1;
        if count % (seed % 7 + 2) == 0 {
            files.rotate().unwrap();
            if records.peek().is_some() {
                std::fs::write(&log.path, "").unwrap();
            }
            if count < 10 {
                files.pack_one().unwrap();
            }
        }
    }
}

fn bytes_of_a_container() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let byte = prop_oneof![3 => Just(b'\n'), 1 => Just(0), 6 => any::<u8>()];
    let small = proptest::collection::vec(byte, 0..50);
    let large = (any::<u8>(), 0..60_000_usize).prop_map(|(byte, length)| vec![byte; length]);
    let write = prop_oneof![8 => small, 1 => large];
    proptest::collection::vec((any::<bool>(), write), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a container writes comes back, byte for byte, from a log written as conmon does.
    #[test]
    fn any_bytes_are_read_back(writes in bytes_of_a_container()) {
        let mut log = Vec::new();
        let mut expected = [Vec::new(), Vec::new()];
        for (stderr, bytes) in &writes {
            expected[usize::from(*stderr)].extend_from_slice(bytes);
            for read in bytes.chunks(8192) {
                conmon_writes(&mut log, if *stderr { "stderr" } else { "stdout" }, read);
            }
        }
        let log = Log::new(log);
        rotate_anywhere(&log, writes.len());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (bytes, skipped) = runtime.block_on(read(log.options()));
        let mut got = [Vec::new(), Vec::new()];
        let mut lines = 0;
        for (stream, text) in parse(&bytes) {
            lines += 1;
            let stream = usize::from(stream - 1);
            let ends_a_line = got[stream].last().is_none_or(|byte| *byte == b'\n');
            prop_assert!(ends_a_line, "one frame for each line");
            got[stream].extend_from_slice(&text);
        }
        prop_assert!(got == expected);
        prop_assert_eq!(skipped, Skipped::default());

        // So do the bytes themselves, from any one on.
        let all: usize = expected.iter().map(Vec::len).sum();
        let skip = all / 3;
        let payload = PayloadOptions {
            files: LogFiles::new(log.path.clone()),
            want: BOTH,
            framed: true,
            since: skip as u64,
            follow: None,
        };
        let bytes = runtime.block_on(async {
            let (mut reader, begin) = LogReader::open_payload(payload).await.unwrap();
            assert_eq!(begin, skip as u64);
            rest(&mut reader).await
        });
        let mut got = [Vec::new(), Vec::new()];
        for (stream, text) in parse(&bytes) {
            got[usize::from(stream - 1)].extend_from_slice(&text);
        }
        prop_assert_eq!(got[0].len() + got[1].len(), all - skip);
        prop_assert!(expected[0].ends_with(&got[0]) && expected[1].ends_with(&got[1]));

        // And any tail of it is the end of it.
        let count = writes.len() as u64 / 2;
        let options = LogOptions { tail: Some(count), ..log.options() };
        let (tail, _) = runtime.block_on(read(options));
        prop_assert_eq!(parse(&tail).len(), lines.min(writes.len() / 2));
    }
}
