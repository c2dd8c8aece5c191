//! What is in a file, and how it is asked for.

use super::*;

#[tokio::test]
async fn lines_are_joined_and_framed() {
    assert_eq!(
        lines(sample().options()).await,
        [
            "out one\n",
            "err two\n",
            "err four\n",
            "out three\n",
            "out \n",
            "out no newline"
        ]
    );
}

#[tokio::test]
async fn no_file_and_an_empty_file_are_empty_logs() {
    for log in [Log::none(), Log::new("")] {
        for tail in [None, Some(0), Some(1)] {
            let options = LogOptions {
                tail,
                ..log.options()
            };
            assert_eq!(read(options).await, (vec![], Skipped::default()));
        }
    }
}

#[tokio::test]
async fn streams_are_chosen() {
    let log = sample();
    let only_stderr = LogOptions {
        want: Want {
            stdout: false,
            ..BOTH
        },
        ..log.options()
    };
    assert_eq!(lines(only_stderr).await, ["err two\n", "err four\n"]);
    let only_stdout = LogOptions {
        want: Want {
            stderr: false,
            ..BOTH
        },
        ..log.options()
    };
    let expected = ["out one\n", "out three\n", "out \n", "out no newline"];
    assert_eq!(lines(only_stdout).await, expected);
}

#[tokio::test]
async fn a_terminal_is_raw() {
    let log = Log::new(file(&[
        (1, "stdout F $ ls\r"),
        (2, "stdout F a\r"),
        (3, "stdout P $ "),
    ]));
    let options = LogOptions {
        tty: true,
        ..log.options()
    };
    assert_eq!(read(options).await.0, b"$ ls\r\na\r\n$ ");
}

#[tokio::test]
async fn times_and_details_stand_in_front_of_each_line() {
    let log = sample();
    let options = LogOptions {
        timestamps: true,
        details_prefix: Some("a=b,c=d".into()),
        tail: Some(4),
        ..log.options()
    };
    assert_eq!(
        lines(options).await,
        [
            "err 2026-11-23T11:52:04.085016519Z a=b,c=d four\n",
            "out 2026-11-23T11:52:03.085016519Z a=b,c=d three\n",
            "out 2026-11-23T11:52:06.085016519Z a=b,c=d \n",
            "out 2026-11-23T11:52:07.085016519Z a=b,c=d no newline",
        ]
    );
    let no_details = LogOptions {
        details_prefix: Some(String::new()),
        tail: Some(1),
        ..log.options()
    };
    assert_eq!(lines(no_details).await, ["out  no newline"]);
}

#[tokio::test]
async fn tail_counts_lines_of_both_streams() {
    let log = sample();
    let all = lines(log.options()).await;
    for count in 0..=8 {
        let options = LogOptions {
            tail: Some(count),
            ..log.options()
        };
        let from = all.len().saturating_sub(usize::try_from(count).unwrap());
        assert_eq!(lines(options).await, all[from..], "tail {count}");
    }
    let last_of_stderr = LogOptions {
        tail: Some(1),
        want: Want {
            stdout: false,
            ..BOTH
        },
        ..log.options()
    };
    assert_eq!(lines(last_of_stderr).await, [""; 0]);
}

#[tokio::test]
async fn since_and_until_include_their_moment_and_judge_by_the_first_piece() {
    let log = sample();
    for (since, until, expected) in [
        (Some(6), None, &["out \n", "out no newline"][..]),
        (Some(4), Some(5), &["err four\n"]),
        (None, Some(2), &["out one\n", "err two\n"]),
        (None, Some(3), &["out one\n", "err two\n", "out thr"]),
        (Some(3), Some(4), &["err four\n", "out three\n"]),
        (Some(8), None, &[]),
        (None, Some(0), &[]),
    ] {
        let options = LogOptions {
            since: since.map(at),
            until: until.map(at),
            ..log.options()
        };
        assert_eq!(lines(options).await, expected, "{since:?} {until:?}");
    }
}

#[tokio::test]
async fn damage_is_passed_over_and_counted() {
    let good = file(&[(1, "stdout F good")]);
    let torn = &good[..20];
    for (content, expected, places) in [
        (format!("rubbish\n{good}"), &["out good\n"][..], 1),
        (
            format!("{good}\n\n{good}"),
            &["out good\n", "out good\n"],
            2,
        ),
        // A page of zeros where a file system lost a block, then a record on the same line.
        (format!("{}{good}", "\0".repeat(4096)), &["out good\n"], 1),
        (format!("{torn}{good}"), &["out good\n"], 1),
        (format!("{good}{torn}"), &["out good\n"], 1),
        (
            format!("{good}{}", good.trim_end()),
            &["out good\n", "out good"],
            0,
        ),
        (
            format!("{}\n{good}", "\0".repeat(3 << 20)),
            &["out good\n"],
            1,
        ),
    ] {
        let log = Log::new(&content);
        let (bytes, skipped) = read(log.options()).await;
        assert_eq!(show(&bytes), expected);
        assert_eq!(skipped.places, places, "{} bytes", content.len());
        let told: usize = expected.len() * good.len();
        let newline = usize::from(!content.ends_with('\n') && places == 0);
        assert!(skipped.bytes <= (content.len() + newline - told) as u64);
    }
}

#[tokio::test]
async fn a_log_cut_at_any_byte_is_read() {
    let whole = file(&[
        (1, "stdout F first"),
        (2, "stderr P second"),
        (3, "stderr F !"),
    ]);
    for cut in 0..=whole.len() {
        let log = Log::new(&whole[..cut]);
        let shown = lines(log.options()).await.concat();
        assert!(
            "out first\nerr second!\n".starts_with(&shown),
            "{cut}: {shown:?}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_come_through() {
    let mut content = b"2026-11-23T11:52:01.085016519+00:00 stdout F ".to_vec();
    content.extend(b"\0\xff\xfe stdout F \0\n");
    let log = Log::new(content);
    let (bytes, skipped) = read(log.options()).await;
    assert_eq!(parse(&bytes), [(1, b"\0\xff\xfe stdout F \0\n".to_vec())]);
    assert_eq!(skipped, Skipped::default());
}

#[tokio::test]
async fn a_line_of_any_length_comes_in_bounded_pieces_with_one_time() {
    let piece = "x".repeat(8192);
    let partial = format!("stdout P {piece}");
    let count = 3 * limits::LOG_LINE_BYTES_MAX / 8192;
    let mut records = vec![(1, partial.as_str()); count];
    records.push((2, "stderr F between"));
    records.push((3, "stdout F end"));
    let log = Log::new(file(&records));
    let options = LogOptions {
        timestamps: true,
        ..log.options()
    };
    let (bytes, _) = read(options).await;
    let frames = parse(&bytes);
    let text: Vec<u8> = frames
        .iter()
        .filter(|(stream, _)| *stream == 1)
        .flat_map(|(_, text)| text.clone())
        .collect();
    let expected = format!("{}Z {}end\n", time(1), piece.repeat(count));
    assert_eq!(text, expected.into_bytes());
    let longest = frames.iter().map(|(_, text)| text.len()).max().unwrap();
    assert!(longest <= limits::LOG_LINE_BYTES_MAX + 8192 + 64);
    assert!(frames.len() >= 4);
}

#[tokio::test]
async fn what_is_written_later_is_not_read_unless_followed() {
    let log = Log::new(file(&[(1, "stdout F before")]));
    let mut reader = LogReader::open(log.options()).await.unwrap();
    let more = file(&[(2, "stdout F after")]);
    log.append().write_all(more.as_bytes()).unwrap();
    assert_eq!(show(&rest(&mut reader).await), ["out before\n"]);
}

#[tokio::test]
async fn a_dropped_next_loses_nothing() {
    let records: Vec<String> = (0..20_000).map(|n| format!("stdout F {n}")).collect();
    let records: Vec<(u32, &str)> = records.iter().map(|r| (1, r.as_str())).collect();
    let log = Log::new(file(&records));
    let mut reader = LogReader::open(log.options()).await.unwrap();
    let mut all = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            batch = reader.next() => match batch {
                Some(batch) => all.extend_from_slice(&batch.unwrap()),
                None => break,
            }
        }
    }
    assert_eq!(parse(&all).len(), 20_000);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_that_names_the_file() {
    let log = sample();
    let below_a_file = LogOptions {
        source: LogFiles::new(log.path.join("x")).into(),
        ..log.options()
    };
    let e = LogReader::open(below_a_file).await.unwrap_err();
    assert_eq!(
        e.message(),
        format!(
            "read the log: {}/x: Not a directory (os error 20)",
            log.path.display()
        )
    );
    let a_directory = LogOptions {
        source: LogFiles::new(log.path.parent().unwrap().to_owned()).into(),
        ..log.options()
    };
    let mut reader = LogReader::open(a_directory).await.unwrap();
    let e = soon(reader.next()).await.unwrap().unwrap_err();
    assert_eq!(e.kind(), Kind::System);
    assert!(soon(reader.next()).await.is_none());
}

/// Nothing in the log itself tells where a run ends.
#[tokio::test]
async fn a_line_without_its_newline_ends_with_its_run() {
    let log = Log::new(file(&[
        (1, "stdout F one"),
        (2, "stderr P err"),
        (3, "stdout P two"),
    ]));
    let files = LogFiles::new(log.path.clone());
    files.begin_run().unwrap();
    let more = file(&[
        (4, "stdout F three"),
        (5, "stderr F other"),
        (6, "stdout F four"),
    ]);
    log.append().write_all(more.as_bytes()).unwrap();
    // No mark where the last lines are whole.
    files.begin_run().unwrap();
    assert_eq!(files.runs().unwrap().len(), 1);
    let stamped = LogOptions {
        timestamps: true,
        ..log.options()
    };
    let t = |second| format!("{}Z", time(second));
    let all = [
        format!("out {} one\n", t(1)),
        format!("out {} two", t(3)),
        format!("err {} err", t(2)),
        format!("out {} three\n", t(4)),
        format!("err {} other\n", t(5)),
        format!("out {} four\n", t(6)),
    ];
    let got = lines(stamped).await;
    assert_eq!(got, all);
    for (tail, wanted) in [
        (2, &[4, 5][..]),
        (3, &[3, 4, 5]),
        (4, &[1, 3, 4, 5]),
        (5, &[1, 2, 3, 4, 5]),
        (6, &[0, 1, 2, 3, 4, 5]),
    ] {
        let tail = LogOptions {
            tail: Some(tail),
            timestamps: true,
            ..log.options()
        };
        let expected: Vec<_> = wanted.iter().map(|n: &usize| all[*n].clone()).collect();
        assert_eq!(lines(tail).await, expected);
    }
}
