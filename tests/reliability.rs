//! RELIABILITY.md is true as far as a test can see: what it names is there.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A test as RELIABILITY.md names it, `kind::module::function`: the file it must be in.
fn file_of(kind: &str, modules: &[&str]) -> Vec<PathBuf> {
    let dir = Path::new("tests").join(kind);
    let Some((last, dirs)) = modules.split_last() else {
        return vec![dir.join("main.rs")];
    };
    let dir = dirs.iter().fold(dir, |dir, module| dir.join(module));
    vec![
        dir.join(format!("{last}.rs")),
        dir.join(last).join("mod.rs"),
    ]
}

#[test]
fn each_promise_names_a_test_that_is_there() {
    let text = fs::read_to_string(root().join("RELIABILITY.md")).expect("it is there");
    let mut broken = Vec::new();
    let mut promises = 0;
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells[1] == "promise" {
            continue;
        }
        promises += 1;
        let tests: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            broken.push(format!("no test shows: {}", cells[1]));
        }
        for test in tests {
            let parts: Vec<&str> = test.split("::").collect();
            let (kind, rest) = parts.split_first().expect("split gives one");
            let (function, modules) = rest.split_last().expect("a kind and a function");
            let files = file_of(kind, modules).into_iter();
            let found = files.filter_map(|file| fs::read_to_string(root().join(file)).ok());
            let wanted = format!("#[test]\nfn {function}()");
            if !found.into_iter().any(|text| text.contains(&wanted)) {
                broken.push(format!("no such test: {test}"));
            }
        }
    }
    assert!(promises > 20, "{promises}");
    assert!(broken.is_empty(), "RELIABILITY.md:\n{}", broken.join("\n"));
}
