//! What the tasks of all containers work with, and how one more of them begins.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use catalog::Catalog;
use confine::{AppArmor, SeLinux};
use execs::Execs;
use model::{Layer, Result, Timestamp};
use networks::Networks;
use runtime::Runtimes;
use spec::HostFacts;
use state::{ContainerRow, Ledger};
use stdio::ContainerStreams;
use streams::SpillOptions;
use tokio::sync::{RwLock, mpsc};
use tokio_util::sync::CancellationToken;
use volumes::Volumes;

use crate::actor::Actor;
use crate::handle::{Handle, Message};
use crate::housekeeping::Housekeeping;
use crate::links::Links;
use crate::log_faults::SpaceWatch;
use crate::{ApiSocket, Layout, Registry, row};

/// The ledger's key of the boot it was last used on.
pub const META_BOOT_ID: &str = "boot_id";

/// What must be known of the world but is not looked up here, so that tests can say it.
#[derive(Clone)]
pub struct Host {
    /// Wall clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// 32 unpredictable bytes, for ids.
    pub random: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
    /// `/proc/sys/kernel/random/boot_id`: another value means another boot.
    pub boot_id: String,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("boot_id", &self.boot_id)
            .finish_non_exhaustive()
    }
}

/// What all containers' tasks share.
#[derive(Debug)]
pub struct Shared {
    /// Clock and chance.
    pub host: Host,
    /// Where things are on disk.
    pub layout: Layout,
    /// The host as it was found at start.
    pub facts: Arc<HostFacts>,
    /// What was promised.
    pub ledger: Ledger,
    /// The images, and containers' trees.
    pub images: Catalog,
    /// The volumes.
    pub volumes: Arc<Volumes>,
    /// The networks.
    pub networks: Networks,
    /// conmon and the OCI runtimes.
    pub runtimes: Runtimes,
    /// The containers.
    pub registry: Arc<Registry>,
    /// The AppArmor profile.
    pub apparmor: AppArmor,
    /// The SELinux labels.
    pub selinux: SeLinux,
    /// The exec sessions.
    pub execs: Execs,
    /// A small init for those who want one.
    pub init_binary: Option<PathBuf>,
    /// Where the files of the Container Device Interface are; none where it is off.
    pub cdi_dirs: Vec<PathBuf>,
    /// Where this daemon is served, as far as the sockets are its own.
    pub api_sockets: Vec<ApiSocket>,
    /// Where the output of attached clients waits that do not read.
    pub spill: SpillOptions,
    /// Cancelled when all containers are taken back: what they do by themselves begins then.
    pub recovered: CancellationToken,
    /// Held for reading by each start, for writing by who removes what starts need.
    pub starts: RwLock<()>,
    /// The ledger says which boot this is.
    pub boot_written: AtomicBool,
    /// Chores that nobody waits for.
    pub housekeeping: Housekeeping,
    /// What is known of those with links.
    pub links: Links,
    /// Who looks whether the logs' disk is full.
    pub space_watch: SpaceWatch,
}

/// A container whose task has not begun yet.
#[derive(Debug)]
pub struct Newcomer {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    inbox: mpsc::Receiver<Message>,
}

impl Newcomer {
    /// The way to it.
    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Begins its task: its row is written, and it is in the registry.
    pub fn begin(self) {
        tokio::spawn(self.actor().run());
    }

    pub(crate) fn actor(self) -> Actor {
        Actor::new(self.shared, self.handle, self.inbox)
    }
}

impl Shared {
    /// A handle on what `row` says; `layers` are its image's.
    pub fn newcomer(self: &Arc<Self>, row: &ContainerRow, layers: &[Layer]) -> Newcomer {
        let view = row::view(self, row, layers);
        let streams =
            ContainerStreams::of(&view.id, &view.spec, view.paths.log.clone(), &self.spill);
        let (handle, inbox) = Handle::new(view, row::lifecycle(row), streams);
        Newcomer {
            shared: self.clone(),
            handle,
            inbox,
        }
    }

    /// Writes down which boot the ledger's running containers are of, unless it is there. A
    /// container that was started without it would be taken for one of before a reboot.
    ///
    /// # Errors
    /// What the ledger says.
    pub async fn write_boot(&self) -> Result<()> {
        if !self.boot_written.load(Ordering::Acquire) {
            self.ledger
                .set_meta(META_BOOT_ID, &self.host.boot_id)
                .await?;
            self.boot_written.store(true, Ordering::Release);
        }
        Ok(())
    }
}
