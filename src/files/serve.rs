//! What clients ask of a container's files: off the async threads, archives few at once.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use archive::gzip;
use model::{Action, ContainerId, ContainerSpec, Error, Kind, Result};
use sys::task::{blocking, to_the_end};
use tokio::io::AsyncRead;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use transfer::Download;

use crate::copy::Terms;
use crate::gate::Gate;
use crate::look::PathStat;
use crate::name::Wanted;
use crate::{Change, Extract, Gates, Layers, View, changes};

/// Tells of what was done.
pub type Tell = Arc<dyn Fn(Action) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Finds a container's user and group in what is below a root; `None` when it has none.
pub type FindUser = Arc<dyn Fn(&Path) -> Result<Option<(u32, u32)>> + Send + Sync>;

/// What a container's files are served with.
#[derive(Clone)]
pub struct Tools {
    /// What the client calls the container.
    pub container: String,
    /// What it is called by everybody.
    pub id: ContainerId,
    /// Opens its files: with its mounts, or without.
    pub open: Arc<dyn Fn(bool) -> Result<View> + Send + Sync>,
    /// Its user and group.
    pub user: FindUser,
    /// What it was asked to be: its ids, and what of it is read-only.
    pub spec: Arc<ContainerSpec>,
    /// Its changes and what they are changes of.
    pub layers: Layers,
    /// Whose turn it is.
    pub gates: Gates,
    /// Tells of it.
    pub tell: Tell,
}

/// A container's files, for clients.
#[derive(Clone)]
pub struct Files {
    tools: Arc<Tools>,
    gate: Arc<Gate>,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

impl Files {
    /// The files of one container.
    pub fn new(tools: Tools) -> Self {
        Self {
            gate: tools.gates.of(tools.id.as_str()),
            tools: Arc::new(tools),
        }
    }

    /// What is at a path.
    ///
    /// # Errors
    /// `Could not find the file x in container y`; an impossible path.
    pub async fn stat(&self, path: &[u8]) -> Result<PathStat> {
        let wanted = Wanted::parse(path)?;
        let turn = self.gate.look().await?;
        let tools = self.tools.clone();
        let named = wanted.clone();
        let looked = blocking(move || {
            let _turn = turn;
            Ok((tools.open)(true)?.look(&wanted)?.stat)
        });
        let looked = looked.await;
        looked.map_err(|e| self.named(e, &named))
    }

    /// What is at a path, and an archive of it.
    ///
    /// # Errors
    /// As [`Files::stat`].
    pub async fn archive(&self, path: &[u8], compressed: bool) -> Result<(PathStat, Download)> {
        let wanted = Wanted::parse(path)?;
        let (tools, named) = (self.tools.clone(), wanted.clone());
        let (found, told) = oneshot::channel();
        let turn = self.gate.archive().await?;
        let begun = self.tools.gates.downloads.begin(move |out| {
            let _turn = turn;
            let view = (tools.open)(true)?;
            let looked = view.look(&wanted)?;
            drop(found.send(looked.stat.clone()));
            Handle::current().block_on((tools.tell)(Action::ArchivePath));
            let ids = tools.spec.id_maps.as_ref();
            match compressed {
                false => view.send(out, looked, &wanted, ids),
                true => {
                    let mut packed = gzip(out);
                    view.send(&mut packed, looked, &wanted, ids)?;
                    packed.finish().map(drop).map_err(archive::writing)
                }
            }
        });
        let download = begun.await.map_err(|e| self.named(e, &named))?;
        let stat = told.await;
        let stat = stat.map_err(|_| Error::system("an archive was begun without its head"))?;
        Ok((stat, download))
    }

    /// Puts an archive into the directory at a path.
    ///
    /// # Errors
    /// 404 when nothing is there; 400 when it is no directory, cannot be written to, or the archive is
    /// bad. What was put there by then stays, as in Docker.
    pub async fn extract(
        &self,
        path: &[u8],
        how: Extract,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<()> {
        let wanted = Wanted::parse(path)?;
        let (tools, named) = (self.tools.clone(), wanted.clone());
        let gate = self.gate.clone();
        let done = to_the_end(async move {
            let turn = gate.look().await?;
            let (work, place) = (tools.clone(), wanted.clone());
            // Nobody waits for what comes to be told that there is no such place.
            let looked = blocking(move || {
                let _turn = turn;
                (work.open)(true)?.place(&place, &work.spec).map(drop)
            });
            looked.await?;
            let work = tools.clone();
            // The container's turn first: who waits for it waits for nobody else's container.
            let begun = tools.gates.uploads.begun(archive).await;
            let turn = gate.inward().await?;
            let upload = begun.turn().await?;
            let put = blocking(move || {
                let _turn = turn;
                let view = (work.open)(true)?;
                let owner = match how.to_user {
                    true => (work.user)(&view.path())?,
                    false => None,
                };
                let terms = Terms {
                    keep_kinds: how.keep_kinds,
                    owner,
                    spec: &work.spec,
                };
                view.receive(upload, &wanted, &terms)
            });
            put.await?;
            (tools.tell)(Action::ExtractToDir).await;
            Ok(())
        });
        done.await.map_err(|e| self.named(e, &named))
    }

    /// Everything but what is mounted, as an archive.
    ///
    /// # Errors
    /// System, in moby's words.
    pub async fn export(&self) -> Result<Download> {
        let tools = self.tools.clone();
        let turn = self.gate.archive().await?;
        let begun = self
            .tools
            .gates
            .downloads
            .begin(move |out: &mut dyn Write| {
                let _turn = turn;
                let view = (tools.open)(false)?;
                view.send_all(out, tools.spec.id_maps.as_ref())?;
                Handle::current().block_on((tools.tell)(Action::Export));
                Ok(())
            });
        begun.await.map_err(|e| {
            let message = format!("Error exporting container {}: {e}", self.tools.container);
            Error::new(e.kind(), message)
        })
    }

    /// What is not as the image has it, parents first, names in order.
    ///
    /// # Errors
    /// System.
    pub async fn changes(&self) -> Result<Vec<Change>> {
        let tools = self.tools.clone();
        let turn = self.gate.look().await?;
        let changes = blocking(move || {
            let _turn = turn;
            changes::of(&tools.layers)
        });
        changes.await
    }

    /// A failure to find something says what, in moby's words.
    fn named(&self, e: Error, wanted: &Wanted) -> Error {
        match (e.kind(), e.message()) {
            (Kind::NotFound, "") => Error::not_found(format!(
                "Could not find the file {} in container {}",
                wanted.given, self.tools.container
            )),
            _ => e,
        }
    }
}
