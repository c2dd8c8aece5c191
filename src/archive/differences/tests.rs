//! Copies beside their layers: what is told, and what a layer of it holds.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::{Applier, Reader};

struct Bed {
    temp: tempfile::TempDir,
}

impl Bed {
    /// A layer, and a copy of it as it was made.
    fn new() -> Self {
        let bed = Self {
            temp: tempfile::tempdir().unwrap(),
        };
        for tree in ["low", "copy"] {
            for file in [
                "a",
                "b",
                "d/one",
                "d/two",
                "gone/x",
                "turned/in",
                "back",
                "cap",
            ] {
                let path = bed.at(tree).join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, file).unwrap();
                let dir = Dir::open(path.parent().unwrap()).unwrap();
                let then = FileTime {
                    secs: 1000,
                    nanos: 0,
                };
                dir.set_times(path.file_name().unwrap(), then, then)
                    .unwrap();
            }
            symlink("a", bed.at(tree).join("l")).unwrap();
            let dir = Dir::open(&bed.at(tree)).unwrap();
            let then = FileTime {
                secs: 1000,
                nanos: 0,
            };
            dir.set_times(OsStr::new("l"), then, then).unwrap();
        }
        fs::write(bed.at("made"), "").unwrap();
        bed.pass_a_tick();
        bed
    }

    /// File systems keep the time of change as coarse as the kernel's clock ticks.
    fn pass_a_tick(&self) {
        let made = made_at(&self.at("made")).unwrap();
        loop {
            fs::write(self.at("later"), "").unwrap();
            if made_at(&self.at("later")).unwrap() > made {
                return;
            }
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.temp.path().join(path)
    }

    fn copied(&self) -> Copied {
        Copied {
            tree: self.at("copy"),
            made: self.at("made"),
            incoming: self.at("incoming"),
            lower: vec![self.at("low")],
        }
    }

    fn told(&self, care: Care) -> Vec<String> {
        let mut told = Vec::new();
        differences(&self.copied(), care, &mut |found| {
            let word = match found.kind {
                None => return Ok(()),
                Some(ChangeKind::Modified) => "C",
                Some(ChangeKind::Added) => "A",
                Some(ChangeKind::Deleted) => "D",
            };
            told.push(format!("{word} {}", found.path.display()));
            Ok(())
        })
        .unwrap();
        told
    }

    fn packed(&self) -> Vec<String> {
        let mut out = Writer::new(Vec::new());
        let changed = Changed::Copy(self.copied());
        let left_out = HashSet::from([PathBuf::new()]);
        pack_changed(
            &mut out,
            &changed,
            Layered {
                left_out,
                ..Layered::default()
            },
        )
        .unwrap();
        let tar = out.finish().unwrap();
        let mut reader = Reader::new(&tar[..]);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            names.push(String::from_utf8(entry.path).unwrap());
        }
        // It is a layer that can be applied.
        fs::create_dir(self.at("applied")).unwrap();
        let applier = Applier::new(&self.at("applied"), Form::Layer).unwrap();
        applier.all(&mut Reader::new(&tar[..])).unwrap();
        names
    }

    fn restore_time(&self, name: &str) {
        let then = FileTime {
            secs: 1000,
            nanos: 0,
        };
        let dir = Dir::open(&self.at("copy")).unwrap();
        dir.set_times(OsStr::new(name), then, then).unwrap();
    }
}

#[test]
fn an_untouched_copy_has_no_changes() {
    let bed = Bed::new();
    assert!(bed.told(Care::Stat).is_empty());
    assert!(bed.told(Care::Whole).is_empty());
    assert!(bed.packed().is_empty());
    fs::remove_dir_all(bed.at("copy")).unwrap();
    assert!(bed.told(Care::Whole).is_empty());
}

#[test]
fn every_change_is_told_and_packed_with_what_is_above() {
    let bed = Bed::new();
    fs::write(bed.at("copy/a"), "longer").unwrap();
    fs::remove_file(bed.at("copy/d/one")).unwrap();
    fs::remove_dir_all(bed.at("copy/gone")).unwrap();
    fs::remove_dir_all(bed.at("copy/turned")).unwrap();
    fs::write(bed.at("copy/turned"), "").unwrap();
    fs::remove_file(bed.at("copy/b")).unwrap();
    fs::create_dir_all(bed.at("copy/b/deep")).unwrap();
    fs::write(bed.at("copy/b/deep/new"), "").unwrap();
    fs::set_permissions(bed.at("copy/cap"), fs::Permissions::from_mode(0o600)).unwrap();
    let told = [
        "C a",
        "C cap",
        "C turned",
        "D gone",
        "C b",
        "A b/deep",
        "A b/deep/new",
        "D d/one",
    ];
    assert_eq!(bed.told(Care::Stat), told);
    assert_eq!(bed.told(Care::Whole), told);
    let packed = [
        ".wh.gone",
        "a",
        "cap",
        "turned",
        "b/",
        "b/deep/",
        "b/deep/new",
        "d/",
        "d/.wh.one",
    ];
    assert_eq!(bed.packed(), packed);
}

/// What moby's vfs driver would lose.
#[test]
fn what_hides_from_stat_is_in_the_layer() {
    let bed = Bed::new();
    fs::write(bed.at("copy/back"), "BACK").unwrap();
    bed.restore_time("back");
    // Touched, and the same.
    fs::write(bed.at("copy/a"), "a").unwrap();
    bed.restore_time("a");
    let dir = Dir::open(&bed.at("copy")).unwrap();
    dir.set_xattr(OsStr::new("b"), OsStr::new("user.x"), b"1")
        .unwrap();
    dir.unlink(OsStr::new("l")).unwrap();
    symlink("b", bed.at("copy/l")).unwrap();
    bed.restore_time("l");
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    dir.set_xattr(
        OsStr::new("cap"),
        OsStr::new("security.capability"),
        &capability,
    )
    .unwrap();
    assert_eq!(bed.told(Care::Stat), ["C cap"]);
    assert_eq!(bed.told(Care::Whole), ["C b", "C back", "C cap", "C l"]);
    assert_eq!(bed.packed(), ["b", "back", "cap", "l"]);
}

#[test]
fn names_that_mean_something_else_in_a_layer_are_refused() {
    for is_device in [true, false] {
        let bed = Bed::new();
        let dir = Dir::open(&bed.at("copy")).unwrap();
        match is_device {
            true => {
                let node = sys::beneath::Node::CharDevice(Default::default());
                dir.mknod(OsStr::new("c"), node).unwrap();
            }
            false => drop(dir.create_file(OsStr::new(".wh.a")).unwrap()),
        }
        let mut out = Writer::new(Vec::new());
        let changed = Changed::Copy(bed.copied());
        let refused = pack_changed(&mut out, &changed, Layered::default()).unwrap_err();
        assert!(refused.message().contains("in a layer"), "{refused}");
    }
}
