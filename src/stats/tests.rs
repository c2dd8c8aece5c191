//! Against a real process in a cgroup of its own; the seconds pass when the test lets them.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::Pid;
use sys::proc::process_ref;

use super::*;

/// A process that stands for a container.
struct Bed {
    id: ContainerId,
    hierarchies: Hierarchies,
    children: Vec<Child>,
    life: Arc<Mutex<Life>>,
    asked: Arc<AtomicUsize>,
    stats: Stats,
}

impl Bed {
    fn new(name: u8) -> Self {
        let mut bytes = [name; 32];
        bytes[..4].copy_from_slice(&std::process::id().to_be_bytes());
        let hierarchies = Hierarchies::detect().unwrap();
        let now = Arc::new(Timestamp::now);
        let mut bed = Self {
            id: ContainerId::from_bytes(bytes),
            stats: Stats::new(hierarchies.clone(), now),
            hierarchies,
            children: Vec::new(),
            life: Arc::new(Mutex::new(Life::Stopped)),
            asked: Arc::default(),
        };
        bed.start();
        bed
    }

    fn cgroup(&self) -> PathBuf {
        PathBuf::from(format!("moored-test-{}", self.id))
    }

    /// Begins a run.
    fn start(&mut self) -> Run {
        let child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        let pid = Pid::new(i64::from(child.id())).unwrap();
        self.children.push(child);
        self.hierarchies.place(&self.cgroup(), pid).unwrap();
        let run = Run {
            init: process_ref(pid).unwrap().unwrap(),
            own_network: false,
        };
        *self.life.lock().unwrap() = Life::Runs(run);
        run
    }

    /// Ends the run; nobody says so yet.
    fn end(&mut self) {
        for mut child in self.children.drain(..) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.hierarchies.remove_if_empty(&self.cgroup()).unwrap();
    }

    fn is(&self, life: Life) {
        *self.life.lock().unwrap() = life;
    }

    fn watch(&self) -> Watcher {
        let (life, asked) = (self.life.clone(), self.asked.clone());
        let ask = move || {
            asked.fetch_add(1, Ordering::SeqCst);
            *life.lock().unwrap()
        };
        self.stats.watch(&self.id, Arc::new(ask))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits in the test's time, which stands still while something is read.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        tokio::time::sleep(limits::STATS_INTERVAL / 10).await;
    }
    panic!("not within a minute: {what}");
}

#[tokio::test]
async fn one_look_is_of_now_and_none_when_the_run_is_over() {
    let mut bed = Bed::new(1);
    let run = bed.start();
    let sample = bed.stats.once(&bed.id, run).await.unwrap().unwrap();
    assert!(sample.host.total_ns > 0 && sample.host.online > 0);
    assert!(sample.usage.cpu.is_some(), "{sample:?}");
    if let Some(memory) = &sample.usage.memory {
        let host = sys::host::memory().unwrap().total_bytes;
        assert_eq!(memory.limit_bytes, host, "no limit is the host's memory");
    }
    if let Some(pids) = sample.usage.pids {
        assert_eq!(pids.current, 2, "the first run goes on in the same cgroup");
    }
    assert!(sample.networks.is_empty());
    bed.end();
    assert_eq!(bed.stats.once(&bed.id, run).await.unwrap(), None);
    assert_eq!(bed.stats.watched(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_gets_one_sample_at_once_and_then_one_a_second() {
    let bed = Bed::new(2);
    let mut watcher = bed.watch();
    let begun = tokio::time::Instant::now();
    let first = watcher.next().await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), std::time::Duration::ZERO);
    assert_eq!(first.before, None);
    let mut last = first.now.unwrap();
    for second in 1..=3 {
        let next = watcher.next().await.unwrap().unwrap();
        assert_eq!(begun.elapsed(), limits::STATS_INTERVAL * second);
        assert!(Arc::ptr_eq(next.before.as_ref().unwrap(), &last));
        last = next.now.unwrap();
        assert!(last.read_at > next.before.unwrap().read_at);
    }
    assert_eq!(bed.asked.load(Ordering::SeqCst), 4, "a look, and three");
}

#[tokio::test(start_paused = true)]
async fn many_watchers_of_one_container_share_each_look() {
    let bed = Bed::new(3);
    let mut watchers: Vec<Watcher> = (0..20).map(|_| bed.watch()).collect();
    for looks in 1..=3 {
        let mut seen = Vec::new();
        for watcher in &mut watchers {
            seen.push(watcher.next().await.unwrap().unwrap().now.unwrap());
        }
        assert!(seen.iter().all(|sample| Arc::ptr_eq(sample, &seen[0])));
        assert_eq!(bed.asked.load(Ordering::SeqCst), looks);
    }
    // One who comes later begins with the last look, and without one before it.
    let mut late = bed.watch();
    let begun = tokio::time::Instant::now();
    let first = late.next().await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), std::time::Duration::ZERO);
    assert!(first.now.is_some() && first.before.is_none());
    assert_eq!(bed.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_second_container_joins_the_round_of_the_first() {
    let (one, other) = (Bed::new(4), Bed::new(5));
    let mut first = one.watch();
    first.next().await.unwrap().unwrap();
    tokio::time::sleep(limits::STATS_INTERVAL * 9 / 10).await;
    let (life, id) = (other.life.clone(), other.id.clone());
    let ask = Arc::new(move || *life.lock().unwrap());
    let mut second = one.stats.watch(&id, ask);
    second.next().await.unwrap().unwrap();
    let begun = tokio::time::Instant::now();
    first.next().await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), limits::STATS_INTERVAL / 10);
    // Not a tenth of a second after its first: the round after that is its.
    let next = second.next().await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), limits::STATS_INTERVAL * 11 / 10);
    assert!(next.before.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_gets_the_newest() {
    let bed = Bed::new(6);
    let (mut slow, mut quick) = (bed.watch(), bed.watch());
    let first = slow.next().await.unwrap().unwrap().now.unwrap();
    let mut newest = quick.next().await.unwrap().unwrap().now.unwrap();
    for _ in 0..5 {
        newest = quick.next().await.unwrap().unwrap().now.unwrap();
    }
    let next = slow.next().await.unwrap().unwrap();
    assert!(Arc::ptr_eq(next.now.as_ref().unwrap(), &newest));
    assert!(Arc::ptr_eq(next.before.as_ref().unwrap(), &first));
}

#[tokio::test(start_paused = true)]
async fn watching_goes_on_over_a_stop_and_the_next_run_until_the_removal() {
    let mut bed = Bed::new(7);
    let mut watcher = bed.watch();
    let first = watcher.next().await.unwrap().unwrap().now.unwrap();
    // The cgroup is gone before anybody has said that the container has ended.
    bed.end();
    let ended = watcher.next().await.unwrap().unwrap();
    assert!(ended.now.is_none());
    assert!(Arc::ptr_eq(&ended.before.unwrap(), &first));
    bed.is(Life::Stopped);
    let stopped = watcher.next().await.unwrap().unwrap();
    assert_eq!(stopped, Samples::default());
    bed.start();
    let again = watcher.next().await.unwrap().unwrap();
    assert!(again.before.is_none() && again.now.is_some());
    bed.is(Life::Removed);
    assert_eq!(watcher.next().await, None);
    assert_eq!(bed.stats.watched(), 0);
    // One who had found it before it was removed, and begins after that.
    let mut late = bed.watch();
    assert_eq!(late.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_looked_at_for_nobody() {
    let bed = Bed::new(8);
    let mut watcher = bed.watch();
    watcher.next().await.unwrap().unwrap();
    drop(watcher);
    let stats = bed.stats.clone();
    until("it is watched no more", || stats.watched() == 0).await;
    let asked = bed.asked.load(Ordering::SeqCst);
    tokio::time::sleep(limits::STATS_INTERVAL * 10).await;
    assert_eq!(bed.asked.load(Ordering::SeqCst), asked);
    // And it begins anew.
    let mut watcher = bed.watch();
    for _ in 0..2 {
        assert!(watcher.next().await.unwrap().unwrap().now.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_is_told_and_the_next_may_find_more() {
    let bed = Bed::new(9);
    let life = bed.life.clone();
    let ask = Arc::new(move || *life.lock().unwrap());
    let (newest, watched) = bed.stats.sampler.clone().watch(&bed.id, ask);
    let mut watcher = Watcher {
        newest,
        before: None,
    };
    let watched = watched.unwrap();
    watched.tell(Look::Failed(Error::system("no descriptors are left")));
    let failed = watcher.next().await.unwrap();
    assert_eq!(failed.unwrap_err().message(), "no descriptors are left");
    let next = watcher.next().await.unwrap().unwrap();
    assert!(next.now.is_some() && next.before.is_none());
}
