//! Opening the engine: directories, ledger, images, runtimes, then every container taken back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use catalog::Catalog;
use execs::Execs;
use failpoint::Point;
use model::{
    Attachment, ContainerId, Context, Error, Intent, LogConfig, Result, StorageDriver,
    VolumeRecord, limits,
};
use state::{ContainerRow, Contents, Damaged, ExecRow, Ledger, Table};
use streams::HistoryBudget;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use volumes::VolumeCatalog;

use containers::{Host, Layout, META_BOOT_ID, Registry, Shared};

use crate::{Config, Engine, Inner, Told};

/// Containers recovered at once.
const RECOVERIES_MAX: usize = 32;
/// The ledger's key of the daemon's own id.
const META_DAEMON_ID: &str = "daemon_id";

/// Containers, exec sessions, and what the daemon keeps for itself.
type Rows = (Vec<ContainerRow>, Vec<ExecRow>, BTreeMap<String, String>);

impl Engine {
    /// Opens the engine on its roots. When this returns, every container's state is what the
    /// kernel says.
    ///
    /// # Errors
    /// A directory, the ledger or the image store that cannot be used; the message names it and
    /// what to do.
    pub async fn open(config: Config, host: Host) -> Result<Self> {
        let layout = Layout::new(&config.data_root, &config.run_root);
        // The disk and the host are looked at side by side: clients wait for both.
        let (opened, boot_id) = (layout.clone(), host.boot_id.clone());
        let (remaps, driver) = (config.ids.remap.is_some(), config.storage_driver);
        let open = move || open_stores(&opened, &boot_id, remaps, driver);
        let stores = tokio::spawn(crate::blocking(open));
        let runtimes = runtime::Runtimes::open(config.runtime.clone())?;
        let facts = Arc::new(spec::HostFacts::probe());
        let early = |e| Error::system(format!("opening the stores ended early: {e}"));
        let (ledger, contents, store) = stores.await.map_err(early)??;
        let daemon_id = daemon_id(&ledger, &contents.meta, &host).await?;
        let same_boot = contents.meta.get(META_BOOT_ID) == Some(&host.boot_id);
        let spill = spill_options(&layout, config.spill_bytes_max);
        let registry = Arc::<Registry>::default();
        let told = Told::new(daemon_id, &contents.damaged, &config);
        let unknown = may_need_unknown_trees(&contents.damaged);
        let apparmor = confine::AppArmor::new(facts.apparmor, &config.run_root);
        let with = (apparmor.clone(), facts.clone(), spill.clone());
        let execs_tools = execs_tools(with, &runtimes, &ledger, &layout, &registry, &host);
        let volumes = volumes_of(contents.volumes, &contents.damaged, &layout);
        let tools = (&ledger, &layout, &host);
        let found = (
            contents.networks,
            contents.damaged.as_slice(),
            config.networks,
        );
        let networks = crate::network::open(found, tools, &told.daemon_id).await;
        let shared = Shared {
            facts,
            images: Catalog::new(
                images_tools(&ledger, store, config.registries, unknown, &registry, &host),
                contents.images,
                contents.tags,
            ),
            volumes: Arc::new(volumes),
            networks,
            registry,
            apparmor,
            selinux: confine::SeLinux::new(config.selinux)?,
            starts: tokio::sync::RwLock::default(),
            recovered: CancellationToken::new(),
            execs: Execs::new(execs_tools),
            housekeeping: containers::Housekeeping::default(),
            links: containers::Links::default(),
            space_watch: containers::SpaceWatch::default(),
            init_binary: find_init(&config.init_paths),
            cdi_dirs: config.cdi_dirs,
            api_sockets: config.api_sockets,
            spill,
            host,
            layout,
            ledger,
            runtimes,
            boot_written: AtomicBool::new(same_boot),
        };
        let inner = Inner::new(config.log_default, config.ids, &shared, told)?;
        let engine = Self {
            shared: Arc::new(shared),
            inner: Arc::new(inner),
        };
        let rows = (contents.containers, contents.execs, contents.meta);
        let rows = (rows, contents.leases);
        engine.take_over(rows, &contents.damaged, same_boot).await;
        Ok(engine)
    }

    /// Takes back what the ledger names, then begins to take away what it does not.
    async fn take_over(
        &self,
        ((containers, execs, meta), leases): (Rows, Vec<(ContainerId, Attachment)>),
        damaged: &[Damaged],
        same_boot: bool,
    ) {
        drop(failpoint::reach(Point::RecoverOpened).await);
        // Before anybody can make a session: later those of this daemon would be among them.
        let left = self.shared.execs.files_left().await;
        self.resume_volumes(&containers, damaged).await;
        // Before anybody is given an address.
        self.resume_leases((leases, damaged), same_boot).await;
        self.recover_all(containers, damaged, same_boot).await;
        self.shared.networks.settle().await;
        self.shared.take_back_links();
        let lives = |container: &ContainerId| self.shared.registry.has_id(container.as_str());
        self.shared
            .execs
            .recover(execs, left, same_boot, lives)
            .await;
        self.shared.tidy_soon();
        if let Err(e) = self.shared.write_boot().await {
            // A daemon must start on a full disk, too.
            tracing::error!(error = %e, "the boot was not written to the ledger: no container can be started before it is");
        }
        self.shared.finish_checkpoints().await;
        self.finish_imports().await;
        self.shared.recovered.cancel();
        let engine = self.clone();
        tokio::spawn(async move { engine.finish_commits(&meta).await });
        // A writable layer may be of a container whose row is too damaged to be shown.
        let hidden =
            |d: &Damaged| d.table == Table::Containers && !self.shared.registry.has_id(&d.key);
        self.sweep_in_background(!damaged.iter().any(hidden));
        self.choose_runtime();
        // The first container need not wait for it then.
        let apparmor = self.shared.apparmor.clone();
        tokio::spawn(async move { apparmor.ready(None, false).await });
        drop(failpoint::reach(Point::RecoverDone).await);
    }

    /// Takes away what no row names. Nobody waits for it, and what cannot go is left for the next
    /// start.
    fn sweep_in_background(&self, writable: bool) {
        let engine = self.clone();
        tokio::spawn(async move {
            if writable && let Err(e) = engine.sweep_writable().await {
                tracing::warn!(error = %e, "not all writable layers without a container are gone");
            }
            let sweeping = engine.clone();
            let swept = crate::blocking(move || {
                sweeping.shared.volumes.sweep_doomed()?;
                match writable {
                    true => sweeping.sweep_imports(),
                    false => Ok(()),
                }
            })
            .await;
            if let Err(e) = swept {
                tracing::warn!(error = %e, "not all files that nobody names any more are gone");
            }
            engine.shared.images.sweep_daily().await;
        });
    }

    /// Finds out in the background which runtime really runs containers here, so that the first
    /// create need not wait for it. A create that comes earlier waits for the same answer.
    fn choose_runtime(&self) {
        let runtimes = self.shared.runtimes.clone();
        tokio::spawn(async move {
            match runtimes.default_choice().await {
                Ok(choice) => {
                    tracing::info!(runtime = %choice.runtime, reason = %choice.reason, "default runtime")
                }
                Err(e) => tracing::warn!(error = %e, "no runtime can run containers here"),
            }
        });
    }

    /// Removals come last: they ask all other containers which volumes are still in use, also those that
    /// are too `damaged` to say so.
    async fn recover_all(&self, rows: Vec<ContainerRow>, damaged: &[Damaged], same_boot: bool) {
        let runtimes = self.shared.runtimes.clone();
        let ended = tokio::task::spawn_blocking(move || runtimes.end_stray_calls());
        // Only a container whose start or removal was cut short can meet a stray call of it.
        if rows.iter().any(|row| row.intent.is_some()) {
            drop(ended.await);
        }
        self.shared.reserve_names(&rows);
        damaged.iter().for_each(|d| self.shared.show_damaged(d));
        let (doomed, rows) = rows
            .into_iter()
            .partition(|r| matches!(r.intent, Some(Intent::Removing { .. })));
        self.recover_each(rows, same_boot).await;
        self.recover_each(doomed, same_boot).await;
    }

    async fn recover_each(&self, rows: Vec<ContainerRow>, same_boot: bool) {
        let permits = Arc::new(Semaphore::new(RECOVERIES_MAX));
        let mut recoveries = JoinSet::new();
        for row in rows {
            let (engine, permits) = (self.clone(), permits.clone());
            recoveries.spawn(async move {
                let _permit = permits.acquire_owned().await;
                let kept = row.clone();
                let recovery = tokio::spawn(engine.shared.clone().recover(row, same_boot));
                if let Err(e) = recovery.await {
                    // A defect of ours: the container is shown all the same, and not touched.
                    engine
                        .shared
                        .show_lost(&kept, format!("its recovery ended early: {e}"));
                }
            });
        }
        while let Some(done) = recoveries.join_next().await {
            if let Err(e) = done {
                tracing::error!(error = %e, "a recovery ended early");
            }
        }
    }

    /// Takes away the writable layers that no container names; each is claimed meanwhile, so that none
    /// can come to have it. A container that was created is known before it has one.
    async fn sweep_writable(&self) -> Result<()> {
        let shared = self.shared.clone();
        crate::blocking(move || {
            for key in shared.images.store().writable_keys()? {
                let claim = key.parse().map(|id| shared.registry.claim(&id));
                if !matches!(claim, Ok(Err(_))) {
                    tracing::info!(key, "removing a writable layer that no container names");
                    shared.images.store().unmount(&key)?;
                    shared.images.store().remove_writable(&key)?;
                }
            }
            Ok(())
        })
        .await
    }
}

impl Told {
    fn new(daemon_id: String, damaged: &[Damaged], config: &Config) -> Self {
        Self {
            daemon_id,
            warnings: damaged.iter().map(warning).collect(),
            registries: crate::system::registry_facts(&config.registries),
            labels: config.labels.clone(),
            address_pools: crate::network::pools_told(&config.networks),
        }
    }
}

impl Inner {
    fn new(
        log_default: LogConfig,
        ids: confine::IdSource,
        shared: &Shared,
        told: Told,
    ) -> Result<Self> {
        let hierarchies = shared.runtimes.hierarchies().clone();
        Ok(Self {
            downloads: transfer::Downloads::default(),
            files: files::Gates::default(),
            stats: stats::Stats::new(hierarchies, shared.host.now.clone()),
            log_default,
            ids: confine::Ids::new(ids)?,
            volumes: VolumeCatalog::new(crate::volume::tools(shared)),
            event_listeners: Arc::new(()),
            told,
        })
    }
}

/// Whether trees that nobody is known to need may be needed by a row that cannot be read. A container's
/// are those of its image, which has a row of its own.
fn may_need_unknown_trees(damaged: &[Damaged]) -> bool {
    damaged.iter().any(|d| d.table == Table::Images)
}

/// What the catalog of images works with.
fn images_tools(
    ledger: &Ledger,
    store: images::Images,
    registries: registry::Settings,
    keep_unknown_trees: bool,
    registry: &Arc<Registry>,
    host: &Host,
) -> catalog::Tools {
    catalog::Tools {
        ledger: ledger.clone(),
        store,
        registries: registry::Registries::new(registries),
        users: crate::image::users(registry),
        now: host.now.clone(),
        keep_unknown_trees,
    }
}

/// What events of a container's sessions say of the container.
fn describe(registry: &Arc<Registry>) -> execs::Describe {
    let registry = registry.clone();
    Arc::new(move |id| {
        let container = registry.find(id.as_str()).ok()?;
        Some(containers::attributes(&container.view()))
    })
}

/// What exec sessions are made with.
fn execs_tools(
    (apparmor, facts, spill): (
        confine::AppArmor,
        Arc<spec::HostFacts>,
        streams::SpillOptions,
    ),
    runtimes: &runtime::Runtimes,
    ledger: &Ledger,
    layout: &Layout,
    registry: &Arc<Registry>,
    host: &Host,
) -> execs::Tools {
    execs::Tools {
        apparmor,
        runtimes: runtimes.clone(),
        ledger: ledger.clone(),
        facts,
        spill,
        histories: HistoryBudget::new(limits::EXEC_HISTORIES_BYTES),
        containers: layout.containers(),
        describe: describe(registry),
        now: host.now.clone(),
        random: host.random.clone(),
    }
}

/// What the ledger tells of volumes.
fn volumes_of(
    records: Vec<VolumeRecord>,
    damaged: &[Damaged],
    layout: &Layout,
) -> ::volumes::Volumes {
    let damaged = damaged.iter().filter(|d| d.table == Table::Volumes);
    let damaged = damaged.map(|d| d.key.clone()).collect();
    ::volumes::Volumes::with_damaged(records, damaged, layout.volumes(), layout.parts())
}

/// What the operator is told of a row that cannot be read.
fn warning(damaged: &Damaged) -> String {
    let Damaged {
        key, table, reason, ..
    } = damaged;
    let warning = format!("the ledger's row {key} of {table:?} is damaged: {reason}");
    tracing::error!("{warning}");
    warning
}

fn open_stores(
    layout: &Layout,
    boot_id: &str,
    remaps_ids: bool,
    driver: Option<StorageDriver>,
) -> Result<(Ledger, Contents, images::Images)> {
    for dir in [layout.containers(), layout.volumes(), layout.spill()] {
        make_private(&dir)?;
    }
    bundles::make_place(&layout.own_mounts())?;
    if remaps_ids {
        bundles::check_maps(layout.data_root())?;
    }
    let (ledger, contents) = Ledger::open(&layout.ledger(), boot_id)?;
    let store = images::Images::open(&layout.images(), driver)?;
    Ok((ledger, contents, store))
}

/// Containers' files are root's business: 0711 lets a mapped root pass, and nobody list.
fn make_private(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(dir)
        .context(format_args!("create {}", dir.display()))
}

/// What tells this daemon from others, made up when it is first asked for.
async fn daemon_id(
    ledger: &Ledger,
    meta: &BTreeMap<String, String>,
    host: &Host,
) -> Result<String> {
    if let Some(id) = meta.get(META_DAEMON_ID) {
        return Ok(id.clone());
    }
    let id = ContainerId::from_bytes((host.random)()).to_string();
    ledger.set_meta(META_DAEMON_ID, &id).await?;
    Ok(id)
}

/// The packaged init for `HostConfig.Init`: the first of the configured paths that exists.
fn find_init(paths: &[PathBuf]) -> Option<PathBuf> {
    paths.iter().find(|p| p.is_file()).cloned()
}

/// Where output waits for slow clients.
fn spill_options(layout: &Layout, bytes_max: u64) -> streams::SpillOptions {
    streams::SpillOptions {
        dir: layout.spill().into(),
        bytes_max,
        leave_bytes: limits::SPILL_LEAVE_BYTES,
    }
}
