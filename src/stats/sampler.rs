//! The one loop that looks at all containers that somebody watches, and how one is looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::stats::{HostCpu, Sample};
use model::{ContainerId, Context as _, ProcessRef, limits};
use sys::cgroup::{Accounts, Hierarchies};
use sys::counters;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{Ask, Life, Look, Now, Run};

/// Who is watched, and what is looked at.
#[derive(Debug)]
pub(crate) struct Sampler {
    pub(crate) reader: Reader,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watched: BTreeMap<ContainerId, Arc<Watched>>,
    /// The loop is there; it ends when it finds nobody who watches.
    is_looping: bool,
}

/// A container that somebody watches.
pub(crate) struct Watched {
    id: ContainerId,
    ask: Ask,
    newest: watch::Sender<Look>,
    last: Mutex<Last>,
}

/// The last look at it.
#[derive(Debug, Default)]
struct Last {
    at: Option<Instant>,
    /// Where the run that was looked at is counted.
    accounts: Option<(ProcessRef, Arc<Accounts>)>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Sampler {
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            reader,
            state: Mutex::default(),
        }
    }

    /// Adds one who watches; with the container where it is the first, for it to be looked at.
    pub(crate) fn watch(
        self: Arc<Self>,
        id: &ContainerId,
        ask: Ask,
    ) -> (watch::Receiver<Look>, Option<Arc<Watched>>) {
        let mut state = self.state();
        if let Some(watched) = state.watched.get(id) {
            let mut newest = watched.newest.subscribe();
            newest.mark_changed();
            return (newest, None);
        }
        let (sender, newest) = watch::channel(Look::Pending);
        let watched = Arc::new(Watched {
            id: id.clone(),
            ask,
            newest: sender,
            last: Mutex::default(),
        });
        state.watched.insert(id.clone(), watched.clone());
        if !std::mem::replace(&mut state.is_looping, true) {
            drop(state);
            tokio::spawn(self.looks());
        }
        (newest, Some(watched))
    }

    /// Whoever watches it gets no more.
    fn forget(&self, id: &ContainerId) {
        self.state().watched.remove(id);
    }

    pub(crate) fn len(&self) -> usize {
        self.state().watched.len()
    }

    async fn looks(self: Arc<Self>) {
        let begin = Instant::now() + limits::STATS_INTERVAL;
        let mut ticks = interval_at(begin, limits::STATS_INTERVAL);
        // A host that was busy for seconds is not looked at several times in a row.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let Some(all) = self.still_watched() else {
                return;
            };
            self.look_at(all).await;
        }
    }

    /// What is to be looked at now; `None` when nobody watches, which ends the loop.
    fn still_watched(&self) -> Option<Vec<Arc<Watched>>> {
        let mut state = self.state();
        state
            .watched
            .retain(|_, watched| !watched.newest.is_closed());
        if state.watched.is_empty() {
            state.is_looping = false;
            return None;
        }
        let due = state.watched.values().filter(|watched| watched.is_due());
        Some(due.cloned().collect())
    }

    /// Looks at each and tells what was found.
    pub(crate) async fn look_at(self: &Arc<Self>, all: Vec<Arc<Watched>>) {
        let sampler = self.clone();
        let look = move || {
            let host = counters::host_cpu().unwrap_or_default();
            let gone = all.iter().filter(|watched| !sampler.look(watched, host));
            for watched in gone {
                sampler.forget(&watched.id);
            }
        };
        if let Err(e) = tokio::task::spawn_blocking(look).await {
            tracing::error!(error = %e, "a look at containers ended early");
        }
    }

    /// Looks at one; whether it is still there.
    fn look(&self, watched: &Watched, host: HostCpu) -> bool {
        let run = match (watched.ask)() {
            Life::Removed => return false,
            Life::Stopped => {
                watched.tell(Look::Stopped);
                return true;
            }
            Life::Runs(run) => run,
        };
        let read = self.reader.read(watched, &run, host);
        match read.context("cannot read what the container uses") {
            Ok(Some(sample)) => watched.tell(Look::Found(Arc::new(sample))),
            Ok(None) => watched.tell(Look::Stopped),
            // The next look may find more.
            Err(error) => {
                tracing::debug!(%error, id = watched.id.short(), "not looked at");
                watched.tell(Look::Failed(error));
            }
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// One that was looked at just now, when the first began to watch it, waits for the next round: two
    /// samples of nearly the same moment tell nothing.
    fn is_due(&self) -> bool {
        let last = self.last().at;
        last.is_none_or(|at| at.elapsed() >= limits::STATS_INTERVAL / 2)
    }

    pub(crate) fn tell(&self, look: Look) {
        self.last().at = Some(Instant::now());
        self.newest.send_replace(look);
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a container is looked at.
pub(crate) struct Reader {
    hierarchies: Hierarchies,
    now: Now,
    /// What a limit above it means: none. 0 when it is not known.
    memory_bytes: u64,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(hierarchies: Hierarchies, now: Now) -> Self {
        let memory = sys::host::memory().unwrap_or_default();
        Self {
            hierarchies,
            now,
            memory_bytes: memory.total_bytes,
        }
    }

    /// A container that nobody watches.
    pub(crate) fn read_once(&self, id: &ContainerId, run: &Run) -> io::Result<Option<Sample>> {
        let Some(accounts) = self.hierarchies.accounts(&run.init, id.as_str())? else {
            return Ok(None);
        };
        self.sample(&accounts, run, counters::host_cpu()?)
    }

    /// One that somebody does: where a run is counted does not change.
    fn read(&self, watched: &Watched, run: &Run, host: HostCpu) -> io::Result<Option<Sample>> {
        let known = watched.last().accounts.clone();
        let known = known.filter(|(init, _)| *init == run.init);
        let accounts = match known {
            Some((_, accounts)) => accounts,
            None => {
                let found = (self.hierarchies).accounts(&run.init, watched.id.as_str())?;
                let Some(found) = found.map(Arc::new) else {
                    return Ok(None);
                };
                watched.last().accounts = Some((run.init, found.clone()));
                found
            }
        };
        self.sample(&accounts, run, host)
    }

    fn sample(&self, accounts: &Accounts, run: &Run, host: HostCpu) -> io::Result<Option<Sample>> {
        let read_at = (self.now)();
        let Some(mut usage) = accounts.read()? else {
            return Ok(None);
        };
        // moby `statsV1`, `statsV2`: without a limit, the host's memory is it.
        if let Some(memory) = &mut usage.memory
            && self.memory_bytes > 0
        {
            memory.limit_bytes = memory.limit_bytes.min(self.memory_bytes);
        }
        let networks = match run.own_network {
            true => counters::networks(&run.init)?,
            false => BTreeMap::new(),
        };
        Ok(Some(Sample {
            read_at,
            usage,
            host,
            networks,
        }))
    }
}
