//! Which mounts a container has: its own, those it takes from others, and the volumes that nobody
//! named.

use std::path::Path;

use model::mount::Propagation;
use model::{AnonymousVolume, Error, Mount, MountSource, Result, VolumeName};

/// Adds an anonymous volume for every place that asks for one, and for every declared path that no mount
/// covers; these are to have the driver `driver`.
pub fn place_volumes<'a>(
    mounts: &mut Vec<Mount>,
    asked: impl IntoIterator<Item = AnonymousVolume>,
    declared: impl Iterator<Item = &'a String>,
    driver: &str,
    random: impl Fn() -> [u8; 32],
) {
    for volume in asked {
        let place = clean_path(&volume.destination);
        // What the client asks for is in the place of what comes from another container.
        mounts.retain(|mount| clean_path(&mount.destination) != place);
        mounts.push(anonymous(volume, random()));
    }
    for destination in declared {
        let destination = clean_path(destination);
        let covers = |mount: &Mount| clean_path(&mount.destination) == destination;
        if mounts.iter().any(covers) {
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

/// Puts the mounts of another container below those that are there: at one place the later ones are in
/// force, and a container's own always (moby `registerMountPoints`). What a container has in memory is
/// its alone.
pub fn borrow_mounts(borrowed: &mut Vec<Mount>, theirs: &[Mount], read_only: bool) {
    for mount in theirs {
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
        borrowed.retain(|known| clean_path(&known.destination) != place);
        borrowed.push(mount);
    }
}

/// A container's mounts: what it takes from others, but where its own are.
pub fn with_borrowed(own: Vec<Mount>, borrowed: Vec<Mount>) -> Vec<Mount> {
    let places: Vec<String> = own.iter().map(|m| clean_path(&m.destination)).collect();
    let is_free = |mount: &Mount| !places.contains(&clean_path(&mount.destination));
    borrowed.into_iter().filter(is_free).chain(own).collect()
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

/// `/a//b/` is `/a/b`; the root stays `/`.
pub fn clean_path(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .collect();
    format!("/{}", parts.join("/"))
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
        assert_eq!(clean_path("//"), "/");
    }

    #[test]
    fn the_last_container_wins_over_others_and_its_own_mounts_over_all() {
        let mut borrowed = Vec::new();
        let first = [named("one", "/a"), named("one-b", "/b"), named("cc", "/c")];
        borrow_mounts(&mut borrowed, &first, true);
        borrow_mounts(&mut borrowed, &[named("two", "/b/")], false);
        let mut mounts = with_borrowed(vec![named("own", "/a")], borrowed);
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
        let mut borrowed = Vec::new();
        borrow_mounts(&mut borrowed, &[named("aa", "/a")], true);
        assert!(borrowed[0].read_only);
        let mut again = Vec::new();
        borrow_mounts(&mut again, &borrowed, false);
        assert!(again[0].read_only, "not even through a third");
    }
}
