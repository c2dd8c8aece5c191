//! A path resolved by hand, one component after the other, for where it leads is to be told.
//!
//! Each step is from an open directory to a name in it that is not followed, so a link that is swapped
//! in between leads elsewhere inside, or nowhere. `..` of a link starts again from the root. What is
//! mounted on the way is crossed. Links that the kernel makes up (`/proc/1/root`) are taken by their
//! words.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use sys::beneath::{Dir, Kind, Metadata};

/// Links that are followed in one path (moby `symlink`, Go `filepath.EvalSymlinks`).
const LINKS_MAX: usize = 255;

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Walked {
    /// From the root, without links; what is missing is as it was given.
    pub(crate) path: PathBuf,
    /// What is there.
    pub(crate) thing: Option<Thing>,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Thing {
    /// A directory.
    Dir(Dir),
    /// Anything else, links included.
    Other {
        parent: Dir,
        name: OsString,
        found: Metadata,
    },
}

/// Follows `path`, and the link it ends with when `follow`.
///
/// # Errors
/// What the kernel says; `ENOTDIR` where the way is through what is no directory; `InvalidInput` for too
/// many links.
pub(crate) fn walk(root: &Dir, path: &Path, follow: bool) -> io::Result<Walked> {
    let mut left: VecDeque<OsString> = parts(path).collect();
    let mut at = PathBuf::new();
    let mut dir = root.beneath(Path::new(""))?;
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            at.pop();
            dir = root.beneath(&at)?;
            continue;
        }
        let Some(found) = dir.metadata(&name)? else {
            let missing = [name].into_iter().chain(left).collect::<PathBuf>();
            return Ok(Walked {
                path: cleaned(&at.join(missing)),
                thing: None,
            });
        };
        match found.kind {
            Kind::Dir => {
                dir = dir.child(&name)?;
                at.push(name);
            }
            Kind::Symlink if follow || !left.is_empty() => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let text = dir.read_link(&name)?;
                if text.is_absolute() {
                    at = PathBuf::new();
                    dir = root.beneath(Path::new(""))?;
                }
                for part in parts(&text).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(part);
                }
            }
            _ if left.is_empty() => {
                return Ok(Walked {
                    path: Path::new("/").join(at.join(&name)),
                    thing: Some(Thing::Other {
                        parent: dir,
                        name,
                        found,
                    }),
                });
            }
            _ => return Err(io::ErrorKind::NotADirectory.into()),
        }
    }
    Ok(Walked {
        path: Path::new("/").join(at),
        thing: Some(Thing::Dir(dir)),
    })
}

/// Opens what is at `path`, links followed, without looking into it; what is missing is made: a
/// directory when `is_dir`, else an empty file.
///
/// # Errors
/// What the kernel says.
pub(crate) fn open_or_make(
    root: &Dir,
    path: &Path,
    is_dir: bool,
) -> io::Result<std::os::fd::OwnedFd> {
    for _ in 0..=LINKS_MAX {
        let walked = walk(root, path, true)?;
        match walked.thing {
            Some(Thing::Dir(dir)) => return Ok(dir.into()),
            Some(Thing::Other { parent, name, .. }) => return parent.handle(&name),
            None => {}
        }
        // One after the other: a link that leads nowhere is made to lead somewhere.
        let missing = walked.path;
        let Some(first) = shallowest_missing(root, &missing) else {
            continue;
        };
        let (Some(parent), Some(name)) = (first.parent(), first.file_name()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let parent = root.in_root(parent)?;
        let done = match is_dir || first != missing {
            true => parent
                .mkdir(name)
                .and_then(|()| parent.set_mode(name, 0o755)),
            false => parent
                .create_file(name)
                .and_then(|_| parent.set_mode(name, 0o755)),
        };
        match done {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn shallowest_missing<'a>(root: &Dir, path: &'a Path) -> Option<&'a Path> {
    let mut all: Vec<&Path> = path.ancestors().collect();
    all.reverse();
    all.into_iter().find(|path| {
        let found = walk(root, path, true);
        found.is_ok_and(|walked| walked.thing.is_none())
    })
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    })
}

/// From the root, `..` resolved by words.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// Its path from the root, as [`Dir`] takes it.
pub(crate) fn relative(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    Path::new(OsStr::from_bytes(bytes.strip_prefix(b"/").unwrap_or(bytes)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    use super::*;

    fn bed() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("root/a/b")).unwrap();
        fs::write(temp.path().join("root/a/f"), "inside").unwrap();
        fs::write(temp.path().join("f"), "outside").unwrap();
        let root = Dir::open(&temp.path().join("root")).unwrap();
        (temp, root)
    }

    fn leads(root: &Dir, path: &str, follow: bool) -> (String, bool) {
        let walked = walk(root, Path::new(path), follow).unwrap();
        (
            walked.path.to_str().unwrap().to_owned(),
            walked.thing.is_some(),
        )
    }

    #[test]
    fn links_lead_where_they_lead_inside() {
        let (temp, root) = bed();
        let link =
            |text: &str, name: &str| symlink(text, temp.path().join("root").join(name)).unwrap();
        link("/a/b", "abs");
        link("../../../../f", "up");
        link("b/../f", "a/dots");
        link("one", "two");
        link("two", "one");
        link("a/none/x", "dangling");
        for (path, follow, to, is_there) in [
            ("/abs", true, "/a/b", true),
            ("/abs", false, "/abs", true),
            ("/abs/../f", true, "/a/f", true),
            ("/up", true, "/f", false),
            ("/a/dots", true, "/a/f", true),
            ("/dangling", true, "/a/none/x", false),
            ("/dangling/../y", true, "/a/none/y", false),
            ("/", true, "/", true),
        ] {
            assert_eq!(
                leads(&root, path, follow),
                (to.to_owned(), is_there),
                "{path}"
            );
        }
        let circle = walk(&root, Path::new("/one"), true).unwrap_err();
        assert_eq!(circle.kind(), io::ErrorKind::InvalidInput);
        let through = walk(&root, Path::new("/a/f/x"), true).unwrap_err();
        assert_eq!(through.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn what_is_missing_is_made_inside() {
        let (temp, root) = bed();
        symlink("../../out/dir", temp.path().join("root/link")).unwrap();
        open_or_make(&root, Path::new("/x/y"), true).unwrap();
        open_or_make(&root, Path::new("/x/file"), false).unwrap();
        open_or_make(&root, Path::new("/link"), true).unwrap();
        let made = |path: &str| fs::symlink_metadata(temp.path().join(path)).unwrap();
        assert!(made("root/x/y").is_dir() && made("root/x/file").is_file());
        assert!(made("root/out/dir").is_dir());
        assert!(!temp.path().join("out").exists());
        open_or_make(&root, Path::new("/a/f"), false).unwrap();
        open_or_make(&root, Path::new("/a/f/x"), true).unwrap_err();
    }

    /// A directory and a link that leads out are swapped as fast as that goes.
    #[test]
    fn a_link_that_is_swapped_in_leads_nowhere_else() {
        const ROUNDS: usize = 20_000;
        let (temp, root) = bed();
        let (dir, link) = (temp.path().join("root/a"), temp.path().join("root/l"));
        symlink(temp.path(), &link).unwrap();
        let ends = AtomicBool::new(false);
        let mut seen = [0, 0];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
            for _ in 0..ROUNDS {
                let walked = walk(&root, Path::new("/a/f"), true);
                let found = walked.is_ok_and(|walked| match walked.thing {
                    Some(Thing::Other { parent, name, .. }) => {
                        let read = parent.open_file(&name).map(io::read_to_string);
                        assert_eq!(read.unwrap().unwrap(), "inside");
                        true
                    }
                    _ => false,
                });
                seen[usize::from(found)] += 1;
            }
            ends.store(true, Ordering::Relaxed);
        });
        assert!(
            seen.iter().all(|n| *n > 0),
            "never swapped in between: {seen:?}"
        );
    }
}
