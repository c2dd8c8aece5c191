//! User namespaces nobody lives in, and mounts that show their ids.
//!
//! A file of such a mount has on the disk the id inside the namespace, and for everybody who looks
//! at it through the mount the host's id behind that (mount_setattr(2), `MOUNT_ATTR_IDMAP`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use model::IdMaps;
use model::id_map::IdMap;

use crate::mount::detached_clone;

/// A user namespace that only this value keeps.
#[derive(Debug)]
pub struct UserNamespace {
    fd: OwnedFd,
    /// The host's ids behind root, or the first that there are.
    root: (u32, u32),
}

impl UserNamespace {
    /// A namespace with these maps.
    ///
    /// # Errors
    /// What the kernel says, with the step: `ENOSPC` where `user.max_user_namespaces` allows none,
    /// `EPERM` for host ids that the daemon's own user namespace has not.
    pub fn new(maps: &IdMaps) -> io::Result<Self> {
        let child = Child::new()?;
        let of = |name: &str| format!("/proc/{}/{name}", child.pid);
        for (name, map) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
            std::fs::write(of(name), map.kernel_text()).map_err(|e| {
                let text = map.kernel_text();
                told(&e, format_args!("map the ids {:?}", text.trim_end()))
            })?;
        }
        let opened = std::fs::File::open(of("ns/user"));
        let opened = opened.map_err(|e| told(&e, format_args!("open it")))?;
        let first = |map: &IdMap| map.outside(0).unwrap_or_else(|| map.ranges()[0].outside);
        Ok(Self {
            fd: opened.into(),
            root: (first(&maps.uids), first(&maps.gids)),
        })
    }

    /// Makes the calling thread one whose files belong to the namespace's root, with all the rights it
    /// had. For threads that live apart and end.
    ///
    /// # Errors
    /// `EPERM` without `CAP_SETPCAP`.
    pub(crate) fn act_as_root(&self) -> io::Result<()> {
        act_as(self.root.0, self.root.1)
    }

    /// The host's ids behind its root.
    pub fn root(&self) -> (u32, u32) {
        self.root
    }
}

/// As [`UserNamespace::act_as_root`], with ids that are known.
pub(crate) fn act_as(uid: u32, gid: u32) -> io::Result<()> {
    use rustix::thread::{CapabilitiesSecureBits, set_capabilities_secure_bits};
    let keep = CapabilitiesSecureBits::NO_SETUID_FIXUP;
    set_capabilities_secure_bits(keep)
        .map_err(|e| told(&e.into(), format_args!("keep capabilities")))?;
    // SAFETY: numbers only; unlike the C library's other calls, these are of this thread alone.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        // They tell what was before; one that is no id changes nothing.
        let now = (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX));
        let is_taken = now == (uid.cast_signed(), gid.cast_signed());
        is_taken.then_some(()).ok_or_else(|| {
            told(
                &io::Error::from(io::ErrorKind::PermissionDenied),
                format_args!("act as its root"),
            )
        })
    }
}

impl AsFd for UserNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn told(e: &io::Error, step: std::fmt::Arguments<'_>) -> io::Error {
    io::Error::new(e.kind(), format!("user namespace: {step}: {e}"))
}

/// A process in a user namespace of its own that does nothing until it is dropped, or until the thread
/// that made it is gone, as when the daemon is killed.
struct Child {
    pid: i32,
}

impl Child {
    fn new() -> io::Result<Self> {
        let flags = libc::c_long::from(libc::CLONE_NEWUSER);
        // SAFETY: it takes nothing and cannot fail.
        let parent = unsafe { libc::getpid() };
        // SAFETY: as fork(2) with one flag more: no stack, no pointers. The child, which has this
        // thread alone, makes system calls and nothing else, and never returns.
        let pid =
            unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) };
        match pid {
            -1 => Err(told(&io::Error::last_os_error(), format_args!("make one"))),
            0 => loop {
                // SAFETY: as above. Its copies of descriptors are closed because somebody may wait
                // for the end of what they lead to.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    // It was gone before it could be asked for.
                    if libc::getppid() != parent {
                        libc::_exit(0);
                    }
                    libc::close_range(0, libc::c_uint::MAX, 0);
                    libc::pause();
                }
            },
            pid => Ok(Self {
                pid: i32::try_from(pid).expect("the kernel's pids are smaller"),
            }),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a child that was not waited for keeps its number; nothing is written anywhere.
        // `__WALL` because it was made to end without a signal, which keeps it from those who wait
        // for any child.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), libc::__WALL);
        }
    }
}

/// What `path` shows once more, attached nowhere, with the ids of `namespace`. What is mounted inside it
/// is left out.
///
/// # Errors
/// What the kernel says, with the path; `EINVAL` where kernel or file system cannot do that, and
/// where the mount shows other ids already.
pub fn mapped_clone(path: &Path, namespace: &UserNamespace) -> io::Result<OwnedFd> {
    let clone = detached_clone(path, false)?;
    let done = set_attributes(
        clone.as_fd(),
        libc::MOUNT_ATTR_IDMAP,
        Some(namespace),
        false,
    );
    done.map_err(|e| {
        io::Error::new(
            e.kind(),
            format!("show other ids of {}: {e}", path.display()),
        )
    })?;
    Ok(clone)
}

/// Makes a mount that is attached nowhere one that cannot be written to, with all that is mounted in it.
///
/// # Errors
/// What mount_setattr(2) says.
pub fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_RDONLY, None, true)
}

/// The same without what is mounted in it.
///
/// # Errors
/// What mount_setattr(2) says.
pub(crate) fn make_read_only_alone(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_RDONLY, None, false)
}

/// Lets nobody open a device on a mount, nor on those in it.
///
/// # Errors
/// What mount_setattr(2) says.
pub(crate) fn forbid_devices(mount: BorrowedFd<'_>) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_NODEV, None, true)
}

fn set_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    ids: Option<&UserNamespace>,
    recursive: bool,
) -> io::Result<()> {
    // SAFETY: the structure is plain numbers, for which zero is "leave as it is".
    let mut attributes: libc::mount_attr = unsafe { std::mem::zeroed() };
    attributes.attr_set = set;
    if let Some(ids) = ids {
        attributes.userns_fd = u64::try_from(ids.fd.as_raw_fd()).expect("an open descriptor");
    }
    let flags = match recursive {
        true => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
        false => libc::AT_EMPTY_PATH,
    };
    // SAFETY: the path is empty and ends with NUL, the structure outlives the call and its size is
    // told; the kernel only reads both.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel and the file system of the directory `path` can show other ids.
///
/// # Errors
/// Why not.
pub fn can_map(path: &Path) -> io::Result<()> {
    let model::UserNamespace::Mapped(maps) =
        model::UserNamespace::parse("0:1:1").map_err(io::Error::other)?
    else {
        return Ok(());
    };
    mapped_clone(path, &UserNamespace::new(&maps)?).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(text: &str) -> IdMaps {
        match model::UserNamespace::parse(text).unwrap() {
            model::UserNamespace::Mapped(maps) => maps,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_namespace_outlives_its_process_and_leaves_none() {
        let namespace = UserNamespace::new(&maps("0:100000:65536,70000:5:1")).unwrap();
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
        assert_eq!(children, "");
        let temp = tempfile::tempdir().unwrap();
        mapped_clone(temp.path(), &namespace).unwrap();
        can_map(temp.path()).unwrap();
    }

    #[test]
    fn what_cannot_show_other_ids_is_named() {
        let namespace = UserNamespace::new(&maps("0:100000:10")).unwrap();
        let e = mapped_clone(Path::new("/proc"), &namespace).unwrap_err();
        assert!(
            e.to_string().starts_with("show other ids of /proc: "),
            "{e}"
        );
        assert!(can_map(Path::new("/proc")).is_err());
    }
}
