//! Which mounts a container has: its own, those it takes from others, and the volumes that nobody
//! named.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use model::mount::{Propagation, clean_path};
use model::{AnonymousVolume, Error, Mount, MountSource, Result, VolumeName, limits};

/// Adds an anonymous volume for every place that asks for one, and for every declared path that no mount
/// covers; these are to have the driver `driver`.
pub fn place_volumes<'a>(
    mounts: &mut Vec<Mount>,
    asked: impl IntoIterator<Item = AnonymousVolume>,
    declared: impl Iterator<Item = &'a String>,
    driver: &str,
    random: impl Fn() -> [u8; 32],
) {
    let asked: Vec<AnonymousVolume> = asked.into_iter().collect();
    let places: HashSet<String> = asked.iter().map(|v| clean_path(&v.destination)).collect();
    // What the client asks for is in the place of what comes from another container.
    mounts.retain(|mount| !places.contains(&clean_path(&mount.destination)));
    mounts.extend(asked.into_iter().map(|volume| anonymous(volume, random())));
    let mut places = places_of(mounts);
    for destination in declared {
        let destination = clean_path(destination);
        if !places.insert(destination.clone()) {
            continue;
        }
        let mut volume = AnonymousVolume {
            destination,
            ..AnonymousVolume::default()
        };
        driver.clone_into(&mut volume.options.driver);
        mounts.push(anonymous(volume, random()));
    }
}

fn places_of(mounts: &[Mount]) -> HashSet<String> {
    mounts.iter().map(|m| clean_path(&m.destination)).collect()
}

fn anonymous(volume: AnonymousVolume, random: [u8; 32]) -> Mount {
    Mount {
        source: MountSource::Volume {
            name: VolumeName::anonymous(random),
            anonymous: true,
            no_copy: volume.no_copy,
            options: volume.options,
        },
        destination: volume.destination,
        read_only: false,
        propagation: Propagation::default(),
        mode: volume.mode,
    }
}

/// The mounts that a container takes from others: at one place the later ones are in force, and its own
/// always (moby `registerMountPoints`).
#[derive(Debug, Default)]
pub struct Borrowed {
    /// By place, with the number each came as.
    by_place: HashMap<String, (usize, Mount)>,
    /// How many were looked at.
    seen: usize,
}

impl Borrowed {
    /// Takes the mounts of one more. What a container has in memory is its alone.
    ///
    /// # Errors
    /// There are more in all than a container may have.
    pub fn take(&mut self, theirs: &[Mount], read_only: bool) -> Result<()> {
        // Each is work, also where it is in the place of another.
        if self.seen + theirs.len() > limits::SPEC_LIST_MAX {
            return Err(Error::invalid(format!(
                "the containers of VolumesFrom have {} mounts or more: at most {} are taken",
                self.seen + theirs.len(),
                limits::SPEC_LIST_MAX
            )));
        }
        for mount in theirs {
            self.seen += 1;
            let mut mount = mount.clone();
            match &mut mount.source {
                MountSource::Volume {
                    no_copy, options, ..
                } => {
                    *no_copy = true;
                    options.borrowed = true;
                }
                // Only who spells it out says that it must be there.
                MountSource::Bind { create_missing, .. } => *create_missing = true,
                MountSource::Tmpfs { .. } => continue,
            }
            mount.read_only |= read_only;
            mount.mode.clear();
            let place = clean_path(&mount.destination);
            self.by_place.insert(place, (self.seen, mount));
        }
        Ok(())
    }

    /// A container's mounts: what it takes from others, but where its own are.
    pub fn below(mut self, own: Vec<Mount>) -> Vec<Mount> {
        for place in places_of(&own) {
            self.by_place.remove(&place);
        }
        let mut all: Vec<(usize, Mount)> = self.by_place.into_values().collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, mount)| mount).chain(own).collect()
    }
}

/// Lets no container keep the daemon's mounts: a bind that has the daemon's root in it, or lies there, is
/// told what is unmounted (moby `validateBindDaemonRoot`).
///
/// # Errors
/// In moby's words, where the client asked for another propagation.
pub fn tell_of_unmounts(mounts: &mut [Mount], root: &Path) -> Result<()> {
    for mount in mounts {
        let MountSource::Bind { path, .. } = &mount.source else {
            continue;
        };
        let source = Path::new(path);
        if !source.starts_with(root) && !root.starts_with(source) {
            continue;
        }
        match mount.propagation {
            Propagation::Unset => mount.propagation = Propagation::SlaveIfShared,
            Propagation::SlaveIfShared | Propagation::RSlave | Propagation::RShared => {}
            other => {
                return Err(Error::invalid(format!(
                    "invalid mount config: must use either propagation mode \"rslave\" or \
                     \"rshared\" when mount source is within the daemon root, daemon root: \
                     {root:?}, bind mount source: {path:?}, propagation: {:?}",
                    other.as_str()
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(mounts: &[Mount]) -> Vec<&str> {
        mounts.iter().map(|m| m.destination.as_str()).collect()
    }

    fn named(name: &str, destination: &str) -> Mount {
        Mount {
            source: MountSource::Volume {
                name: name.parse().unwrap(),
                anonymous: false,
                no_copy: false,
                options: Default::default(),
            },
            destination: destination.to_owned(),
            read_only: false,
            propagation: Propagation::default(),
            mode: "z".to_owned(),
        }
    }

    fn name(mount: &Mount) -> &str {
        match &mount.source {
            MountSource::Volume { name, .. } => name.as_str(),
            _ => "",
        }
    }

    #[test]
    fn what_is_declared_and_covered_by_nothing_gets_a_volume() {
        let mut mounts = Vec::new();
        let asked = AnonymousVolume {
            destination: "/asked".to_owned(),
            mode: "z".to_owned(),
            ..AnonymousVolume::default()
        };
        let declared = ["/data", "/data/", "/a//b/.", "/a/b", "/asked"].map(String::from);
        place_volumes(&mut mounts, [asked], declared.iter(), "", || [7; 32]);
        assert_eq!(places(&mounts), ["/asked", "/data", "/a/b"]);
        let declared: Vec<bool> = mounts.iter().map(Mount::is_declared).collect();
        assert_eq!(declared, [false, true, true]);
    }

    #[test]
    fn the_last_container_wins_over_others_and_its_own_mounts_over_all() {
        let mut borrowed = Borrowed::default();
        let first = [named("one", "/a"), named("one-b", "/b"), named("cc", "/c")];
        borrowed.take(&first, true).unwrap();
        borrowed.take(&[named("two", "/b/")], false).unwrap();
        let mut mounts = borrowed.below(vec![named("own", "/a")]);
        let asked = AnonymousVolume {
            destination: "/c".to_owned(),
            ..AnonymousVolume::default()
        };
        place_volumes(&mut mounts, [asked], ["/b".to_owned()].iter(), "", || {
            [1; 32]
        });
        let names: Vec<&str> = mounts.iter().map(name).collect();
        assert_eq!(names[..2], ["two", "own"]);
        assert_eq!(places(&mounts), ["/b/", "/a", "/c"]);
        let two = &mounts[0];
        assert!(!two.read_only && two.mode.is_empty() && !two.is_declared());
        let MountSource::Volume {
            no_copy, options, ..
        } = &two.source
        else {
            panic!("{two:?}");
        };
        assert!(no_copy & options.borrowed);
    }

    #[test]
    fn who_has_the_daemons_root_is_told_of_unmounts() {
        use Propagation::{RPrivate, RShared, SlaveIfShared, Unset};
        let bind = |path: &str, propagation| Mount {
            source: MountSource::Bind {
                path: path.to_owned(),
                create_missing: false,
                non_recursive: false,
                reach: Default::default(),
            },
            propagation,
            ..named("unused", "/x")
        };
        let mut mounts = vec![
            bind("/", Unset),
            bind("/var/lib/moored/volumes", RShared),
            bind("/var/lib/moored-other", Unset),
            named("name", "/n"),
        ];
        let root = Path::new("/var/lib/moored");
        tell_of_unmounts(&mut mounts, root).unwrap();
        let all: Vec<_> = mounts.iter().map(|m| m.propagation).collect();
        assert_eq!(all, [SlaveIfShared, RShared, Unset, Unset]);
        let mut private = [bind("/var", RPrivate)];
        let e = tell_of_unmounts(&mut private, root).unwrap_err();
        assert_eq!(
            e.message(),
            "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when \
             mount source is within the daemon root, daemon root: \"/var/lib/moored\", bind mount \
             source: \"/var\", propagation: \"rprivate\""
        );
    }

    #[test]
    fn who_takes_them_read_only_cannot_write() {
        let take = |mounts: &[Mount], read_only| {
            let mut borrowed = Borrowed::default();
            borrowed.take(mounts, read_only).unwrap();
            borrowed.below(Vec::new())
        };
        let borrowed = take(&[named("aa", "/a")], true);
        assert!(borrowed[0].read_only);
        let again = take(&borrowed, false);
        assert!(again[0].read_only, "not even through a third");
    }

    #[test]
    fn places_are_compared_when_they_are_clean() {
        let mut mounts = vec![named("users", "/bin")];
        let declared = ["/data/../bin".to_owned(), "/data/../new".to_owned()];
        place_volumes(&mut mounts, [], declared.iter(), "", || [7; 32]);
        assert_eq!(places(&mounts), ["/bin", "/new"]);
        let mut borrowed = Borrowed::default();
        borrowed.take(&[named("one", "/x/../a")], false).unwrap();
        let all = borrowed.below(vec![named("own", "/a")]);
        assert_eq!(all.iter().map(name).collect::<Vec<_>>(), ["own"]);
    }

    #[test]
    fn no_more_are_taken_than_a_container_may_have() {
        let many = limits::SPEC_LIST_MAX / 2;
        let theirs: Vec<Mount> = (0..many).map(|n| named("vv", &format!("/{n}"))).collect();
        let mut borrowed = Borrowed::default();
        borrowed.take(&theirs, false).unwrap();
        borrowed.take(&theirs, true).unwrap();
        let e = borrowed.take(&theirs[..1], false).unwrap_err();
        assert!(e.message().contains("at most 16384 are taken"), "{e}");
        let all = borrowed.below(vec![named("own", "/0")]);
        assert_eq!(all.len(), many);
        assert!(all[0].read_only && all[0].destination == "/1");
    }
}
