//! Mount propagation: what the container's root needs for its binds, and whether the host's
//! mounts can give what was asked for.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use model::mount::Propagation;
use model::{Context, Error, MountSource, Result};

use super::ResolvedMount;

/// Largest mountinfo that is read: a host with some 100,000 mounts.
const MOUNTINFO_BYTES_MAX: u64 = 16 << 20;

/// The propagation of the container's root (moby `withMounts`); `None` leaves the runtime's own.
pub(super) fn of_rootfs(mounts: &[ResolvedMount]) -> Option<&'static str> {
    let any = |needs: fn(Propagation) -> bool| binds(mounts).any(|m| needs(m.mount.propagation));
    if any(is_shared) {
        Some("shared")
    } else if any(is_slave) {
        Some("rslave")
    } else {
        None
    }
}

/// Refuses a shared or slave bind of what lies on a private mount: nothing would ever
/// propagate, silently. What need not propagate is made private then. Docker looks at start. Blocking;
/// reads only when there is such a bind.
///
/// # Errors
///
/// `System`, in moby's words: `path /x is mounted on / but it is not a shared mount`.
pub fn check_sources(mounts: &mut [ResolvedMount]) -> Result<()> {
    let is_bind = |m: &ResolvedMount| !matches!(m.mount.source, MountSource::Tmpfs { .. });
    let propagates = |p| is_shared(p) || is_slave(p);
    let wanting: Vec<_> = mounts
        .iter_mut()
        .filter(|m| is_bind(m) && propagates(m.mount.propagation))
        .collect();
    if wanting.is_empty() {
        return Ok(());
    }
    let mut mountinfo = String::new();
    File::open("/proc/self/mountinfo")
        .and_then(|f| f.take(MOUNTINFO_BYTES_MAX).read_to_string(&mut mountinfo))
        .context("read the mounts of the host: /proc/self/mountinfo")?;
    for bind in wanting {
        let source = std::fs::canonicalize(&bind.source)
            .context(format!("bind source {}", bind.source.display()))?;
        let propagation = &mut bind.mount.propagation;
        match check_one(&source, *propagation, &mountinfo) {
            Err(_) if *propagation == Propagation::SlaveIfShared => {
                *propagation = Propagation::RPrivate;
            }
            checked => checked?,
        }
    }
    Ok(())
}

fn check_one(source: &Path, propagation: Propagation, mountinfo: &str) -> Result<()> {
    // The longest mount point above the source; of equal ones the last, which hides the others.
    let mount = mountinfo
        .lines()
        .filter_map(parse_line)
        .filter(|m| source.starts_with(&m.point))
        .max_by_key(|m| m.point.as_os_str().len());
    let Some(mount) = mount else {
        return Err(Error::system(format!(
            "Can't find mount point of {}",
            source.display()
        )));
    };
    let (possible, words) = if is_shared(propagation) {
        (mount.shared, "a shared mount")
    } else {
        (mount.shared || mount.slave, "a shared or slave mount")
    };
    if possible {
        return Ok(());
    }
    Err(Error::system(format!(
        "path {} is mounted on {} but it is not {words}",
        source.display(),
        mount.point.display()
    )))
}

fn binds(mounts: &[ResolvedMount]) -> impl Iterator<Item = &ResolvedMount> {
    mounts
        .iter()
        .filter(|m| !matches!(m.mount.source, MountSource::Tmpfs { .. }))
}

fn is_shared(propagation: Propagation) -> bool {
    matches!(propagation, Propagation::Shared | Propagation::RShared)
}

fn is_slave(propagation: Propagation) -> bool {
    use Propagation::{RSlave, Slave, SlaveIfShared};
    matches!(propagation, Slave | RSlave | SlaveIfShared)
}

struct MountLine {
    point: PathBuf,
    shared: bool,
    slave: bool,
}

/// One line of proc_pid_mountinfo(5): mount point, then options, then optional fields up to `-`.
fn parse_line(line: &str) -> Option<MountLine> {
    let mut words = line.split(' ');
    let point = unescape(words.nth(4)?);
    words.next()?;
    let mut mount = MountLine {
        point: point.into(),
        shared: false,
        slave: false,
    };
    for word in words.take_while(|w| *w != "-") {
        mount.shared |= word.starts_with("shared:");
        mount.slave |= word.starts_with("master:");
    }
    Some(mount)
}

/// Spaces, tabs, line ends and backslashes are written as three octal digits.
fn unescape(word: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .into_iter()
    .fold(word.to_owned(), |text, (code, plain)| {
        text.replace(code, plain)
    })
}

#[cfg(test)]
mod tests {
    use model::Mount;

    use super::*;

    const MOUNTS: &str = "\
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 21 0:5 / /shared rw shared:7 - tmpfs tmpfs rw
31 21 0:6 / /slave rw master:7 propagate_from:2 - tmpfs tmpfs rw
32 21 0:7 / /with\\040space rw shared:9 - tmpfs tmpfs rw
33 30 0:8 / /shared/private rw - tmpfs tmpfs rw
34 21 0:9 / /twice rw shared:1 - tmpfs tmpfs rw
35 34 0:9 / /twice rw - tmpfs tmpfs rw
";

    fn check(path: &str, propagation: Propagation) -> Result<()> {
        check_one(Path::new(path), propagation, MOUNTS)
    }

    #[test]
    fn only_a_shared_mount_can_share() {
        use Propagation::{RShared, RSlave, Shared, Slave};
        for good in ["/shared", "/shared/x/y", "/with space/x"] {
            check(good, Shared).unwrap();
            check(good, RSlave).unwrap();
        }
        check("/slave/x", Slave).unwrap();
        let refused = |path, p| check(path, p).unwrap_err().message().to_owned();
        assert_eq!(
            refused("/slave/x", RShared),
            "path /slave/x is mounted on /slave but it is not a shared mount"
        );
        assert_eq!(
            refused("/sharedx", Slave),
            "path /sharedx is mounted on / but it is not a shared or slave mount"
        );
        assert!(check("/shared/private/x", Shared).is_err());
        assert!(check("/twice", Shared).is_err(), "the upper mount counts");
    }

    #[test]
    fn the_roots_propagation_follows_the_binds() {
        let with = |propagation| ResolvedMount {
            mount: Mount {
                source: MountSource::Bind {
                    path: "/".into(),
                    create_missing: false,
                    non_recursive: false,
                    reach: model::ReadOnlyReach::default(),
                },
                destination: "/a".into(),
                read_only: false,
                propagation,
                mode: String::new(),
            },
            source: "/".into(),
        };
        assert_eq!(of_rootfs(&[]), None);
        assert_eq!(of_rootfs(&[with(Propagation::RPrivate)]), None);
        assert_eq!(
            of_rootfs(&[with(Propagation::Slave), with(Propagation::Shared)]),
            Some("shared")
        );
        assert_eq!(of_rootfs(&[with(Propagation::RSlave)]), Some("rslave"));
        // Without such a bind nothing is read, whatever the source is.
        let mut plain = with(Propagation::RPrivate);
        plain.source = "/no/such/path".into();
        check_sources(&mut [plain]).unwrap();
    }
}
