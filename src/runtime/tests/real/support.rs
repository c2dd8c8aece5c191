//! Whether checkpoints can be made, as far as programs say.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::bed::Bed;

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
}

#[tokio::test]
async fn each_of_three_can_be_in_the_way_of_checkpoints() {
    let bed = Bed::with(|config, dir| {
        let bin = dir.join("bin");
        std::fs::create_dir(&bin).unwrap();
        let path = bin.display().to_string();
        config.environment.push(("PATH".to_owned(), path));
        config
            .runtimes
            .insert("mine".to_owned(), vec![bin.join("mine")]);
    });
    let criu = bed.path("bin/criu");
    let why = async |name: &str| {
        let runtime = bed.runtimes.named(name).unwrap();
        let support = bed.runtimes.checkpoint_support(&runtime).await;
        support.map_err(|e| e.message().to_owned())
    };
    script(
        &bed.path("bin/mine"),
        "[ $1 = checkpoint ] && exit 0; echo crun version 9; echo +SECCOMP",
    );
    let missing = why("runc").await.unwrap_err();
    assert!(missing.starts_with("criu was not found"), "{missing}");
    script(
        &criu,
        "echo 'Warn: of little'; echo 'Error: no such kernel'; exit 1",
    );
    let kernel = why("runc").await.unwrap_err();
    assert_eq!(
        kernel,
        format!("`{} check` failed: Error: no such kernel", criu.display())
    );
    // Another one is asked anew.
    script(&criu, "[ \"$*\" = check ] && echo 'Looks good.'");
    assert_eq!(why("runc").await, Ok(()));
    let built = why("mine").await.unwrap_err();
    assert!(built.contains("built without CRIU"), "{built}");
    script(&bed.path("bin/mine"), "echo unknown command; exit 1");
    let command = why("mine").await.unwrap_err();
    assert!(
        command.ends_with("checkpoint --help` failed: unknown command"),
        "{command}"
    );
}
