//! The house rules, as tests: what reviewers would otherwise have to remember.
//!
//! Each test reads the tree as text and names every place that breaks its rule. Exceptions stand
//! in lists here, each with its reason; a list may only become shorter. What the compiler or
//! clippy already holds is not repeated.

#![expect(clippy::unwrap_used, reason = "every helper here is a test's")]

mod doors;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use doors::{DOORS, PROGRAM_DOORS};

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 500;
/// Longest function of the program, first line to closing brace; tests may be tables of cases.
const FUNCTION_LINES_MAX: usize = 70;
/// Largest room, in lines of code: no tests, no comments, no empty lines.
const ROOM_LINES_MAX: usize = 5000;

/// Files that are longer, how long they may be, and why.
const LONG_FILES: &[(&str, usize, &str)] = &[];

/// Functions that are longer, as `file::function`, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// Rooms that are larger, how large they may be, and why.
const LARGE_ROOMS: &[(&str, usize, &str)] = &[];

/// A source file, once read.
struct Source {
    /// Relative to the repository.
    path: String,
    text: String,
    /// The whole file is compiled for tests only.
    is_test: bool,
}

impl Source {
    /// The numbered lines that are compiled into the program: none of a test file, and of others
    /// those before the test module, which stands last.
    fn program_lines(&self) -> Vec<(usize, &str)> {
        if self.is_test {
            return Vec::new();
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let is_test_module = |pair: &[&str]| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        };
        let end = lines.windows(2).position(is_test_module);
        let program = lines[..end.unwrap_or(lines.len())].iter().enumerate();
        program.map(|(i, line)| (i + 1, *line)).collect()
    }

    fn room(&self) -> Option<&str> {
        let (room, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(room)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every file below `dir`, relative to the repository, sorted.
fn files_below(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file of the project.
fn sources() -> Vec<Source> {
    let mut paths: Vec<PathBuf> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|dir| files_below(dir))
        .collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "rs"));
    let texts: Vec<(PathBuf, String)> = paths.into_iter().map(|p| (p.clone(), read(p))).collect();
    let test_modules: Vec<PathBuf> = texts.iter().flat_map(|(p, t)| test_modules(p, t)).collect();
    let is_test = |path: &Path| {
        path.components()
            .any(|c| ["tests", "benches"].iter().any(|d| c.as_os_str() == *d))
            || test_modules.iter().any(|module| path.starts_with(module))
    };
    let source = |(path, text): (PathBuf, String)| Source {
        is_test: is_test(&path),
        path: path.display().to_string(),
        text,
    };
    texts.into_iter().map(source).collect()
}

/// The files and directories of modules that `path` declares under `#[cfg(test)]`.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let dir = match stem {
        "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().collect();
    let name = |pair: &[&str]| {
        let declared = pair[1]
            .trim_start_matches("pub(crate) ")
            .strip_prefix("mod ")?;
        let name = declared.strip_suffix(';')?;
        (pair[0] == "#[cfg(test)]").then(|| name.to_owned())
    };
    let names = lines.windows(2).filter_map(name);
    names
        .flat_map(|n| [dir.join(&n), dir.join(format!("{n}.rs"))])
        .collect()
}

/// Fails with every place that breaks a rule.
#[track_caller]
fn none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// Whether `word` stands in the code of `line`, comments left out.
fn has_word(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_name) && !code[at + word.len()..].starts_with(is_name)
    })
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|s| {
        let head = s.text.lines().next().unwrap_or_default();
        !head.starts_with("//! ")
    });
    let silent: Vec<String> = silent.map(|s| s.path).collect();
    none("a file opens with `//!` and what it is for", &silent);
}

#[test]
fn files_are_short() {
    let mut broken = Vec::new();
    let lengths: BTreeMap<String, usize> = sources()
        .into_iter()
        .map(|s| (s.path, s.text.lines().count()))
        .collect();
    for (path, lines) in &lengths {
        let listed = LONG_FILES.iter().find(|(p, ..)| p == path);
        let allowed = listed.map_or(FILE_LINES_MAX, |(_, lines, _)| *lines);
        if *lines > allowed {
            broken.push(format!("{path}: {lines} lines, {allowed} are allowed"));
        }
    }
    for (path, ..) in LONG_FILES {
        if lengths
            .get(*path)
            .is_none_or(|lines| *lines <= FILE_LINES_MAX)
        {
            broken.push(format!("{path} is short now: take it off the list"));
        }
    }
    none("split long files; the list only becomes shorter", &broken);
}

/// The functions among formatted lines: name, number of the first line, how many lines.
fn functions<'a>(lines: &[(usize, &'a str)]) -> Vec<(&'a str, usize, usize)> {
    let mut found = Vec::new();
    for (start, (number, line)) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let rest = &lines[start..];
        let signature = rest.iter().position(|(_, l)| l.ends_with(['{', ';', '}']));
        let Some(opens) = signature.filter(|n| rest[*n].1.ends_with('{')) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let closes = |(_, l): &(usize, &str)| l.strip_prefix(indent) == Some("}");
        if let Some(length) = rest[opens..].iter().position(closes) {
            found.push((name, *number, opens + length + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| {
        ["pub", "async", "const", "unsafe", "extern", "\"C\""].contains(word)
            || word.starts_with("pub(")
    });
    let name = words
        .next()
        .filter(|w| *w == "fn")
        .and_then(|_| words.next())?;
    name.split(['(', '<']).next()
}

#[test]
fn functions_are_short() {
    let mut broken = Vec::new();
    let mut unused: BTreeSet<&str> = LONG_FUNCTIONS.iter().map(|(name, _)| *name).collect();
    for source in sources() {
        for (name, line, length) in functions(&source.program_lines()) {
            let address = format!("{}::{name}", source.path);
            if length > FUNCTION_LINES_MAX && !unused.remove(address.as_str()) {
                broken.push(format!("{address} (line {line}): {length} lines"));
            }
        }
    }
    broken.extend(
        unused
            .iter()
            .map(|name| format!("{name} is short now: take it off the list")),
    );
    none(
        "split long functions; the list only becomes shorter",
        &broken,
    );
}

#[test]
fn the_function_counter_counts() {
    let text = "fn a() {\n    x\n}\npub(crate) async fn b(\n    c: d,\n) -> e {\n    f();\n}\ntrait T {\n    fn g();\n    fn h(&self) {\n    }\n}\n";
    let lines: Vec<(usize, &str)> = (1..).zip(text.lines()).collect();
    assert_eq!(functions(&lines), [("a", 1, 3), ("b", 4, 5), ("h", 11, 2)]);
}

#[test]
fn rooms_are_small() {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources() {
        if let Some(room) = source.room() {
            let program = source.program_lines();
            let code = program.iter().map(|(_, l)| l.trim());
            let code = code.filter(|l| !l.is_empty() && !l.starts_with("//"));
            *lines.entry(room.to_owned()).or_default() += code.count();
        }
    }
    assert!(
        lines.len() > DOORS.len(),
        "every room is seen, and the daemon: {lines:?}"
    );
    let mut broken = Vec::new();
    for (room, lines) in &lines {
        let listed = LARGE_ROOMS.iter().find(|(r, ..)| r == room);
        let allowed = listed.map_or(ROOM_LINES_MAX, |(_, lines, _)| *lines);
        if *lines > allowed {
            broken.push(format!("{room}: {lines} lines, {allowed} are allowed"));
        }
        if listed.is_some() && *lines <= ROOM_LINES_MAX {
            broken.push(format!("{room} is small now: take it off the list"));
        }
    }
    none("split these rooms before they grow further", &broken);
}

#[test]
fn unsafe_lives_in_two_rooms() {
    let mut broken = Vec::new();
    for source in sources() {
        if source.path.starts_with("src/") && !matches!(source.room(), Some("sys" | "socket")) {
            let lines = source.text.lines().enumerate();
            let bad = lines.filter(|(_, l)| has_word(l, "unsafe"));
            broken.extend(bad.map(|(i, _)| format!("{}:{}", source.path, i + 1)));
        }
    }
    none("`unsafe` belongs into sys or socket", &broken);
}

#[test]
fn programs_are_started_in_one_place() {
    let mut broken = Vec::new();
    for source in sources() {
        if source.path != "src/sys/spawn.rs" {
            let lines = source.program_lines();
            let bad = lines.iter().filter(|(_, l)| l.contains("Command::new("));
            broken.extend(bad.map(|(n, _)| format!("{}:{n}", source.path)));
        }
    }
    none("programs are started by sys::spawn alone", &broken);
}

/// The names in one section of a manifest, each with the rest of its line.
fn section(manifest: &str, name: &str) -> BTreeMap<String, String> {
    let header = format!("[{name}]");
    let lines = manifest.lines().skip_while(|l| *l != header).skip(1);
    lines
        .take_while(|l| !l.starts_with('['))
        .filter(|l| !l.trim().is_empty() && !l.starts_with('#'))
        .filter_map(|l| l.split_once(['.', ' ', '=']))
        .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
        .collect()
}

fn doors(manifest: &str, section_name: &str) -> Vec<String> {
    let mut rooms: Vec<String> = section(manifest, section_name).into_keys().collect();
    rooms.retain(|name| DOORS.iter().any(|(room, _)| room == name));
    rooms
}

#[test]
fn doors_are_where_the_drawing_has_them() {
    for (room, allowed) in DOORS {
        let manifest = read(format!("src/{room}/Cargo.toml"));
        assert_eq!(
            doors(&manifest, "dependencies"),
            *allowed,
            "the doors of {room}"
        );
        let in_tests = doors(&manifest, "dev-dependencies");
        assert!(
            in_tests.is_empty(),
            "{room} opens {in_tests:?} in its tests"
        );
    }
    let program = read("Cargo.toml");
    assert_eq!(
        doors(&program, "dependencies"),
        PROGRAM_DOORS,
        "the program's doors"
    );
    for room in fs::read_dir(root().join("src"))
        .unwrap()
        .map(Result::unwrap)
    {
        let name = room.file_name().into_string().unwrap();
        let is_room = room.path().join("Cargo.toml").exists();
        let listed = DOORS.iter().any(|(room, _)| *room == name);
        assert_eq!(is_room, listed, "{name}: a room has a line in DOORS");
    }
}

#[test]
fn the_log_knows_every_room() {
    let text = read("src/daemon/log.rs");
    for (room, _) in DOORS {
        let has_it = text.contains(&format!("    \"{room}\",\n"));
        assert!(has_it, "`--log-level {room}=debug` would be refused");
    }
}

#[test]
fn versions_and_lints_are_the_workspaces() {
    for path in files_below("src").into_iter().chain(files_below("tests")) {
        if !path.ends_with("Cargo.toml") {
            continue;
        }
        let manifest = read(&path);
        assert!(
            manifest.contains("[lints]\nworkspace = true\n"),
            "{}: no lints",
            path.display()
        );
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, rest) in section(&manifest, kind) {
                let shared = rest.contains("workspace = true");
                assert!(
                    shared,
                    "{}: {name} has a version of its own",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_changelog_keeps_its_form() {
    let text = read("CHANGELOG.md");
    assert!(text.starts_with("# Changelog\n"));
    let releases: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("## ")).collect();
    assert_eq!(releases.first(), Some(&"[Unreleased]"), "the first section");
    for release in &releases[1..] {
        let (version, date) = release.split_once(" - ").expect("## [1.2.3] - 2026-01-31");
        assert!(
            version.starts_with('[') && version.ends_with(']'),
            "{release}"
        );
        let shape: Vec<usize> = date.split('-').map(str::len).collect();
        assert_eq!(shape, [4, 2, 2], "{release}");
    }
    let kinds = [
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    ];
    for kind in text.lines().filter_map(|l| l.strip_prefix("### ")) {
        assert!(kinds.contains(&kind), "no such kind of change: {kind}");
    }
}

#[test]
fn the_readme_names_both_commands_and_every_room() {
    let text = read("README.md");
    assert!(text.contains("make run") && text.contains("make test"));
    for (room, _) in DOORS {
        assert!(
            text.contains(&format!("src/{room}`")),
            "the code map lacks {room}"
        );
    }
}

#[test]
fn the_project_speaks_of_itself_alone() {
    // In two pieces, or this file would name it.
    let outside = ["..", "shared"].join("/");
    let mut paths: Vec<PathBuf> = [
        "src", "tests", "benches", "scripts", "systemd", "openapi", ".ci",
    ]
    .iter()
    .flat_map(|dir| files_below(dir))
    .collect();
    paths.extend(["README.md", "CHANGELOG.md", "Makefile", "Cargo.toml"].map(PathBuf::from));
    let mut broken = Vec::new();
    for path in paths {
        let bytes = fs::read(root().join(&path)).unwrap();
        if String::from_utf8_lossy(&bytes).contains(&outside) {
            broken.push(path.display().to_string());
        }
    }
    none(
        "nothing here refers to what is outside the repository",
        &broken,
    );
}
