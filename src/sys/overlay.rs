//! Overlays: many layers and a directory for changes, seen as one tree.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::limits;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags};

use crate::apart::apart;
use crate::id_map::{self, UserNamespace};
use crate::mount::{MountOptions, attach, detached_clone, tmpfs};

/// An overlay to mount. None of the directories may hold another of them.
#[derive(Debug, Clone, Copy)]
pub struct Overlay<'a> {
    /// Read-only layers, the topmost first.
    pub lower: &'a [PathBuf],
    /// Takes the changes.
    pub upper: &'a Path,
    /// Overlayfs' own, empty, beside `upper`.
    pub work: &'a Path,
    /// The ids that its files have for those outside this user namespace: what is on the disk are
    /// the ids inside. `None` where both are the same.
    pub ids: Option<&'a UserNamespace>,
    /// The SELinux label that all its files have; `None` is what the disk says.
    pub label: Option<&'a str>,
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
            // needs less than 450 bytes, a label of four parts included.
            Self::MountOptions => (MOUNT_DATA_BYTES_MAX - 450) / "/proc/self/fd/1048575:".len(),
        }
    }
}

/// Mounts `overlay` at `target`, without following redirects or metadata-only copies: a layer
/// that carries such attributes of overlayfs must not reach other files through them.
///
/// # Errors
/// Whatever the kernel says; `E2BIG` when [`OverlayApi::MountOptions`] cannot hold so many
/// layers.
pub fn overlay(api: OverlayApi, overlay: Overlay<'_>, target: &Path) -> io::Result<()> {
    match (overlay.ids, api) {
        (Some(ids), _) => attach(apart(|| mapped(api, overlay, ids, target))?.as_fd(), target),
        (None, OverlayApi::Fsopen) => attach(by_fsopen(overlay)?.as_fd(), target),
        (None, OverlayApi::MountOptions) => by_options(overlay, target),
    }
}

/// Of the file system that holds the layers' mounts while an overlay is made of them.
const SCAFFOLD_BYTES: u64 = 16 << 20;

/// An overlay of mounts that show `ids`, attached nowhere. Overlayfs takes layers by path and only
/// from the thread's own namespace (Linux 5.19), so they are mounted where nobody else sees them,
/// and nothing is left of that however this ends.
fn mapped(
    api: OverlayApi,
    overlay: Overlay<'_>,
    ids: &UserNamespace,
    place: &Path,
) -> io::Result<OwnedFd> {
    let (Some(top), Some(upper), Some(work)) = (
        overlay.upper.parent(),
        overlay.upper.file_name(),
        overlay.work.file_name(),
    ) else {
        return Err(Errno::INVAL.into());
    };
    let shown: Vec<OwnedFd> = overlay
        .lower
        .iter()
        .map(PathBuf::as_path)
        .chain([top])
        .map(|path| id_map::mapped_clone(path, ids))
        .collect::<io::Result<_>>()?;
    tmpfs(place, SCAFFOLD_BYTES, 0o700, MountOptions::default())?;
    let mut paths = Vec::new();
    for (n, mount) in shown.iter().enumerate() {
        let path = place.join(n.to_string());
        std::fs::create_dir(&path)?;
        attach(mount.as_fd(), &path)?;
        paths.push(path);
    }
    let top = paths.pop().unwrap_or_default();
    // Overlayfs makes its own files as who mounted it, and one who has no id inside cannot.
    ids.act_as_root()?;
    let overlay = Overlay {
        lower: &paths,
        upper: &top.join(upper),
        work: &top.join(work),
        ids: None,
        label: overlay.label,
    };
    match api {
        OverlayApi::Fsopen => by_fsopen(overlay),
        OverlayApi::MountOptions => {
            let target = place.join("merged");
            std::fs::create_dir(&target)?;
            by_options(overlay, &target)?;
            detached_clone(&target, false)
        }
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

/// Makes it, attached nowhere.
fn by_fsopen(overlay: Overlay<'_>) -> io::Result<OwnedFd> {
    use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};

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
    if let Some(label) = overlay.label {
        fsconfig_set_string(context.as_fd(), "context", label)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::empty();
    Ok(fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

fn by_options(overlay: Overlay<'_>, target: &Path) -> io::Result<()> {
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
    if let Some(label) = overlay.label {
        // A level has commas.
        data.extend_from_slice(format!(",context=\"{label}\"").as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::tests::Mounted;
    use crate::mount::{below, find, fs_type_of, is_mount_point, unmount};

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
                ids: None,
                label: None,
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
            ids: None,
            label: None,
        };
        let e = overlay(OverlayApi::MountOptions, wanted, temp.path()).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::E2BIG));
    }

    /// What is on the disk has the ids inside, what is seen those outside, both ways.
    #[test]
    fn a_mapped_overlay_shows_other_ids_than_the_disk_has() {
        use std::os::unix::fs::{MetadataExt, chown};
        let maps = |text| match model::UserNamespace::parse(text).unwrap() {
            model::UserNamespace::Mapped(maps) => maps,
            other => panic!("{other:?}"),
        };
        let ids = UserNamespace::new(&maps("u:0:300000:1000,g:0:500000:1000")).unwrap();
        for api in [OverlayApi::Fsopen, OverlayApi::MountOptions] {
            let temp = tempfile::tempdir().unwrap();
            let dir = |name: &str| {
                let dir = temp.path().join(name);
                std::fs::create_dir_all(&dir).unwrap();
                dir
            };
            let lower = [dir("a"), dir("b")];
            let (upper, work, target) = (dir("top/u"), dir("top/w"), dir("top/m"));
            let _guard = Mounted(target.clone());
            std::fs::write(lower[1].join("f"), "x").unwrap();
            chown(lower[1].join("f"), Some(7), Some(8)).unwrap();
            std::fs::write(lower[0].join("beyond"), "x").unwrap();
            chown(lower[0].join("beyond"), Some(1000), None).unwrap();
            let wanted = Overlay {
                lower: &lower,
                upper: &upper,
                work: &work,
                ids: Some(&ids),
                label: None,
            };
            overlay(api, wanted, &target).unwrap();
            let owner = |path: PathBuf| {
                let found = std::fs::metadata(path).unwrap();
                (found.uid(), found.gid())
            };
            assert_eq!(owner(target.join("f")), (300_007, 500_008));
            assert_eq!(owner(target.clone()), (300_000, 500_000));
            // Nobody's.
            assert_eq!(owner(target.join("beyond")).0, 65_534);
            chown(target.join("f"), Some(300_001), Some(500_001)).unwrap();
            assert_eq!(owner(upper.join("f")), (1, 1));
            assert_eq!(owner(lower[1].join("f")), (7, 8));
            let strangers = chown(target.join("f"), Some(0), None).unwrap_err();
            assert_eq!(strangers.raw_os_error(), Some(libc::EOVERFLOW));
            assert_eq!(below(temp.path()).unwrap().len(), 1);
            assert!(unmount(&target, false).unwrap());
        }
    }
}
