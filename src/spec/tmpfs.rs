//! Mount options of a tmpfs: Docker's defaults, the request's words, each class once.
//!
//! Words come from a client and end in mount(2) by way of the OCI runtime, so only those of a
//! closed list pass (moby/sys/mount `MergeTmpfsOptions`).

use std::borrow::Cow;

use model::{Error, Mount, MountSource, Result};

/// Docker's defaults, overridden by what was asked, each class once (moby `MergeTmpfsOptions`).
///
/// # Errors
///
/// `invalid tmpfs option "x"` for a word that is none.
pub(super) fn options<'a>(mount: &Mount) -> Result<Vec<Cow<'a, str>>> {
    let MountSource::Tmpfs {
        size_bytes,
        mode,
        options,
    } = &mount.source
    else {
        return Ok(Vec::new());
    };
    let mut words: Vec<String> = ["noexec", "nosuid", "nodev", "rprivate"]
        .map(String::from)
        .into();
    words.extend(options.iter().cloned());
    words.extend(size_bytes.map(|n| format!("size={n}")));
    words.extend(mode.map(|m| format!("mode={m:o}")));
    words.extend(mount.read_only.then(|| "ro".into()));
    let mut seen = Vec::new();
    let mut kept = Vec::new();
    for word in words.iter().rev().filter(|w| *w != "defaults") {
        let class = class(word).ok_or_else(|| {
            let shown: String = word.chars().take(256).collect();
            Error::invalid(format!("invalid tmpfs option {shown:?}"))
        })?;
        if !seen.contains(&class) {
            seen.push(class);
            kept.push(Cow::Owned(word.clone()));
        }
    }
    kept.reverse();
    Ok(kept)
}

/// How a word of a tmpfs's options collides with others: only the last of a class counts.
fn class(word: &str) -> Option<&str> {
    Some(match word {
        "ro" | "rw" => "ro",
        "suid" | "nosuid" => "suid",
        "dev" | "nodev" => "dev",
        "exec" | "noexec" => "exec",
        "sync" | "async" => "sync",
        "dirsync" => "dirsync",
        "mand" | "nomand" => "mand",
        "atime" | "noatime" => "atime",
        "diratime" | "nodiratime" => "diratime",
        "relatime" | "norelatime" => "relatime",
        "strictatime" | "nostrictatime" => "strictatime",
        "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" | "unbindable"
        | "runbindable" => "propagation",
        _ => match word.split_once('=')? {
            (
                key @ ("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol"),
                value,
            ) if !value.is_empty() && !value.contains([',', '\0']) => key,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use model::mount::Propagation;

    use super::*;

    fn tmpfs(options: &[&str]) -> Mount {
        Mount {
            source: MountSource::Tmpfs {
                size_bytes: None,
                mode: None,
                options: options.iter().map(ToString::to_string).collect(),
            },
            destination: "/t".into(),
            read_only: false,
            propagation: Propagation::default(),
            mode: String::new(),
        }
    }

    #[test]
    fn tmpfs_options_keep_the_last_of_each_class() {
        let joined = |words: &[&str]| options(&tmpfs(words)).unwrap().join(",");
        assert_eq!(joined(&[]), "noexec,nosuid,nodev,rprivate");
        assert_eq!(
            joined(&["exec", "size=1m", "size=2m", "defaults"]),
            "nosuid,nodev,rprivate,exec,size=2m"
        );
        let mut mount = tmpfs(&["size=1"]);
        mount.read_only = true;
        if let MountSource::Tmpfs {
            size_bytes, mode, ..
        } = &mut mount.source
        {
            (*size_bytes, *mode) = (Some(4096), Some(0o1770));
        }
        assert_eq!(
            options(&mount).unwrap().join(","),
            "noexec,nosuid,nodev,rprivate,size=4096,mode=1770,ro"
        );
        for bad in ["lowerdir=/", "bind", "size", "size=", "size=1,exec", ""] {
            let e = options(&tmpfs(&[bad])).unwrap_err();
            assert_eq!(e.message(), format!("invalid tmpfs option {bad:?}"));
        }
    }
}
