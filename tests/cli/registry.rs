//! `docker login`, `push`, `pull`, `run` of an image that is not here.

use testkit::{BUSYBOX, Daemon, Options, Reached, Registry};

#[test]
fn login_push_pull_and_run_what_is_not_here() {
    let certs = tempfile::tempdir().expect("a directory");
    let config = format!("[registries]\ncerts-dirs = [{:?}]\n", certs.path());
    let options = Options::new(env!("CARGO_BIN_EXE_moored")).and_config(&config);
    let d = Daemon::start(options);
    let registry = Registry::start(&d, Reached::ByTls);
    let dir = certs.path().join(registry.host());
    std::fs::create_dir(&dir).expect("a directory in ours");
    std::fs::copy(registry.certificate(), dir.join("ca.crt")).expect("a file in ours");
    let docker = d.docker();
    let host = registry.host();
    let name = format!("{host}/some/busybox:1");
    docker.run(&["tag", BUSYBOX, &name]).expect(0);
    let out = docker.run(&["push", &name]).expect(1);
    assert!(
        out.stderr.contains("no basic auth credentials"),
        "{}",
        out.stderr
    );
    let login = ["login", "-u", "test", "--password-stdin", &host];
    let out = docker.run_with(&login, b"guess").expect(1);
    assert!(out.stderr.contains("unauthorized"), "{}", out.stderr);
    let out = docker.run_with(&login, b"secret").expect(0);
    assert!(out.stdout.contains("Login Succeeded"), "{}", out.stdout);
    let out = docker.run(&["push", &name]).expect(0);
    let told = format!("The push refers to repository [{host}/some/busybox]\n");
    assert!(out.stdout.starts_with(&told), "{}", out.stdout);
    assert!(out.stdout.contains("1: digest: sha256:"), "{}", out.stdout);
    docker.run(&["rmi", "-f", &name, BUSYBOX]).expect(0);
    let out = docker
        .run(&["run", "--rm", "--network", "none", &name, "echo", "hi"])
        .expect(0);
    assert_eq!(out.stdout, "hi\n");
    let newer = format!("Status: Downloaded newer image for {name}");
    assert!(out.stderr.contains(&newer), "{}", out.stderr);
    let out = docker.run(&["pull", &name]).expect(0);
    let same = format!("Status: Image is up to date for {name}\n{name}\n");
    assert!(out.stdout.ends_with(&same), "{}", out.stdout);
    let out = docker.run(&["pull", "-q", &name]).expect(0);
    assert_eq!(out.trimmed(), name);
    let format = "{{.Repository}}@{{.Digest}}";
    let by_digest = docker
        .run(&["images", "--digests", "--format", format])
        .expect(0);
    docker.run(&["rmi", &name]).expect(0);
    docker.run(&["pull", by_digest.trimmed()]).expect(0);
    docker.run(&["logout", &host]).expect(0);
    let out = docker.run(&["pull", &name]).expect(1);
    assert!(
        out.stderr.contains("no basic auth credentials"),
        "{}",
        out.stderr
    );
    drop(registry);
    d.finish();
}
