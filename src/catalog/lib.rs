//! Which images there are: pull, push, load, import, list, tag, remove.
//!
//! | file | |
//! |---|---|
//! | `load`, `import` | from an archive to a record |
//! | `pull`, `push`, `distribution` | from a registry to a record, and back |
//! | `transfers` | layers on their way in, each once |
//! | `commit` | from a container's changes to a record |
//! | `save` | from records to an archive |
//! | `history` | how an image came about, and what it shares with others |
//! | `index` | records and names, in memory |
//! | `users` | which containers an image has |
//! | `prune` | what nothing needs |
//! | `remove` | names and records; the bytes that nobody names then are swept |
//! | `sweeper` | what takes the bytes that nobody names |
//! | `job` | long work that reports progress |
//! | `events` | how each change is told |
//! | this one | finding images, and what can be done with one |
//!
//! The bytes and trees are the images room's, the records and names the ledger's. A record is
//! written after its bytes are whole, and removed before they go: at no point does a name lead
//! to something half there. Bytes without a record are garbage and swept.
//!
//! This room knows no containers. Who uses an image it is told by a function that `engine` gives
//! it ([`Tools::users`]), and [`Catalog::gate`] keeps an image while a row that needs it is
//! written.

mod commit;
mod distribution;
mod events;
mod history;
mod import;
mod index;
mod job;
mod load;
mod prune;
mod pull;
mod push;
mod remove;
mod save;
mod sweeper;
mod transfers;
mod users;

use std::path::PathBuf;
use std::sync::Arc;

use model::{
    Action, ContainerId, Digest, Error, Filters, ImageRecord, Layer, Reference, Result,
    StorageDriver, Timestamp,
};
use sys::task::to_the_end;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, Semaphore};
use transfer::{Downloads, Uploads};

pub use commit::{CommitImage, CommitTurn, Committed, may_forget, stood_still};
pub use distribution::Distribution;
pub use history::HistoryStep;
pub use job::{Job, Progress};
pub use prune::PrunedImages;
pub use pull::PullImage;
pub use push::PushImage;
use rules::ReferencePattern as Pattern;
pub use rules::RemoveImage;
use users::Users;

/// The filters a list of images takes.
const KEYS: &[&str] = &[
    "before",
    "dangling",
    "label",
    "label!",
    "reference",
    "since",
    "until",
];

/// What the catalog is made with.
#[derive(Clone)]
pub struct Tools {
    /// Where records and names are.
    pub ledger: state::Ledger,
    /// Blobs and trees.
    pub store: images::Images,
    /// Where images can be had and go.
    pub registries: registry::Registries,
    /// The containers there are.
    pub users: Arc<dyn Fn() -> Vec<ImageUser> + Send + Sync>,
    /// Wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// A row is damaged: what looks like garbage in the store may be its.
    pub keep_unknown_trees: bool,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}

/// A container, as far as images go.
#[derive(Debug, Clone)]
pub struct ImageUser {
    /// Its id.
    pub container: ContainerId,
    /// The image it was made from.
    pub image: Digest,
    /// It runs.
    pub is_up: bool,
}

/// The images of the daemon: a cheap handle, cloned freely.
#[derive(Debug, Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tools: Tools,
    /// Records and names; the ledger has the same.
    index: index::Index,
    /// Held for reading by whoever is about to write a row that needs an image or a volume; for
    /// writing by whoever removes one.
    gate: Arc<RwLock<()>>,
    /// Held from the look at a record to the write of what it becomes: they are written whole.
    writing: tokio::sync::Mutex<()>,
    sweeper: sweeper::Sweeper,
    /// Held by the one prune there may be.
    pruning: tokio::sync::Mutex<()>,
    uploads: Uploads,
    transfers: transfers::Transfers,
    commit_turns: Arc<Semaphore>,
    /// Of layers that are sent to registries.
    upload_turns: Semaphore,
    downloads: Downloads,
}

/// An immutable picture of one image.
#[derive(Debug, Clone)]
pub struct ImageView {
    /// What the ledger knows.
    pub record: Arc<ImageRecord>,
    /// Its names, sorted.
    pub references: Vec<Reference>,
    /// How many containers use it.
    pub containers: usize,
}

/// An import of a root file system as an image.
#[derive(Debug, Clone, Default)]
pub struct ImportImage {
    /// The name to give it.
    pub reference: Option<Reference>,
    /// The comment of its one history entry.
    pub message: String,
    /// What it is for; this host where nothing is said.
    pub platform: Option<model::Platform>,
    /// Dockerfile instructions to apply to its configuration (`CMD`, `ENV`, ...).
    pub changes: Vec<String>,
}

/// What a removal did, in Docker's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovedReference {
    /// A name is gone.
    Untagged(String),
    /// An image or layer is gone.
    Deleted(Digest),
}

impl Catalog {
    /// The images that the ledger knows.
    pub fn new(tools: Tools, records: Vec<ImageRecord>, names: Vec<(Reference, Digest)>) -> Self {
        let inner = Inner {
            tools,
            index: index::Index::new(records, names),
            gate: Arc::default(),
            writing: tokio::sync::Mutex::default(),
            sweeper: sweeper::Sweeper::default(),
            pruning: tokio::sync::Mutex::default(),
            uploads: Uploads::default(),
            transfers: transfers::Transfers::default(),
            commit_turns: Arc::new(Semaphore::new(model::limits::COMMITS_MAX)),
            upload_turns: Semaphore::new(model::limits::LAYER_UPLOADS_MAX),
            downloads: Downloads::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Blobs and trees.
    pub fn store(&self) -> &images::Images {
        &self.inner.tools.store
    }

    /// What is known of one image.
    pub fn record(&self, id: &Digest) -> Option<Arc<ImageRecord>> {
        self.inner.index.record(id)
    }

    /// The layers of an image that a container was made from.
    ///
    /// # Errors
    /// System: the ledger has lost it.
    pub fn layers(&self, id: &Digest) -> Result<Vec<Layer>> {
        let lost = || Error::system(format!("image {id} of this container is not in the ledger"));
        Ok(self.record(id).ok_or_else(lost)?.layers.clone())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.inner.index.len()
    }

    /// The archives that are being read.
    pub fn uploads(&self) -> &Uploads {
        &self.inner.uploads
    }

    /// What is done that somebody counts on though his client may have left.
    pub fn at_work(&self) -> Option<&'static str> {
        let commits = self.inner.commit_turns.available_permits();
        if self.inner.uploads.is_busy() {
            return Some("an archive is being read");
        }
        (commits < model::limits::COMMITS_MAX).then_some("a container is being committed")
    }

    /// What [`Catalog::gate`] and [`Catalog::gate_all`] hold.
    pub fn gate_lock(&self) -> Arc<RwLock<()>> {
        self.inner.gate.clone()
    }

    /// Keeps removals out while a row that needs an image or a volume is being written.
    pub async fn gate(&self) -> OwnedRwLockReadGuard<()> {
        self.inner.gate.clone().read_owned().await
    }

    /// Keeps everybody out while something is removed.
    pub async fn gate_all(&self) -> OwnedRwLockWriteGuard<()> {
        self.inner.gate.clone().write_owned().await
    }

    /// The images that `filters` select, newest first. One without a name that another was made
    /// from is only a step of that one, and left out unless `all`.
    ///
    /// # Errors
    /// Bad filters.
    pub fn list(&self, filters: &Filters, all: bool) -> Result<Vec<ImageView>> {
        filters.check_keys(KEYS)?;
        let dangling = filters.flag("dangling")?;
        let now = (self.inner.tools.now)();
        let until = filters.until(now, sys::host::local_offset(now))?;
        let created = |key: &str| -> Result<Option<Timestamp>> {
            let named = filters.values(key).next();
            Ok(named
                .map(|name| self.find(name))
                .transpose()?
                .and_then(|i| i.record.config.created))
        };
        let (before, since) = (created("before")?, created("since")?);
        let patterns = filters.values("reference").map(Pattern::parse);
        let patterns = patterns.collect::<Result<Vec<_>>>()?;
        let (known, users) = (self.inner.index.all(), self.users());
        let is_step = |image: &ImageView| {
            image.references.is_empty() && self.inner.index.has_children(&image.record.id)
        };
        let mut selected: Vec<ImageView> = known
            .into_iter()
            .map(|(record, references)| image_view(record, references, &users))
            .filter(|i| all || !is_step(i))
            .filter(|i| match dangling {
                None => true,
                // What a prune takes. One that has a digest and no tag is in both halves (moby
                // `ImageService.Images`).
                Some(true) => is_dangling(i) && !self.inner.index.has_children(&i.record.id),
                Some(false) => !i.references.is_empty(),
            })
            .filter(|i| filters.match_labels(&i.record.config.labels))
            .filter_map(|i| named_by(i, &patterns))
            .filter(|i| before.is_none_or(|t| i.record.config.created.is_some_and(|c| c < t)))
            .filter(|i| since.is_none_or(|t| i.record.config.created.is_some_and(|c| c > t)))
            .filter(|i| until.is_none_or(|t| i.record.config.created.is_some_and(|c| c < t)))
            .collect();
        selected.sort_by_key(|i| std::cmp::Reverse(i.record.config.created));
        Ok(selected)
    }

    /// By reference, id or id prefix.
    ///
    /// # Errors
    /// `No such image: x`.
    pub fn find(&self, reference: &str) -> Result<ImageView> {
        let (record, references) = self.inner.index.find(reference)?;
        Ok(image_view(record, references, &self.users()))
    }

    /// The directories of an image's layers, the topmost first, and how a container's tree is made of
    /// them.
    pub fn trees(&self, image: &ImageView) -> (StorageDriver, Vec<PathBuf>) {
        let store = self.store();
        (store.driver(), store.trees(&image.record.layers))
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// `No such image: x`; a name that no image may have.
    pub async fn tag(&self, reference: &str, target: Reference) -> Result<()> {
        target.check_assignable()?;
        let (catalog, reference) = (self.clone(), reference.to_owned());
        to_the_end(async move {
            let _gate = catalog.gate().await;
            let _writing = catalog.inner.writing.lock().await;
            let image = catalog.find(&reference)?;
            let event = catalog.event(&image.record, &target.familiar(), &Action::Tag);
            let mut record = (*image.record).clone();
            record.tagged_at = Some((catalog.inner.tools.now)());
            let (inner, kept, names) =
                (catalog.inner.clone(), record.clone(), vec![target.clone()]);
            let ledger = catalog.inner.tools.ledger.telling(vec![event]);
            let ledger = ledger.applying(move || inner.index.insert(kept.clone(), &names));
            ledger.put_image(&record, vec![target]).await
        })
        .await
    }
}

/// One image, and how many of `users` it has.
fn image_view(record: Arc<ImageRecord>, references: Vec<Reference>, users: &Users) -> ImageView {
    ImageView {
        containers: users.count(&record.id),
        record,
        references,
    }
}

/// Whether an image has no tag: a digest alone is what is left of one that was pulled again.
fn is_dangling(image: &ImageView) -> bool {
    image.references.iter().all(|name| name.digest().is_some())
}

/// The image with the names that one of `patterns` fits, for Docker lists no others then; `None`
/// when there are none.
fn named_by(mut image: ImageView, patterns: &[Pattern]) -> Option<ImageView> {
    if patterns.is_empty() {
        return Some(image);
    }
    image
        .references
        .retain(|r| patterns.iter().any(|p| p.fits(r)));
    (!image.references.is_empty()).then_some(image)
}

#[cfg(test)]
mod tests;
