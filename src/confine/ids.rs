//! Which ids of the host stand behind those of containers in user namespaces.

use std::path::{Path, PathBuf};

use model::id_map::IdMap;
use model::{Context, Error, IdMaps, Result, UserNamespace};
use rules::id_ranges::{self, Run};

/// Where ids come from. Users and groups are named as they are in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdSource {
    /// Whose ids containers have that wish nothing (Docker's `userns-remap`): a user and a group.
    pub remap: Option<(String, String)>,
    /// Whose ids containers have that want ids of their own.
    pub auto_user: String,
    /// The users' lines (subuid(5)).
    pub subuid: PathBuf,
    /// The groups' lines (subgid(5)).
    pub subgid: PathBuf,
}

impl Default for IdSource {
    /// The host's files, and the user whose ids podman divides.
    fn default() -> Self {
        Self {
            remap: None,
            auto_user: "containers".to_owned(),
            subuid: "/etc/subuid".into(),
            subgid: "/etc/subgid".into(),
        }
    }
}

/// Where ids come from, and those of `userns-remap`, as they were when the daemon started.
#[derive(Debug)]
pub struct Ids {
    source: IdSource,
    remap: Option<IdMaps>,
    choosing: tokio::sync::Mutex<()>,
}

impl Ids {
    /// Looks up the ids of `userns-remap`.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(source: IdSource) -> Result<Self> {
        let remap = match &source.remap {
            Some((user, group)) => Some(IdMaps {
                uids: id_ranges::whole(&runs("subuid", user, &source.subuid)?)?,
                gids: id_ranges::whole(&runs("subgid", group, &source.subgid)?)?,
            }),
            None => None,
        };
        Ok(Self {
            source,
            remap,
            choosing: tokio::sync::Mutex::default(),
        })
    }

    /// Whether containers that wish nothing have ids of their own.
    pub fn remaps(&self) -> bool {
        self.remap.is_some()
    }

    /// To be held from the choice of ids that nobody has to the moment somebody has them.
    pub async fn choosing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.choosing.lock().await
    }

    /// The maps for a wish. For [`UserNamespace::Auto`] they are none of those in `used`. Reads the
    /// files then, as they are now.
    ///
    /// # Errors
    /// System, naming the file, when there are none, or none are free.
    pub fn choose(&self, wish: &UserNamespace, used: &[&IdMaps]) -> Result<Option<IdMaps>> {
        match wish {
            UserNamespace::Default => Ok(self.remap.clone()),
            UserNamespace::Host => Ok(None),
            UserNamespace::Mapped(maps) => Ok(Some(maps.clone())),
            UserNamespace::Auto { count } => self.free(*count, used).map(Some),
        }
    }

    fn free(&self, count: u32, used: &[&IdMaps]) -> Result<IdMaps> {
        let source = &self.source;
        let find = |kind: &str, file: &Path, map: fn(&IdMaps) -> &IdMap| {
            let pool = runs(kind, &source.auto_user, file)?;
            let used = used.iter().copied().chain(&self.remap).map(map);
            id_ranges::free(&pool, used, count).ok_or_else(|| {
                Error::system(format!(
                    "no {count} ids in a row are free for a user namespace: {} gives {:?} too few, or \
                     containers and userns-remap have them",
                    file.display(),
                    source.auto_user,
                ))
            })
        };
        Ok(IdMaps {
            uids: find("subuid", &source.subuid, |maps| &maps.uids)?,
            gids: find("subgid", &source.subgid, |maps| &maps.gids)?,
        })
    }
}

/// Whether there are ids for `userns-remap`.
///
/// # Errors
/// As [`Ids::new`].
pub fn check_ids(source: &IdSource) -> Result<()> {
    Ids::new(source.clone()).map(drop)
}

/// What `file` gives `user`.
fn runs(kind: &str, user: &str, file: &Path) -> Result<Vec<Run>> {
    let text = match std::fs::read_to_string(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.context(format_args!("read {}", file.display()))?,
    };
    match id_ranges::subordinate(&text, user) {
        runs if runs.is_empty() => Err(Error::system(format!(
            "no {kind} ranges found for user {user:?} in {}: add a line such as \
             {user}:100000:65536",
            file.display()
        ))),
        runs => Ok(runs),
    }
}
