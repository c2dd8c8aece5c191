//! Before and after all tests: fails when any of them left a process, a mount, a cgroup or a
//! directory. `save FILE` notes what is there already, `since FILE` tells what came since.

use std::collections::BTreeSet;
use std::process::ExitCode;

use testkit::census::{PREFIX, cgroups, mounts, processes};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mode, file) = match args.as_slice() {
        [mode, file] if mode == "save" || mode == "since" => (mode.as_str(), file),
        _ => {
            eprintln!("usage: moored-census save|since FILE");
            return ExitCode::from(2);
        }
    };
    let now = census();
    if mode == "save" {
        let lines: Vec<&str> = now.iter().map(String::as_str).collect();
        if let Err(e) = std::fs::write(file, lines.join("\n")) {
            eprintln!("{file}: {e}");
            return ExitCode::from(2);
        }
        return ExitCode::SUCCESS;
    }
    let before = std::fs::read_to_string(file).unwrap_or_default();
    let before: BTreeSet<&str> = before.lines().collect();
    let left: Vec<_> = now
        .iter()
        .filter(|l| !before.contains(l.as_str()))
        .collect();
    for line in &left {
        eprintln!("left by the tests: {line}");
    }
    ExitCode::from(u8::from(!left.is_empty()))
}

fn census() -> BTreeSet<String> {
    // Roots are below /tmp, cgroups have the prefix as their name; a shell that only speaks of
    // the prefix is not ours.
    let roots = format!("/{PREFIX}");
    let mut found = BTreeSet::new();
    for process in processes(&roots, None, &[]) {
        found.insert(format!("process {}: {}", process.pid, process.what));
    }
    found.extend(mounts(&roots, None).iter().map(|m| format!("mount {m}")));
    found.extend(
        cgroups(PREFIX)
            .iter()
            .map(|c| format!("cgroup {}", c.display())),
    );
    let entries = std::fs::read_dir(std::env::temp_dir());
    for entry in entries.into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            found.insert(format!("directory {}", entry.path().display()));
        }
    }
    found
}
