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
