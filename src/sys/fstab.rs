//! Mounts as fstab(5) spells them: a device, a type and words.
//!
//! Some words are flags of mount(2), the rest is for the file system (moby/sys/mount `parseOptions`,
//! `mount`).

use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags};

/// `MS_REMOUNT`, mount(2).
const REMOUNT: MountFlags = MountFlags::from_bits_retain(0x20);

/// What a bind can have other than what it shows.
const OF_A_BIND: MountFlags = MountFlags::RDONLY
    .union(MountFlags::NOSUID)
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Whether such words ask for a bind: of a directory that the host has already.
pub fn binds(options: &str) -> bool {
    Words::parse(options).flags.contains(MountFlags::BIND)
}

/// What a word does to the flags.
#[derive(Debug, Clone, Copy)]
enum Word {
    Set(MountFlags),
    Clear(MountFlags),
    Propagation(MountPropagationFlags),
}

/// The flags of a word; `None` for what the file system is to understand.
fn word(text: &str) -> Option<Word> {
    use MountFlags as F;
    use MountPropagationFlags as P;
    use Word::{Clear, Propagation, Set};
    let locks = F::PERMIT_MANDATORY_FILE_LOCKING;
    Some(match text {
        "ro" => Set(F::RDONLY),
        "rw" => Clear(F::RDONLY),
        "nosuid" => Set(F::NOSUID),
        "suid" => Clear(F::NOSUID),
        "nodev" => Set(F::NODEV),
        "dev" => Clear(F::NODEV),
        "noexec" => Set(F::NOEXEC),
        "exec" => Clear(F::NOEXEC),
        "sync" => Set(F::SYNCHRONOUS),
        "async" => Clear(F::SYNCHRONOUS),
        "dirsync" => Set(F::DIRSYNC),
        "remount" => Set(REMOUNT),
        "mand" => Set(locks),
        "nomand" => Clear(locks),
        "noatime" => Set(F::NOATIME),
        "atime" => Clear(F::NOATIME),
        "nodiratime" => Set(F::NODIRATIME),
        "diratime" => Clear(F::NODIRATIME),
        "bind" => Set(F::BIND),
        "rbind" => Set(F::BIND | F::REC),
        "relatime" => Set(F::RELATIME),
        "norelatime" => Clear(F::RELATIME),
        "strictatime" => Set(F::STRICTATIME),
        "nostrictatime" => Clear(F::STRICTATIME),
        "unbindable" => Propagation(P::UNBINDABLE),
        "runbindable" => Propagation(P::UNBINDABLE | P::REC),
        "private" => Propagation(P::PRIVATE),
        "rprivate" => Propagation(P::PRIVATE | P::REC),
        "shared" => Propagation(P::SHARED),
        "rshared" => Propagation(P::SHARED | P::REC),
        "slave" => Propagation(P::DOWNSTREAM),
        "rslave" => Propagation(P::DOWNSTREAM | P::REC),
        _ => return None,
    })
}

/// What a list of words comes to.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    flags: MountFlags,
    propagation: MountPropagationFlags,
    /// For the file system.
    data: String,
}

impl Words {
    fn parse(text: &str) -> Self {
        let mut parsed = Self {
            flags: MountFlags::empty(),
            propagation: MountPropagationFlags::empty(),
            data: String::new(),
        };
        let mut data = Vec::new();
        for option in text.split(',') {
            match word(option) {
                Some(Word::Set(flags)) => parsed.flags |= flags,
                Some(Word::Clear(flags)) => parsed.flags -= flags,
                Some(Word::Propagation(flags)) => parsed.propagation |= flags,
                None => data.push(option),
            }
        }
        parsed.data = data.join(",");
        parsed
    }
}

/// A call that failed, told as moby does.
#[derive(Debug)]
pub struct MountError {
    what: String,
    cause: io::Error,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, in_go(&self.cause))
    }
}

impl std::error::Error for MountError {}

/// What the kernel said, as Go's `syscall.Errno` spells it: Docker's clients know it so.
pub fn in_go(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Mounts `device` at the directory `target`, as mount(8) would with `-t fs_type -o options`.
///
/// # Errors
/// What the kernel says, with the call; then nothing is mounted.
pub fn mount(device: &str, target: &Path, fs_type: &str, options: &str) -> Result<(), MountError> {
    let words = Words::parse(options);
    let at = target.display();
    let failed = |op: &str, source: &str, flags: u32, data: &str, cause: io::Error| {
        let mut what = format!("{op} {source}{at}");
        if flags != 0 {
            what += &format!(", flags: {flags:#x}");
        }
        if !data.is_empty() {
            what += &format!(", data: {data}");
        }
        MountError { what, cause }
    };
    let source = match device {
        "" => String::new(),
        device => format!("{device}:"),
    };
    let data =
        CString::new(words.data.as_str()).map_err(|e| failed("mount", &source, 0, "", e.into()))?;
    rustix::mount::mount(device, target, fs_type, words.flags, data.as_c_str())
        .map_err(|e| failed("mount", &source, words.flags.bits(), &words.data, e.into()))?;
    let finish = || {
        if !words.propagation.is_empty() {
            let bits = words.propagation.bits();
            rustix::mount::mount_change(target, words.propagation)
                .map_err(|e| failed("remount", "", bits, "", e.into()))?;
        }
        // While it binds, mount(2) does not look at the other flags. moby sees to `ro` alone.
        if words.flags.contains(MountFlags::BIND) && words.flags.intersects(OF_A_BIND) {
            let bits = (words.flags | REMOUNT).bits();
            let op = match words.flags.contains(MountFlags::RDONLY) {
                true => "remount-ro",
                false => "remount",
            };
            rustix::mount::mount_remount(target, words.flags, c"")
                .map_err(|e| failed(op, "", bits, "", e.into()))?;
        }
        Ok(())
    };
    finish().inspect_err(|_| {
        // What is told as failed must not be there.
        drop(crate::mount::unmount(target, true));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_flags_or_the_file_systems() {
        let parsed = Words::parse("ro,noexec,size=10m,nosuid,suid,rslave,defaults,uid=1");
        assert_eq!(parsed.flags, MountFlags::RDONLY | MountFlags::NOEXEC);
        assert_eq!(parsed.data, "size=10m,defaults,uid=1");
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        assert_eq!(parsed.propagation, slave);
        assert_eq!(Words::parse("defaults").data, "defaults");
        assert_eq!(Words::parse("rbind,ro,rw").flags.bits(), 0x5000);
    }

    #[test]
    fn what_fails_is_told_as_moby_does_and_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let at = temp.path();
        let table = [
            (
                "tmpfs",
                "tmpfs",
                "bogus=1",
                "mount tmpfs:AT, data: bogus=1: invalid argument",
            ),
            (
                "/nonexist",
                "none",
                "bind,ro",
                "mount /nonexist:AT, flags: 0x1001: no such file or directory",
            ),
            ("x", "nosuchfs", "", "mount x:AT: no such device"),
        ];
        for (device, fs_type, options, message) in table {
            let e = mount(device, at, fs_type, options).unwrap_err();
            assert_eq!(
                e.to_string(),
                message.replace("AT", &at.display().to_string())
            );
            assert!(!crate::mount::is_mount_point(at).unwrap());
        }
    }

    #[test]
    fn a_read_only_bind_is_read_only_and_a_tmpfs_has_its_data() {
        let temp = tempfile::tempdir().unwrap();
        let (source, target) = (temp.path().join("s"), temp.path().join("t"));
        for dir in [&source, &target] {
            std::fs::create_dir(dir).unwrap();
        }
        mount(source.to_str().unwrap(), &target, "none", "bind,ro").unwrap();
        let e = std::fs::write(target.join("f"), "").unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::ReadOnlyFilesystem);
        assert!(crate::mount::unmount(&target, true).unwrap());
        mount(
            source.to_str().unwrap(),
            &target,
            "none",
            "rbind,nosuid,noexec",
        )
        .unwrap();
        let flags = rustix::fs::statvfs(&target).unwrap().f_flag;
        let wanted = rustix::fs::StatVfsMountFlags::NOSUID | rustix::fs::StatVfsMountFlags::NOEXEC;
        assert!(flags.contains(wanted), "{flags:?}");
        assert!(crate::mount::unmount(&target, true).unwrap());
        mount("tmpfs", &target, "tmpfs", "mode=711,size=1m").unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&target).unwrap());
        assert_eq!(mode & 0o7777, 0o711);
        assert!(crate::mount::unmount(&target, true).unwrap());
    }
}
