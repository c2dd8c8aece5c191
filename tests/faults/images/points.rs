//! Each step of work on images: the daemon dies there, or the disk is full there.

use std::time::Duration;

use super::store;
use super::work::Work::{
    self, Commit, CommitRunning, Import, Load, LoadPulled, LoadTwo, Prune, Pull, Remove, Save,
    Untag,
};
use super::work::{Pulled, World};

/// A step, and the work that comes to it.
type Case = (&'static str, Work);

const PULL: Work = Pull(Pulled::One);

/// The steps at which something goes wrong with what is made, and all is as it was.
const MAKING: [Case; 33] = [
    ("image-layer-read@1", Load),
    ("image-layer-read@3", Load),
    ("image-layer-read@5", LoadTwo),
    ("image-archive-read@1", Load),
    ("image-archive-read@1", Import),
    ("image-layer-came@1", PULL),
    ("image-layer-came@2", PULL),
    ("image-layer-staged@1", PULL),
    ("image-layer-pulled@1", PULL),
    ("image-layer-pulled@2", PULL),
    ("image-packed@1", Commit),
    ("image-packed@1", CommitRunning),
    ("image-synced@1", Load),
    ("image-synced@1", Import),
    ("image-synced@1", Commit),
    ("image-synced@1", PULL),
    ("image-blobs-shown@1", Load),
    ("image-blobs-shown@1", PULL),
    ("image-blobs-shown@1", Commit),
    ("image-frame-moved@1", LoadPulled),
    ("image-described@1", LoadPulled),
    ("image-trees-shown@1", LoadTwo),
    ("image-trees-shown@1", Import),
    ("image-trees-shown@1", Commit),
    ("image-trees-shown@2", PULL),
    ("image-kept@1", Load),
    ("image-kept@1", Import),
    ("image-kept@1", CommitRunning),
    ("image-kept@3", PULL),
    ("image-applied@1", Load),
    ("image-applied@1", Import),
    ("image-applied@1", Commit),
    ("image-applied@1", PULL),
];

/// Those at which something is there or gone already, or nothing changes.
const LATER: [Case; 15] = [
    ("image-applied@2", LoadTwo),
    ("image-written@1", LoadTwo),
    ("image-written@1", Commit),
    ("image-written@1", PULL),
    ("image-untagged@1", Untag),
    ("image-forgotten@1", Remove),
    ("image-forgotten@1", Prune),
    // A start sweeps, too.
    ("image-sweeping@2", Remove),
    ("image-sweeping@2", Prune),
    ("image-set-aside@1", Remove),
    ("image-set-aside@3", Remove),
    ("image-set-aside@1", Prune),
    ("image-swept@1", Remove),
    ("image-held@1", Save),
    ("image-saved@1", Save),
];

/// Starts the daemon anew, with a plan.
fn start_with(world: &mut World, plan: &str) {
    world.d.stop();
    world.d.set_failpoints(plan);
    store::start_swept(&mut world.d);
}

fn planned(place: &str, action: &str) -> String {
    let (point, time) = place.split_once('@').expect("a time");
    format!("{point}={action}@{time}")
}

#[test]
fn killed_at_each_step_of_work_on_images() {
    let mut world = World::new();
    for (place, work) in MAKING.into_iter().chain(LATER) {
        eprintln!("{place}, {work:?}");
        world.place.prepare(work);
        let before = world.place.images();
        start_with(&mut world, &planned(place, "kill"));
        assert_eq!(world.place.work(work), None, "nobody answers");
        assert!(
            world.d.ends_within(Duration::from_secs(10)),
            "{place} was not passed"
        );
        world.d.set_failpoints("");
        store::check_twice(&mut world.d);
        world.check_kept(&before, &[work]);
        world.check_images(&before);
        world.check_container();
        if MAKING.contains(&(place, work)) {
            assert_eq!(world.place.images(), before, "{place}, {work:?}");
        }
        world.place.done(work);
        world.place.expect_done(work);
    }
    world.finish();
}

#[test]
fn a_full_disk_at_each_step_of_work_on_images() {
    let mut world = World::new();
    for (place, work) in MAKING {
        eprintln!("{place}, {work:?}");
        world.place.prepare(work);
        let before = world.place.images();
        start_with(&mut world, &planned(place, "full"));
        let said = world.place.work(work);
        let said = said.expect("it lives").expect_err("it failed");
        assert!(
            said.contains("No space left on device"),
            "{place}, {work:?}: {said}"
        );
        assert_eq!(world.place.images(), before, "{place}, {work:?}");
        world.check_container();
        store::wait_idle(&world.d);
        // Nothing of it takes room any more, without a start; but what a pull has fetched is the next
        // pull's, if nobody prunes.
        if work == PULL {
            store::prune(&world.d);
        }
        store::check(&world.d);
        world.place.done(work);
        world.place.expect_done(work);
        store::check(&world.d);
    }
    world.d.stop();
    world.d.set_failpoints("");
    world.d.restart();
    world.finish();
}

/// What cannot be taken away is taken away by the next start.
#[test]
fn a_full_disk_at_each_step_of_a_removal() {
    let mut world = World::new();
    for (place, work) in LATER
        .into_iter()
        .filter(|(_, work)| matches!(work, Remove | Untag | Prune))
    {
        eprintln!("{place}, {work:?}");
        world.place.prepare(work);
        let before = world.place.images();
        start_with(&mut world, &planned(place, "full"));
        let said = world.place.work(work).expect("it lives");
        if let Err(said) = said {
            assert!(
                said.contains("No space left on device"),
                "{place}, {work:?}: {said}"
            );
        }
        world.d.kill9();
        world.d.set_failpoints("");
        store::check_twice(&mut world.d);
        world.check_kept(&before, &[work]);
        world.place.done(work);
        world.place.expect_done(work);
    }
    world.finish();
}
