//! Logs that are kept within limits: `max-size`, `max-file`, `compress`.

use std::io::Read as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{Daemon, demux, until};

use crate::daemon;

/// Numbers, in bursts: conmon writes while it is told to open its log anew.
fn numbers(count: u32, options: &Value) -> Value {
    let script = format!(
        "read go; n=1; while [ $n -lt {count} ]; do seq $n $((n+999)); n=$((n+1000)); \
         usleep 8000; done"
    );
    json!({
        "Cmd": ["sh", "-c", script],
        "OpenStdin": true,
        "HostConfig": {"LogConfig": {"Type": "json-file", "Config": options}},
    })
}

fn go(d: &Daemon, id: &str) {
    let path = format!("/containers/{id}/attach?stream=1&stdin=1");
    d.http.hijack(&path, true).write("go\n");
}

fn files(d: &Daemon, id: &str) -> Vec<PathBuf> {
    let log = PathBuf::from(d.inspect(id)["LogPath"].as_str().expect("a path"));
    let dir = log.parent().expect("a directory").to_owned();
    let name = log
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the container's directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(&name))
        })
        .collect();
    // What stands beside it is no file of the log.
    files.retain(|path| path.extension().is_none_or(|end| end != "cut"));
    files.sort();
    files
}

fn expected(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|n| format!("{n}\n")).collect()
}

/// Shorter than a million lines of an assertion's message.
fn expect_numbers(got: &str, range: std::ops::RangeInclusive<u32>, of: &str) {
    let lines = got.lines().count();
    let ends = (got.lines().next(), got.lines().last());
    assert!(got == expected(range), "{of}: {lines} lines, {ends:?}");
}

/// All from some one on, beginning with a whole line.
fn expect_the_newest(got: &str, last: u32) {
    let first: u32 = got
        .lines()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert!(first > 2, "the oldest are gone");
    expect_numbers(got, first..=last, "what is left");
}

#[test]
fn nobody_misses_a_line_of_a_log_that_rotates() {
    let (count, followers) = match std::env::var_os("MOORED_SOAK") {
        Some(_) => (1_000_000, 100),
        None => (100_000, 10),
    };
    let d = daemon();
    let options = json!({"max-size": "64k", "max-file": "5000"});
    d.create("it", numbers(count, &options));
    d.start_container("it");
    std::thread::scope(|scope| {
        let follow = || {
            let path = "/containers/it/logs?stdout=1&follow=1";
            let mut stream = d.http.stream("GET", path, &[], b"");
            move || demux(&stream.body.read_to_end()).stdout
        };
        let readers: Vec<_> = (0..followers).map(|_| scope.spawn(follow())).collect();
        let path = "/containers/it/attach?stream=1&logs=1&stdout=1";
        let mut attached = d.http.hijack(path, true);
        go(&d, "it");
        for reader in readers {
            expect_numbers(&reader.join().expect("a thread"), 1..=count, "a follower");
        }
        let attached = demux(&attached.read_to_end()).stdout;
        expect_numbers(&attached, 1..=count, "attached with logs");
    });
    assert_eq!(d.wait("it"), 0);
    let files = files(&d, "it");
    assert!(files.len() > 10, "{files:?}");
    expect_numbers(&d.logs("it").stdout, 1..=count, "the whole");
    let get = |parameters: &str| {
        let path = format!("/containers/it/logs?stdout=1&{parameters}");
        demux(&d.http.get(&path).expect(200).body).stdout
    };
    expect_numbers(
        &get("tail=50000"),
        count - 49_999..=count,
        "a tail over files",
    );
    d.finish();
}

#[test]
fn only_the_newest_files_are_kept_and_packed_where_that_was_asked_for() {
    let d = daemon();
    let options = json!({"max-size": "64k", "max-file": "3", "compress": "true"});
    d.create("it", numbers(50_000, &options));
    d.start_container("it");
    go(&d, "it");
    assert_eq!(d.wait("it"), 0);
    let is_packed = |path: &PathBuf| path.extension().is_some_and(|end| end == "gz");
    until("the log was tidied", || {
        // The newest is the one that conmon writes, or the one that it wrote last.
        let (packed, plain): (Vec<_>, Vec<_>) = files(&d, "it").into_iter().partition(is_packed);
        plain.len() == 1 && (1..=2).contains(&packed.len())
    });
    let mut magic = [0; 2];
    let packed = files(&d, "it").into_iter().find(is_packed);
    let mut packed = std::fs::File::open(packed.expect("one")).expect("a file of the log");
    packed.read_exact(&mut magic).expect("some bytes");
    assert_eq!(magic, [0x1f, 0x8b], "gzip");
    let all = d.logs("it").stdout;
    expect_the_newest(&all, 50_000);
    d.finish();
}

#[test]
fn a_log_of_one_file_keeps_its_newest_half() {
    let d = daemon();
    d.create("it", numbers(50_000, &json!({"max-size": "64k"})));
    d.start_container("it");
    go(&d, "it");
    assert_eq!(d.wait("it"), 0);
    until("the log was tidied", || files(&d, "it").len() <= 2);
    let all = d.logs("it").stdout;
    expect_the_newest(&all, 50_000);
    d.finish();
}

#[test]
fn options_that_cannot_be_are_refused_and_change_nothing() {
    let d = daemon();
    for (kind, options, words) in [
        (
            "json-file",
            json!({"max-size": "0"}),
            "max-size must be a positive number",
        ),
        (
            "json-file",
            json!({"max-size": "10x"}),
            "invalid size: '10x'",
        ),
        (
            "json-file",
            json!({"max-file": "0"}),
            "max-file cannot be less than 1",
        ),
        (
            "json-file",
            json!({"compress": "true"}),
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        (
            "local",
            json!({"max-file": "1"}),
            "compression cannot be enabled when max file count is 1",
        ),
    ] {
        let body = json!({
            "Image": "busybox", "Cmd": ["true"],
            "HostConfig": {"LogConfig": {"Type": kind, "Config": options}},
        });
        let answer = d.http.post_json("/containers/create", &body);
        let words = format!("failed to initialize logging driver: {words}");
        answer.expect_error(400, &words);
    }
    assert_eq!(
        d.http.get("/containers/json?all=1").expect(200).json(),
        json!([])
    );
    d.finish();
}
