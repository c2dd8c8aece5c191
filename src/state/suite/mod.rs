//! The ledger as its users see it: what was acknowledged is there, whatever happened.

mod crash;
mod journal;
mod leases;
mod round_trip;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use model::{
    ExitReason, ExitStatus, Exited, ImageConfig, Kind, Layer, Pid, ProcessRef, Running,
    StartFailure, Timestamp,
};

use super::*;

fn id(n: u32) -> ContainerId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    ContainerId::from_bytes(bytes)
}

fn row(n: u32) -> ContainerRow {
    ContainerRow {
        id: id(n),
        name: format!("box-{n}").parse().unwrap(),
        created_at: Timestamp::new(1_700_000_000 + i64::from(n), 123_456_789).unwrap(),
        image_id: Digest::from_sha256([9; 32]),
        image_name: "busybox".to_owned(),
        runtime: "runc".to_owned(),
        spec: ContainerSpec::default(),
        echo: b"{\"Image\":\"busybox\"}".to_vec(),
        state: ContainerState::Created { failure: None },
        intent: Some(Intent::Starting),
        restart_count: 0,
        health: None,
        attachment: None,
    }
}

fn running(started_at: i64) -> ContainerState {
    let process = |pid| ProcessRef {
        pid: Pid::new(pid).unwrap(),
        start_ticks: 77,
    };
    ContainerState::Running(Running {
        init: process(4000),
        monitor: Some(process(3999)),
        started_at: Timestamp::from_second(started_at).unwrap(),
        paused: false,
        readiness: None,
        last_finished_at: None,
    })
}

fn image(n: u8) -> ImageRecord {
    ImageRecord {
        id: Digest::from_sha256([n; 32]),
        layers: vec![Layer {
            diff_id: Digest::from_sha256([1; 32]),
            chain_id: Digest::from_sha256([2; 32]),
            size_bytes: 4_000_000,
            blob: None,
        }],
        size_bytes: 4_000_000,
        config: ImageConfig::default(),
        manifest: None,
        parent: None,
        tagged_at: None,
    }
}

fn volume(name: &str) -> VolumeRecord {
    VolumeRecord {
        name: name.parse().unwrap(),
        anonymous: false,
        created_at: Timestamp::from_second(5).unwrap(),
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        options: BTreeMap::new(),
    }
}

/// A ledger in a directory of its own, which can be closed and opened again.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }
    fn path(&self) -> PathBuf {
        self.dir.path().join("ledger.db")
    }
    fn open(&self) -> (Ledger, Contents) {
        self.open_on("this boot")
    }
    fn open_on(&self, boot_id: &str) -> (Ledger, Contents) {
        Ledger::open(&self.path(), boot_id).unwrap()
    }
    fn contents(&self) -> Contents {
        self.open().1
    }
    /// Changes the file behind the ledger's back, as a defect or a bad disk would.
    fn tamper(&self, sql: &str) {
        let db = Connection::open(self.path()).unwrap();
        db.pragma_update(None, "ignore_check_constraints", true)
            .unwrap();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        db.execute_batch(sql).unwrap();
    }
}

#[tokio::test]
async fn everything_written_is_read_at_the_next_open() {
    let fixture = Fixture::new();
    let (ledger, empty) = fixture.open();
    assert_eq!(empty, Contents::default());
    let reference: Reference = "busybox:1".parse().unwrap();
    ledger.set_meta("boot_id", "one").await.unwrap();
    ledger.set_meta("boot_id", "two").await.unwrap();
    ledger
        .put_image(&image(9), vec![reference.clone()])
        .await
        .unwrap();
    ledger.put_volume(&volume("data")).await.unwrap();
    ledger
        .insert_container(row(2), vec![volume("anon")])
        .await
        .unwrap();
    ledger.insert_container(row(1), vec![]).await.unwrap();
    let now = running(1_700_000_100);
    ledger
        .update_container_state(&id(2), &now, None, 0)
        .await
        .unwrap();
    ledger
        .rename_container(&id(1), &"other".parse().unwrap())
        .await
        .unwrap();
    let limited = ContainerSpec {
        resources: model::Resources {
            memory_bytes: Some(1 << 30),
            ..model::Resources::default()
        },
        ..row(1).spec
    };
    ledger
        .update_container_spec(&id(1), &limited)
        .await
        .unwrap();

    let read = fixture.contents();
    assert_eq!(read.damaged, []);
    assert_eq!(
        read.meta,
        BTreeMap::from([("boot_id".to_owned(), "two".to_owned())])
    );
    assert_eq!(read.images, [image(9)]);
    assert_eq!(read.tags, [(reference, image(9).id)]);
    assert_eq!(read.volumes.len(), 2);
    let renamed = ContainerRow {
        name: "other".parse().unwrap(),
        spec: limited,
        ..row(1)
    };
    let started = ContainerRow {
        state: now,
        intent: None,
        ..row(2)
    };
    assert_eq!(read.containers, [renamed, started]);
}

#[tokio::test]
async fn what_is_deleted_takes_what_belongs_to_it_along() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    let [one, two]: [Reference; 2] = ["a:1", "a:2"].map(|r| r.parse().unwrap());
    ledger
        .put_image(&image(1), vec![one.clone(), two.clone()])
        .await
        .unwrap();
    ledger.put_image(&image(2), vec![]).await.unwrap();
    ledger.tag(&two, &image(2).id).await.unwrap();
    ledger
        .forget_images(Vec::new(), vec![image(1).id])
        .await
        .unwrap();
    ledger
        .insert_container(row(1), vec![volume("anon"), volume("kept")])
        .await
        .unwrap();
    ledger
        .delete_container(&id(1), vec!["anon".parse().unwrap()])
        .await
        .unwrap();
    // A removal that is finished after a crash meets nothing the second time.
    ledger
        .delete_container(&id(1), vec!["anon".parse().unwrap()])
        .await
        .unwrap();

    let read = fixture.contents();
    assert_eq!(read.tags, [(two.clone(), image(2).id)]);
    assert_eq!(read.containers, []);
    assert_eq!(read.volumes, [volume("kept")]);
    let (ledger, _) = fixture.open();
    ledger
        .forget_images(vec![two.clone()], Vec::new())
        .await
        .unwrap();
    ledger
        .delete_volume(&"kept".parse().unwrap())
        .await
        .unwrap();
    let read = fixture.contents();
    assert_eq!((read.tags, read.volumes), (vec![], vec![]));
}

#[tokio::test]
async fn a_name_or_id_that_is_taken_is_a_conflict_and_changes_nothing() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    ledger.insert_container(row(1), vec![]).await.unwrap();
    ledger.insert_container(row(2), vec![]).await.unwrap();
    let same_name = ContainerRow {
        name: row(1).name,
        ..row(3)
    };
    let same_id = ContainerRow {
        id: id(1),
        ..row(4)
    };
    for clash in [same_name, same_id] {
        let e = ledger
            .insert_container(clash, vec![volume("left-over")])
            .await
            .unwrap_err();
        assert_eq!(e.kind(), Kind::Conflict, "{e}");
    }
    let e = ledger
        .rename_container(&id(2), &row(1).name)
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "{e}");
    let read = fixture.contents();
    assert_eq!(read.containers, [row(1), row(2)]);
    assert_eq!(read.volumes, []);
}

#[tokio::test]
async fn a_change_of_a_missing_row_is_told() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    let state = running(1);
    let e = ledger
        .update_container_state(&id(1), &state, None, 0)
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound, "{e}");
    let e = ledger
        .rename_container(&id(1), &"xx".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound, "{e}");
    let e = ledger
        .tag(&"a".parse().unwrap(), &image(1).id)
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound, "{e}");
}

#[tokio::test]
async fn each_tasks_changes_are_made_in_its_order() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    ledger.insert_container(row(1), vec![]).await.unwrap();
    ledger.insert_container(row(2), vec![]).await.unwrap();
    // Two containers, each updated by a task of its own, both through clones of one handle.
    let tasks = [1, 2].map(|n| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            for second in 0..300 {
                ledger
                    .update_container_state(&id(n), &running(second), None, 0)
                    .await
                    .unwrap();
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    for container in fixture.contents().containers {
        assert_eq!(container.state, running(299));
    }
}

#[tokio::test]
async fn one_refused_change_of_a_group_takes_nobody_with_it() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    // All are queued before the first answer, so most share a transaction.
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..200 {
        let mut row = row(n);
        if n % 3 == 0 {
            row.name = "same".parse().unwrap();
        }
        let ledger = ledger.clone();
        waiting.spawn(async move { ledger.insert_container(row, vec![]).await });
    }
    let outcomes = waiting.join_all().await;
    let refused: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().err()).collect();
    assert_eq!(refused.len(), 66);
    assert!(refused.iter().all(|e| e.kind() == Kind::Conflict));
    assert_eq!(fixture.contents().containers.len(), 134);
}

#[tokio::test]
async fn a_change_is_made_though_its_caller_left() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    let mut insert = Box::pin(ledger.insert_container(row(1), vec![]));
    // One poll queues it; then the caller is gone.
    let waker = std::task::Waker::noop();
    let poll = insert
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    assert!(poll.is_pending());
    drop(insert);
    ledger.set_meta("after", "it").await.unwrap();
    assert_eq!(fixture.contents().containers, [row(1)]);
}

#[tokio::test]
async fn a_damaged_row_costs_only_itself_and_is_kept() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    for n in 1..=5 {
        ledger.insert_container(row(n), vec![]).await.unwrap();
    }
    ledger
        .put_image(&image(1), vec!["a:1".parse().unwrap()])
        .await
        .unwrap();
    ledger.put_image(&image(2), vec![]).await.unwrap();
    ledger.put_volume(&volume("good")).await.unwrap();
    ledger.put_volume(&volume("bad")).await.unwrap();
    drop(ledger);
    fixture.tamper(&format!(
        "UPDATE containers SET spec = '{{\"cut' WHERE id = '{}';
         UPDATE container_states SET state = '\"Dancing\"' WHERE id = '{}';
         DELETE FROM container_states WHERE id = '{}';
         UPDATE containers SET name = 'no good' WHERE id = '{}';
         UPDATE images SET record = '{{}}' WHERE id = '{}';
         UPDATE tags SET reference = 'NO:good';
         UPDATE volumes SET name = 'other' WHERE name = 'bad'",
        id(1),
        id(2),
        id(3),
        id(4),
        image(1).id,
    ));

    let (ledger, read) = fixture.open();
    assert_eq!(read.containers, [row(5)]);
    assert_eq!(read.images, [image(2)]);
    assert_eq!((read.tags, read.volumes), (vec![], vec![volume("good")]));
    let told: Vec<_> = read
        .damaged
        .iter()
        .map(|d| (d.table, d.key.as_str()))
        .collect();
    let keys = [1, 2, 3, 4].map(|n| id(n).to_string());
    assert_eq!(
        told[..4],
        [0, 1, 2, 3].map(|n| (Table::Containers, keys[n].as_str()))
    );
    assert_eq!(
        told[4..],
        [
            (Table::Images, image(1).id.as_str()),
            (Table::Tags, "NO:good"),
            (Table::Volumes, "other"),
        ]
    );
    assert!(
        read.damaged[0].reason.starts_with("spec: "),
        "{:?}",
        read.damaged[0]
    );
    assert!(
        read.damaged[1].reason.contains("Dancing"),
        "{:?}",
        read.damaged[1]
    );
    assert_eq!(read.damaged[2].reason, "state: missing");
    assert_eq!(read.damaged[0].name, Some(row(1).name.to_string()));
    assert_eq!(read.damaged[3].name, None);

    // Its name stays taken, and an operator can still have it removed.
    let thief = ContainerRow {
        name: row(1).name,
        ..row(6)
    };
    let e = ledger
        .insert_container(thief.clone(), vec![])
        .await
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict);
    assert_eq!(fixture.contents().damaged.len(), 7);
    ledger.delete_container(&id(1), vec![]).await.unwrap();
    ledger.insert_container(thief, vec![]).await.unwrap();
    assert_eq!(fixture.contents().damaged.len(), 6);
}

#[tokio::test]
async fn a_full_disk_is_told_and_takes_nothing_with_it() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    ledger.insert_container(row(1), vec![]).await.unwrap();
    let limit = |pages: u32| {
        ledger
            .writer
            .write(move |db| Ok(db.pragma_update(None, "max_page_count", pages)?))
    };
    limit(1).await.unwrap(); // SQLite takes its present size as the least.
    let mut big = row(2);
    big.echo = vec![b'x'; 1 << 20];
    let e = ledger.insert_container(big, vec![]).await.unwrap_err();
    assert_eq!(e.kind(), Kind::System);
    assert!(e.message().contains("full"), "{e}");
    assert!(e.message().contains("free some space"), "{e}");
    assert!(e.message().contains("ledger.db"), "{e}");
    assert_eq!(fixture.contents().containers, [row(1)]);
    limit(1_000_000).await.unwrap();
    ledger.insert_container(row(2), vec![]).await.unwrap();
    assert_eq!(fixture.contents().containers, [row(1), row(2)]);
}

#[tokio::test]
async fn an_exec_is_kept_changed_and_gone_with_its_container() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    let exec = ExecRow {
        id: ExecId::from_bytes([3; 32]),
        container_id: id(1),
        created_at: Timestamp::from_second(1_700_000_000).unwrap(),
        spec: model::ExecSpec {
            args: vec!["sh".to_owned()],
            tty: true,
            ..model::ExecSpec::default()
        },
        state: ExecState::Starting,
    };
    let e = ledger.insert_exec(&exec).await.unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    ledger.insert_container(row(1), vec![]).await.unwrap();
    ledger.insert_exec(&exec).await.unwrap();
    assert_eq!(fixture.contents().execs, std::slice::from_ref(&exec));
    let ended = ExecRow {
        state: ExecState::Ended(model::ExecEnded {
            status: ExitStatus::Known(3),
            pid: Pid::new(77),
            finished_at: Timestamp::from_second(1_700_000_001).unwrap(),
            error: String::new(),
        }),
        ..exec.clone()
    };
    ledger.update_exec(&ended.id, &ended.state).await.unwrap();
    assert_eq!(fixture.contents().execs, std::slice::from_ref(&ended));
    ledger.delete_exec(&exec.id).await.unwrap();
    ledger.delete_exec(&exec.id).await.unwrap();
    ledger.update_exec(&ended.id, &ended.state).await.unwrap();
    assert_eq!(fixture.contents().execs, [], "what is forgotten stays so");
    ledger.insert_exec(&exec).await.unwrap();
    ledger.delete_container(&id(1), vec![]).await.unwrap();
    assert_eq!(fixture.contents().execs, []);
}
