//! Files in directories, and what they come to.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::scan::Registry;
use crate::*;

const GPU: &str = r#"
cdiVersion: "0.7.0"
kind: vendor.com/gpu
annotations:
  made.by: a tool
containerEdits:
  env:
  - VENDOR=1
  hooks:
  - hookName: createContainer
    path: /usr/bin/vendor-hook
    args: [vendor-hook, update]
    env: ["A=1"]
    timeout: 5
  mounts:
  - hostPath: /usr/lib/vendor.so
    containerPath: /usr/lib/vendor.so
    options: [ro, nosuid, nodev, bind]
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/gpu0
      hostPath: /dev/null
      fileMode: 0660
      permissions: rw
      uid: 7
    additionalGids: [0, 44]
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/full
    - path: /dev/made
      type: c
      major: 240
      minor: 3
"#;

fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn found(dirs: &[&Path], names: &[&str]) -> Result<Edits> {
    let dirs: Vec<PathBuf> = dirs.iter().map(|dir| dir.to_path_buf()).collect();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    edits(&dirs, &names)
}

fn faults(files: &[(&str, &str)]) -> String {
    let dir = dir(files);
    Registry::read(&[dir.path().to_path_buf()])
        .faults
        .join("\n")
}

/// A file whose one device has these edits.
fn file(version: &str, kind: &str, name: &str, edits: &str) -> String {
    format!(
        r#"{{"cdiVersion": "{version}", "kind": "{kind}",
            "devices": [{{"name": "{name}", "containerEdits": {edits}}}]}}"#
    )
}

const ENV: &str = r#"{"env": ["A=1"]}"#;

#[test]
fn devices_bring_their_files_edits_once_and_their_own() {
    let dir = dir(&[("vendor.yaml", GPU)]);
    let edits = found(&[dir.path()], &["vendor.com/gpu=all", "vendor.com/gpu=0"]).unwrap();
    assert_eq!(edits.env, ["VENDOR=1"]);
    assert_eq!(edits.additional_gids, [44]);
    let node = |path: &str, (major, minor), permissions: &str| Node {
        path: path.to_owned(),
        kind: NodeKind::Char,
        major,
        minor,
        file_mode: None,
        permissions: permissions.to_owned(),
        uid: None,
        gid: None,
    };
    let of_gpu = Node {
        // As YAML 1.1 has it, which the tools that write such files speak.
        file_mode: Some(0o660),
        uid: Some(7),
        ..node("/dev/gpu0", (1, 3), "rw")
    };
    assert_eq!(
        edits.nodes,
        [
            node("/dev/full", (1, 7), "rwm"),
            node("/dev/made", (240, 3), "rwm"),
            of_gpu
        ]
    );
    let bind = Bind {
        source: "/usr/lib/vendor.so".to_owned(),
        destination: "/usr/lib/vendor.so".to_owned(),
        options: ["ro", "nosuid", "nodev", "bind"]
            .map(str::to_owned)
            .to_vec(),
        kind: String::new(),
    };
    assert_eq!(edits.mounts, [bind]);
    let hook = Hook {
        kind: HookKind::CreateContainer,
        path: "/usr/bin/vendor-hook".to_owned(),
        args: vec!["vendor-hook".to_owned(), "update".to_owned()],
        env: vec!["A=1".to_owned()],
        timeout: Some(5),
    };
    assert_eq!(edits.hooks, [hook]);
}

#[test]
fn a_later_directory_counts_and_files_beside_each_other_conflict() {
    let one = |value: &str| file("0.3.0", "v/c", "d", &format!(r#"{{"env": ["A={value}"]}}"#));
    let (first, second) = (dir(&[("a.json", &one("1"))]), dir(&[("z.json", &one("2"))]));
    let both = [first.path(), second.path()];
    assert_eq!(found(&both, &["v/c=d"]).unwrap().env, ["A=2"]);
    let other_way = [second.path(), first.path()];
    assert_eq!(found(&other_way, &["v/c=d"]).unwrap().env, ["A=1"]);
    fs::write(second.path().join("y.yaml"), one("3")).unwrap();
    let e = found(&both, &["v/c=d"]).unwrap_err();
    assert_eq!(
        e.message(),
        "CDI device injection failed: unresolvable CDI devices v/c=d"
    );
}

#[test]
fn what_nobody_knows_is_told_as_docker_does() {
    let dir = dir(&[("vendor.yaml", GPU)]);
    let e = found(
        &[dir.path()],
        &["vendor.com/gpu=0", "a/b=c", "../../etc/passwd"],
    )
    .unwrap_err();
    assert_eq!(
        e.message(),
        "CDI device injection failed: unresolvable CDI devices a/b=c, ../../etc/passwd"
    );
    assert_eq!(e.kind(), model::Kind::System);
    let e = found(&[], &["a/b=c"]).unwrap_err();
    let words = "could not select device driver \"cdi\" with capabilities: []";
    assert_eq!(e.message(), words);
    let nowhere = dir.path().join("nosuch");
    assert!(found(&[&nowhere], &["a/b=c"]).is_err());
    assert_eq!(found(&[&nowhere], &[]).unwrap(), Edits::default());
}

#[test]
fn a_node_that_is_not_there_fails_the_start() {
    let node = |node: &str| format!(r#"{{"deviceNodes": [{node}]}}"#);
    for (said, words) in [
        (
            r#"{"path": "/dev/nosuch"}"#,
            "failed to stat CDI host device \"/dev/nosuch\": no such file or directory",
        ),
        (
            r#"{"path": "/dev/x", "hostPath": "/etc"}"#,
            "failed to stat CDI host device \"/etc\": not a device node",
        ),
        (
            r#"{"path": "/dev/null", "type": "b"}"#,
            "CDI device (\"/dev/null\", \"/dev/null\"), host type mismatch (b, c)",
        ),
    ] {
        let dir = dir(&[("a.json", &file("0.5.0", "v/c", "d", &node(said)))]);
        let e = found(&[dir.path()], &["v/c=d"]).unwrap_err();
        let prefix = "CDI device injection failed: failed to inject devices: ";
        assert_eq!(e.message(), format!("{prefix}{words}"));
    }
}

#[test]
fn a_bad_file_counts_for_nothing_and_is_told() {
    let with = |edits: &str| file("0.7.0", "v/c", "d", edits);
    for (text, words) in [
        (String::new(), "failed to unmarshal CDI Spec: "),
        ("{".to_owned(), "failed to unmarshal CDI Spec: "),
        (
            r#"{"cdiVersion": "0.3.0", "x": 1}"#.to_owned(),
            "unknown field `x`",
        ),
        (file("2.0.0", "v/c", "d", ENV), "invalid version \"2.0.0\""),
        (file("", "v/c", "d", ENV), "invalid version \"\""),
        (file("0.3.0", "c", "d", ENV), "invalid vendor. empty name"),
        (
            file("0.3.0", "1v/c", "d", ENV),
            "\"1v\", should start with letter",
        ),
        (
            file("0.3.0", "v/c_", "d", ENV),
            "should end with a letter or digit",
        ),
        (
            file("0.3.0", "v/c/e", "d", ENV),
            "invalid character '/' in name \"c/e\"",
        ),
        (file("0.3.0", "v/c", "", ENV), "invalid (empty) device name"),
        (
            file("0.3.0", "v/c", "a=b", ENV),
            "invalid character '=' in device name \"a=b\"",
        ),
        (
            file("0.3.0", "v/c", "d", "{}"),
            "invalid device, empty device edits",
        ),
        (
            file("0.3.0", "v/c", "1", ENV),
            "the spec version must be at least v0.5.0",
        ),
        (
            file("0.3.0", "v/c.d", "d", ENV),
            "the spec version must be at least v0.6.0",
        ),
        (
            file("0.6.0", "v/c", "d", r#"{"additionalGids": [5]}"#),
            "the spec version must be at least v0.7.0",
        ),
        (
            with(r#"{"env": ["=x"]}"#),
            "invalid environment variable \"=x\"",
        ),
        (
            with(r#"{"deviceNodes": [{"path": ""}]}"#),
            "invalid (empty) device path",
        ),
        (
            with(r#"{"deviceNodes": [{"path": "/a", "type": "x"}]}"#),
            "device \"/a\": invalid type \"x\"",
        ),
        (
            with(r#"{"deviceNodes": [{"path": "/a", "permissions": "rx"}]}"#),
            "device \"/a\": invalid permissions \"rx\"",
        ),
        (
            with(r#"{"hooks": [{"hookName": "x"}]}"#),
            "invalid hook name \"x\"",
        ),
        (
            with(r#"{"mounts": [{"hostPath": "/a"}]}"#),
            "empty container path",
        ),
        (with(r#"{"intelRdt": {"closID": ".."}}"#), "invalid ClosID"),
        (
            r#"{"cdiVersion": "0.3.0", "kind": "v/c", "devices": []}"#.to_owned(),
            "invalid spec, no devices",
        ),
    ] {
        let told = faults(&[("bad.json", &text)]);
        assert!(told.starts_with("failed to load CDI Spec /"), "{told}");
        assert!(told.contains(words), "{told:?} has no {words:?}");
    }
    let good = file("0.3.0", "v/c", "d", ENV);
    assert_eq!(faults(&[("good.json", &good), ("ignored.txt", "{")]), "");
}

#[test]
fn a_yaml_bomb_is_a_fault() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (new, old) in ["b", "c", "d", "e", "f", "g", "h", "i", "j"]
        .iter()
        .zip("abcdefghi".chars())
    {
        let list = vec![format!("*{old}"); 9].join(", ");
        bomb += &format!("{new}: &{new} [{list}]\n");
    }
    assert!(!faults(&[("bomb.yaml", &bomb)]).is_empty());
}

#[test]
fn what_is_no_file_or_too_large_is_not_read() {
    let dir = dir(&[("big.json", &" ".repeat(5 << 20))]);
    fs::create_dir(dir.path().join("dir.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("zero.yaml")).unwrap();
    let faults = Registry::read(&[dir.path().to_path_buf()]).faults;
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("larger than"), "{faults:?}");
    assert!(faults[1].contains("not a regular file"), "{faults:?}");
}

proptest! {
    #[test]
    fn any_text_is_a_file_or_a_fault(text in "\\PC{0,60}", noise in "[\\[\\]{}:,&*!|>\"'a-z0-9 \n-]{0,80}") {
        for text in [&text, &noise, &format!("{GPU}{noise}")] {
            for is_json in [false, true] {
                if let Ok(file) = file::parse(text, is_json) {
                    let _ = check::file(&file);
                }
            }
        }
    }

    #[test]
    fn any_name_is_a_name_or_not(name in "\\PC{0,12}") {
        let _ = (name::check_vendor(&name), name::check_device(&name));
        prop_assert_eq!(name::check_class(&name).is_ok(), name::check_vendor(&name).is_ok());
    }
}
