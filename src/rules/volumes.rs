//! Which volumes a container has beside those it asks for by name.

use model::mount::Propagation;
use model::{Mount, MountSource, VolumeName};

/// Adds an anonymous volume for every declared path that no mount covers.
pub fn place_volumes<'a>(
    mounts: &mut Vec<Mount>,
    declared: impl Iterator<Item = &'a String>,
    random: impl Fn() -> [u8; 32],
) {
    for destination in declared {
        let destination = clean_path(destination);
        let covers = |mount: &Mount| clean_path(&mount.destination) == destination;
        if mounts.iter().any(covers) {
            continue;
        }
        mounts.push(Mount {
            source: MountSource::Volume {
                name: VolumeName::anonymous(random()),
                anonymous: true,
                no_copy: false,
            },
            destination,
            read_only: false,
            propagation: Propagation::default(),
            mode: String::new(),
        });
    }
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

    #[test]
    fn what_is_declared_and_covered_by_nothing_gets_a_volume() {
        let mut mounts = Vec::new();
        let declared = ["/data", "/data/", "/a//b/.", "/a/b"].map(String::from);
        place_volumes(&mut mounts, declared.iter(), || [7; 32]);
        let places: Vec<_> = mounts.iter().map(|m| m.destination.as_str()).collect();
        assert_eq!(places, ["/data", "/a/b"]);
        assert_eq!(clean_path("//"), "/");
    }
}
