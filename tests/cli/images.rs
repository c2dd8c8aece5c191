//! `docker load`, `images`, `tag`, `rmi`, `import`, `volume`.

use testkit::{Daemon, Image, Options};

#[test]
fn load_list_tag_inspect_and_remove() {
    let d = Daemon::start(Options::new(env!("CARGO_BIN_EXE_moored")).bare());
    let docker = d.docker();
    let image = Image::busybox();
    let out = docker
        .run_with(&["load"], &image.docker_archive())
        .expect(0);
    assert_eq!(out.stdout, "Loaded image: busybox:latest\n");
    let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
    let out = docker.run(&["images", "--format", format]).expect(0);
    let short = &image.id()["sha256:".len()..][..12].to_owned();
    assert_eq!(out.trimmed(), format!("busybox:latest {short}"));
    docker.run(&["tag", "busybox", "other/name:v2"]).expect(0);
    let out = docker
        .run(&["inspect", "-f", "{{.Id}}", "other/name:v2"])
        .expect(0);
    assert_eq!(out.trimmed(), image.id());
    let out = docker.run(&["rmi", "busybox"]).expect(0);
    assert_eq!(out.stdout, "Untagged: busybox:latest\n");
    let out = docker.run(&["rmi", "other/name:v2"]).expect(0);
    assert!(
        out.stdout.contains(&format!("Deleted: {}", image.id())),
        "{}",
        out.stdout
    );
    let out = docker.run(&["run", "--rm", "busybox", "true"]).expect(125);
    assert!(
        out.stderr
            .contains("Unable to find image 'busybox:latest' locally"),
        "{}",
        out.stderr
    );
    d.finish();
}

#[test]
fn import_makes_an_image_that_runs() {
    let d = Daemon::start(Options::new(env!("CARGO_BIN_EXE_moored")).bare());
    let docker = d.docker();
    let layer = Image::busybox().layers.remove(0);
    let out = docker
        .run_with(&["import", "-", "made:here"], &layer)
        .expect(0);
    assert!(out.trimmed().starts_with("sha256:"), "{}", out.stdout);
    let out = docker
        .run(&["run", "--rm", "made:here", "/bin/echo", "hi"])
        .expect(0);
    assert_eq!(out.stdout, "hi\n");
    d.finish();
}

#[test]
fn save_commit_history_prune_and_df() {
    let d = Daemon::start(Options::new(env!("CARGO_BIN_EXE_moored")));
    let docker = d.docker();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let archive = dir.path().join("busybox.tar");
    let archive = archive.to_str().expect("text");
    docker.run(&["save", "-o", archive, "busybox"]).expect(0);
    let name = docker.run(&["create", "busybox", "true"]).expect(0);
    docker.run(&["rm", name.trimmed()]).expect(0);
    docker
        .run(&["run", "--name", "changed", "busybox", "touch", "/new"])
        .expect(0);
    let change = "CMD [\"ls\", \"/new\"]";
    let commit = ["commit", "-m", "why", "-c", change, "changed", "made:1"];
    let out = docker.run(&commit).expect(0);
    assert!(out.trimmed().starts_with("sha256:"), "{}", out.stdout);
    let out = docker.run(&["run", "--rm", "made:1"]).expect(0);
    assert_eq!(out.stdout, "/new\n");
    let format = "{{.Comment}}|{{.CreatedBy}}";
    let history = ["history", "--no-trunc", "--format", format, "made:1"];
    let out = docker.run(&history).expect(0);
    assert_eq!(out.stdout.lines().next(), Some("why|touch /new"));
    let format = "{{.Type}} {{.TotalCount}} {{.Active}}";
    let out = docker.run(&["system", "df", "--format", format]).expect(0);
    assert!(out.stdout.starts_with("Images 2 1\n"), "{}", out.stdout);
    assert!(out.stdout.contains("Build Cache 0 0"), "{}", out.stdout);
    docker.run(&["system", "df", "-v"]).expect(0);
    docker.run(&["rm", "changed"]).expect(0);
    let out = docker.run(&["image", "prune", "-a", "-f"]).expect(0);
    assert!(out.stdout.contains("untagged: made:1"), "{}", out.stdout);
    assert!(
        out.stdout.contains("Total reclaimed space"),
        "{}",
        out.stdout
    );
    docker.run(&["load", "-i", archive]).expect(0);
    docker
        .run(&["run", "--name", "ended", "busybox", "true"])
        .expect(0);
    // It goes through containers, networks, images and builds, and ends at the first refusal.
    let out = docker.run(&["system", "prune", "-a", "-f"]).expect(0);
    let told = out.stdout.contains("untagged: busybox:latest");
    assert!(told && out.stdout.contains("Deleted Containers"), "{out:?}");
    let out = docker.run(&["load", "-i", archive]).expect(0);
    assert_eq!(out.stdout, "Loaded image: busybox:latest\n");
    let out = docker
        .run(&["inspect", "-f", "{{.Id}}", "busybox"])
        .expect(0);
    assert_eq!(out.trimmed(), Image::busybox().id());
    d.finish();
}
