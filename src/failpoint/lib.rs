//! Places at which the daemon can be told to die, to fail or to wait, in the test build.
//!
//! One stands before and one after each effect on the host, so that tests can look at every state
//! that a `kill -9` or a failure can leave behind. In all other builds (without the feature `on`)
//! they are nothing.
//!
//! The variable `MOORED_FAILPOINTS` says what happens, `point=action` between commas:
//!
//! ```text
//! start-created=kill          die of SIGKILL there
//! start-created=error@2       fail, the second time only
//! start-created=full          fail as on a disk without room
//! start-created=delay:2000    wait so many milliseconds
//! ```

#[cfg(feature = "on")]
mod plan;

use std::io;

/// Defines the points and their names.
macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place at which something can go wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$point,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// A transaction of the ledger is about to be committed.
    LedgerCommit = "ledger-commit",
    /// It is durable, and nobody was told.
    LedgerCommitted = "ledger-committed",

    /// A container is to be made: its name is taken.
    CreateBegun = "create-begun",
    /// Its row is there.
    CreateWritten = "create-written",

    /// A start is in the ledger.
    StartPromised = "start-promised",
    /// The container's tree is mounted, its files and its spec are written.
    StartPrepared = "start-prepared",
    /// conmon and the runtime have made the container.
    StartCreated = "start-created",
    /// Its streams are connected.
    StartConnected = "start-connected",
    /// The runtime has started it.
    StartStarted = "start-started",
    /// That is in the ledger.
    StartWritten = "start-written",
    /// A start that failed is about to be undone.
    StartUndo = "start-undo",
    /// It is undone.
    StartUndone = "start-undone",

    /// A client's wish to end a container is in the ledger.
    StopPromised = "stop-promised",
    /// The signal is sent.
    StopSignalled = "stop-signalled",

    /// A container's end was seen.
    ExitSeen = "exit-seen",
    /// It is in the ledger.
    ExitWritten = "exit-written",
    /// The runtime has forgotten the container.
    CleanupDeleted = "cleanup-deleted",
    /// Its tree is unmounted.
    CleanupUnmounted = "cleanup-unmounted",
    /// conmon's files are gone.
    CleanupDone = "cleanup-done",

    /// The runtime is about to freeze or thaw a container.
    FreezeBegun = "freeze-begun",
    /// It has.
    FreezeDone = "freeze-done",
    /// That is in the ledger.
    FreezeWritten = "freeze-written",

    /// A container is about to get another name.
    RenameBegun = "rename-begun",
    /// It is in the ledger.
    RenameWritten = "rename-written",

    /// Other limits are in the ledger beside those there are.
    UpdatePromised = "update-promised",
    /// The runtime has set them, or not.
    UpdateDone = "update-done",
    /// That is in the ledger.
    UpdateWritten = "update-written",

    /// A removal is in the ledger.
    RemovePromised = "remove-promised",
    /// What the last run left is gone.
    RemoveCleaned = "remove-cleaned",
    /// The writable layer is gone.
    RemoveLayerGone = "remove-layer-gone",
    /// The container's directories are gone.
    RemoveFilesGone = "remove-files-gone",
    /// Its anonymous volumes are set aside.
    RemoveVolumesDoomed = "remove-volumes-doomed",
    /// Its row is gone.
    RemoveWritten = "remove-written",
    /// Its volumes' files are gone.
    RemoveDone = "remove-done",

    /// What a health check has found is about to be written.
    HealthSeen = "health-seen",
    /// It is written.
    HealthWritten = "health-written",

    /// A session's row is there.
    ExecPromised = "exec-promised",
    /// conmon is there for it.
    ExecPrepared = "exec-prepared",
    /// Its streams are connected.
    ExecConnected = "exec-connected",
    /// Its command runs.
    ExecStarted = "exec-started",
    /// That is in the ledger.
    ExecWritten = "exec-written",
    /// A session's end was seen.
    ExecEnded = "exec-ended",
    /// It is in the ledger.
    ExecEndWritten = "exec-end-written",
    /// Its files are gone.
    ExecCleaned = "exec-cleaned",

    /// A layer of an archive is in staging.
    ImageLayerRead = "image-layer-read",
    /// All of an archive is, and nothing of it is visible.
    ImageArchiveRead = "image-archive-read",
    /// All of a layer came from a registry and is in staging, its blob is not there yet.
    ImageLayerCame = "image-layer-came",
    /// Its blob is there, too.
    ImageLayerStaged = "image-layer-staged",
    /// A layer that came from a registry is visible.
    ImageLayerPulled = "image-layer-pulled",
    /// A container's changes are in staging.
    ImagePacked = "image-packed",
    /// What is staged is durable.
    ImageSynced = "image-synced",
    /// The blobs of what is staged are visible, its trees are not.
    ImageBlobsShown = "image-blobs-shown",
    /// A frame lies beside a tree that is there, whose description does not speak of it.
    ImageFrameMoved = "image-frame-moved",
    /// It does.
    ImageDescribed = "image-described",
    /// The trees are visible.
    ImageTreesShown = "image-trees-shown",
    /// Configuration and manifest are.
    ImageKept = "image-kept",
    /// A container stands still to be committed, and nothing of it was read.
    CommitBegun = "commit-begun",
    /// An image's bytes are there, its record is not.
    ImageApplied = "image-applied",
    /// Its record is there.
    ImageWritten = "image-written",
    /// What goes with an image's removal is decided, and nothing is gone.
    ImageUntagged = "image-untagged",
    /// Names and records are gone, their bytes are not.
    ImageForgotten = "image-forgotten",
    /// It is known what a sweep takes away.
    ImageSweeping = "image-sweeping",
    /// Something was set aside, and is still on the disk.
    ImageSetAside = "image-set-aside",
    /// Its bytes are gone.
    ImageSwept = "image-swept",
    /// An image is held for a client that saves it.
    ImageHeld = "image-held",
    /// It is on its way.
    ImageSaved = "image-saved",

    /// A volume's directory is there, its record is not.
    VolumeMade = "volume-made",
    /// Its record is there.
    VolumeWritten = "volume-written",
    /// The file system of a volume is about to be mounted.
    VolumeMounting = "volume-mounting",
    /// It is mounted, and nobody has it yet.
    VolumeMounted = "volume-mounted",
    /// The last who needed it has gone, it is mounted still.
    VolumeUnmounting = "volume-unmounting",
    /// It is unmounted.
    VolumeUnmounted = "volume-unmounted",
    /// A part of a volume is at a place of its own.
    SubpathBound = "subpath-bound",
    /// A prune has removed a volume and goes on to the next.
    PruneNext = "prune-next",
    /// A volume's files are set aside.
    VolumeDoomed = "volume-doomed",
    /// Its record is gone.
    VolumeForgotten = "volume-forgotten",
    /// Its files are gone.
    VolumeDone = "volume-done",

    /// The bridge that is to stay is there, and nothing keeps it yet.
    NetworkBridgeMade = "network-bridge-made",
    /// It stays, and what it was made with is still on it.
    NetworkBridgeKept = "network-bridge-kept",

    /// What a run is to have of networks is in the ledger.
    NetworkPromised = "network-promised",
    /// Its namespace is pinned.
    NetworkPinned = "network-pinned",
    /// netavark has set it up.
    NetworkSetUp = "network-set-up",
    /// Others find it by name.
    NetworkTold = "network-told",
    /// Others find it no more.
    NetworkLeft = "network-left",
    /// netavark has taken it away.
    NetworkTornDown = "network-torn-down",
    /// The ledger has forgotten it.
    NetworkReleased = "network-released",
    /// A network that a running container is to be connected to is in the ledger as its own.
    NetworkJoining = "network-joining",
    /// One that it is to be disconnected from is taken away, and still in the ledger.
    NetworkParted = "network-parted",

    /// A log was renamed, conmon still writes to it.
    LogRenamed = "log-renamed",
    /// conmon writes to a new one.
    LogReopened = "log-reopened",

    /// A daemon has opened its stores, and taken nothing back.
    RecoverOpened = "recover-opened",
    /// What became of a container was found out, and is not written.
    RecoverFound = "recover-found",
    /// It is written.
    RecoverWritten = "recover-written",
    /// All containers are taken back.
    RecoverDone = "recover-done",
}

/// How many seconds the clock of the test build is off (`MOORED_CLOCK_OFFSET_S`); zero in all
/// others.
pub fn clock_offset_s() -> i64 {
    #[cfg(feature = "on")]
    {
        let set = std::env::var("MOORED_CLOCK_OFFSET_S").ok();
        set.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
    #[cfg(not(feature = "on"))]
    0
}

/// Whether the test build is to take the kernel for one before Linux 6.15, which tells nobody but a
/// parent how a process ended (`MOORED_OLDER_KERNEL`).
pub fn older_kernel() -> bool {
    #[cfg(feature = "on")]
    {
        std::env::var_os("MOORED_OLDER_KERNEL").is_some()
    }
    #[cfg(not(feature = "on"))]
    false
}

/// Passes a point, on a thread that may wait.
///
/// # Errors
/// When it was told to fail here.
#[inline]
#[cfg_attr(
    not(feature = "on"),
    expect(clippy::missing_const_for_fn, reason = "only here")
)]
pub fn hit(point: Point) -> io::Result<()> {
    #[cfg(feature = "on")]
    plan::hit(point)?;
    let _ = point;
    Ok(())
}

/// Passes a point, in a task.
///
/// # Errors
/// When it was told to fail here.
#[inline]
#[cfg_attr(
    not(feature = "on"),
    expect(clippy::unused_async, reason = "it waits in the test build")
)]
pub async fn reach(point: Point) -> io::Result<()> {
    #[cfg(feature = "on")]
    plan::reach(point).await?;
    let _ = point;
    Ok(())
}
