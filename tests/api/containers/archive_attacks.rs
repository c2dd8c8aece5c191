//! Containers that want their files to be those of the host: links, and links that are swapped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use testkit::{Daemon, Response, TarBuilder, query, tar_entries};

use crate::daemon;

/// What must not come out.
const SECRET: &[u8] = b"of the host alone";

fn victim(d: &Daemon) -> PathBuf {
    let dir = d.root().join("victim");
    fs::create_dir(&dir).expect("ours");
    fs::write(dir.join("f"), SECRET).expect("ours");
    dir
}

fn expect_untouched(dir: &Path) {
    let names: Vec<_> = fs::read_dir(dir).expect("it is there").collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(fs::read(dir.join("f")).expect("it is there"), SECRET);
}

fn path_of(id: &str, path: &str) -> String {
    query(&format!("/containers/{id}/archive"), &[("path", path)])
}

fn get(d: &Daemon, id: &str, path: &str) -> Response {
    d.http.get(&path_of(id, path))
}

fn put(d: &Daemon, id: &str, path: &str, tar: &[u8]) -> Response {
    d.http.send("PUT", &path_of(id, path), &[], tar)
}

fn expect_no_secret(answer: &Response) {
    let found = answer.body.windows(SECRET.len()).any(|part| part == SECRET);
    assert!(!found, "{} showed a file of the host", answer.request);
}

/// Links in the tree, in a volume, and in the archive itself, stopped and running.
#[test]
fn links_lead_nowhere_but_into_the_container() {
    let d = daemon();
    let victim = victim(&d);
    let host = d.root().join("shared");
    fs::create_dir(&host).expect("ours");
    // All of them, seen from the container, are in it or nowhere.
    let up = PathBuf::from("../".repeat(40)).join(victim.strip_prefix("/").expect("absolute"));
    symlink(&victim, host.join("abs")).expect("ours");
    symlink(&up, host.join("up")).expect("ours");
    symlink("/etc", host.join("back")).expect("ours");
    symlink("/proc/1/root", host.join("magic")).expect("ours");
    let binds = json!([format!("{}:/b", host.display()), "kept:/kept"]);
    d.create(
        "box",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": binds}}),
    );
    let mut one = TarBuilder::new();
    one.file("f", 0o644, b"from outside");
    let one = one.finish();
    let round = || {
        for link in ["/b/abs", "/b/up"] {
            for path in [format!("{link}/f"), format!("{link}/")] {
                let answer = get(&d, "box", &path);
                expect_no_secret(&answer);
                answer.error(404);
            }
            put(&d, "box", link, &one).error(404);
        }
        // A link of the volume's leads back into the container.
        put(&d, "box", "/b/back", &one).expect(200);
        let entries = tar_entries(&get(&d, "box", "/etc/f").expect(200).body);
        assert_eq!(entries[0].content, b"from outside");
        expect_no_secret(&get(&d, "box", &format!("/b/magic{}/f", victim.display())));
        put(&d, "box", &format!("/b/magic{}", victim.display()), &one).error(404);
        // Made by the archive itself: in a volume, and through one into another.
        for dir in ["/tmp", "/b", "/kept"] {
            let mut tar = TarBuilder::new();
            tar.symlink("out", victim.to_str().expect("text"))
                .file("out/f", 0o644, b"x");
            tar.symlink("up", "../../../../../..")
                .file("up/put", 0o644, b"x");
            tar.symlink("into", "/kept").file("into/put", 0o644, b"x");
            let _ = put(&d, "box", dir, &tar.finish());
            let mut climbing = TarBuilder::new();
            climbing.file("../../climbed", 0o644, b"x");
            put(&d, "box", dir, &climbing.finish()).error(400);
            let mut linked = TarBuilder::new();
            linked.hard_link("hard", "../../etc/passwd");
            put(&d, "box", dir, &linked.finish()).error(400);
        }
        expect_untouched(&victim);
    };
    round();
    d.start_container("box");
    round();
    d.finish();
}

/// Whoever swaps a directory with a link, as fast as that can be, gets nothing of the host, whether
/// the container runs or not.
#[test]
fn swapped_links_lead_nowhere_else() {
    const ROUNDS: usize = 300;
    let d = daemon();
    let victim = victim(&d);
    let host = d.root().join("shared");
    fs::create_dir_all(host.join("d/sub")).expect("ours");
    fs::write(host.join("d/f"), b"of the container").expect("ours");
    symlink(&victim, host.join("l")).expect("ours");
    let binds = json!([format!("{}:/b", host.display())]);
    d.create(
        "box",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": binds}}),
    );
    let mut tar = TarBuilder::new();
    tar.file("d/new", 0o644, b"x")
        .file("d/sub/new", 0o644, b"x");
    let tar = tar.finish();
    let mut inner = TarBuilder::new();
    inner.file("new", 0o644, b"x");
    let inner = inner.finish();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                let (dir, link) = (host.join("d"), host.join("l"));
                let _ = renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE);
            }
        });
        let mut seen = [0, 0];
        for round in 0..ROUNDS {
            if round == ROUNDS / 2 {
                d.start_container("box");
            }
            for answer in [
                get(&d, "box", "/b/d/f"),
                get(&d, "box", "/b/d/"),
                get(&d, "box", "/b"),
            ] {
                expect_no_secret(&answer);
                seen[usize::from(answer.status == 200)] += 1;
            }
            let _ = put(&d, "box", "/b", &tar);
            let _ = put(&d, "box", "/b/d", &inner);
        }
        ends.store(true, Ordering::Relaxed);
        assert!(
            seen.iter().all(|n| *n > 0),
            "it was never swapped in between: {seen:?}"
        );
    });
    expect_untouched(&victim);
    d.finish();
}
