//! Mounts: overlay by fsopen, bind, tmpfs, unmount, and what is mounted where.
//!
//! All in the mount namespace of the daemon. What is mounted and for how long is decided above.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use model::limits;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags,
};

/// An overlay to mount. None of the directories may hold another of them.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'a> {
    /// Read-only layers, the topmost first.
    pub lower: &'a [PathBuf],
    /// Takes the changes.
    pub upper: &'a Path,
    /// Overlayfs' own, empty, on the file system of `upper`.
    pub work: &'a Path,
}

/// The two ways to tell the kernel about an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayApi {
    /// fsopen(2) with one `lowerdir+` for each layer (Linux 6.8): as many as overlayfs stacks.
    Fsopen,
    /// mount(2) with all options in one page, which holds about 200 layers.
    MountOptions,
}

impl OverlayApi {
    /// How many layers can be mounted for certain.
    pub fn layers_max(self) -> usize {
        match self {
            Self::Fsopen => limits::IMAGE_LAYERS_MAX,
            // Each is `/proc/self/fd/NUMBER:` of up to seven digits; the rest of the options
            // needs less than 150 bytes.
            Self::MountOptions => (MOUNT_DATA_BYTES_MAX - 150) / "/proc/self/fd/1048575:".len(),
        }
    }
}

/// What may happen on a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// No writes.
    pub read_only: bool,
    /// Set-id bits have no effect.
    pub no_suid: bool,
    /// Devices cannot be opened.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
}

/// One line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Its number.
    pub id: u64,
    /// The mount it sits on.
    pub parent: u64,
    /// The part of its file system that it shows.
    pub root: PathBuf,
    /// Where it is.
    pub target: PathBuf,
    /// `overlay`, `ext4`, ...
    pub fs_type: String,
    /// Device, or whatever the mounter said.
    pub source: OsString,
}

/// Mounts `overlay` at `target`, without following redirects or metadata-only copies: a layer
/// that carries such attributes of overlayfs must not reach other files through them.
///
/// # Errors
/// Whatever the kernel says; `E2BIG` when [`OverlayApi::MountOptions`] cannot hold so many
/// layers.
pub fn overlay(api: OverlayApi, overlay: Overlay<'_>, target: &Path) -> io::Result<()> {
    match api {
        OverlayApi::Fsopen => overlay_by_fsopen(overlay, target),
        OverlayApi::MountOptions => overlay_by_options(overlay, target),
    }
}

/// Options both ways share. `index` and `metacopy` are off so that the upper directory can be
/// read and moved on its own, whatever the kernel's defaults are.
const OVERLAY_OPTIONS: [(&str, &str); 3] = [
    ("index", "off"),
    ("metacopy", "off"),
    ("redirect_dir", "nofollow"),
];

/// Longest string fsconfig(2) takes.
const FSCONFIG_STRING_BYTES_MAX: usize = 255;

/// mount(2) copies one page and cuts what is longer without a word; no page is smaller.
const MOUNT_DATA_BYTES_MAX: usize = 4096;

fn overlay_by_fsopen(overlay: Overlay<'_>, target: &Path) -> io::Result<()> {
    use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount};

    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // The descriptors must stay open until the superblock exists.
    let mut open = Vec::new();
    let mut name_of = |path: &Path| {
        let bytes = path.as_os_str().as_bytes();
        if bytes.len() <= FSCONFIG_STRING_BYTES_MAX && !has_special_bytes(bytes) {
            return Ok(path.to_owned());
        }
        short_name(path, &mut open)
    };
    fsconfig_set_string(context.as_fd(), "source", "overlay")?;
    for lower in overlay.lower {
        fsconfig_set_string(context.as_fd(), "lowerdir+", name_of(lower)?)?;
    }
    fsconfig_set_string(context.as_fd(), "upperdir", name_of(overlay.upper)?)?;
    fsconfig_set_string(context.as_fd(), "workdir", name_of(overlay.work)?)?;
    for (key, value) in OVERLAY_OPTIONS {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::empty();
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(mount.as_fd(), "", CWD, target, flags)?)
}

fn overlay_by_options(overlay: Overlay<'_>, target: &Path) -> io::Result<()> {
    let mut open = Vec::new();
    let mut data = b"lowerdir=".to_vec();
    for (n, lower) in overlay.lower.iter().enumerate() {
        if n > 0 {
            data.push(b':');
        }
        data.extend_from_slice(short_name(lower, &mut open)?.as_os_str().as_bytes());
    }
    for (key, path) in [("upperdir", overlay.upper), ("workdir", overlay.work)] {
        data.extend_from_slice(format!(",{key}=").as_bytes());
        data.extend_from_slice(short_name(path, &mut open)?.as_os_str().as_bytes());
    }
    for (key, value) in OVERLAY_OPTIONS {
        data.extend_from_slice(format!(",{key}={value}").as_bytes());
    }
    if data.len() >= MOUNT_DATA_BYTES_MAX {
        return Err(Errno::TOOBIG.into());
    }
    let data = CString::new(data)?;
    Ok(rustix::mount::mount(
        "overlay",
        target,
        "overlay",
        MountFlags::empty(),
        data.as_c_str(),
    )?)
}

/// Names a directory by an open descriptor: short, and free of the characters that separate
/// options, whatever the data root is called. Overlayfs resolves it once, while mounting.
fn short_name(path: &Path, open: &mut Vec<OwnedFd>) -> io::Result<PathBuf> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty())?;
    let name = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    open.push(fd);
    Ok(name)
}

fn has_special_bytes(path: &[u8]) -> bool {
    path.iter().any(|b| matches!(b, b',' | b':' | b'\\'))
}

/// Mounts `source`, a file or directory, at `target` of the same kind; with what is mounted
/// inside it when `recursive`.
///
/// # Errors
/// Whatever mount(2) says; when the options cannot be set, nothing stays mounted.
pub fn bind(
    source: &Path,
    target: &Path,
    recursive: bool,
    options: MountOptions,
) -> io::Result<()> {
    if recursive {
        rustix::mount::mount_bind_recursive(source, target)?;
    } else {
        rustix::mount::mount_bind(source, target)?;
    }
    if options == MountOptions::default() {
        return Ok(());
    }
    // mount(2) ignores every flag but MS_REC while it binds, so they take a second call.
    let flags = MountFlags::BIND | flags_of(options);
    rustix::mount::mount_remount(target, flags, c"").map_err(|e| {
        let _ = unmount(target, true);
        e.into()
    })
}

/// Mounts a new, empty tmpfs of at most `size_bytes` at `target`.
///
/// # Errors
/// Whatever mount(2) says.
pub fn tmpfs(target: &Path, size_bytes: u64, mode: u32, options: MountOptions) -> io::Result<()> {
    let data = CString::new(format!("size={size_bytes},mode={:o}", mode & 0o7777))?;
    Ok(rustix::mount::mount(
        "tmpfs",
        target,
        "tmpfs",
        flags_of(options),
        data.as_c_str(),
    )?)
}

fn flags_of(options: MountOptions) -> MountFlags {
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, options.read_only);
    flags.set(MountFlags::NOSUID, options.no_suid);
    flags.set(MountFlags::NODEV, options.no_dev);
    flags.set(MountFlags::NOEXEC, options.no_exec);
    flags
}

/// Takes away the topmost mount at `target`; `false` when none is there. With `lazy` it
/// disappears from the tree at once and ends when its last user does.
///
/// # Errors
/// `EBUSY` when it is in use and not `lazy`, and whatever else umount2(2) says.
pub fn unmount(target: &Path, lazy: bool) -> io::Result<bool> {
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazy);
    match rustix::mount::unmount(target, flags) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Keeps mounts made below the mount point `target` from other mount namespaces, and theirs
/// from here.
///
/// # Errors
/// Whatever mount(2) says; `EINVAL` when `target` is no mount point.
pub fn make_private(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_change(
        target,
        MountPropagationFlags::PRIVATE,
    )?)
}

/// Whether something is mounted exactly at `path`. One statx(2) where the kernel tells
/// (Linux 5.8), else a look into mountinfo.
///
/// # Errors
/// Whatever statx(2) or the read says; a missing path is `false`.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, path, flags, StatxFlags::empty()) {
        Ok(found)
            if found
                .stx_attributes_mask
                .contains(StatxAttributes::MOUNT_ROOT) =>
        {
            Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        Ok(_) => Ok(find(path)?.is_some()),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The topmost mount at exactly `target`, an absolute path without links.
///
/// # Errors
/// When `/proc/self/mountinfo` cannot be read.
pub fn find(target: &Path) -> io::Result<Option<MountEntry>> {
    Ok(mounts()?.into_iter().rev().find(|m| m.target == target))
}

/// Every mount at or below `path`, the last made first: the order in which they can be
/// unmounted.
///
/// # Errors
/// As [`find`].
pub fn below(path: &Path) -> io::Result<Vec<MountEntry>> {
    let mut found = mounts()?;
    found.retain(|m| m.target.starts_with(path));
    found.reverse();
    Ok(found)
}

fn mounts() -> io::Result<Vec<MountEntry>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    Ok(text
        .split(|b| *b == b'\n')
        .filter_map(parse_mountinfo)
        .collect())
}

fn parse_mountinfo(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|b| *b == b' ');
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let root = fields.nth(1)?;
    let target = fields.next()?;
    // Optional fields of any number end with a dash.
    let mut rest = fields.skip_while(|f| *f != b"-").skip(1);
    let fs_type = String::from_utf8_lossy(rest.next()?).into_owned();
    Some(MountEntry {
        id,
        parent,
        root: unescape(root).into(),
        target: unescape(target).into(),
        fs_type,
        source: unescape(rest.next()?),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        match octal {
            Some(byte) if first == b'\\' => {
                plain.push(byte);
                rest = &after[3..];
            }
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    OsString::from_vec(plain)
}

/// The type of the file system that holds `path`, as mountinfo calls it; empty when unknown.
pub fn fs_type_of(path: &Path) -> String {
    let holds = |m: &MountEntry| path.starts_with(&m.target);
    let found = mounts().unwrap_or_default();
    let best = found
        .iter()
        .filter(|m| holds(m))
        .max_by_key(|m| m.target.as_os_str().len());
    best.map(|m| m.fs_type.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unmounts when the test ends, however it ends.
    struct Mounted(PathBuf);

    impl Drop for Mounted {
        fn drop(&mut self) {
            while unmount(&self.0, true).unwrap_or(false) {}
        }
    }

    #[test]
    fn mountinfo_lines_are_read_with_their_escapes() {
        let line = b"36 35 98:0 /mnt1 /a\\040b\\134 rw,noatime master:1 - ext3 /dev/root rw,x=y";
        let m = parse_mountinfo(line).unwrap();
        assert_eq!((m.id, m.parent), (36, 35));
        assert_eq!(m.root, Path::new("/mnt1"));
        assert_eq!(m.target, Path::new("/a b\\"));
        assert_eq!((m.fs_type.as_str(), m.source), ("ext3", "/dev/root".into()));
        for bad in [
            "",
            "36",
            "36 35 98:0 / /a rw - ",
            "x 35 98:0 / /a rw - ext3 d",
        ] {
            assert_eq!(parse_mountinfo(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_overlay_mounts_either_way_below_an_awkward_path() {
        for api in [OverlayApi::Fsopen, OverlayApi::MountOptions] {
            let temp = tempfile::tempdir().unwrap();
            let root = temp.path().join("a,b:c\\d e");
            let dir = |name: String| {
                let dir = root.join(name);
                std::fs::create_dir_all(&dir).unwrap();
                dir
            };
            let lower: Vec<PathBuf> = (0..60)
                .map(|n| {
                    let lower = dir(format!("lower{n}{}", "x".repeat(90)));
                    std::fs::write(lower.join(format!("f{n}")), "").unwrap();
                    std::fs::write(lower.join("same"), n.to_string()).unwrap();
                    lower
                })
                .collect();
            let (upper, work, target) = (dir("u".into()), dir("w".into()), dir("m".into()));
            let _guard = Mounted(target.clone());
            assert!(!is_mount_point(&target).unwrap());
            let wanted = Overlay {
                lower: &lower,
                upper: &upper,
                work: &work,
            };
            overlay(api, wanted, &target).unwrap();
            assert!(is_mount_point(&target).unwrap());
            assert_eq!(std::fs::read_dir(&target).unwrap().count(), 61);
            assert_eq!(std::fs::read(target.join("same")).unwrap(), b"0");
            let found = find(&target).unwrap().unwrap();
            assert_eq!(found.fs_type, "overlay");
            assert_eq!(fs_type_of(&target.join("f1")), "overlay");
            assert_eq!(below(&root).unwrap(), [found]);
            assert!(unmount(&target, false).unwrap());
            assert!(!unmount(&target, false).unwrap());
            assert!(!is_mount_point(&target).unwrap());
        }
    }

    #[test]
    fn too_many_layers_for_one_page_are_refused_before_the_kernel_cuts_them() {
        let temp = tempfile::tempdir().unwrap();
        let lower = vec![temp.path().to_owned(); 400];
        let wanted = Overlay {
            lower: &lower,
            upper: temp.path(),
            work: temp.path(),
        };
        let e = overlay(OverlayApi::MountOptions, wanted, temp.path()).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::E2BIG));
    }

    #[test]
    fn bind_and_tmpfs_take_their_options() {
        let temp = tempfile::tempdir().unwrap();
        let (source, target) = (temp.path().join("s"), temp.path().join("t"));
        std::fs::create_dir(&source).unwrap();
        std::fs::create_dir(&target).unwrap();
        let (_a, _b) = (Mounted(source.clone()), Mounted(target.clone()));
        tmpfs(&source, 1 << 20, 0o711, MountOptions::default()).unwrap();
        std::fs::write(source.join("f"), "x").unwrap();
        let read_only = MountOptions {
            read_only: true,
            ..MountOptions::default()
        };
        bind(&source, &target, false, read_only).unwrap();
        make_private(&target).unwrap();
        assert_eq!(std::fs::read(target.join("f")).unwrap(), b"x");
        let e = std::fs::write(target.join("g"), "").unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::ReadOnlyFilesystem);
        let full = std::fs::write(source.join("big"), vec![0; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_is_absent_is_not_mounted() {
        let absent = Path::new("/nonexistent/moored");
        assert!(!is_mount_point(absent).unwrap());
        assert!(!unmount(absent, true).unwrap());
    }
}
