//! tmpfs mounts: `HostConfig.Tmpfs` (`docker run --tmpfs`) and mounts of that type.

use model::mount::Propagation;
use model::{Error, Mount, MountSource, Result};

use super::mounts::check_tmpfs_destination;
use wire::container::TmpfsOptions;

/// mount(8) flags and tmpfs(5) options that Docker lets through (moby/sys `mount`).
const FLAGS: &[&str] = &[
    "async",
    "atime",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "private",
    "relatime",
    "rprivate",
    "rshared",
    "rslave",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "sync",
];
const PAIRS: &[&str] = &["gid", "mpol", "nr_blocks", "nr_inodes", "uid"];

/// One entry of `HostConfig.Tmpfs`.
///
/// # Errors
/// 400 for a destination or an option Docker does not know.
pub(super) fn from_entry(destination: &str, options: &str) -> Result<Mount> {
    let mut parsed = Tmpfs::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        parsed.option(option)?;
    }
    Ok(parsed.mount(check_tmpfs_destination(destination)?))
}

/// A mount of type `tmpfs` at a checked destination.
///
/// # Errors
/// 400 for an option other than `exec` and `noexec`, as Docker has it.
pub(super) fn from_mount(
    destination: String,
    options: Option<&TmpfsOptions>,
    read_only: bool,
) -> Result<Mount> {
    let mut parsed = Tmpfs {
        read_only,
        ..Tmpfs::default()
    };
    if let Some(options) = options {
        parsed.size_bytes = u64::try_from(options.size_bytes).ok().filter(|n| *n > 0);
        let mode = u32::try_from(options.mode)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| Error::invalid(format!("invalid tmpfs mode: {:o}", options.mode)))?;
        parsed.mode = Some(mode).filter(|mode| *mode != 0);
        for option in options.options.iter().flatten() {
            match option.as_slice() {
                [flag] if flag == "exec" || flag == "noexec" => parsed.options.push(flag.clone()),
                [name, ..] if option.len() <= 2 => {
                    return Err(Error::invalid(format!("invalid option: {name}")));
                }
                _ => return Err(Error::invalid("invalid option array length")),
            }
        }
    }
    Ok(parsed.mount(destination))
}

#[derive(Debug, Default)]
struct Tmpfs {
    read_only: bool,
    size_bytes: Option<u64>,
    mode: Option<u32>,
    options: Vec<String>,
}

impl Tmpfs {
    fn option(&mut self, option: &str) -> Result<()> {
        let invalid = || Error::invalid(format!("invalid tmpfs option {option:?}"));
        match option.split_once('=') {
            None if option == "ro" => self.read_only = true,
            None if option == "rw" => self.read_only = false,
            None if FLAGS.contains(&option) => self.options.push(option.to_owned()),
            Some(("mode", octal)) => {
                let mode = u32::from_str_radix(octal, 8).map_err(|_| invalid())?;
                self.mode = Some(mode).filter(|mode| *mode <= 0o7777);
                self.mode.ok_or_else(invalid)?;
            }
            // A share of the memory is the kernel's to compute.
            Some(("size", share)) if share.ends_with('%') => self.options.push(option.to_owned()),
            Some(("size", size)) => self.size_bytes = Some(bytes(size).ok_or_else(invalid)?),
            Some((name, _)) if PAIRS.contains(&name) => self.options.push(option.to_owned()),
            // moby names what stands before the value (`MergeTmpfsOptions`).
            Some((name, _)) => {
                return Err(Error::invalid(format!("invalid tmpfs option {name:?}")));
            }
            None => return Err(invalid()),
        }
        Ok(())
    }

    fn mount(self, destination: String) -> Mount {
        Mount {
            source: MountSource::Tmpfs {
                size_bytes: self.size_bytes,
                mode: self.mode,
                options: self.options,
            },
            destination,
            read_only: self.read_only,
            propagation: Propagation::default(),
            mode: String::new(),
        }
    }
}

/// `65536`, `64k`, `1m`, `2G`: the kernel's memparse.
fn bytes(text: &str) -> Option<u64> {
    let shift = match text.bytes().last()? {
        b'k' | b'K' => 10,
        b'm' | b'M' => 20,
        b'g' | b'G' => 30,
        b't' | b'T' => 40,
        _ => 0,
    };
    let digits = if shift == 0 {
        text
    } else {
        &text[..text.len() - 1]
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let mount = from_entry("/run/", "rw,noexec,size=64k,mode=1770,uid=5").unwrap();
        assert_eq!(mount.destination, "/run");
        assert_eq!(
            mount.source,
            MountSource::Tmpfs {
                size_bytes: Some(65_536),
                mode: Some(0o1770),
                options: vec!["noexec".to_owned(), "uid=5".to_owned()],
            }
        );
        assert!(from_entry("/x", "ro").unwrap().read_only);
        assert!(matches!(
            from_entry("/x", "size=50%").unwrap().source,
            MountSource::Tmpfs { size_bytes: None, options, .. } if options == ["size=50%"]
        ));
        for bad in [
            "nosuch",
            "size=x",
            "size=99999999999g",
            "mode=9",
            "mode=77777",
        ] {
            let message = from_entry("/x", bad).unwrap_err().message().to_owned();
            assert_eq!(message, format!("invalid tmpfs option {bad:?}"));
        }
        let e = from_entry("/x", "nosuch=1").unwrap_err();
        assert_eq!(e.message(), "invalid tmpfs option \"nosuch\"");
        assert_eq!(
            from_entry("/", "").unwrap_err().message(),
            "invalid specification: destination can't be '/'"
        );
    }
}
