//! `docker cp`, `export`, `import` and `diff`.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use testkit::Docker;

use crate::{daemon, with_each_runtime};

fn cat(docker: &Docker, file: &str) -> String {
    docker.run(&["exec", "box", "cat", file]).expect(0).stdout
}

/// Every case of docker's manual page, on a container that runs and one that does not.
#[test]
fn cp_goes_both_ways_by_dockers_rules() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let host = d.root().join("host");
        fs::create_dir_all(host.join("dir/sub")).expect("ours");
        fs::write(host.join("file"), "one").expect("ours");
        fs::write(host.join("dir/sub/deep"), "two").expect("ours");
        symlink("file", host.join("link")).expect("ours");
        let of = |name: &str| host.join(name).to_str().expect("text").to_owned();
        let run = [
            "run",
            "-d",
            "--name",
            "box",
            "--network=none",
            "-v",
            "kept:/kept",
        ];
        docker
            .run(&[&run[..], &["busybox", "sleep", "1000"]].concat())
            .expect(0);
        for (from, to, lands) in [
            ("file", "/tmp", "/tmp/file"),
            ("file", "/tmp/renamed", "/tmp/renamed"),
            ("file", "/kept/", "/kept/file"),
            ("dir", "/tmp", "/tmp/dir/sub/deep"),
            ("dir", "/tmp/fresh", "/tmp/fresh/sub/deep"),
            ("dir/.", "/tmp", "/tmp/sub/deep"),
            ("link", "/tmp", "/tmp/link"),
        ] {
            docker
                .run(&["cp", &of(from), &format!("box:{to}")])
                .expect(0);
            let content = if lands.contains("deep") { "two" } else { "one" };
            assert_eq!(cat(&docker, lands), content, "{from} to {to}");
        }
        let show = |path: &str| {
            docker
                .run(&["exec", "box", "ls", "-l", path])
                .expect(0)
                .stdout
        };
        assert!(show("/tmp/link").contains("-> file"));
        docker
            .run(&["cp", "-L", &of("link"), "box:/tmp/followed"])
            .expect(0);
        assert!(
            show("/tmp/followed").starts_with('-'),
            "{}",
            show("/tmp/followed")
        );
        let refused = docker.run(&["cp", &of("file"), "box:/nope/"]).expect(1);
        assert!(
            refused.stderr.contains("no such directory"),
            "{}",
            refused.stderr
        );
        let refused = docker.run(&["cp", &of("dir"), "box:/tmp/file"]).expect(1);
        assert!(
            refused.stderr.contains("cannot copy directory"),
            "{}",
            refused.stderr
        );
        let refused = docker.run(&["cp", "box:/nope", &of("x")]).expect(1);
        let sentence = "Could not find the file /nope in container box";
        assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
        out_again(&docker, &of);
        docker.run(&["stop", "-t0", "box"]).expect(0);
        for name in ["out", "out-file", "out-dir", "out-link"] {
            let path = host.join(name);
            drop(fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)));
        }
        out_again(&docker, &of);
    });
}

fn out_again(docker: &Docker, of: &dyn Fn(&str) -> String) {
    let read = |name: &str| fs::read_to_string(of(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    docker
        .run(&["cp", "box:/tmp/file", &of("out-file")])
        .expect(0);
    assert_eq!(read("out-file"), "one");
    docker
        .run(&["cp", "box:/tmp/dir", &of("out-dir")])
        .expect(0);
    docker
        .run(&["cp", "box:/tmp/dir", &of("out-dir")])
        .expect(0);
    assert_eq!(
        (read("out-dir/sub/deep"), read("out-dir/dir/sub/deep")),
        ("two".into(), "two".into())
    );
    fs::create_dir(of("out")).expect("ours");
    docker.run(&["cp", "box:/tmp/dir/.", &of("out")]).expect(0);
    docker
        .run(&["cp", "box:/kept/file", &format!("{}/", of("out"))])
        .expect(0);
    assert_eq!(
        (read("out/sub/deep"), read("out/file")),
        ("two".into(), "one".into())
    );
    docker
        .run(&["cp", "box:/tmp/link", &of("out-link")])
        .expect(0);
    let link = fs::read_link(of("out-link")).expect("a link");
    assert_eq!(link.to_str(), Some("file"));
    docker
        .run(&["cp", "-L", "box:/tmp/link", &of("out/followed")])
        .expect(0);
    assert_eq!(read("out/followed"), "one");
}

#[test]
fn cp_takes_and_gives_tars() {
    let d = daemon("runc");
    let docker = d.docker();
    docker
        .run(&["create", "--name", "box", "--user", "app", "busybox"])
        .expect(0);
    docker
        .run(&["create", "--name", "other", "busybox"])
        .expect(0);
    let file = d.root().join("file");
    fs::write(&file, "mine").expect("ours");
    chown(&file, Some(7), Some(8)).expect("we are root");
    let file = file.to_str().expect("text");
    docker.run(&["cp", file, "box:/tmp/kept"]).expect(0);
    docker.run(&["cp", "-a", file, "box:/tmp/given"]).expect(0);
    let script = "docker cp box:/tmp - | docker cp - other:/root";
    let piped = docker
        .beside("sh")
        .args(["-c", script])
        .output()
        .expect("a shell");
    assert!(
        piped.status.success(),
        "{}",
        String::from_utf8_lossy(&piped.stderr)
    );
    let out = docker
        .command(&["cp", "other:/root/tmp", "-"])
        .output()
        .expect("the CLI");
    let entries = testkit::tar_entries(&out.stdout);
    let owner = |name: &str| {
        let found = entries.iter().find(|entry| entry.name == name);
        found
            .unwrap_or_else(|| panic!("{name} in {entries:?}"))
            .owner
    };
    // As in Docker: `-a` gives it to the container's user, otherwise it stays whose it was.
    assert_eq!(
        (owner("tmp/kept"), owner("tmp/given")),
        ((7, 8), (1000, 1000))
    );
    d.finish();
}

#[test]
fn export_and_diff() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let script = "echo hi > /made; rm -r /home; mkdir /kept/x";
        let run = [
            "run",
            "--name",
            "box",
            "--network=none",
            "-v",
            "kept:/kept",
            "busybox",
        ];
        docker
            .run(&[&run[..], &["sh", "-c", script]].concat())
            .expect(0);
        let diff = docker.run(&["diff", "box"]).expect(0);
        let mut lines: Vec<&str> = diff.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["A /kept", "A /made", "D /home"]);
        let script = "docker export box | docker import - exported:here";
        let piped = docker
            .beside("sh")
            .args(["-c", script])
            .output()
            .expect("a shell");
        assert!(
            piped.status.success(),
            "{}",
            String::from_utf8_lossy(&piped.stderr)
        );
        let run = [
            "run",
            "--rm",
            "--network=none",
            "exported:here",
            "/bin/sh",
            "-c",
        ];
        let shown = docker.run(&[&run[..], &["cat /made; ls -d /home /kept/*"]].concat());
        assert_eq!(shown.stdout, "hi\n");
        docker.run(&["rmi", "exported:here"]).expect(0);
    });
}
