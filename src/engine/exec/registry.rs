//! All sessions the daemon knows, and how long it knows them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{ContainerId, Error, ExecId, ExecState, Kind, Result, Timestamp, limits};

use super::session::Session;

/// The sessions.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    all: Mutex<HashMap<ExecId, Arc<Session>>>,
}

impl Execs {
    /// Makes a session known.
    ///
    /// # Errors
    /// When there are too many that are not over.
    pub(super) fn insert(&self, session: Arc<Session>) -> Result<()> {
        let mut all = self.lock();
        if all.len() >= limits::EXECS_MAX {
            // The one that ended first makes room.
            let over = all.values().filter_map(|s| Some((s.finished_at()?, &s.id)));
            let Some((_, oldest)) = over.min() else {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("there are {} exec sessions: remove some first", all.len()),
                ));
            };
            let oldest = oldest.clone();
            all.remove(&oldest);
        }
        all.insert(session.id.clone(), session);
        Ok(())
    }

    /// The session of exactly this id.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Session>> {
        self.lock().get(id).cloned().ok_or_else(|| {
            let shown: String = id.chars().take(256).collect();
            Error::not_found(format!("No such exec instance: {shown}"))
        })
    }

    /// A container's sessions, oldest first.
    pub(super) fn of(&self, container: &ContainerId) -> Vec<Arc<Session>> {
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
    pub(super) fn open_ids(&self, container: &ContainerId) -> Vec<ExecId> {
        let open = |s: &Arc<Session>| s.finished_at().is_none();
        let of = self.of(container);
        of.iter()
            .filter(|s| open(s))
            .map(|s| s.id.clone())
            .collect()
    }

    /// Forgets one.
    pub(super) fn remove(&self, id: &ExecId) {
        self.lock().remove(id);
    }

    /// Forgets those of a container that is gone.
    pub(crate) fn remove_of(&self, container: &ContainerId) {
        self.lock().retain(|_, s| s.container_id != *container);
    }

    /// Takes out those that were kept long enough; their ids.
    pub(super) fn take_expired(&self, now: Timestamp) -> Vec<ExecId> {
        let age = |since: Timestamp| now.duration_since(since).unsigned_abs();
        let expired = |session: &Session| match session.state() {
            ExecState::Created => age(session.created_at) > limits::EXEC_UNSTARTED_KEPT,
            ExecState::Ended(ended) => age(ended.finished_at) > limits::EXEC_ENDED_KEPT,
            ExecState::Starting | ExecState::Running(_) => false,
        };
        let mut all = self.lock();
        let ids: Vec<ExecId> = all
            .values()
            .filter(|s| expired(s))
            .map(|s| s.id.clone())
            .collect();
        for id in &ids {
            all.remove(id);
        }
        ids
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecId, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
