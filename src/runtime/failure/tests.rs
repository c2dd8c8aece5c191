//! What runc and crun really print, and what clients must read of it.

use super::*;
use proptest::prelude::*;

const CREATE: &str =
    "failed to create task for container: failed to create shim task: OCI runtime create failed: ";

fn facts(command: &str) -> BundleFacts {
    BundleFacts {
        command: command.to_owned(),
        cgroups_path: None,
        rootfs: "/no/rootfs".to_owned(),
    }
}

/// What docker/cli makes of a message.
fn cli_status(message: &str) -> u8 {
    let has = |words: &str| message.contains(words);
    if has("executable file not found") || has("no such file or directory") {
        127
    } else if has("permission denied") || has("is a directory") {
        126
    } else {
        128
    }
}

/// runtime, command, its text, exit code, kind
type Case = (&'static str, &'static str, &'static str, u8, Kind);

/// Texts of runc 1.1.5, 1.1.15 and crun 1.8.1, 1.21, as they were printed.
const CORPUS: &[Case] = &[
    (
        "runc",
        "/no/such",
        "runc create failed: unable to start container process: exec: \"/no/such\": stat /no/such: no such file or directory",
        127,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "/no/such",
        "executable file `/no/such` not found in $PATH: No such file or directory",
        127,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "/no/such",
        "executable file `/no/such` not found: No such file or directory",
        127,
        Kind::InvalidParameter,
    ),
    (
        "runc",
        "x",
        "runc create failed: unable to start container process: exec: \"x\": executable file not found in $PATH",
        127,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "x",
        "executable file `x` not found in $PATH: No such file or directory",
        127,
        Kind::InvalidParameter,
    ),
    (
        "runc",
        "",
        "runc create failed: unable to start container process: exec: \"\": executable file not found in $PATH",
        127,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "",
        "open executable: Operation not permitted",
        127,
        Kind::InvalidParameter,
    ),
    (
        "runc",
        "/etc",
        "runc create failed: unable to start container process: exec: \"/etc\": permission denied",
        126,
        Kind::InvalidParameter,
    ),
    (
        "runc",
        "/etc",
        "runc create failed: unable to start container process: exec: \"/etc\": is a directory",
        126,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "/etc",
        "open executable: Operation not permitted",
        126,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "/etc",
        "the path `/etc` is not a regular file: Operation not permitted",
        126,
        Kind::InvalidParameter,
    ),
    (
        "runc",
        "/etc/noexec",
        "runc create failed: unable to start container process: exec: \"/etc/noexec\": permission denied",
        126,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "/etc/noexec",
        "open executable: Permission denied",
        126,
        Kind::InvalidParameter,
    ),
    (
        "runc",
        "true",
        "chdir to cwd (\"/nope\") set in config.json failed: no such file or directory",
        127,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "true",
        "chdir `/nope`: No such file or directory",
        127,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "true",
        "chdir to `/nope`: No such file or directory",
        127,
        Kind::InvalidParameter,
    ),
    (
        "runc",
        "true",
        "chdir to cwd (\"/root\") set in config.json failed: permission denied",
        126,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "true",
        "chdir to `/root`: Permission denied",
        126,
        Kind::InvalidParameter,
    ),
    (
        "runc",
        "true",
        "runc create failed: unable to start container process: error during container init: error mounting \"/no/src\" to rootfs at \"/dir\": stat /no/src: no such file or directory",
        127,
        Kind::InvalidParameter,
    ),
    (
        "crun",
        "true",
        "error stat'ing file `/no/src`: No such file or directory",
        127,
        Kind::InvalidParameter,
    ),
];

#[test]
fn both_runtimes_give_the_exit_code_dockerd_gives_and_the_cli_reads() {
    for (runtime, command, said, exit_code, kind) in CORPUS {
        let e = start_error(Step::Create, runtime, said, &facts(command));
        assert_eq!(e.exit_code, *exit_code, "{runtime}: {said}");
        assert_eq!(e.error.kind(), *kind, "{runtime}: {said}");
        let message = e.error.message();
        assert_eq!(cli_status(message), *exit_code, "{message}");
        assert!(
            message.starts_with(CREATE) && message.ends_with(": unknown"),
            "{message}"
        );
        assert!(
            message.contains(said),
            "the runtime's own text is kept: {message}"
        );
    }
}

#[test]
fn runcs_missing_binary_is_dockers_message_to_the_byte() {
    let said = "runc create failed: unable to start container process: exec: \
                \"/no/such/bin\": stat /no/such/bin: no such file or directory\n";
    let e = start_error(Step::Create, "runc", said, &facts("/no/such/bin"));
    // dockerd 26.1.5.
    assert_eq!(
        e.error.message(),
        "failed to create task for container: failed to create shim task: OCI runtime create \
         failed: runc create failed: unable to start container process: exec: \
         \"/no/such/bin\": stat /no/such/bin: no such file or directory: unknown"
    );
}

#[test]
fn cruns_missing_binary_is_told_in_runcs_words_first() {
    let said = "executable file `x` not found in $PATH: No such file or directory";
    let e = start_error(Step::Create, "crun", said, &facts("x"));
    assert_eq!(
        e.error.message(),
        format!(
            "{CREATE}unable to start container process: exec: \"x\": executable file not \
             found in $PATH: crun: {said}: unknown"
        )
    );
}

#[test]
fn a_missing_root_file_system_is_the_hosts_fault() {
    for (runtime, said) in [
        (
            "runc",
            "runc create failed: invalid rootfs: stat /no/rootfs: no such file or directory",
        ),
        (
            "runc",
            "runc create failed: unable to start container process: error during container init: error preparing rootfs: mount /no/rootfs:/no/rootfs, flags: 0x5000: permission denied",
        ),
        (
            "crun",
            "make `/no/rootfs` private: No such file or directory",
        ),
        ("crun", "open `/no/rootfs`: No such file or directory"),
    ] {
        let e = start_error(Step::Create, runtime, said, &facts("true"));
        assert_eq!((e.exit_code, e.error.kind()), (128, Kind::System), "{said}");
    }
}

#[test]
fn the_rest_of_the_corpus() {
    let of = |said: &str| start_error(Step::Create, "r", said, &facts("true"));
    for said in [
        "runc create failed: container with given ID already exists",
        "container `a` already exists",
    ] {
        assert_eq!(
            (of(said).exit_code, of(said).error.kind()),
            (128, Kind::Conflict)
        );
    }
    for said in [
        "mount `/etc/passwd` to `dir`: Not a directory",
        "runc create failed: unable to start container process: error during container init: error mounting \"/etc/passwd\" to rootfs at \"/dir\": mount /etc/passwd:/dir (via /proc/self/fd/6), flags: 0x1000: not a directory",
    ] {
        let e = of(said);
        assert_eq!((e.exit_code, e.error.kind()), (126, Kind::InvalidParameter));
        assert!(e.error.message().contains("not a directory"), "{e}");
        assert!(
            e.error.message().contains("(or vice-versa)? Check if"),
            "{e}"
        );
    }
    for said in [
        "",
        "cgroups in hybrid mode not supported, drop all controllers from cgroupv2",
    ] {
        assert_eq!(
            (of(said).exit_code, of(said).error.kind()),
            (128, Kind::System)
        );
    }
    assert!(
        of(" \n")
            .error
            .message()
            .contains("r failed without a word")
    );
}

#[test]
fn the_last_error_of_a_log_counts() {
    let log = "{\"level\":\"warning\",\"msg\":\"w\",\"time\":\"t\"}\n\
               {\"level\":\"error\",\"msg\":\"first\",\"time\":\"t\"}\n\
               not json\n\
               {\"level\":\"error\",\"msg\":\"second\",\"time\":\"t\"}\n\
               {\"level\":\"debug\",\"msg\":\"d\",\"time\":\"t\"}\n";
    assert_eq!(last_logged_error(log).unwrap(), "second");
    assert_eq!(
        last_logged_error("{\"level\":\"warning\",\"msg\":\"w\"}"),
        None
    );
    assert_eq!(last_logged_error(""), None);
}

#[test]
fn logrus_frames_are_taken_off() {
    let framed = "time=\"2026-11-23T23:07:46Z\" level=error msg=\"exec: \\\"x\\\": no\"\n";
    assert_eq!(plain_text(framed), "exec: \"x\": no");
    assert_eq!(plain_text("time=\"t\" level=error msg=plain a=b"), "plain");
    assert_eq!(plain_text("just text\n\n"), "just text");
}

#[test]
fn facts_come_from_config_json_and_may_be_missing() {
    let facts = BundleFacts::parse(br#"{"process":{"args":["a","b"]},"root":{"path":"/r"}}"#);
    assert_eq!((facts.command.as_str(), facts.rootfs.as_str()), ("a", "/r"));
    assert_eq!(BundleFacts::parse(b"{"), BundleFacts::default());
}

proptest! {
    #[test]
    fn any_text_gives_a_code_and_keeps_the_text(said in ".{0,200}", command in ".{0,20}") {
        let e = start_error(Step::Start, "crun", &said, &facts(&command));
        prop_assert!((126..=128).contains(&e.exit_code));
        prop_assert!(e.error.message().contains(said.trim()));
    }

    #[test]
    fn no_log_or_output_panics(text in ".{0,300}") {
        let _ = last_logged_error(&text);
        let _ = plain_text(&text);
    }
}
