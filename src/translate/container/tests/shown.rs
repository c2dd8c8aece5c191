//! Inspect and list, beside what dockerd answered for the same request.

use std::path::PathBuf;
use std::sync::Arc;

use engine::{ContainerPaths, ContainerView, ListedContainer, MountView, Sizes};
use model::process::{Pid, ProcessRef};
use model::{
    ContainerState, ExitReason, ExitStatus, Exited, NamespaceMode, Running, StartFailure, Timestamp,
};
use serde_json::Value;
use wire::container::{ContainerInspect, ContainerSummary};

use super::super::{inspect, summary};
use super::connected::Networks;
use super::{create, translate};
use wire::version::{ApiVersion, NEWEST};

const CREATE: &str = include_str!("../fixtures/dockerd-26.1.5/create.json");
/// As much as was captured of the document.
const INSPECT_HEAD: &str = include_str!("../fixtures/dockerd-26.1.5/inspect-exited.head");
/// The whole of it, after moby's types: what is ours in it (layers) is ours.
const INSPECT: &str = include_str!("../fixtures/inspect-exited.json");
const LIST: &str = include_str!("../fixtures/dockerd-26.1.5/list.json");

const ID: &str = "0e48e5b718f07b606455ca931b1e11cde4d54c0f6bd38c2a8387c153ef65ee7a";
const IMAGE: &str = "sha256:09e7d3c2c5bbabc8e5d80135a0a5741fe0a5299434694a000b563bba560ca8b4";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The captured container, as the engine would publish it.
pub(super) fn cap1() -> ContainerView {
    let request = serde_json::from_str(CREATE).unwrap();
    let create = create(
        request,
        Some("cap1"),
        None,
        ApiVersion::v1(45),
        &model::LogConfig::default(),
    )
    .unwrap()
    .create;
    let mut spec = create.spec;
    // What the engine merges in: the image's environment, this host's cgroup namespace.
    spec.env = vec!["PATH=/bin".to_owned()];
    spec.cgroupns_mode = Some(NamespaceMode::Host);
    let home = PathBuf::from("/mnt/d/containers").join(ID);
    ContainerView {
        attachment: None,
        id: ID.parse().unwrap(),
        name: create.name.unwrap().parse().unwrap(),
        created_at: time("2026-11-23T12:07:18.086384547Z"),
        image_id: IMAGE.parse().unwrap(),
        image_name: create.image,
        spec: Arc::new(spec),
        echo: create.echo.into(),
        state: ContainerState::Exited(Exited {
            by_request: false,
            by_checkpoint: false,
            status: ExitStatus::Known(7),
            started_at: time("2026-11-23T12:07:19.397086574Z"),
            finished_at: time("2026-11-23T12:07:20.012112693Z"),
            oom_killed: false,
            error: String::new(),
        }),
        restart_count: 0,
        health: None,
        runtime: "runc".to_owned(),
        paths: ContainerPaths {
            etc: engine::EtcFiles {
                resolv_conf: home.join("resolv.conf"),
                hostname: home.join("hostname"),
                hosts: home.join("hosts"),
            },
            log: Some(home.join("log")),
            tree: engine::WritablePaths {
                lower: vec![PathBuf::from("/l/2"), PathBuf::from("/l/1")],
                changed: engine::Changed::Upper(PathBuf::from("/c/diff")),
                work: PathBuf::from("/c/work"),
                merged: PathBuf::from("/c/merged"),
            },
        },
        mounts: Vec::new(),
    }
}

fn document(view: &ContainerView, sizes: Option<Sizes>) -> ContainerInspect {
    let networks = Networks::predefined();
    inspect(view, sizes, &[], &Default::default(), &networks, NEWEST)
}

fn row(row: &ListedContainer, image: &str, now: Timestamp, minor: u32) -> ContainerSummary {
    let networks = Networks::predefined();
    summary(row, image.to_owned(), now, &networks, ApiVersion::v1(minor))
}

fn shown(view: &ContainerView) -> String {
    serde_json::to_string(&document(view, None)).unwrap()
}

#[test]
fn inspect_begins_with_the_captured_bytes() {
    let shown = shown(&cap1());
    assert_eq!(&shown[..INSPECT_HEAD.len()], INSPECT_HEAD);
}

#[test]
fn inspect_is_the_whole_document_in_dockers_order() {
    assert_eq!(shown(&cap1()), INSPECT.trim_end());
}

#[test]
fn a_row_is_the_captured_one() {
    let listed = ListedContainer {
        view: Arc::new(cap1()),
        sizes: None,
    };
    let now = time("2026-11-23T12:07:21.5Z");
    let row = row(&listed, "busybox:bench", now, 45);
    let shown = serde_json::to_string(&[row]).unwrap();
    assert_eq!(shown, LIST.trim_end());
}

#[test]
fn every_state_is_told_by_dockers_booleans() {
    let pid = Pid::new(4711).unwrap();
    let started_at = time("2026-11-23T12:00:00Z");
    let running = |paused| {
        ContainerState::Running(Running {
            init: ProcessRef {
                pid,
                start_ticks: 1,
            },
            monitor: None,
            started_at,
            paused,
            readiness: None,
            last_finished_at: None,
        })
    };
    let failure = StartFailure {
        exit_code: 127,
        error: "not found".to_owned(),
    };
    let lost = ContainerState::Exited(Exited {
        by_request: false,
        by_checkpoint: false,
        status: ExitStatus::Unknown(ExitReason::HostRestarted),
        started_at,
        finished_at: started_at,
        oom_killed: true,
        error: String::new(),
    });
    let dead = ContainerState::Dead {
        reason: "busy".to_owned(),
    };
    let never = "0001-01-01T00:00:00Z";
    // status, running, paused, dead, oom, pid, code, error, started
    let table = [
        (
            ContainerState::Created { failure: None },
            "created",
            [false; 4],
            0,
            0,
            "",
            never,
        ),
        (
            ContainerState::Created {
                failure: Some(failure),
            },
            "created",
            [false; 4],
            0,
            127,
            "not found",
            never,
        ),
        (
            running(false),
            "running",
            [true, false, false, false],
            4711,
            0,
            "",
            "2026-11-23T12:00:00Z",
        ),
        (
            running(true),
            "paused",
            [true, true, false, false],
            4711,
            0,
            "",
            "2026-11-23T12:00:00Z",
        ),
        (
            lost,
            "exited",
            [false, false, false, true],
            0,
            255,
            "exit status unknown: the host was restarted",
            "2026-11-23T12:00:00Z",
        ),
        (
            ContainerState::Removing,
            "removing",
            [false; 4],
            0,
            0,
            "",
            never,
        ),
        (
            dead,
            "dead",
            [false, false, true, false],
            0,
            0,
            "busy",
            never,
        ),
    ];
    for (state, status, [is_running, paused, is_dead, oom], pid, code, error, started) in table {
        let mut view = cap1();
        view.state = state;
        let document: Value = serde_json::from_str(&shown(&view)).unwrap();
        let state = &document["State"];
        assert_eq!(state["Status"], status);
        assert_eq!(state["Running"], is_running, "{status}");
        assert_eq!(state["Paused"], paused, "{status}");
        assert_eq!(state["Dead"], is_dead, "{status}");
        assert_eq!(state["OOMKilled"], oom, "{status}");
        assert_eq!(state["Pid"], pid, "{status}");
        assert_eq!(state["ExitCode"], code, "{status}");
        assert_eq!(state["Error"], error, "{status}");
        assert_eq!(state["StartedAt"], started, "{status}");
        let sandbox = &document["NetworkSettings"]["SandboxKey"];
        assert_eq!(*sandbox == "/proc/4711/ns/net", is_running, "{status}");
    }
}

#[test]
fn mounts_are_shown_but_those_of_tmpfs_entries_are_not() {
    let mut view = cap1();
    let request = r#"{"Image":"x","HostConfig":{"Tmpfs":{"/run/":""}}}"#;
    view.echo = translate(request).unwrap().create.echo.into();
    let mount = |kind, name: &str, destination: &str, mode: &str| MountView {
        kind,
        name: Some(name)
            .filter(|n| !n.is_empty())
            .map(|n| n.parse().unwrap()),
        source: String::new(),
        destination: destination.to_owned(),
        mode: mode.to_owned(),
        read_write: true,
        propagation: "",
    };
    view.mounts = vec![
        mount("tmpfs", "", "/run", ""),
        mount("tmpfs", "", "/t", ""),
        mount("volume", "data", "/data", "z"),
    ];
    let document: Value = serde_json::from_str(&shown(&view)).unwrap();
    assert_eq!(
        document["Mounts"].to_string(),
        concat!(
            r#"[{"Type":"tmpfs","Source":"","Destination":"/t","Mode":"","RW":true,"#,
            r#""Propagation":""},{"Type":"volume","Name":"data","Source":"","#,
            r#""Destination":"/data","Driver":"local","Mode":"z","RW":true,"Propagation":""}]"#
        )
        .parse::<Value>()
        .unwrap()
        .to_string()
    );
}

#[test]
fn sizes_are_shown_when_asked_for() {
    let sizes = Some(Sizes {
        rw_bytes: 0,
        root_fs_bytes: 5,
    });
    let document = serde_json::to_value(document(&cap1(), sizes)).unwrap();
    assert_eq!(document["SizeRw"], 0);
    assert_eq!(document["SizeRootFs"], 5);
    let listed = ListedContainer {
        view: Arc::new(cap1()),
        sizes,
    };
    let row = serde_json::to_value(row(&listed, "", Timestamp::now(), 47)).unwrap();
    // Go leaves a zero out of a row.
    assert_eq!(row.get("SizeRw"), None);
    assert_eq!(row["SizeRootFs"], 5);
}

#[test]
fn annotations_are_in_rows_from_1_46_on() {
    let mut view = cap1();
    Arc::make_mut(&mut view.spec)
        .annotations
        .insert("a".to_owned(), "b".to_owned());
    let listed = ListedContainer {
        view: Arc::new(view),
        sizes: None,
    };
    let annotations = |minor| {
        let row = row(&listed, "", Timestamp::now(), minor);
        row.host_config.annotations
    };
    assert_eq!(annotations(45), None);
    assert!(annotations(46).is_some());
}

#[test]
fn an_echo_of_another_time_does_not_break_inspect() {
    let mut view = cap1();
    view.echo = b"not json".as_slice().into();
    let document = document(&view, None);
    assert_eq!(document.path, "sh");
    assert_eq!(document.host_config.runtime, "runc");
}
