//! Exits when conmon cannot tell them.

use std::path::Path;
use std::time::Duration;

use model::{ExitReason, ExitStatus, ProcessRef, Signal};
use runtime::{Task, TaskEvent};
use sys::pidfd::PidFd;

use crate::bed::{Bed, ended, exit_code, soon, until};

fn send(process: ProcessRef, signal: &str) {
    let found = PidFd::open_exact(process).unwrap().unwrap();
    found.signal(signal.parse().unwrap()).unwrap();
}

/// Runs `script`, kills its conmon, waits until that is told.
async fn without_conmon(bed: &Bed, script: &str) -> Task {
    let waiting = format!("while [ ! -e /go ]; do sleep 0.02; done; {script}");
    let mut task = bed.run(bed.sh(&waiting)).await;
    send(task.monitor().unwrap(), "KILL");
    assert_eq!(soon(task.next_event()).await, TaskEvent::MonitorLost);
    assert_eq!(task.monitor(), None);
    task
}

#[tokio::test]
async fn a_killed_conmon_costs_no_exit_code() {
    let bed = Bed::new();
    for code in [9_u8, 0, 255] {
        let mut task = without_conmon(&bed, &format!("exit {code}")).await;
        let id = task.id().clone();
        bed.go(&id);
        let (report, lost) = ended(&mut task).await;
        assert_eq!(
            report.status,
            ExitStatus::Known(code),
            "Linux 6.15 or later is needed"
        );
        assert!(!lost, "told already");
        bed.remove(task).await;
        bed.assert_nothing_left(&id).await;
    }
}

#[tokio::test]
async fn a_signal_after_conmons_death_is_told_as_128_and_more() {
    let bed = Bed::new();
    let mut task = without_conmon(&bed, "exit 0").await;
    task.signal(Signal::KILL).unwrap();
    assert_eq!(exit_code(&mut task).await, 137);
    bed.remove(task).await;
}

#[tokio::test]
async fn conmon_and_container_killed_together_tell_the_code() {
    let bed = Bed::new();
    let mut task = bed.run(bed.sh("while :; do sleep 0.02; done")).await;
    send(task.monitor().unwrap(), "KILL");
    task.signal(Signal::KILL).unwrap();
    let (report, _) = ended(&mut task).await;
    assert_eq!(report.status, ExitStatus::Known(137));
    bed.remove(task).await;
}

#[tokio::test]
async fn a_stopped_conmon_delays_an_exit_only_so_long() {
    let bed = Bed::with(|config, _| config.exit_file_timeout = Duration::from_millis(300));
    let mut task = bed.run(bed.sh("while :; do sleep 0.02; done")).await;
    let id = task.id().clone();
    send(task.monitor().unwrap(), "STOP");
    task.signal(Signal::KILL).unwrap();
    let (report, lost) = ended(&mut task).await;
    assert_eq!(report.status, ExitStatus::Known(137));
    assert!(!lost);
    bed.remove(task).await;
    bed.assert_nothing_left(&id).await;
}

#[tokio::test]
async fn a_zero_that_the_kernel_contradicts_does_not_count() {
    let bed = Bed::new();
    let mut task = bed.run(bed.sh("while :; do sleep 0.02; done")).await;
    // What a conmon that lost its child writes, before the process has ended.
    let exits = runtime::exit_dir(&bed.config.run_root);
    std::fs::write(exits.join("forged"), "0").unwrap();
    std::fs::rename(exits.join("forged"), exits.join(task.id().as_str())).unwrap();
    let event = tokio::time::timeout(Duration::from_millis(200), task.next_event()).await;
    assert!(
        event.is_err(),
        "a running container was told to have ended: {event:?}"
    );
    task.signal(Signal::KILL).unwrap();
    assert_eq!(exit_code(&mut task).await, 137);
    bed.remove(task).await;
}

#[tokio::test]
async fn rubbish_in_the_exit_file_is_overruled_by_the_kernel() {
    let bed = Bed::new();
    let mut task = bed.run(bed.sh("exit 6")).await;
    let exits = runtime::exit_dir(&bed.config.run_root);
    let file = exits.join(task.id().as_str());
    until(|| file.exists()).await;
    std::fs::write(&file, "rubbish").unwrap();
    assert_eq!(exit_code(&mut task).await, 6);
    bed.remove(task).await;
}

#[tokio::test]
async fn events_survive_being_cancelled_at_any_point() {
    let bed = Bed::new();
    let mut task = bed.run(bed.sh("sleep 0.3; exit 8")).await;
    let report = soon(async {
        loop {
            // As an actor's select! does: dropped again and again, mostly unfinished.
            let turn = tokio::time::timeout(Duration::from_millis(1), task.next_event());
            if let Ok(TaskEvent::Exited(report)) = turn.await {
                return report;
            }
        }
    })
    .await;
    assert_eq!(report.status, ExitStatus::Known(8));
    bed.remove(task).await;
}

#[tokio::test]
async fn an_exit_nobody_saw_is_unknown_and_never_zero() {
    let bed = Bed::new();
    let task = bed.run(bed.sh("exit 0")).await;
    let adopt = runtime::AdoptTask {
        id: task.id().clone(),
        runtime: task.runtime().clone(),
        init: Some(task.init()),
        monitor: task.monitor(),
        bundle: task.bundle().to_owned(),

        readiness: None,
    };
    let file = runtime::exit_dir(&bed.config.run_root).join(task.id().as_str());
    until(|| file.exists()).await;
    std::fs::remove_file(&file).unwrap();
    let runtime::Adopted::Exited(report) = soon(bed.runtimes.adopt(adopt)).await.unwrap() else {
        panic!("it has ended");
    };
    assert_eq!(report.status, ExitStatus::Unknown(ExitReason::Vanished));
    bed.remove(task).await;
}

#[tokio::test]
async fn a_delete_behind_our_back_is_an_end_like_another() {
    let bed = Bed::new();
    let mut task = bed.run(bed.sh("while :; do sleep 0.02; done")).await;
    let id = task.id().clone();
    let root = bed.path("run/oci/runc");
    let runc = bed.runtimes.program(task.runtime()).unwrap();
    let root = root.to_str().unwrap();
    let args = ["--root", root, "delete", "--force", id.as_str()];
    let deleted = std::process::Command::new(runc)
        .args(args)
        .status()
        .unwrap();
    assert!(deleted.success());
    assert_eq!(exit_code(&mut task).await, 137);
    bed.remove(task).await;
    bed.assert_nothing_left(&id).await;
}

#[tokio::test]
async fn a_cgroup_that_its_runtime_has_forgotten_goes_all_the_same() {
    let bed = Bed::new();
    let mut task = bed.run(bed.sh("while :; do sleep 0.02; done")).await;
    let (id, runtime) = (task.id().clone(), task.runtime().clone());
    let v1 = Path::new("/sys/fs/cgroup/pids");
    let root = if v1.exists() {
        v1
    } else {
        Path::new("/sys/fs/cgroup")
    };
    let cgroup = root.join(&bed.config.cgroup_parent);
    let cgroup = cgroup.join(id.as_str());
    assert!(cgroup.exists(), "{}", cgroup.display());
    let bundle = bed.bundle(&id);
    // It is known: nothing happens to one that runs.
    bed.runtimes.clear_lost(&id, &runtime, &bundle).await;
    assert!(!task.has_ended());
    std::fs::remove_dir_all(bed.path("run/oci/runc").join(id.as_str())).unwrap();
    task.signal(Signal::KILL).unwrap();
    assert_eq!(exit_code(&mut task).await, 137);
    bed.runtimes.delete(&id, &runtime, false).await.unwrap();
    assert!(cgroup.exists(), "nobody else takes it away");
    bed.runtimes.clear_lost(&id, &runtime, &bundle).await;
    assert!(!cgroup.exists());
    bed.remove(task).await;
    bed.assert_nothing_left(&id).await;
}
