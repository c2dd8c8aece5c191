//! A tree as text, with all that makes two of them the same.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, lgetxattr, llistxattr, major, minor};
use sha2::{Digest as _, Sha256};

/// Bytes of an attribute, and of the list of their names.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// What is below `root`, sorted, a line for each file: name, kind, mode, owner, time, size and the start of
/// the sha256, what a link says, a device's number, attributes but overlay's, and the first name of the
/// same inode. Of those in `without` nothing is told, of those in `timeless` no time.
///
/// # Panics
/// When it cannot be read.
pub fn tree_listing(root: &Path, without: &[&str], timeless: &[&str]) -> Vec<String> {
    let mut walk = Walk {
        root,
        without,
        timeless,
        inodes: HashMap::new(),
        lines: Vec::new(),
    };
    walk.dir(Path::new(""));
    let told = walk.lines.into_iter().map(|(line, inode)| {
        // Names that another layer hides are no names.
        let names = inode.and_then(|inode| walk.inodes.get(&inode));
        match names {
            Some((first, 2..)) => format!("{line} is={}", escaped(first)),
            _ => line,
        }
    });
    told.collect()
}

struct Walk<'a> {
    root: &'a Path,
    without: &'a [&'a str],
    timeless: &'a [&'a str],
    /// The first name of each file, and how many were seen.
    inodes: HashMap<u64, (PathBuf, usize)>,
    lines: Vec<(String, Option<u64>)>,
}

impl Walk<'_> {
    fn dir(&mut self, dir: &Path) {
        let entries = fs::read_dir(self.root.join(dir)).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| dir.join(entry.expect("an entry").file_name()))
            .collect();
        names.sort();
        for name in names {
            let is = |listed: &&str| name == Path::new(listed);
            if self.without.iter().any(is) {
                continue;
            }
            let timeless = self.timeless.iter().any(is);
            if self.file(&name, timeless) == FileType::Directory {
                self.dir(&name);
            }
        }
    }

    fn file(&mut self, name: &Path, timeless: bool) -> FileType {
        let path = self.root.join(name);
        let found = path.symlink_metadata().expect("a file");
        let kind = FileType::from_raw_mode(found.mode());
        let letter = match kind {
            FileType::Directory => 'd',
            FileType::RegularFile => 'f',
            FileType::Symlink => 'l',
            FileType::CharacterDevice => 'c',
            FileType::BlockDevice => 'b',
            FileType::Fifo => 'p',
            _ => '?',
        };
        let mut line = format!(
            "{} {letter} {:04o} {}:{}",
            escaped(name),
            found.mode() & 0o7777,
            found.uid(),
            found.gid()
        );
        let mut add = |text: String| line = format!("{line} {text}");
        if !timeless {
            add(format!("{}.{:09}", found.mtime(), found.mtime_nsec()));
        }
        match kind {
            FileType::RegularFile => {
                let content = fs::read(&path).expect("content");
                let sum = const_hex::encode(Sha256::digest(&content));
                add(format!("{} {}", content.len(), &sum[..16]));
            }
            FileType::Symlink => add(escaped(&fs::read_link(&path).expect("a link"))),
            FileType::CharacterDevice | FileType::BlockDevice => {
                add(format!("{}:{}", major(found.rdev()), minor(found.rdev())));
            }
            _ => {}
        }
        attributes(&path).into_iter().for_each(&mut add);
        let has_names = kind != FileType::Directory && found.nlink() > 1;
        let inode = has_names.then(|| found.ino());
        if let Some(inode) = inode {
            let first = self.inodes.entry(inode);
            let (_, names) = first.or_insert_with(|| (name.to_owned(), 0));
            *names += 1;
        }
        self.lines.push((line, inode));
        kind
    }
}

fn attributes(path: &Path) -> Vec<String> {
    let mut names = vec![0; XATTR_BYTES_MAX];
    let len = llistxattr(path, &mut names).expect("names of attributes");
    let mut found = Vec::new();
    for name in names[..len].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let name = std::str::from_utf8(name).expect("text");
        let mut value = vec![0; XATTR_BYTES_MAX];
        let len = lgetxattr(path, name, &mut value).expect("an attribute");
        if !name.starts_with("trusted.overlay.") {
            found.push(format!("{name}={}", const_hex::encode(&value[..len])));
        }
    }
    found.sort();
    found
}

fn escaped(path: &Path) -> String {
    let text = path.as_os_str().as_bytes().escape_ascii().to_string();
    text.replace(' ', "\\x20")
}
