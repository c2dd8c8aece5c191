//! The fakes do what their control file says, and are the real programs otherwise.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy.toml excepts only in test functions"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new(control: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["conmon", "runc"] {
            fs::copy(env!("CARGO_BIN_EXE_moored-fake"), dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("control"), control).unwrap();
        Self(dir)
    }

    fn run(&self, name: &str, args: &[&str]) -> Output {
        Command::new(self.0.path().join(name))
            .args(args)
            .output()
            .unwrap()
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.0.path().join("calls")).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_a_rule_they_are_the_real_programs() {
    let dir = Dir::new("runc create silent\n");
    for name in ["conmon", "runc"] {
        let out = dir.run(name, &["--version"]);
        assert!(
            text(&out.stdout).contains(&format!("{name} version")),
            "{out:?}"
        );
    }
    assert_eq!(dir.calls(), "conmon --version\nrunc --version\n");
}

#[test]
fn the_first_rule_that_fits_counts() {
    let dir =
        Dir::new("runc create fail out of luck\nrunc * silent\nconmon create usage bad option x\n");
    let out = dir.run("runc", &["--root", "/r", "create", "id"]);
    assert_eq!(
        (out.status.code(), text(&out.stderr).as_str()),
        (Some(1), "out of luck\n")
    );
    let out = dir.run("runc", &["kill", "id"]);
    assert_eq!(
        (out.status.code(), text(&out.stderr).as_str()),
        (Some(1), "")
    );
    let out = dir.run("conmon", &["-c", "id"]);
    assert_eq!(text(&out.stderr), "[conmon:e]: bad option x\n");
    fs::write(dir.0.path().join("control"), "runc create die\n").unwrap();
    let out = dir.run("runc", &["create", "id"]);
    assert_eq!(out.status.code(), None, "it dies of a signal");
}

#[test]
fn conmon_speaks_on_the_pipes_it_was_given() {
    let dir = Dir::new("conmon create say {\"data\": -1, \"message\": \"no\"}\n");
    // bash opens the pipes: 4 is the start pipe's reading end, 3 the sync pipe's writing end.
    let script = format!(
        "_OCI_SYNCPIPE=3 _OCI_STARTPIPE=4 {}/conmon -c x 3>&1 4< <(printf '\\0')",
        dir.0.path().display()
    );
    assert!(Path::new("/bin/bash").exists(), "install the package bash");
    let out = Command::new("/bin/bash")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert_eq!(text(&out.stdout), "{\"data\": -1, \"message\": \"no\"}\n");
}
