//! RELIABILITY.md and RUNTIME.md are true as far as a test can see: what they name is there.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A test as RELIABILITY.md names it, `kind::module::function`, `room::module::tests::function` or
/// `room::module::tests::file::function`: the file it must be in.
fn file_of(kind: &str, modules: &[&str]) -> Vec<PathBuf> {
    if let Some(("tests", modules)) = modules.split_last().map(|(last, rest)| (*last, rest)) {
        let room = Path::new("src").join(kind);
        let path = modules.iter().fold(room, |dir, module| dir.join(module));
        return vec![path.with_extension("rs"), path.join("tests.rs")];
    }
    if modules.contains(&"tests") {
        // One of several files of tests.
        let room = Path::new("src").join(kind);
        let path = modules.iter().fold(room, |dir, module| dir.join(module));
        return vec![path.with_extension("rs")];
    }
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
            let forms = ["#[test]\n", "#[tokio::test]\nasync "];
            let wanted = forms.map(|form| format!("{form}fn {function}()"));
            let has = |text: String| {
                let text = text.replace("\n    ", "\n");
                wanted.iter().any(|wanted| text.contains(wanted))
            };
            if !found.into_iter().any(has) {
                broken.push(format!("no such test: {test}"));
            }
        }
    }
    assert!(promises > 20, "{promises}");
    assert!(broken.is_empty(), "RELIABILITY.md:\n{}", broken.join("\n"));
}

/// All Rust below a directory, as one text.
fn rust_below(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).expect("it is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_below(&path, text);
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("it is text"));
        }
    }
}

#[test]
fn each_function_of_the_runtime_layer_names_what_is_there() {
    let table = fs::read_to_string(root().join("RUNTIME.md")).expect("it is there");
    let mut code = String::new();
    for dir in ["src", "tests"] {
        rust_below(&root().join(dir), &mut code);
    }
    let mut broken = Vec::new();
    let mut ids = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let id = cells[0].trim_start_matches("| ");
        if id == "id" {
            continue;
        }
        ids.push(id);
        for name in line.split('`').skip(1).step_by(2) {
            let Some((_, function)) = name.rsplit_once("::") else {
                continue;
            };
            let is_test = name.split("::").count() > 2 || name.starts_with("systemd::");
            if is_test && !code.contains(&format!("fn {function}(")) {
                broken.push(format!("{id}: no such test: {name}"));
            }
        }
        let is_path = |word: &&str| word.starts_with("src/") || word.starts_with("tests/");
        let words = line.split([' ', ';', ',', '(', ')', '`']);
        for path in words
            .filter(is_path)
            .map(|word| word.split('{').next().unwrap_or(word))
        {
            if !root().join(path.trim_end_matches(':')).exists() {
                broken.push(format!("{id}: no such file: {path}"));
            }
        }
    }
    let functions = (0..=39).map(|n| format!("F{n}"));
    let all: Vec<String> = functions.chain((1..=15).map(|n| format!("H{n}"))).collect();
    assert_eq!(ids, all, "each has one row, in order");
    assert!(broken.is_empty(), "RUNTIME.md:\n{}", broken.join("\n"));
}
