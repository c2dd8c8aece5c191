//! Programs that end well, badly, too late or not at all.

use super::*;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(20);

fn sh(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn output_and_status_come_back() {
    let done = sh("echo out; echo err >&2; exit 3")
        .run(LONG)
        .await
        .unwrap();
    assert_eq!(done.status.code(), Some(3));
    assert_eq!((text(&done.stdout), text(&done.stderr)), ("out\n", "err\n"));
    assert_eq!(done.message(), "err");
}

#[tokio::test]
async fn the_environment_is_what_was_given() {
    let env = Program::new("/usr/bin/env").env([("A", "1")]);
    let done = env.run(LONG).await.unwrap();
    assert_eq!(text(&done.stdout), "A=1\n");
}

#[tokio::test]
async fn descriptors_are_what_was_given_even_when_swapped() {
    // Cargo leaves two of its own open to us.
    seal_descriptors();
    let (a_read, a_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (b_read, b_write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let done = sh("printf a >&3; printf b >&4; ls /proc/self/fd | wc -l")
        .fd(4, b_write)
        .fd(3, a_write)
        .run(LONG)
        .await
        .unwrap();
    // 0, 1, 2, 3, 4 and the directory ls reads.
    assert_eq!(text(&done.stdout).trim(), "6", "{}", done.message());
    let mut got = [0; 8];
    assert_eq!(rustix::io::read(&a_read, &mut got).unwrap(), 1);
    assert_eq!(got[0], b'a');
    assert_eq!(rustix::io::read(&b_read, &mut got).unwrap(), 1);
    assert_eq!(got[0], b'b');
    // Our copies of the writing ends are closed: this is the end, not a wait.
    assert_eq!(rustix::io::read(&a_read, &mut got).unwrap(), 0);
}

#[tokio::test]
async fn a_hanging_program_is_killed_with_its_children() {
    let began = Instant::now();
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let hanging = sh("echo why >&2; sleep 300 & wait").fd(3, write);
    let e = hanging.run(Duration::from_millis(300)).await.unwrap_err();
    assert!(began.elapsed() < LONG);
    assert!(e.to_string().ends_with("killed: why"), "{e}");
    // Descriptor 3 is closed everywhere once the sleep is dead too.
    assert_eq!(rustix::io::read(&read, &mut [0; 1]).unwrap(), 0);
}

#[tokio::test]
async fn a_child_left_behind_does_not_hold_the_result() {
    let began = Instant::now();
    let started = sh("echo said; sleep 30 & echo $!").start().unwrap();
    let done = started.finish(LONG).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    let said = text(&done.stdout);
    assert!(said.starts_with("said\n"));
    let left: i32 = said.lines().nth(1).unwrap().parse().unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(left),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
}

#[tokio::test]
async fn endless_output_is_drained_and_bounded() {
    let much = sh("head -c 3000000 /dev/zero; echo end >&2");
    let done = much.run(LONG).await.unwrap();
    assert!(done.status.success());
    assert_eq!(done.stdout.len(), limits::PROGRAM_OUTPUT_BYTES_MAX);
    assert_eq!(text(&done.stderr), "end\n");
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let e = Program::new("/no/such/program")
        .run(LONG)
        .await
        .unwrap_err();
    assert!(
        e.to_string()
            .starts_with("cannot run /no/such/program: No such file")
    );
}

#[tokio::test]
async fn input_is_read_to_its_end() {
    let input = vec![b'x'; 200_000];
    let program = sh("wc -c").input(&input).unwrap();
    let done = program.run(LONG).await.unwrap();
    assert_eq!(text(&done.stdout).trim(), "200000");
}
