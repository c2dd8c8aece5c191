//! File systems of volumes: mounted when the first comes who needs them, unmounted when the last has
//! gone.
//!
//! Who needs one is known by name, and containers that run are told at the start of a daemon
//! ([`Volumes::resume`]): so it does not matter when one was killed. What is mounted then and needed
//! by nobody is left over.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use failpoint::Point;
use model::{ContainerId, Context, Error, ProcessRef, Result, VolumeName};
use sys::beneath::{Dir, Kind, file_metadata};
use sys::mount::{attach, detached_clone_of, find, unmount};

use crate::Volumes;
use crate::driver::Device;

/// Who needs a volume's file system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    /// A container's run.
    Run(ContainerId),
    /// Somebody who looks at a container's files.
    Look(u64),
}

/// What is mounted, and for whom.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    slots: Mutex<HashMap<VolumeName, Arc<Slot>>>,
    next_look: AtomicU64,
}

/// Where one is mounted.
#[derive(Debug)]
struct Slot {
    place: PathBuf,
    /// Not locked while something is being mounted: that lasts as long as a server takes to answer.
    state: Mutex<State>,
    /// A mount has come to its end.
    mounted: Condvar,
}

/// Who needs what is mounted.
#[derive(Debug, Default)]
struct State {
    /// With the first process of a container that an earlier daemon has started.
    holders: HashMap<Holder, Option<ProcessRef>>,
    /// Somebody mounts it just now, who will hold it.
    mounting: bool,
}

/// Keeps a volume's file system mounted.
#[derive(Debug)]
pub struct Look {
    slot: Arc<Slot>,
    holder: Holder,
}

impl Drop for Look {
    fn drop(&mut self) {
        self.slot.let_go(&self.holder);
    }
}

impl Slot {
    fn at(place: PathBuf) -> Self {
        Self {
            place,
            state: Mutex::default(),
            mounted: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something is there. Asks the kernel's list alone: a server that is gone answers nobody who
    /// looks at the place.
    fn is_mounted(&self) -> Result<bool> {
        let (Some(dir), Some(name)) = (self.place.parent(), self.place.file_name()) else {
            return Ok(false);
        };
        let found = match dir.canonicalize() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            dir => dir.and_then(|dir| find(&dir.join(name))),
        };
        let found = found.context(format_args!("look at {}", self.place.display()))?;
        Ok(found.is_some())
    }

    /// Mounts what is to be there, unless it is, and keeps it. Who comes meanwhile for the same waits.
    fn take(&self, device: &Device, holder: Holder) -> Result<()> {
        let mut state = self.lock();
        while state.mounting {
            state = self
                .mounted
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if !self.is_mounted()? {
            self.refuse_second(&state, &holder)?;
            state.mounting = true;
            drop(state);
            // Whoever waits must not wait for ever, whatever becomes of this.
            let done = catch_unwind(AssertUnwindSafe(|| self.mount(device)));
            state = self.lock();
            state.mounting = false;
            self.mounted.notify_all();
            done.unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        state.holders.insert(holder, None);
        Ok(())
    }

    fn mount(&self, device: &Device) -> Result<()> {
        failpoint::hit(Point::VolumeMounting)?;
        device.mount(&self.place).context(format_args!(
            "error while mounting volume '{}'",
            self.place.display()
        ))?;
        // Whoever is told of a failure lets go of nothing.
        failpoint::hit(Point::VolumeMounted).map_err(|e| {
            self.unmount_logged();
            e.into()
        })
    }

    /// A container may have it mounted where this daemon does not see that: mounted once more, what is in
    /// memory would be another.
    fn refuse_second(&self, state: &State, holder: &Holder) -> Result<()> {
        let lives = |process: &ProcessRef| {
            sys::proc::stat(process.pid).is_ok_and(|found| {
                found.is_some_and(|found| found.start_ticks == process.start_ticks)
            })
        };
        let mut others = state.holders.iter().filter(|(other, _)| *other != holder);
        let running = others.find_map(|(other, process)| match other {
            Holder::Run(id) if process.as_ref().is_some_and(lives) => Some(id),
            _ => None,
        });
        match running {
            Some(id) => Err(Error::conflict(format!(
                "error while mounting volume '{}': container {id} runs with it, and it is not mounted \
                 where this daemon sees it (was an earlier one in another mount namespace?): restart that \
                 container first",
                self.place.display()
            ))),
            None => Ok(()),
        }
    }

    fn let_go(&self, holder: &Holder) {
        let mut state = self.lock();
        let held = state.holders.remove(holder).is_some();
        if held && state.holders.is_empty() && !state.mounting {
            self.unmount_logged();
        }
    }

    fn unmount_logged(&self) {
        if let Err(e) = self.unmount() {
            let place = self.place.display();
            tracing::warn!(%place, error = %e, "the file system of a volume was not unmounted");
        }
    }

    /// As moby from the daemon's tree only, at once: whoever still has it open keeps it.
    fn unmount(&self) -> Result<()> {
        if self.is_mounted().unwrap_or(true) {
            failpoint::hit(Point::VolumeUnmounting)?;
            unmount(&self.place, true).context(format_args!("unmount {}", self.place.display()))?;
            failpoint::hit(Point::VolumeUnmounted)?;
        }
        Ok(())
    }
}

/// A part of a volume at a place of the daemon's own, until this goes. What a container makes of the
/// volume meanwhile is of no effect there.
#[derive(Debug)]
pub struct Bound {
    place: PathBuf,
}

impl Bound {
    /// Where.
    pub fn path(&self) -> &Path {
        &self.place
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(e) = take_away(&self.place) {
            tracing::warn!(error = %e, "a part of a volume stays mounted until the next start");
        }
    }
}

/// Takes parts of volumes away, off the async threads.
pub async fn unbind(parts: Vec<Bound>) {
    if !parts.is_empty() {
        let taken = sys::task::blocking(move || {
            drop(parts);
            Ok(())
        });
        drop(taken.await);
    }
}

fn take_away(place: &Path) -> Result<()> {
    let failed = format_args!("unmount {}", place.display());
    while unmount(place, true).context(failed)? {}
    // A place is a directory or a file.
    match std::fs::remove_dir(place).or_else(|_| std::fs::remove_file(place)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.context(format_args!("remove {}", place.display())),
    }
}

impl Volumes {
    /// The files of a volume for a container's run; its file system is mounted until [`Volumes::release`].
    ///
    /// # Errors
    /// What the host says, in moby's words where it is about a mount.
    pub fn use_in_run(&self, name: &VolumeName, container: &ContainerId) -> Result<PathBuf> {
        self.expect_record(name)?;
        let data = self.ensure_data(name)?;
        if let Some((slot, device)) = self.slot(name) {
            slot.take(&device, Holder::Run(container.clone()))?;
        }
        Ok(data)
    }

    /// The files of a volume for somebody who looks at them; its file system is mounted as long as what
    /// is returned with them lives.
    ///
    /// # Errors
    /// As [`Volumes::use_in_run`].
    pub fn look(&self, name: &VolumeName) -> Result<(PathBuf, Option<Look>)> {
        self.expect_record(name)?;
        let data = self.ensure_data(name)?;
        let Some((slot, device)) = self.slot(name) else {
            return Ok((data, None));
        };
        let number = self.mounts.next_look.fetch_add(1, Ordering::Relaxed);
        let holder = Holder::Look(number);
        slot.take(&device, holder.clone())?;
        Ok((data, Some(Look { slot, holder })))
    }

    /// Whether a volume is a file system that is mounted when somebody needs it.
    pub fn is_mounted_on_use(&self, name: &VolumeName) -> bool {
        self.slot(name).is_some()
    }

    /// Whether a volume is a directory that the host has already: what is made in it must belong to the
    /// host's ids, as in any other bind.
    pub fn is_bind(&self, name: &VolumeName) -> bool {
        self.slot(name).is_some_and(|(_, device)| device.binds())
    }

    /// A container's run is over, if there was one; it has these volumes. Blocking, but not for what is being
    /// mounted.
    pub fn release<'a>(
        &self,
        container: &ContainerId,
        volumes: impl IntoIterator<Item = &'a VolumeName>,
    ) {
        let holder = Holder::Run(container.clone());
        for name in volumes {
            let slot = self.mounts.lock().get(name).cloned();
            if let Some(slot) = slot {
                slot.let_go(&holder);
            }
        }
    }

    /// When a daemon starts: the container may run, and has these volumes; `process` is its first, when it
    /// did run.
    pub fn resume<'a>(
        &self,
        container: &ContainerId,
        process: Option<ProcessRef>,
        volumes: impl IntoIterator<Item = &'a VolumeName>,
    ) {
        for name in volumes {
            if let Some((slot, _)) = self.slot(name) {
                let holder = Holder::Run(container.clone());
                slot.lock().holders.insert(holder, process);
            }
        }
    }

    /// When a daemon starts, after all [`Volumes::resume`]: takes away what an earlier one had mounted and
    /// nobody needs, parts of volumes included: they are needed until a start is over. Blocking.
    pub fn unmount_unneeded(&self) {
        for record in self.all() {
            if let Some((slot, _)) = self.slot(&record.name)
                && slot.lock().holders.is_empty()
            {
                slot.unmount_logged();
            }
        }
        self.take_away_parts();
    }

    /// When a daemon starts: takes away the parts of volumes that were bound for starts.
    pub fn take_away_parts(&self) {
        let entries = std::fs::read_dir(&self.parts).into_iter().flatten();
        for entry in entries.flatten() {
            if let Err(e) = take_away(&entry.path()) {
                tracing::warn!(error = %e, "a part of a volume stays mounted");
            }
        }
    }

    /// Before a volume's files are moved: nothing must be mounted there.
    ///
    /// # Errors
    /// What the host says.
    pub(crate) fn unmount_for_removal(&self, name: &VolumeName) -> Result<()> {
        let slot = self.mounts.lock().get(name).cloned();
        let slot = slot.unwrap_or_else(|| Arc::new(Slot::at(self.data(name))));
        let mut state = slot.lock();
        if state.mounting {
            return Err(Error::conflict(format!(
                "remove {name}: volume is in use - it is being mounted"
            )));
        }
        // Somebody who looks has a mount of his own.
        state.holders.clear();
        slot.unmount()?;
        if slot.is_mounted()? {
            return Err(Error::system(format!(
                "remove {name}: something is mounted at {}",
                slot.place.display()
            )));
        }
        self.mounts.lock().remove(name);
        Ok(())
    }

    fn slot(&self, name: &VolumeName) -> Option<(Arc<Slot>, Device)> {
        let device = Device::of(&self.get(name.as_str())?.options)?;
        let mut slots = self.mounts.lock();
        let slot = slots.entry(name.clone()).or_insert_with(|| {
            let place = self.data(name);
            Arc::new(Slot::at(place))
        });
        Some((slot.clone(), device))
    }

    /// Puts what is at `subpath` of the volume whose files are at `data` to a place of its own, for the
    /// start of `container`.
    ///
    /// # Errors
    /// In moby's words (`safepath.Join`): there is nothing, or it leads out.
    pub fn bind_part(&self, data: &Path, subpath: &str, container: &ContainerId) -> Result<Bound> {
        let (part, is_dir) = hold_part(data, subpath)?;
        let number = self.next_part.fetch_add(1, Ordering::Relaxed);
        let place = self.parts.join(format!("{}.{number}", container.short()));
        let failed = format_args!("create {}", place.display());
        std::fs::create_dir_all(&self.parts)
            .and_then(|()| match is_dir {
                true => std::fs::create_dir(&place),
                false => std::fs::File::create(&place).map(drop),
            })
            .context(failed)?;
        let bound = Bound { place };
        attach(part.as_fd(), &bound.place).context("failed to mount resolved path")?;
        failpoint::hit(Point::SubpathBound)?;
        Ok(bound)
    }
}

/// What is at `subpath` of the volume whose files are at `data`, as a mount that is attached nowhere, and
/// whether it is a directory.
///
/// # Errors
/// As [`Volumes::bind_part`].
fn hold_part(data: &Path, subpath: &str) -> Result<(std::os::fd::OwnedFd, bool)> {
    let base = Dir::open(data).context(format_args!("cannot access path {}", data.display()))?;
    let found = base.handle_beneath(Path::new(subpath)).map_err(|e| {
        let whole = data.join(subpath);
        let whole = whole.display();
        Error::system(match e.kind() {
            std::io::ErrorKind::CrossesDevices => format!(
                "path concatenation escapes the base directory, base: {}, subpath: {subpath}",
                data.display()
            ),
            _ => format!(
                "cannot access path {whole}: lstat {whole}: {}",
                sys::fstab::in_go(&e)
            ),
        })
    })?;
    let kind = file_metadata(&found).context("look at a part of a volume")?;
    let part = detached_clone_of(found.as_fd()).context("failed to mount resolved path")?;
    Ok((part, kind.kind == Kind::Dir))
}

impl Mounts {
    fn lock(&self) -> MutexGuard<'_, HashMap<VolumeName, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
