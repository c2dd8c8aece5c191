//! One inotify instance for all watched directories and files.
//!
//! Hosts allow few instances (128 for a user is common) but many watches, so the daemon opens one
//! and shares it. A [`Watcher`] is a cheap handle; a [`Watch`] is one subscription and removes
//! itself when dropped. Events are hints: after [`Event::Missed`], and before the first wait, a
//! subscriber looks at the directory or file itself ("watch first, then look").

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Events kept for one subscriber that does not read; more become one [`Event::Missed`].
const EVENTS_MAX: usize = 256;

/// What to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask(u32);

impl Mask {
    /// A name came into the directory by a rename: how whole files appear.
    pub const MOVED_TO: Self = Self(WatchFlags::MOVED_TO.bits());
    /// A name left the directory by a rename.
    pub const MOVED_FROM: Self = Self(WatchFlags::MOVED_FROM.bits());
    /// A name was created in the directory.
    pub const CREATE: Self = Self(WatchFlags::CREATE.bits());
    /// A name was removed from the directory.
    pub const DELETE: Self = Self(WatchFlags::DELETE.bits());
    /// The file, or a file in the directory, was written to.
    pub const MODIFY: Self = Self(WatchFlags::MODIFY.bits());
    /// The watched file itself was renamed.
    pub const MOVE_SELF: Self = Self(WatchFlags::MOVE_SELF.bits());
    /// The watched file itself was removed (its last link and descriptor are gone).
    pub const DELETE_SELF: Self = Self(WatchFlags::DELETE_SELF.bits());

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `other` is in here.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// One or more of the wanted things.
    Change {
        /// Which.
        what: Mask,
        /// The name in the directory; `None` for the watched file or directory itself.
        name: Option<OsString>,
    },
    /// Events were lost: look again.
    Missed,
    /// The watched file or directory is gone, and the subscription with it.
    Gone,
}

/// The shared instance. Cloning is cheap; the instance lives as long as a handle or a watch.
#[derive(Debug, Clone)]
pub struct Watcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    instance: Arc<AsyncFd<OwnedFd>>,
    subscriptions: Arc<Mutex<Subscriptions>>,
    reader: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// By watch descriptor. The kernel has one descriptor for an inode, whatever the path, so several
/// subscriptions can share one. Numbers are not reused before 2^31 of them were.
#[derive(Debug, Default)]
struct Subscriptions {
    by_watch: HashMap<i32, Vec<Arc<Queue>>>,
}

impl Watcher {
    /// Opens the instance and starts its reading task.
    ///
    /// # Errors
    /// EMFILE when the user's inotify instances are used up (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // SAFETY: an OwnedFd keeps its descriptor open, and the same, for as long as it exists.
        let instance = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        let instance = Arc::new(instance);
        let subscriptions = Arc::new(Mutex::new(Subscriptions::default()));
        let task = read_events(Arc::clone(&instance), Arc::clone(&subscriptions));
        let reader = tokio::spawn(task).abort_handle();
        Ok(Self {
            inner: Arc::new(Inner {
                instance,
                subscriptions,
                reader,
            }),
        })
    }

    /// Subscribes to a directory or file. What happens after this returned is not missed.
    ///
    /// # Errors
    /// `NotFound`; ENOSPC when the user's watches are used up (`fs.inotify.max_user_watches`).
    pub fn watch(&self, path: &Path, mask: Mask) -> io::Result<Watch> {
        self.subscribe(path, mask, None)
    }

    /// Subscribes to one name in a directory, whether it exists already or not.
    ///
    /// # Errors
    /// As [`Watcher::watch`].
    pub fn watch_name(&self, dir: &Path, name: &OsStr, mask: Mask) -> io::Result<Watch> {
        self.subscribe(dir, mask, Some(name.to_owned()))
    }

    fn subscribe(&self, path: &Path, mask: Mask, name: Option<OsString>) -> io::Result<Watch> {
        let mut subscriptions = lock(&self.inner.subscriptions);
        // IN_MASK_ADD, for another subscription may have a watch on the same inode. The lock is
        // held so that the reading task cannot meet a watch nobody is listed for.
        let flags = WatchFlags::from_bits_retain(mask.0) | WatchFlags::MASK_ADD;
        let id = inotify::add_watch(self.inner.instance.get_ref(), path, flags)?;
        let queue = Arc::new(Queue {
            mask,
            name,
            state: Mutex::default(),
            arrived: Notify::new(),
        });
        let sharing = subscriptions.by_watch.entry(id).or_default();
        sharing.push(Arc::clone(&queue));
        Ok(Watch {
            watcher: self.clone(),
            id,
            queue,
        })
    }
}

/// One subscription; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    watcher: Watcher,
    id: i32,
    queue: Arc<Queue>,
}

impl Watch {
    /// The next event, in order. Equal events that were not read yet are told once. After
    /// [`Event::Gone`] it never resolves again. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.queue.take() {
                return event;
            }
            self.queue.arrived.notified().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let inner = &self.watcher.inner;
        let mut subscriptions = lock(&inner.subscriptions);
        let Some(sharing) = subscriptions.by_watch.get_mut(&self.id) else {
            return;
        };
        sharing.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        if sharing.is_empty() {
            subscriptions.by_watch.remove(&self.id);
            // EINVAL when the kernel has removed the watch with its file already.
            let _ = inotify::remove_watch(inner.instance.get_ref(), self.id);
        }
    }
}

/// What one subscriber has not read yet.
#[derive(Debug)]
struct Queue {
    mask: Mask,
    name: Option<OsString>,
    state: Mutex<QueueState>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Event>,
    missed: bool,
}

impl Queue {
    fn offer(&self, what: Mask, name: Option<&OsStr>) {
        let wanted = Mask(what.0 & self.mask.0);
        let other_name = self.name.is_some() && self.name.as_deref() != name;
        if wanted.0 != 0 && !other_name {
            self.push(Event::Change {
                what: wanted,
                name: name.map(OsStr::to_owned),
            });
        }
    }

    fn push(&self, event: Event) {
        let mut state = lock(&self.state);
        if event == Event::Missed {
            state.missed = true;
        } else if state.events.len() >= EVENTS_MAX && event != Event::Gone {
            state.events.clear();
            state.missed = true;
        } else if state.events.back() != Some(&event) {
            state.events.push_back(event);
        }
        drop(state);
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<Event> {
        let mut state = lock(&self.state);
        if std::mem::take(&mut state.missed) {
            return Some(Event::Missed);
        }
        state.events.pop_front()
    }
}

/// The reading task: until the last handle is dropped.
async fn read_events(instance: Arc<AsyncFd<OwnedFd>>, subscriptions: Arc<Mutex<Subscriptions>>) {
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 16 << 10];
    loop {
        let Ok(mut guard) = instance.readable().await else {
            return;
        };
        let mut reader = Reader::new(instance.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|n| OsStr::from_bytes(n.to_bytes()));
                    dispatch(&subscriptions, event.wd(), event.events(), name);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(e) => {
                    tracing::error!(error = %e, "inotify cannot be read; files are no longer watched");
                    return;
                }
            }
        }
        guard.clear_ready();
    }
}

fn dispatch(subscriptions: &Mutex<Subscriptions>, id: i32, flags: ReadFlags, name: Option<&OsStr>) {
    let mut subscriptions = lock(subscriptions);
    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        for queue in subscriptions.by_watch.values().flatten() {
            queue.push(Event::Missed);
        }
    } else if flags.contains(ReadFlags::IGNORED) {
        // Also the answer to our own removal, and then nobody is listed any more.
        for queue in subscriptions.by_watch.remove(&id).into_iter().flatten() {
            queue.push(Event::Gone);
        }
    } else {
        for queue in subscriptions.by_watch.get(&id).into_iter().flatten() {
            queue.offer(Mask(flags.bits()), name);
        }
    }
}

/// No code panics while holding one of these locks, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::Duration;

    async fn next(watch: &mut Watch) -> Event {
        tokio::time::timeout(Duration::from_secs(10), watch.next())
            .await
            .expect("an event within ten seconds")
    }

    fn change(what: Mask, name: Option<&str>) -> Event {
        Event::Change {
            what,
            name: name.map(OsString::from),
        }
    }

    #[tokio::test]
    async fn a_rename_is_told_by_name_to_those_who_asked() {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::new().unwrap();
        let mut all = watcher.watch(dir.path(), Mask::MOVED_TO).unwrap();
        let name = OsStr::new("b");
        let mut only_b = watcher
            .watch_name(dir.path(), name, Mask::MOVED_TO)
            .unwrap();
        for name in ["a", "b"] {
            let temporary = dir.path().join(format!("{name}.tmp"));
            std::fs::write(&temporary, "7").unwrap();
            std::fs::rename(&temporary, dir.path().join(name)).unwrap();
        }
        assert_eq!(next(&mut all).await, change(Mask::MOVED_TO, Some("a")));
        assert_eq!(next(&mut all).await, change(Mask::MOVED_TO, Some("b")));
        assert_eq!(next(&mut only_b).await, change(Mask::MOVED_TO, Some("b")));
        assert_eq!(only_b.queue.take(), None);
    }

    #[tokio::test]
    async fn dropping_one_of_two_keeps_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::new().unwrap();
        let first = watcher.watch(dir.path(), Mask::MODIFY).unwrap();
        let mut second = watcher.watch(dir.path(), Mask::CREATE).unwrap();
        drop(first);
        std::fs::write(dir.path().join("x"), "x").unwrap();
        assert_eq!(next(&mut second).await, change(Mask::CREATE, Some("x")));
        drop(second);
        assert!(lock(&watcher.inner.subscriptions).by_watch.is_empty());
    }

    #[tokio::test]
    async fn a_written_file_wakes_once_for_many_writes_and_its_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = std::fs::File::create(&path).unwrap();
        let watcher = Watcher::new().unwrap();
        let mut watch = watcher.watch(&path, Mask::MODIFY).unwrap();
        for _ in 0..100 {
            file.write_all(b"line\n").unwrap();
        }
        assert_eq!(next(&mut watch).await, change(Mask::MODIFY, None));
        drop(file);
        std::fs::remove_file(&path).unwrap();
        let mut last = next(&mut watch).await;
        while last == change(Mask::MODIFY, None) {
            last = next(&mut watch).await;
        }
        assert_eq!(last, Event::Gone);
    }

    #[tokio::test]
    async fn a_reader_that_sleeps_is_told_that_it_missed_something() {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::new().unwrap();
        let mut watch = watcher.watch(dir.path(), Mask::CREATE).unwrap();
        for n in 0..=EVENTS_MAX + 1 {
            std::fs::write(dir.path().join(n.to_string()), "").unwrap();
        }
        // Created last, so everything before it has been dispatched when it is told.
        let marker = OsStr::new("marker");
        let mut seen = watcher
            .watch_name(dir.path(), marker, Mask::CREATE)
            .unwrap();
        std::fs::write(dir.path().join("marker"), "").unwrap();
        next(&mut seen).await;
        assert_eq!(next(&mut watch).await, Event::Missed);
    }

    #[tokio::test]
    async fn a_missing_directory_is_not_found() {
        let watcher = Watcher::new().unwrap();
        let refused = watcher.watch(Path::new("/no/such/dir"), Mask::CREATE);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn the_instance_is_closed_with_the_last_handle() {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Watcher::new().unwrap();
        let instance = Arc::downgrade(&watcher.inner.instance);
        let watch = watcher.watch(dir.path(), Mask::CREATE).unwrap();
        drop(watcher);
        assert!(instance.upgrade().is_some());
        drop(watch);
        for _ in 0..1000 {
            if instance.upgrade().is_none() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the reading task still holds the instance");
    }
}
