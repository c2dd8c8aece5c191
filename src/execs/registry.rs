//! All sessions the daemon knows, and how long it knows them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{ContainerId, Error, ExecId, ExecState, Kind, Result, Timestamp, limits};

use crate::session::Session;

/// The sessions.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    all: Mutex<HashMap<ExecId, Arc<Session>>>,
}

impl Registry {
    /// Makes a session known. When there are too many, the one that ended first makes room, or
    /// the oldest that was never started: it is returned, to be forgotten.
    ///
    /// # Errors
    /// When all of them run.
    pub(crate) fn insert(&self, session: Arc<Session>) -> Result<Option<Arc<Session>>> {
        let mut all = self.lock();
        let kept = || all.values().filter(|s| s.kept.is_some()).count();
        if session.kept.is_some() && kept() >= limits::EXECS_KEPT_MAX {
            return Err(Error::new(
                Kind::Unavailable,
                format!(
                    "{} exec sessions keep their output: remove some first",
                    limits::EXECS_KEPT_MAX
                ),
            ));
        }
        let mut evicted = None;
        if all.len() >= limits::EXECS_MAX {
            let spare = |s: &&Arc<Session>| match s.state() {
                ExecState::Ended(ended) => Some((0, ended.finished_at)),
                ExecState::Created => Some((1, s.created_at)),
                ExecState::Starting | ExecState::Running(_) => None,
            };
            let oldest = all
                .values()
                .filter(|s| spare(s).is_some())
                .min_by_key(spare);
            let Some(oldest) = oldest.map(|s| s.id.clone()) else {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("{} exec sessions are running: stop some first", all.len()),
                ));
            };
            evicted = all.remove(&oldest);
        }
        all.insert(session.id.clone(), session);
        Ok(evicted)
    }

    /// The session of exactly this id.
    pub(crate) fn find(&self, id: &str) -> Result<Arc<Session>> {
        self.lock().get(id).cloned().ok_or_else(|| {
            let shown: String = id.chars().take(256).collect();
            Error::not_found(format!("No such exec instance: {shown}"))
        })
    }

    /// A container's sessions, oldest first.
    pub(crate) fn of(&self, container: &ContainerId) -> Vec<Arc<Session>> {
        let mut found: BTreeMap<(Timestamp, ExecId), Arc<Session>> = BTreeMap::new();
        for session in self.lock().values() {
            if session.container_id == *container {
                let key = (session.created_at, session.id.clone());
                found.insert(key, session.clone());
            }
        }
        found.into_values().collect()
    }

    /// The ids of a container's sessions that are not over, for inspect.
    pub(crate) fn open_ids(&self, container: &ContainerId) -> Vec<ExecId> {
        let open = |s: &Arc<Session>| s.finished_at().is_none();
        let of = self.of(container);
        of.iter()
            .filter(|s| open(s))
            .map(|s| s.id.clone())
            .collect()
    }

    /// Looks at all.
    pub(crate) fn for_each(&self, look: impl FnMut(&Arc<Session>)) {
        self.lock().values().for_each(look);
    }

    /// Whether there is one of this id.
    pub(crate) fn has(&self, id: &ExecId) -> bool {
        self.lock().contains_key(id)
    }

    /// Forgets one.
    pub(crate) fn remove(&self, id: &ExecId) {
        self.lock().remove(id);
    }

    /// Takes out those of a container that is gone.
    pub(crate) fn take_of(&self, container: &ContainerId) -> Vec<Arc<Session>> {
        let mut all = self.lock();
        all.extract_if(|_, s| s.container_id == *container)
            .map(|(_, session)| session)
            .collect()
    }

    /// Takes out those that were kept long enough.
    pub(crate) fn take_expired(&self, now: Timestamp) -> Vec<Arc<Session>> {
        let age = |since: Timestamp| now.duration_since(since).unsigned_abs();
        let expired = |session: &Session| match session.state() {
            ExecState::Created => age(session.created_at) > limits::EXEC_UNSTARTED_KEPT,
            ExecState::Ended(ended) => match &session.kept {
                Some(kept) => kept.is_expired(),
                None => age(ended.finished_at) > limits::EXEC_ENDED_KEPT,
            },
            ExecState::Starting | ExecState::Running(_) => false,
        };
        let mut all = self.lock();
        all.extract_if(|_, s| expired(s))
            .map(|(_, session)| session)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecId, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
