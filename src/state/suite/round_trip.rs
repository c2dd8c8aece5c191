//! Any row that can be made comes back as it went.

use proptest::prelude::*;

use model::Restarting;

use super::*;

fn any_text() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

fn any_state() -> impl Strategy<Value = ContainerState> {
    let status = prop_oneof![
        any::<u8>().prop_map(ExitStatus::Known),
        Just(ExitStatus::Unknown(ExitReason::HostRestarted)),
    ];
    let time = || (0..4_000_000_000_i64, 0..1_000_000_000_i32);
    let at = |(s, ns)| Timestamp::new(s, ns).unwrap();
    prop_oneof![
        proptest::option::of((any::<u8>(), any_text())).prop_map(|f| ContainerState::Created {
            failure: f.map(|(exit_code, error)| StartFailure { exit_code, error })
        }),
        (1..4_194_304_i64, any::<u64>(), time(), any::<bool>()).prop_map(
            move |(pid, start_ticks, started, paused)| {
                let init = ProcessRef {
                    pid: Pid::new(pid).unwrap(),
                    start_ticks,
                };
                ContainerState::Running(Running {
                    init,
                    monitor: paused.then_some(init),
                    started_at: at(started),
                    paused,
                    readiness: None,
                    last_finished_at: None,
                })
            }
        ),
        (
            status,
            time(),
            time(),
            any::<[bool; 3]>(),
            any_text(),
            any::<u64>()
        )
            .prop_map(move |(status, started, finished, flags, error, delay_ms)| {
                let last = Exited {
                    by_request: flags[0],
                    by_checkpoint: flags[1],
                    status,
                    started_at: at(started),
                    finished_at: at(finished),
                    oom_killed: flags[1],
                    error,
                };
                match flags[2] {
                    true => ContainerState::Restarting(Restarting { last, delay_ms }),
                    false => ContainerState::Exited(last),
                }
            }),
        Just(ContainerState::Removing),
        any_text().prop_map(|reason| ContainerState::Dead { reason }),
    ]
}

prop_compose! {
    fn any_row()(
        n in any::<u32>(),
        words in proptest::collection::vec(any_text(), 6),
        labels in proptest::collection::btree_map(any_text(), any_text(), 0..4),
        flags in any::<[bool; 4]>(),
        memory_bytes in proptest::option::of(any::<i64>()),
        echo in proptest::collection::vec(any::<u8>(), 0..64),
        state in any_state(),
        intent in proptest::option::of(prop_oneof![
            Just(Intent::Starting),
            Just(Intent::Restarting),
            Just(Intent::Stopping),
            any::<bool>().prop_map(|again| Intent::UndoingStart { again }),
            any::<bool>().prop_map(|volumes| Intent::Removing { volumes }),
        ]),
        restart_count in any::<u32>(),
    ) -> ContainerRow {
        let mut row = row(n);
        row.image_name.clone_from(&words[0]);
        row.runtime.clone_from(&words[1]);
        row.spec.cmd = flags[0].then(|| words.clone());
        row.spec.env.clone_from(&words);
        row.spec.user.clone_from(&words[2]);
        row.spec.labels = labels;
        row.spec.tty = flags[1];
        row.spec.stop_timeout_s = memory_bytes;
        row.spec.auto_remove = flags[2];
        ContainerRow { echo, state, intent, restart_count, ..row }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_row_comes_back_as_it_went(row in any_row(), after in any_state()) {
        let fixture = Fixture::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (ledger, _) = fixture.open();
            ledger.insert_container(row.clone(), vec![]).await.unwrap();
            prop_assert_eq!(&fixture.contents().containers, std::slice::from_ref(&row));
            ledger.update_container_state(&row.id, &after, row.intent, row.restart_count).await.unwrap();
            let changed = ContainerRow { state: after, ..row };
            prop_assert_eq!(&fixture.contents().containers, &[changed]);
            Ok(())
        })?;
    }
}
