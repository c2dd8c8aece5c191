//! What goes with an image, and what must not.

use model::{ImageConfig, Kind, Layer};
use proptest::prelude::*;

use super::*;

/// Images by number; a layer's chain id is its number, too.
#[derive(Debug, Clone, Default)]
struct World {
    records: BTreeMap<Digest, ImageRecord>,
    names: BTreeMap<Reference, Digest>,
    /// Images of containers, and whether those are up.
    users: Vec<(Digest, bool)>,
}

impl KnownImages for World {
    fn record(&self, id: &Digest) -> Option<&ImageRecord> {
        self.records.get(id)
    }

    fn names(&self, id: &Digest) -> Vec<Reference> {
        let names = self.names.iter().filter(|(_, image)| *image == id);
        names.map(|(name, _)| name.clone()).collect()
    }

    fn children(&self, id: &Digest) -> usize {
        let all = self.records.values();
        all.filter(|r| r.parent.as_ref() == Some(id)).count()
    }

    fn chain_users(&self, chain_id: &Digest) -> usize {
        let has = |r: &&ImageRecord| r.layers.iter().any(|l| l.chain_id == *chain_id);
        self.records.values().filter(has).count()
    }

    fn user(&self, id: &Digest, is_up: Option<bool>) -> Option<ContainerId> {
        let is = |(image, up): &&(Digest, bool)| image == id && is_up.is_none_or(|is| is == *up);
        let found = self.users.iter().find(is);
        found.map(|_| ContainerId::from_bytes([5; 32]))
    }
}

fn digest(n: u8) -> Digest {
    Digest::from_sha256([n; 32])
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

impl World {
    fn image(&mut self, n: u8, parent: Option<u8>, layers: &[u8], names: &[&str]) {
        let layer = |n: &u8| Layer {
            diff_id: digest(*n),
            chain_id: digest(*n),
            size_bytes: 1,
            blob: None,
        };
        let record = ImageRecord {
            id: digest(n),
            layers: layers.iter().map(layer).collect(),
            size_bytes: 1,
            config: ImageConfig::default(),
            manifest: None,
            parent: parent.map(digest),
            tagged_at: None,
        };
        self.records.insert(record.id.clone(), record);
        let names = names.iter().map(|text| (name(text), digest(n)));
        self.names.extend(names);
    }

    fn carry_out(&mut self, steps: &[RemovalStep]) {
        for step in steps {
            match step {
                RemovalStep::Untag { name, image, .. } => {
                    assert_eq!(self.names.remove(name).as_ref(), Some(image));
                }
                RemovalStep::Delete { image, layers } => {
                    assert!(self.records.remove(image).is_some());
                    for chain_id in layers {
                        assert_eq!(self.chain_users(chain_id), 0);
                    }
                }
            }
        }
    }
}

/// The steps as a client and the events tell them.
fn told(steps: &[RemovalStep]) -> Vec<String> {
    let mut told = Vec::new();
    for step in steps {
        match step {
            RemovalStep::Untag { shown, is_told, .. } => {
                told.push(format!("-{shown}{}", if *is_told { "!" } else { "" }));
            }
            RemovalStep::Delete { image, layers } => {
                told.push(image.hex()[..2].to_owned());
                told.extend(layers.iter().map(|l| format!("l{}", &l.hex()[..2])));
            }
        }
    }
    told
}

const PLAIN: RemoveImage = RemoveImage {
    force: false,
    parents: true,
};

fn by_name(world: &World, text: &str, how: RemoveImage) -> Result<Vec<String>> {
    let name = name(text);
    let id = &world.names[&name.lookup_key()];
    plan(world, id, text, Some(&name), how).map(|steps| told(&steps))
}

#[test]
fn the_last_tag_takes_its_digests_silently_and_the_image_with_its_layers() {
    let mut world = World::default();
    let pinned = format!("a@{}", digest(9));
    world.image(1, None, &[21, 22], &["a:1", &pinned]);
    world.image(2, None, &[21], &["b:1"]);
    let all = by_name(&world, "a:1", PLAIN).unwrap();
    assert_eq!(all, ["-a:1!", &format!("-{pinned}"), "01", "l16"]);
    // By its digest, whatever tag stands beside it.
    let shown = format!("a:1@{}", digest(9));
    assert_eq!(
        by_name(&world, &shown, PLAIN).unwrap(),
        [format!("-{shown}!")]
    );
    world.image(1, None, &[21, 22], &["a:2"]);
    assert_eq!(by_name(&world, "a:1", PLAIN).unwrap(), ["-a:1!"]);
}

#[test]
fn what_an_image_was_made_from_goes_along_where_nothing_needs_it() {
    let mut world = World::default();
    world.image(1, None, &[21], &["base:1"]);
    world.image(2, Some(1), &[21, 22], &[]);
    world.image(3, Some(2), &[21, 22, 23], &["top:1"]);
    let all = by_name(&world, "top:1", PLAIN).unwrap();
    assert_eq!(all, ["-top:1!", "03", "l17", "02", "l16"]);
    let alone = RemoveImage {
        parents: false,
        ..PLAIN
    };
    let all = by_name(&world, "top:1", alone).unwrap();
    assert_eq!(all, ["-top:1!", "03", "l17"]);
    let refused = plan(&world, &digest(2), "02", None, PLAIN).unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(
        refused
            .message()
            .ends_with("(cannot be forced) - image has dependent child images")
    );
    // Its name goes, and it stays.
    assert_eq!(by_name(&world, "base:1", PLAIN).unwrap(), ["-base:1!"]);
}

#[test]
fn one_tag_with_the_digests_of_its_repository_is_a_single_name() {
    let digest = format!("a@{}", digest(1));
    let other = format!("b@{}", Digest::from_sha256([1; 32]));
    let single = |names: &[&str]| {
        let names: Vec<Reference> = names.iter().map(|n| n.parse().unwrap()).collect();
        is_single_reference(&names)
    };
    assert!(single(&["a:1"]) && single(&[&digest]) && single(&[&digest, "a:1"]));
    assert!(!single(&[]) && !single(&["a:1", "a:2"]) && !single(&["a:1", "b:1"]));
    assert!(!single(&["a:1", &other]) && !single(&[&digest, &other]));
}

fn worlds() -> impl Strategy<Value = World> {
    let image = (any::<Option<u8>>(), 0..4_usize, 0..4_usize);
    let user = (0..6_u8, any::<bool>());
    let users = proptest::collection::vec(user, 0..2);
    (proptest::collection::vec(image, 1..6), users).prop_map(|(images, users)| {
        let mut world = World::default();
        for (n, (parent, layers, names)) in (0..6).zip(images) {
            // Made from one that was there before, on its layers.
            let parent = parent.filter(|_| n > 0).map(|p| p % n.max(1));
            let layers: Vec<u8> = (0..layers).map(|l| 20 + u8::try_from(l).unwrap()).collect();
            let all = [
                format!("a:{n}"),
                format!("b:{n}"),
                format!("a@{}", digest(100 + n)),
            ];
            let names: Vec<&str> = all[..names].iter().map(String::as_str).collect();
            world.image(n, parent, &layers, &names);
        }
        world.users = users.into_iter().map(|(n, up)| (digest(n), up)).collect();
        world
    })
}

proptest! {
    #[test]
    fn a_removal_leaves_what_others_need(
        world in worlds(),
        at in any::<prop::sample::Index>(),
        by_name in any::<bool>(),
        force in any::<bool>(),
        parents in any::<bool>(),
    ) {
        let id = at.get(&world.records.keys().cloned().collect::<Vec<_>>()).clone();
        let names = world.names(&id);
        let name = names.first().filter(|_| by_name);
        let how = RemoveImage { force, parents };
        let Ok(steps) = plan(&world, &id, "asked", name, how) else {
            return Ok(());
        };
        let mut after = world.clone();
        after.carry_out(&steps);
        for (name, image) in &after.names {
            prop_assert!(after.records.contains_key(image), "{name} names nothing");
        }
        for (image, _) in &world.users {
            let was = world.records.contains_key(image);
            prop_assert_eq!(after.records.contains_key(image), was, "a container's");
        }
        for record in after.records.values() {
            let parent = record.parent.as_ref();
            prop_assert!(parent.is_none_or(|p| after.records.contains_key(p)), "a child's");
        }
        for record in world.records.values() {
            let untouched = world.names(&record.id) == after.names(&record.id);
            prop_assert!(record.id == id || untouched, "another one's names");
        }
    }
}
