//! `kill -9` at random moments of all that is done with images.
//!
//! All that is random comes from one number, which is printed: `MOORED_SEED=number` makes the same
//! choices again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::store;
use super::work::{Work, World};
use crate::search::seed::Random;

/// At most so much goes on at the same time.
const AT_ONCE: u64 = 3;

/// One to three works that do not undo each other.
fn choose(random: &mut Random) -> Vec<Work> {
    let mut works = Vec::new();
    for _ in 0..=random.below(AT_ONCE) {
        let work = random.of(&Work::ALL);
        let undoes = |other: &Work| {
            let pair = [work, *other];
            work == *other || pair.contains(&Work::Load) && pair.contains(&Work::Remove)
        };
        if !works.iter().any(undoes) {
            works.push(work);
        }
    }
    works
}

#[test]
fn killed_at_random_moments_of_work_on_images() {
    let kills = match std::env::var_os("MOORED_SOAK") {
        Some(_) => 200,
        None => 20,
    };
    let mut random = Random::seeded();
    let mut world = World::new();
    let durations = world.durations();
    eprintln!("{durations:?}");
    let takes = |work: &Work| {
        let found = durations.iter().find(|(other, _)| other == work);
        found.map_or(Duration::ZERO, |(_, takes)| *takes)
    };
    let none = BTreeMap::new();
    let mut cut = BTreeMap::<String, [usize; 2]>::new();
    for round in 0..kills {
        let works = choose(&mut random);
        for work in &works {
            world.place.prepare(*work);
        }
        let before = world.place.images();
        let longest = works.iter().map(takes).max().unwrap_or_default();
        // Beside each other they take longer.
        let longest = longest.mul_f64(0.5 + 0.5 * works.len() as f64) + Duration::from_millis(20);
        let micros = u64::try_from(longest.as_micros()).expect("not for ever");
        let moment = Duration::from_micros(random.below(micros));
        eprintln!("round {round}: {works:?}, killed after {moment:?}");
        let start = Instant::now();
        let begun: Vec<_> = works
            .iter()
            .map(|work| {
                let (place, work) = (world.place.clone(), *work);
                std::thread::spawn(move || place.work(work))
            })
            .collect();
        std::thread::sleep(moment.saturating_sub(start.elapsed()));
        world.d.kill9();
        let mut done = Vec::new();
        for (work, begun) in works.iter().zip(begun) {
            let ended = begun.join().expect("it found nothing wrong");
            assert!(!matches!(ended, Some(Err(_))), "{work:?}: {ended:?}");
            let counts = cut.entry(format!("{work:?}")).or_default();
            counts[usize::from(ended.is_some())] += 1;
            done.extend(ended.map(|_| *work));
        }
        store::check_twice(&mut world.d);
        world.check_kept(&before, &works);
        world.check_container();
        for work in done {
            world.place.expect_done(work);
        }
        let all = round % 10 == 9;
        world.check_images(if all { &none } else { &before });
        if all {
            world.run_all();
        }
        // What was cut off is done again, whether or not some of it is there.
        for work in works {
            world.place.done(work);
            world.place.expect_done(work);
        }
    }
    eprintln!("cut off, and done before: {cut:?}");
    world.d.kill9();
    store::check_twice(&mut world.d);
    world.check_images(&none);
    world.run_all();
    world.finish();
}
