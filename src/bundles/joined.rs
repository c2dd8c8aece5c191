//! What a container has of other containers: their namespaces, held by descriptor until its runtime has
//! gone into them, and their shared memory.
//!
//! The memory is mounted once more in the bundle of the one that joins, taken from the namespace of the
//! other: whoever can be joined has nothing on the host for it.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use model::{Context as _, Error, ProcessRef, Result};
use spec::Joined;
use sys::mount::{attach, unmount};
use sys::namespace::{Held, Kind, hold};
use sys::tree::live_mounts;

use crate::Order;

/// Where the files of an ipc namespace are, in every container.
const SHM: &str = "/dev/shm";

/// Finds what the first processes of the order's donors have, and mounts their memory in its bundle. The paths lead
/// somewhere as long as what is held is.
pub(super) fn join(order: &Order<'_>, has_own_ids: bool) -> Result<(Joined, Vec<Held>)> {
    let (donors, bundle) = (&order.donors, order.bundle);
    let mut held = Vec::new();
    let mut take = |process: Option<ProcessRef>, kind| -> Result<Option<PathBuf>> {
        let Some(process) = process else {
            return Ok(None);
        };
        let found =
            hold(process, kind).context("look at the namespaces of the container to join")?;
        let found = found.ok_or_else(ended)?;
        let path = found.path();
        held.push(found);
        Ok(Some(path))
    };
    let joined = Joined {
        pid: take(donors.pid, Kind::Pid)?,
        ipc: take(donors.ipc, Kind::Ipc)?,
        network: take(donors.network, Kind::Net)?
            .or_else(|| order.network_namespace.map(Path::to_owned)),
        user: take(donors.any().filter(|_| has_own_ids), Kind::User)?,
        shm: donors.ipc.map(|of| memory(of, bundle)).transpose()?,
    };
    Ok((joined, held))
}

/// Mounts the shared memory of `process` in `bundle`.
fn memory(process: ProcessRef, bundle: &Path) -> Result<PathBuf> {
    let place = place(bundle);
    // What a start that was cut short has left.
    release(bundle)?;
    let found = live_mounts(process, &[Path::new(SHM)]);
    let found = found.context("look at the shared memory of the container to join")?;
    let mut found = found.ok_or_else(ended)?;
    let Some(mount) = found.pop().flatten() else {
        return Err(Error::conflict(format!(
            "the container whose ipc namespace is to be joined has nothing mounted at {SHM}"
        )));
    };
    std::fs::create_dir_all(&place)
        .and_then(|()| attach(mount.as_fd(), &place))
        .context(format_args!("mount {}", place.display()))?;
    Ok(place)
}

/// Lets go of the memory of another that is mounted in `bundle`, if any is.
///
/// # Errors
/// What the host says.
pub fn release(bundle: &Path) -> Result<()> {
    let place = place(bundle);
    let released = unmount(&place, true);
    released
        .map(drop)
        .context(format_args!("unmount {}", place.display()))
}

fn place(bundle: &Path) -> PathBuf {
    bundle.join("shm")
}

fn ended() -> Error {
    Error::conflict("the container whose namespace is to be joined has just ended")
}
