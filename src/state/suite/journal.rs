//! The journal: with the change or not at all, in order, numbered once, for followers of any
//! speed.

use model::{Action, Event, EventKind, Kind, NumberedEvent, limits};

use super::*;

fn event(actor: &str) -> Event {
    let at = Timestamp::from_second(7).unwrap();
    Event::new(at, EventKind::Container, &Action::Start, actor).with("name", "a name")
}

fn large(actor: &str) -> Event {
    event(actor).with("large", "x".repeat(1 << 20))
}

/// All events after `number`, as a follower gets them.
async fn follow(ledger: &Ledger, mut number: u64) -> Vec<Arc<NumberedEvent>> {
    let mut all = Vec::new();
    loop {
        let batch = ledger.journal().after(number).await.unwrap();
        if batch.up_to == number {
            return all;
        }
        number = batch.up_to;
        all.extend(batch.events);
    }
}

async fn actors(ledger: &Ledger, number: u64) -> Vec<(u64, String)> {
    let events = follow(ledger, number).await;
    let told = events.iter().map(|e| (e.number, e.event.actor.clone()));
    told.collect()
}

fn told(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    let owned = expected.iter().map(|(n, actor)| (*n, (*actor).to_owned()));
    owned.collect()
}

#[tokio::test]
async fn an_event_is_there_with_its_change_and_not_without() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    let made = ledger.telling(vec![event("one"), event("two")]);
    made.insert_container(row(1), vec![]).await.unwrap();
    let refused = ledger.telling(vec![event("never")]);
    let clash = refused.insert_container(row(1), vec![]).await;
    assert_eq!(clash.unwrap_err().kind(), Kind::Conflict);
    ledger.tell_soon(vec![event("three")]).await.unwrap();
    ledger.tell(vec![event("four")]).await.unwrap();
    let all = told(&[(1, "one"), (2, "two"), (3, "three"), (4, "four")]);
    assert_eq!(actors(&ledger, 0).await, all);
    assert_eq!(actors(&ledger, 3).await, all[3..]);
    assert_eq!(ledger.journal().newest(), 4);
    let first = &follow(&ledger, 0).await[0];
    assert_eq!(first.event, event("one"));
}

#[tokio::test]
async fn numbers_go_on_in_the_next_daemon_and_jump_with_the_host() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open_on("one");
    ledger.tell(vec![event("a")]).await.unwrap();
    drop(ledger);
    let (ledger, _) = fixture.open_on("one");
    ledger.tell(vec![event("b")]).await.unwrap();
    drop(ledger);
    // Two daemons that tell nothing must not forget that the host was restarted.
    drop(fixture.open_on("two"));
    let (ledger, contents) = fixture.open_on("two");
    assert_eq!(contents, Contents::default());
    let nothing = ledger.journal().after(2).await.unwrap();
    assert_eq!(
        (nothing.events.len(), nothing.up_to),
        (0, ledger.journal().newest())
    );
    ledger.tell(vec![event("c")]).await.unwrap();
    let third = 2 + limits::EVENTS_LEFT_OUT + 1;
    let all = told(&[(1, "a"), (2, "b"), (third, "c")]);
    assert_eq!(actors(&ledger, 0).await, all);
    assert_eq!(actors(&ledger, 2).await, all[2..]);
}

#[tokio::test]
async fn a_slow_follower_gets_from_the_file_what_is_in_memory_no_more() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    let count = 3 * limits::EVENTS_BATCH_MAX as u64;
    for n in 0..count {
        let padded = event(&n.to_string()).with("padding", "x".repeat(4096));
        ledger.tell_soon(vec![padded]).await.unwrap();
    }
    ledger.tell(vec![]).await.unwrap();
    let all = follow(&ledger, 0).await;
    let numbers: Vec<u64> = all.iter().map(|e| e.number).collect();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
    let in_order = |(n, e): (u64, &Arc<NumberedEvent>)| e.event.actor == n.to_string();
    assert!((0..).zip(&all).all(in_order));
}

#[tokio::test]
async fn a_follower_is_woken_and_one_at_the_end_is_not() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    ledger.tell(vec![event("a")]).await.unwrap();
    ledger.journal().grown_beyond(0).await;
    let journal = ledger.journal().clone();
    let waiting = tokio::spawn(async move {
        journal.grown_beyond(1).await;
        journal.after(1).await.unwrap().events[0]
            .event
            .actor
            .clone()
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    ledger.tell(vec![event("b")]).await.unwrap();
    assert_eq!(waiting.await.unwrap(), "b");
}

#[tokio::test]
async fn the_oldest_go_and_who_asks_for_them_is_told() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    ledger.tell(vec![event("first")]).await.unwrap();
    for n in 0..limits::EVENTS_BYTES_MAX >> 19 {
        ledger.tell(vec![large(&n.to_string())]).await.unwrap();
    }
    let gone = ledger.journal().after(0).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::Gone);
    let dropped = ledger.journal().dropped();
    assert!(gone.message().contains(&dropped.to_string()), "{gone}");
    let kept = follow(&ledger, dropped).await;
    let bytes = (kept.len() as u64) << 20;
    assert!(bytes <= limits::EVENTS_BYTES_MAX, "{bytes}");
    assert!(bytes > limits::EVENTS_BYTES_MAX / 8 * 7, "{bytes}");
    assert_eq!(kept[0].number, dropped + 1);
    assert_eq!(kept.last().unwrap().number, ledger.journal().newest());
    // The next daemon knows as much.
    drop(ledger);
    let (ledger, _) = fixture.open();
    assert_eq!(ledger.journal().dropped(), dropped);
    assert_eq!(follow(&ledger, dropped).await, kept);
    let file = std::fs::metadata(fixture.path()).unwrap().len();
    assert!(file < limits::EVENTS_BYTES_MAX + (8 << 20), "{file}");
}

#[tokio::test]
async fn a_damaged_row_costs_only_itself() {
    let fixture = Fixture::new();
    let (ledger, _) = fixture.open();
    for actor in ["a", "b", "c"] {
        ledger.tell(vec![event(actor)]).await.unwrap();
    }
    drop(ledger);
    fixture.tamper("UPDATE events SET attributes = 'rubbish' WHERE number > 1");
    let (ledger, _) = fixture.open();
    ledger.tell(vec![event("d")]).await.unwrap();
    assert_eq!(actors(&ledger, 0).await, told(&[(1, "a"), (4, "d")]));
    // Behind the last good row nobody is woken again and again.
    assert_eq!(ledger.journal().after(1).await.unwrap().up_to, 4);
}
