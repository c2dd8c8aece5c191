//! The same with crun, which refuses a hybrid cgroup layout: where there is one, it runs in a
//! mount namespace without the v2 hierarchy.

use model::{Kind, Signal};
use runtime::CreateTask;
use serde_json::json;

use crate::bed::{Bed, exit_code, script, soon};

pub(crate) fn bed() -> Bed {
    Bed::with(|config, dir| {
        let hidden = "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun \"$@\"";
        let crun = format!("exec unshare --mount sh -c '{hidden}' crun \"$@\"");
        config
            .runtimes
            .insert("crun".to_owned(), vec![script(&dir.join("crun"), &crun)]);
    })
}

pub(crate) fn with_crun(bed: &Bed, mut request: CreateTask) -> CreateTask {
    let found = std::process::Command::new("crun").arg("--version").output();
    assert!(
        found.is_ok(),
        "these tests need crun (Debian: apt install crun)"
    );
    request.runtime = bed.runtimes.named("crun").unwrap();
    request
}

#[tokio::test]
async fn a_container_runs_to_its_end() {
    let bed = bed();
    let request = with_crun(&bed, bed.sh("echo hi; exit 7"));
    let id = request.id.clone();
    let mut task = bed.run(request).await;
    assert_eq!(exit_code(&mut task).await, 7);
    assert_eq!(bed.output(&id), "hi");
    bed.remove(task).await;
    bed.assert_nothing_left(&id).await;
}

#[tokio::test]
async fn kill_pause_and_their_refusals() {
    let bed = bed();
    let request = with_crun(&bed, bed.sh("echo ready; while :; do sleep 0.02; done"));
    let (id, crun) = (request.id.clone(), request.runtime.clone());
    let mut task = bed.run(request).await;
    bed.printed(&id, "ready").await;
    let runtimes = &bed.runtimes;
    runtimes.pause(&id, &crun).await.unwrap();
    assert_eq!(runtimes.is_paused(task.init().pid).unwrap(), Some(true));
    runtimes.resume(&id, &crun).await.unwrap();
    let e = runtimes.delete(&id, &crun, false).await.unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "{e}");
    runtimes
        .kill(&id, &crun, Signal::KILL, false)
        .await
        .unwrap();
    assert_eq!(exit_code(&mut task).await, 137);
    let e = runtimes
        .kill(&id, &crun, Signal::KILL, false)
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "{e}");
    bed.remove(task).await;
}

#[tokio::test]
async fn its_failures_are_told_in_the_words_clients_read() {
    let bed = bed();
    for (command, exit_code, words) in [
        (
            "/no/such/bin",
            127,
            "exec: \"/no/such/bin\": stat /no/such/bin: no such file or directory: crun: ",
        ),
        (
            "nosuchcmd",
            127,
            "exec: \"nosuchcmd\": executable file not found in $PATH: crun: ",
        ),
        ("/etc", 126, "exec: \"/etc\": permission denied: crun: "),
    ] {
        let request = bed.container(|c| c["process"]["args"] = json!([command]));
        let request = with_crun(&bed, request);
        let id = request.id.clone();
        let e = soon(bed.runtimes.create(request)).await.unwrap_err();
        assert_eq!(
            (e.exit_code, e.error.kind()),
            (exit_code, Kind::InvalidParameter),
            "{e}"
        );
        assert!(e.error.message().contains(words), "{e}");
        bed.assert_nothing_left(&id).await;
    }
}
