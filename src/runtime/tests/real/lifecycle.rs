//! From create to remove, as it should go.

use std::collections::BTreeSet;

use model::{ExitStatus, Kind, Signal};
use runtime::Stdin;
use serde_json::json;

use crate::bed::{Bed, ended, exit_code, processes_naming, script, soon, until};

const WAIT_FOR_GO: &str = "while [ ! -e /go ]; do sleep 0.02; done";

#[tokio::test]
async fn a_container_runs_and_its_exit_code_output_and_end_are_known() {
    let bed = Bed::new();
    let request = bed.sh("echo out; echo err >&2; exit 7");
    let id = request.id.clone();
    let before = model::Timestamp::now();
    let mut task = bed.run(request).await;
    let (report, lost) = ended(&mut task).await;
    assert_eq!(report.status, ExitStatus::Known(7));
    assert!(!report.oom_killed && !lost);
    assert!(report.finished_at.duration_since(before).as_secs().abs() <= 5);
    let output: BTreeSet<String> = bed.output(&id).lines().map(str::to_owned).collect();
    assert_eq!(output, ["err", "out"].map(str::to_owned).into());
    // Asked again, the answer is the same.
    assert_eq!(ended(&mut task).await.0, report);
    bed.remove(task).await;
    bed.assert_nothing_left(&id).await;
}

#[tokio::test]
async fn log_times_are_utc() {
    let bed = Bed::new();
    let mut task = bed.run(bed.sh("echo x")).await;
    exit_code(&mut task).await;
    let log = std::fs::read_to_string(task.bundle().join("ctr.log")).unwrap();
    assert!(log.split(' ').next().unwrap().ends_with("+00:00"), "{log}");
    bed.remove(task).await;
}

#[tokio::test]
async fn signals_reach_the_first_process_by_the_runtime_and_by_pidfd() {
    let bed = Bed::new();
    let request = bed.sh("trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done");
    let (id, runc) = (request.id.clone(), request.runtime.clone());
    let mut task = bed.run(request).await;
    bed.printed(&id, "ready").await;
    let usr1 = "USR1".parse().unwrap();
    bed.runtimes.kill(&id, &runc, usr1, false).await.unwrap();
    bed.printed(&id, "usr1").await;
    task.signal(Signal::KILL).unwrap();
    assert_eq!(exit_code(&mut task).await, 137);
    let e = task.signal(Signal::KILL).unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict);
    let e = bed
        .runtimes
        .kill(&id, &runc, Signal::KILL, false)
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "{e}");
    bed.remove(task).await;
    let e = bed
        .runtimes
        .kill(&id, &runc, Signal::KILL, false)
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound, "{e}");
}

#[tokio::test]
async fn all_processes_are_killed_where_they_have_no_pid_namespace() {
    let bed = Bed::new();
    let request = bed.container(|config| {
        let script = "sleep 1234567 & echo ready; while :; do sleep 0.02; done";
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| n["type"] != "pid");
    });
    let (id, runc) = (request.id.clone(), request.runtime.clone());
    let mut task = bed.run(request).await;
    bed.printed(&id, "ready").await;
    assert!(
        bed.runtimes
            .processes(task.init().pid, false)
            .unwrap()
            .len()
            >= 2
    );
    bed.runtimes
        .kill(&id, &runc, Signal::KILL, true)
        .await
        .unwrap();
    assert_eq!(exit_code(&mut task).await, 137);
    until(|| processes_naming("sleep 1234567").is_empty()).await;
    bed.remove(task).await;
}

#[tokio::test]
async fn pause_freezes_and_the_kernel_tells() {
    let bed = Bed::new();
    let request = bed.sh("echo ready; while :; do sleep 0.02; done");
    let (id, runc) = (request.id.clone(), request.runtime.clone());
    let mut task = bed.run(request).await;
    bed.printed(&id, "ready").await;
    let pid = task.init().pid;
    let runtimes = &bed.runtimes;
    assert_eq!(runtimes.is_paused(pid).unwrap(), Some(false));
    let e = runtimes.resume(&id, &runc).await.unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "{e}");
    runtimes.pause(&id, &runc).await.unwrap();
    assert_eq!(runtimes.is_paused(pid).unwrap(), Some(true));
    assert_eq!(
        runtimes.state(&id, &runc).await.unwrap().unwrap().status,
        "paused"
    );
    runtimes.resume(&id, &runc).await.unwrap();
    assert_eq!(runtimes.is_paused(pid).unwrap(), Some(false));
    task.signal(Signal::KILL).unwrap();
    assert_eq!(exit_code(&mut task).await, 137);
    bed.remove(task).await;
    assert_eq!(runtimes.state(&id, &runc).await.unwrap(), None);
}

#[tokio::test]
async fn a_terminal_has_the_size_it_was_given_before_and_after_the_start() {
    let bed = Bed::new();
    let request = bed.container(|config| {
        config["process"]["terminal"] = json!(true);
        let script =
            "stty size; until [ \"$(stty size)\" = '50 132' ]; do sleep 0.02; done; exit 3";
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
    });
    let id = request.id.clone();
    let mut task = soon(bed.runtimes.create(request)).await.unwrap();
    assert!(task.attach_socket().exists());
    task.ctl().unwrap().resize(40, 100).await.unwrap();
    task.start().await.unwrap();
    bed.printed(&id, "40 100").await;
    task.ctl().unwrap().resize(50, 132).await.unwrap();
    assert_eq!(exit_code(&mut task).await, 3);
    assert_eq!(task.ctl().unwrap_err().kind(), Kind::Conflict);
    bed.remove(task).await;
}

#[tokio::test]
async fn a_bundle_of_any_path_length_has_an_attach_socket() {
    let bed = Bed::new();
    let mut request = bed.sh("exit 0");
    let long = bed.path(&"long".repeat(30)).join("bundle".repeat(20));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::copy(request.bundle.join("config.json"), long.join("config.json")).unwrap();
    request.bundle = long.clone();
    request.stdin = Stdin::Open;
    let mut task = soon(bed.runtimes.create(request)).await.unwrap();
    assert_eq!(task.attach_socket(), long.join("attach"));
    assert!(task.attach_socket().exists());
    task.start().await.unwrap();
    assert_eq!(exit_code(&mut task).await, 0);
    let id = task.id().clone();
    bed.runtimes
        .delete(&id, task.runtime(), false)
        .await
        .unwrap();
    bed.runtimes.forget(&id, &long).await;
    assert!(!long.join("ctl").exists());
}

#[tokio::test]
async fn conmon_is_in_the_daemons_conmon_cgroup_and_the_container_is_not() {
    let bed = Bed::new();
    let request = bed.sh(WAIT_FOR_GO);
    let id = request.id.clone();
    let mut task = bed.run(request).await;
    let conmon = format!("/{}/conmon", bed.config.cgroup_parent);
    let own = format!("/{}/{id}", bed.config.cgroup_parent);
    let has = |process: model::ProcessRef, path: &str| {
        let all = sys::proc::cgroups(process.pid).unwrap().unwrap();
        all.iter().any(|m| m.path.to_str() == Some(path))
    };
    let monitor = task.monitor().unwrap();
    assert!(has(monitor, &conmon) && !has(monitor, &own));
    assert!(has(task.init(), &own) && !has(task.init(), &conmon));
    bed.go(&id);
    assert_eq!(exit_code(&mut task).await, 0);
    bed.remove(task).await;
}

#[tokio::test]
async fn out_of_memory_is_told() {
    let bed = Bed::new();
    let request = bed.container(|config| {
        let script = "head -c 200000000 /dev/zero | tail -c 200000000 >/dev/null; exit $?";
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        config["linux"]["resources"] = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
    });
    let mut task = bed.run(request).await;
    let (report, _) = ended(&mut task).await;
    assert!(report.oom_killed, "{report:?}");
    assert_ne!(report.status, ExitStatus::Known(0));
    bed.remove(task).await;
}

#[tokio::test]
async fn the_runtime_gets_the_documented_environment_and_nothing_else() {
    let bed = Bed::with(|config, dir| {
        let runc = std::fs::canonicalize("/usr/sbin/runc")
            .or_else(|_| std::fs::canonicalize("/usr/bin/runc"))
            .expect("these tests need runc (Debian: apt install runc)");
        let dump = dir.join("env").display().to_string();
        let wrapper = format!("/usr/bin/env >> {dump}\nexec {} \"$@\"", runc.display());
        let wrapper = script(&dir.join("wrapper"), &wrapper);
        config.runtimes.insert("wrapped".to_owned(), vec![wrapper]);
    });
    let mut request = bed.sh("exit 0");
    request.runtime = bed.runtimes.named("wrapped").unwrap();
    let mut task = bed.run(request).await;
    exit_code(&mut task).await;
    let dump = std::fs::read_to_string(bed.path("env")).unwrap();
    let names: BTreeSet<&str> = dump.lines().filter_map(|l| l.split('=').next()).collect();
    let allowed: BTreeSet<&str> = [
        // The fixed set, conmon's own pipes, and what sh sets itself.
        "PATH",
        "HOME",
        "TZ",
        "LC_ALL",
        "XDG_RUNTIME_DIR",
        "_OCI_SYNCPIPE",
        "_OCI_STARTPIPE",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    ]
    .into();
    assert_eq!(
        names.difference(&allowed).collect::<Vec<_>>(),
        Vec::<&&str>::new()
    );
    assert!(dump.contains("TZ=UTC\n"));
    bed.remove(task).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_all_tell_their_own_code() {
    let bed = Bed::new();
    let mut running = tokio::task::JoinSet::new();
    let mut requests = Vec::new();
    for n in 0_u8..24 {
        let code = n.wrapping_mul(37);
        requests.push((code, bed.sh(&format!("exit {code}"))));
    }
    for (code, request) in requests {
        let runtimes = bed.runtimes.clone();
        running.spawn(async move {
            let bundle = request.bundle.clone();
            let mut task = runtimes.create(request).await.unwrap();
            task.start().await.unwrap();
            assert_eq!(exit_code(&mut task).await, code);
            runtimes
                .delete(task.id(), task.runtime(), false)
                .await
                .unwrap();
            runtimes.forget(task.id(), &bundle).await;
        });
    }
    while let Some(done) = soon(running.join_next()).await {
        done.unwrap();
    }
}
