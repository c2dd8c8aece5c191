//! Each way a creation can fail: a typed error, and nothing left.

use std::time::{Duration, Instant};

use model::{Kind, Signal};
use runtime::{CreateTask, StartError};
use serde_json::json;

use crate::bed::{Bed, exit_code, script, soon};

/// Creates what cannot be, and takes the census.
async fn fails(bed: &Bed, request: CreateTask) -> StartError {
    let id = request.id.clone();
    let e = soon(bed.runtimes.create(request)).await.unwrap_err();
    bed.assert_nothing_left(&id).await;
    e
}

#[tokio::test]
async fn a_missing_command_is_127_in_dockers_words() {
    let bed = Bed::new();
    let request = bed.container(|c| c["process"]["args"] = json!(["/no/such/bin"]));
    let e = fails(&bed, request).await;
    assert_eq!((e.exit_code, e.error.kind()), (127, Kind::InvalidParameter));
    // dockerd 26.1.5, to the byte.
    assert_eq!(
        e.error.message(),
        "failed to create task for container: failed to create shim task: OCI runtime create \
         failed: runc create failed: unable to start container process: exec: \"/no/such/bin\": \
         stat /no/such/bin: no such file or directory: unknown"
    );
    let request = bed.container(|c| c["process"]["args"] = json!(["nosuchcmd"]));
    let e = fails(&bed, request).await;
    assert_eq!(e.exit_code, 127);
    assert!(
        e.error
            .message()
            .contains("executable file not found in $PATH"),
        "{e}"
    );
}

#[tokio::test]
async fn a_command_that_cannot_be_executed_is_126() {
    let bed = Bed::new();
    let e = fails(
        &bed,
        bed.container(|c| c["process"]["args"] = json!(["/etc"])),
    )
    .await;
    assert_eq!(
        (e.exit_code, e.error.kind()),
        (126, Kind::InvalidParameter),
        "{e}"
    );
}

#[tokio::test]
async fn a_working_directory_that_is_a_file_is_126() {
    let bed = Bed::new();
    let e = fails(
        &bed,
        bed.container(|c| c["process"]["cwd"] = json!("/bin/busybox")),
    )
    .await;
    assert_eq!(
        (e.exit_code, e.error.kind()),
        (126, Kind::InvalidParameter),
        "{e}"
    );
    assert!(e.error.message().contains("not a directory"), "{e}");
}

#[tokio::test]
async fn a_missing_root_file_system_is_the_hosts_fault() {
    let bed = Bed::new();
    let e = fails(
        &bed,
        bed.container(|c| c["root"]["path"] = json!("/no/rootfs")),
    )
    .await;
    assert_eq!((e.exit_code, e.error.kind()), (128, Kind::System), "{e}");
}

#[tokio::test]
async fn a_failed_creation_can_be_tried_again_under_the_same_id() {
    let bed = Bed::new();
    let good = bed.sh("exit 5");
    let config = good.bundle.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("/bin/sh", "/no/such")).unwrap();
    let e = fails(&bed, good.clone()).await;
    assert!(e.error.message().contains("/no/such"), "{e}");
    // Another failure of the same id tells its own cause, not the first one's.
    std::fs::write(&config, text.replace("/bin/sh", "/also/not")).unwrap();
    let e = fails(&bed, good.clone()).await;
    assert!(e.error.message().contains("/also/not"), "{e}");
    std::fs::write(&config, text).unwrap();
    let mut task = bed.run(good).await;
    assert_eq!(exit_code(&mut task).await, 5);
    bed.remove(task).await;
}

#[tokio::test]
async fn an_id_in_use_is_refused_and_the_running_container_keeps_its_socket() {
    let bed = Bed::new();
    let request = bed.sh("while :; do sleep 0.02; done");
    let mut task = bed.run(request.clone()).await;
    let e = soon(bed.runtimes.create(request)).await.unwrap_err();
    assert_eq!(e.error.kind(), Kind::Conflict, "{e}");
    assert!(task.attach_socket().exists());
    task.signal(Signal::KILL).unwrap();
    assert_eq!(exit_code(&mut task).await, 137);
    bed.remove(task).await;
}

#[tokio::test]
async fn an_ended_container_nobody_deleted_is_created_anew() {
    let bed = Bed::new();
    let request = bed.sh("exit 4");
    let mut task = bed.run(request.clone()).await;
    assert_eq!(exit_code(&mut task).await, 4);
    drop(task);
    let mut task = bed.run(request).await;
    assert_eq!(exit_code(&mut task).await, 4);
    bed.remove(task).await;
}

#[tokio::test]
async fn a_second_start_is_a_conflict_in_the_runtimes_words() {
    let bed = Bed::new();
    let mut task = bed.run(bed.sh("while :; do sleep 0.02; done")).await;
    let e = task.start().await.unwrap_err();
    assert!(
        e.error.message().starts_with("OCI runtime start failed: "),
        "{e}"
    );
    assert_eq!(e.exit_code, 128);
    task.signal(Signal::KILL).unwrap();
    exit_code(&mut task).await;
    bed.remove(task).await;
}

#[tokio::test]
async fn a_hanging_runtime_is_killed_at_the_deadline() {
    let bed = Bed::with(|config, dir| {
        let hang = script(
            &dir.join("hang"),
            "[ \"$1\" = --version ] && exit 0\nsleep 7654321",
        );
        config.runtimes.insert("hang".to_owned(), vec![hang]);
        config.create_timeout = Duration::from_millis(700);
    });
    let mut request = bed.sh("exit 0");
    request.runtime = bed.runtimes.named("hang").unwrap();
    let began = Instant::now();
    let e = fails(&bed, request).await;
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!((e.exit_code, e.error.kind()), (128, Kind::System));
    assert!(
        e.error.message().contains("did not create it within 0.7 s"),
        "{e}"
    );
    assert_eq!(
        crate::bed::processes_naming("sleep 7654321"),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_hanging_call_of_the_runtime_is_killed_at_its_deadline() {
    let bed = Bed::with(|config, dir| {
        let hang = script(&dir.join("hang"), "echo stuck >&2; sleep 7654322");
        config.runtimes.insert("hang".to_owned(), vec![hang]);
        config.call_timeout = Duration::from_millis(500);
    });
    let request = bed.sh("exit 0");
    let hang = bed.runtimes.named("hang").unwrap();
    let e = bed.runtimes.pause(&request.id, &hang).await.unwrap_err();
    let told = "hang did not answer within 0.5 s and was killed: stuck";
    assert_eq!((e.kind(), e.message()), (Kind::System, told));
}

#[tokio::test]
async fn a_conmon_that_hangs_before_it_detaches_is_killed_at_the_deadline() {
    let mut bed = with_conmon("sleep 7654323");
    let mut config = bed.config.clone();
    config.create_timeout = Duration::from_millis(500);
    bed.runtimes = runtime::Runtimes::open(config).unwrap();
    let e = fails(&bed, bed.sh("exit 0")).await;
    assert!(
        e.error.message().contains("did not create it within 0.5 s"),
        "{e}"
    );
    let left = || crate::bed::processes_naming("sleep 7654323");
    crate::bed::until(|| left().is_empty()).await;
}

/// The pid file only says which process to watch besides the pipe.
#[tokio::test]
async fn a_garbled_or_missing_pid_file_of_conmon_fails_no_start() {
    for spoil in ["echo rubbish > \"$file\"", "rm \"$file\""] {
        let bed = Bed::with(|config, dir| {
            let found =
                "for a in \"$@\"; do [ \"$last\" = --conmon-pidfile ] && file=$a; last=$a; done";
            // conmon's parent has written the file when it ends.
            let conmon =
                format!("{found}\nconmon \"$@\" || exit\n[ -n \"$file\" ] && {spoil}\nexit 0");
            config.conmon_paths = vec![script(&dir.join("conmon"), &conmon)];
        });
        let mut task = bed.run(bed.sh("exit 4")).await;
        let id = task.id().clone();
        assert_eq!(task.monitor(), None, "{spoil}");
        assert_eq!(exit_code(&mut task).await, 4);
        bed.remove(task).await;
        bed.assert_nothing_left(&id).await;
    }
}

/// A bed whose conmon is a script. It reads the start byte as the real one does.
fn with_conmon(text: &str) -> Bed {
    Bed::with(|config, dir| {
        let version = "[ \"$1\" = --version ] && echo conmon version 2.1.6 && exit 0";
        let conmon = format!("{version}\nhead -c 1 <&4 >/dev/null\n{text}");
        config.conmon_paths = vec![script(&dir.join("conmon"), &conmon)];
    })
}

#[tokio::test]
async fn a_conmon_that_ends_without_a_word_is_a_failure() {
    let bed = with_conmon("exit 0");
    let e = fails(&bed, bed.sh("exit 0")).await;
    assert_eq!((e.exit_code, e.error.kind()), (128, Kind::System));
    assert!(
        e.error.message().contains("runc failed without a word"),
        "{e}"
    );
}

#[tokio::test]
async fn without_a_word_the_runtimes_own_log_is_told() {
    let log = r#"for a in "$@"; do case $a in --runtime-arg=--log=*) log=${a#--runtime-arg=--log=};; esac; done
printf '{"level":"warning","msg":"w"}\n{"level":"error","msg":"exec: \\"x\\": executable file not found in $PATH"}\n' > "$log""#;
    let bed = with_conmon(log);
    let e = fails(&bed, bed.sh("exit 0")).await;
    assert_eq!(
        (e.exit_code, e.error.kind()),
        (127, Kind::InvalidParameter),
        "{e}"
    );
}

#[tokio::test]
async fn a_conmon_that_fails_is_told_with_its_complaint() {
    let bed = with_conmon("echo '[conmon:e]: No such log driver x' >&2; exit 1");
    let e = fails(&bed, bed.sh("exit 0")).await;
    assert_eq!(
        e.error.message(),
        "failed to create task for container: conmon failed (exit status: 1): [conmon:e]: No such \
         log driver x"
    );
}

#[tokio::test]
async fn a_conmon_that_talks_rubbish_is_a_failure() {
    let bed = with_conmon("echo rubbish >&3; exit 0");
    let e = fails(&bed, bed.sh("exit 0")).await;
    assert!(
        e.error
            .message()
            .contains("conmon said something unreadable: rubbish"),
        "{e}"
    );
}

#[tokio::test]
async fn a_pid_that_is_not_conmons_child_does_not_count() {
    let report = r#"prev=; for a in "$@"; do [ "$prev" = --conmon-pidfile ] && printf $$ > "$a"; prev=$a; done
echo '{"data": 1}' >&3; exit 0"#;
    let bed = with_conmon(report);
    let e = fails(&bed, bed.sh("exit 0")).await;
    assert!(
        e.error
            .message()
            .contains("reported process 1 as the first"),
        "{e}"
    );
}

#[tokio::test]
async fn a_missing_conmon_says_what_to_install() {
    let bed = Bed::new();
    let request = bed.sh("exit 0");
    let mut config = bed.config.clone();
    config.conmon_paths = vec![bed.path("no-conmon")];
    config.run_root = bed.path("run2");
    config
        .runtimes
        .insert("runc".to_owned(), vec![bed.path("no-runc")]);
    let runtimes = runtime::Runtimes::open(config).unwrap();
    // $PATH comes last, and it has both: so this is about a file that vanishes later.
    let found = runtimes.conmon().unwrap();
    assert_ne!(found, bed.path("no-conmon"));
    std::fs::remove_dir_all(bed.path("run2/exits")).unwrap();
    std::fs::write(bed.path("run2/exits"), "").unwrap();
    let e = soon(runtimes.create(request)).await.unwrap_err();
    assert!(e.error.message().contains("run2/exits/persist/"), "{e}");
}
