//! The units under a real systemd: activation, restarts under load, reload, idle exit, watchdog.
//! The host is copied into a container with systemd as its first process; see `bed.sh`. What is
//! looked at is in `job.sh`.

use std::path::Path;
use std::process::Command;

use testkit::{census, require};

/// How long the container may live. It takes some fifteen seconds.
const SECONDS: &str = "180";

#[test]
fn the_units_do_what_they_promise() {
    require("systemd-nspawn", "systemd-container");
    let share = tempfile::Builder::new()
        .prefix(census::PREFIX)
        .tempdir()
        .expect("a directory of ours");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (from, to) in [
        (Path::new(env!("CARGO_BIN_EXE_moored")).to_owned(), "moored"),
        (here.join("systemd/moored.service"), "moored.service"),
        (here.join("systemd/moored.socket"), "moored.socket"),
        (here.join("tests/systemd/job.sh"), "job.sh"),
        (here.join("tests/systemd/cgroups.sh"), "cgroups.sh"),
        (here.join("tests/systemd/journal.sh"), "journal.sh"),
        (here.join("tests/systemd/helpers.sh"), "helpers.sh"),
    ] {
        std::fs::copy(from, share.path().join(to)).expect("a file in our dir");
    }
    let name = share.path().file_name().expect("it was made by us");
    let status = Command::new("bash")
        .arg(here.join("tests/systemd/bed.sh"))
        .args([name, share.path().as_os_str()])
        .arg(SECONDS)
        .status()
        .expect("bash runs");
    let read = |file: &str| std::fs::read(share.path().join(file)).unwrap_or_default();
    let said = String::from_utf8_lossy(&read("log")).into_owned();
    let console = String::from_utf8_lossy(&read("console")).into_owned();
    eprintln!("{said}");
    assert!(
        status.success() && said.trim_end().ends_with("done"),
        "{status}, exit code {:?}\n{said}\n--- console\n{console}",
        String::from_utf8_lossy(&read("code"))
    );
}
