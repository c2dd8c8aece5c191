//! The daemon ends and starts again; the containers do not notice.

use model::{ExitStatus, ProcessRef};
use runtime::{AdoptTask, Adopted, ExitReport, Runtimes, Task, TaskEvent};
use sys::pidfd::PidFd;

use crate::bed::{Bed, ended, exit_code, soon, until};

const WAIT_FOR_GO: &str = "while [ ! -e /go ]; do sleep 0.02; done; exit 11";

/// What the ledger keeps of a task, which ends here with everything it held open.
fn remembered(task: Task) -> AdoptTask {
    let memory = AdoptTask {
        id: task.id().clone(),
        runtime: task.runtime().clone(),
        init: Some(task.init()),
        monitor: task.monitor(),
        bundle: task.bundle().to_owned(),

        readiness: None,
    };
    drop(task);
    memory
}

/// A new daemon on the same run root.
fn restarted(bed: &Bed) -> Runtimes {
    Runtimes::open(bed.config.clone()).unwrap()
}

async fn adopted(bed: &Bed, memory: AdoptTask) -> Task {
    match soon(restarted(bed).adopt(memory)).await.unwrap() {
        Adopted::Running(task) => *task,
        Adopted::Exited(report) => panic!("it runs: {report:?}"),
    }
}

async fn found_ended(bed: &Bed, memory: AdoptTask) -> ExitReport {
    match soon(restarted(bed).adopt(memory)).await.unwrap() {
        Adopted::Running(task) => panic!("it has ended: {task:?}"),
        Adopted::Exited(report) => report,
    }
}

fn kill(process: ProcessRef) -> PidFd {
    let found = PidFd::open_exact(process).unwrap().unwrap();
    found.signal(model::Signal::KILL).unwrap();
    found
}

#[tokio::test]
async fn a_running_container_goes_on_and_its_code_is_told() {
    let bed = Bed::new();
    let task = bed.run(bed.sh(WAIT_FOR_GO)).await;
    let memory = remembered(task);
    let mut task = adopted(&bed, memory.clone()).await;
    assert_eq!(
        (Some(task.init()), task.monitor()),
        (memory.init, memory.monitor)
    );
    bed.go(&memory.id);
    assert_eq!(exit_code(&mut task).await, 11);
    bed.remove(task).await;
    bed.assert_nothing_left(&memory.id).await;
}

#[tokio::test]
async fn one_that_ended_meanwhile_has_its_code_and_time() {
    let bed = Bed::new();
    let memory = remembered(bed.run(bed.sh(WAIT_FOR_GO)).await);
    bed.go(&memory.id);
    let file = runtime::exit_dir(&bed.config.run_root).join(memory.id.as_str());
    until(|| file.exists()).await;
    let report = found_ended(&bed, memory.clone()).await;
    assert_eq!(report.status, ExitStatus::Known(11));
    let written: model::Timestamp = std::fs::metadata(&file)
        .unwrap()
        .modified()
        .unwrap()
        .try_into()
        .unwrap();
    // File times are up to a tick of the kernel's coarse clock behind.
    let late = report.finished_at.duration_since(written);
    assert!((0..=10).contains(&late.as_millis()), "{late}");
    bed.runtimes
        .delete(&memory.id, &memory.runtime, false)
        .await
        .unwrap();
    bed.runtimes.forget(&memory.id, &memory.bundle).await;
    bed.assert_nothing_left(&memory.id).await;
}

#[tokio::test]
async fn one_that_ends_while_it_is_adopted_is_not_lost() {
    let bed = Bed::new();
    for _ in 0..5 {
        let memory = remembered(bed.run(bed.sh(WAIT_FOR_GO)).await);
        bed.go(&memory.id);
        // No waiting here: the file may be there, about to come, or the process still running.
        let report = match soon(restarted(&bed).adopt(memory.clone())).await.unwrap() {
            Adopted::Running(mut task) => ended(&mut task).await.0,
            Adopted::Exited(report) => report,
        };
        assert_eq!(report.status, ExitStatus::Known(11));
        bed.runtimes
            .delete(&memory.id, &memory.runtime, false)
            .await
            .unwrap();
        bed.runtimes.forget(&memory.id, &memory.bundle).await;
    }
}

#[tokio::test]
async fn a_conmon_that_died_meanwhile_is_told_first() {
    let bed = Bed::new();
    let memory = remembered(bed.run(bed.sh(WAIT_FOR_GO)).await);
    soon(kill(memory.monitor.unwrap()).exited()).await.unwrap();
    let mut task = adopted(&bed, memory.clone()).await;
    assert_eq!(soon(task.next_event()).await, TaskEvent::MonitorLost);
    bed.go(&memory.id);
    assert_eq!(exit_code(&mut task).await, 11);
    bed.remove(task).await;

    // Known before, it is not told again.
    let mut memory = remembered(bed.run(bed.sh(WAIT_FOR_GO)).await);
    soon(kill(memory.monitor.unwrap()).exited()).await.unwrap();
    memory.monitor = None;
    let mut task = adopted(&bed, memory.clone()).await;
    bed.go(&memory.id);
    let (report, lost) = ended(&mut task).await;
    assert_eq!((report.status, lost), (ExitStatus::Known(11), false));
    bed.remove(task).await;
}

#[tokio::test]
async fn a_reused_pid_is_not_mistaken_for_the_container() {
    let bed = Bed::new();
    let mut task = bed.run(bed.sh("exit 2")).await;
    assert_eq!(exit_code(&mut task).await, 2);
    let mut memory = remembered(task);
    // This test's own process stands for the stranger.
    let me = model::Pid::new(i64::from(std::process::id())).unwrap();
    memory.init = memory.init.map(|p| ProcessRef { pid: me, ..p });
    let report = found_ended(&bed, memory.clone()).await;
    assert_eq!(report.status, ExitStatus::Known(2));
    bed.runtimes
        .delete(&memory.id, &memory.runtime, false)
        .await
        .unwrap();
    bed.runtimes.forget(&memory.id, &memory.bundle).await;
}

#[tokio::test]
async fn a_creation_the_daemon_did_not_live_to_see_is_discarded() {
    let bed = Bed::new();
    let request = bed.sh("exit 0");
    let (id, runc, bundle) = (
        request.id.clone(),
        request.runtime.clone(),
        request.bundle.clone(),
    );
    // Created, never started, and nobody remembers its processes.
    drop(soon(bed.runtimes.create(request)).await.unwrap());
    let runtimes = restarted(&bed);
    soon(runtimes.discard(&id, &runc, &bundle)).await;
    bed.assert_nothing_left(&id).await;
    // Again, with nothing there at all.
    soon(runtimes.discard(&id, &runc, &bundle)).await;
}
