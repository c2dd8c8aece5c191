//! What comes later, and the end.

use super::*;

/// With one watcher for a whole test: a user has few inotify instances.
pub(super) fn follow(log: &Log, watcher: &Watcher) -> (LogOptions, CancellationToken) {
    let ended = CancellationToken::new();
    let options = LogOptions {
        follow: Some(FollowHandle {
            watcher: Some(watcher.clone()),
            ended: ended.clone(),
        }),
        ..log.options()
    };
    (options, ended)
}

async fn next(reader: &mut LogReader) -> Vec<String> {
    show(&soon(reader.next()).await.unwrap().unwrap())
}

#[tokio::test]
async fn a_follower_gets_lines_as_they_come_and_ends_at_the_end() {
    let log = Log::none();
    let (options, ended) = follow(&log, &Watcher::new().unwrap());
    let mut reader = LogReader::open(options).await.unwrap();
    let mut file_ = log.append();
    for n in 1..20 {
        let line = file(&[(n, &format!("stdout F line {n}"))]);
        // In two writes: a line that is not whole yet waits.
        file_.write_all(&line.as_bytes()[..30]).unwrap();
        file_.write_all(&line.as_bytes()[30..]).unwrap();
        assert_eq!(next(&mut reader).await, [format!("out line {n}\n")]);
    }
    let last = file(&[(20, "stdout P partial"), (21, "stderr F last")]);
    file_.write_all(last.as_bytes()).unwrap();
    assert_eq!(next(&mut reader).await, ["err last\n"]);
    ended.cancel();
    assert_eq!(next(&mut reader).await, ["out partial"]);
    assert!(soon(reader.next()).await.is_none());
}

#[tokio::test]
async fn a_follower_with_tail_begins_there_and_not_within_a_record() {
    let watcher = Watcher::new().unwrap();
    let first = file(&[(1, "stdout F one"), (2, "stdout F two")]);
    let third = file(&[(3, "stdout F three")]);
    for (tail, expected) in [
        (0, &["out three\n"][..]),
        (1, &["out two\n", "out three\n"]),
        (9, &["out one\n", "out two\n", "out three\n"]),
    ] {
        // The third is being written while the log is opened.
        let log = Log::new(format!("{first}{}", &third[..40]));
        let (mut options, ended) = follow(&log, &watcher);
        options.tail = Some(tail);
        let mut reader = LogReader::open(options).await.unwrap();
        log.append().write_all(&third.as_bytes()[40..]).unwrap();
        ended.cancel();
        assert_eq!(show(&rest(&mut reader).await), expected, "tail {tail}");
        assert_eq!(reader.skipped(), Skipped::default());
    }
}

#[tokio::test]
async fn a_follower_ends_at_until_though_nothing_comes() {
    let log = sample();
    let (mut options, _ended) = follow(&log, &Watcher::new().unwrap());
    options.until = Some(Timestamp::now() + Duration::from_millis(50));
    options.tail = Some(1);
    let mut reader = LogReader::open(options).await.unwrap();
    // The sample's times may lie after the clock's; then it ends at once.
    rest(&mut reader).await;
    assert!(soon(reader.next()).await.is_none());
}

#[tokio::test]
async fn a_log_that_was_emptied_is_read_from_its_beginning() {
    let log = sample();
    let (options, ended) = follow(&log, &Watcher::new().unwrap());
    let mut reader = LogReader::open(options).await.unwrap();
    assert_eq!(next(&mut reader).await.len(), 5);
    std::fs::write(&log.path, file(&[(8, "stdout F new")])).unwrap();
    ended.cancel();
    let shown = show(&rest(&mut reader).await).concat();
    assert!(shown.ends_with("new\n"), "{shown:?}");
}

/// 200 times: a container writes at its own pace and ends; the follower has every line once,
/// the last one too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_never_miss_the_last_line() {
    let watcher = Watcher::new().unwrap();
    for round in 0..200_u32 {
        let log = Log::none();
        let (options, ended) = follow(&log, &watcher);
        let mut written = log.append();
        let writer = std::thread::spawn(move || {
            for n in 0..round {
                let tag = if n % 7 == 3 { 'P' } else { 'F' };
                let line = file(&[(n % 60, &format!("stdout {tag} {n};"))]);
                written.write_all(line.as_bytes()).unwrap();
                if n % 16 == 0 {
                    std::thread::yield_now();
                }
            }
            ended.cancel();
        });
        let mut reader = LogReader::open(options).await.unwrap();
        let bytes = rest(&mut reader).await;
        writer.join().unwrap();
        let text: Vec<u8> = parse(&bytes).into_iter().flat_map(|(_, t)| t).collect();
        let mut expected = String::new();
        for n in 0..round {
            let newline = if n % 7 == 3 { "" } else { "\n" };
            write!(expected, "{n};{newline}").unwrap();
        }
        assert_eq!(String::from_utf8(text).unwrap(), expected, "round {round}");
    }
}
