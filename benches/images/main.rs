//! How long images and copies take: this daemon, Debian's dockerd and podman, and plain tools, in the
//! same run, one after the other in each round.
//!
//! `make bench` prints the table of README; `scripts/peers.sh` fetches the other engines. Nothing is
//! asserted about time; that each request ended well is. Each engine begins a row on a file system
//! that was just made. `+` is what `sync -f` needs afterwards: an engine that answers before its bytes
//! are on the disk has left that to do.

mod bed;
#[expect(dead_code, reason = "networks are measured elsewhere")]
mod engine;
mod made;
mod plain;

use std::collections::BTreeMap;
use std::time::Duration;

use bed::Bed;
use benchkit::{Words, median, median_of};
use engine::{Engine, Running};
use made::{IMAGE, Made, pulled};

const ROUNDS: usize = 5;
const ENGINES: [Engine; 3] = [Engine::Moored, Engine::Dockerd, Engine::Podman];
const PLAIN: &str = "plain tools";

/// What was measured: of each row and engine all the times, and those of the sync afterwards.
#[derive(Debug, Default)]
struct Table {
    times: BTreeMap<Cell, Times>,
    peaks: BTreeMap<Cell, Vec<f64>>,
}

/// A row and whose it is.
type Cell = (&'static str, &'static str);

#[derive(Debug, Default)]
struct Times {
    took: Vec<Duration>,
    syncs: Vec<Duration>,
}

/// A bed's part of the rows.
type Part = (
    &'static str,
    fn(&mut Table, Engine, &Made),
    fn(&mut Table, &Made),
);

const PARTS: [Part; 3] = [
    ("load", load, plain_load),
    ("pull", pull, plain_pull),
    ("copy", copy, plain_copy),
];

const ROWS: [&str; 7] = [
    "load", "save", "pull", "many in", "many out", "big in", "big out",
];

fn main() {
    let words = Words::of_command_line();
    let made = Made::new();
    println!("== images and copies: {}", Made::describe());
    let here: Vec<_> = ENGINES.into_iter().filter(|e| e.is_here()).collect();
    let parts: Vec<_> = PARTS.iter().filter(|(name, ..)| words.want(name)).collect();
    let mut table = Table::default();
    for round in 0..ROUNDS {
        for (_, by_engine, by_hand) in &parts {
            // Nobody is always the first.
            for turn in 0..=here.len() {
                match here.get((turn + round) % (here.len() + 1)) {
                    Some(engine) => by_engine(&mut table, *engine, &made),
                    None => by_hand(&mut table, &made),
                }
            }
        }
    }
    table.print(&here);
}

fn load(table: &mut Table, engine: Engine, made: &Made) {
    let running = Running::start(engine, Bed::new());
    let took = running.load(&made.image());
    table.add("load", engine.name(), took, running.bed.sync());
    table.add("save", engine.name(), running.save(IMAGE), Duration::ZERO);
    table.add_peak("load", engine, &running);
}

fn plain_load(table: &mut Table, made: &Made) {
    let bed = Bed::new();
    let took = plain::load(&bed, &made.image());
    table.add("load", PLAIN, took, bed.sync());
    table.add("save", PLAIN, plain::save(&bed), Duration::ZERO);
}

fn pull(table: &mut Table, engine: Engine, made: &Made) {
    let mut bed = Bed::new();
    bed.start_registry(&made.registry());
    let running = Running::start(engine, bed);
    let name = pulled();
    let took = running.pull(name.trim_end_matches(":latest"));
    table.add("pull", engine.name(), took, running.bed.sync());
    table.add_peak("pull", engine, &running);
}

fn plain_pull(table: &mut Table, made: &Made) {
    let mut bed = Bed::new();
    bed.start_registry(&made.registry());
    let took = plain::pull(&bed, &pulled());
    table.add("pull", PLAIN, took, bed.sync());
}

fn copy(table: &mut Table, engine: Engine, made: &Made) {
    let running = Running::start(engine, Bed::new());
    running.load(&made.busybox());
    let id = running.create(testkit::BUSYBOX);
    running.bed.sync();
    let name = engine.name();
    for (what, tar) in [("many", made.many()), ("big", made.big())] {
        let (into, out) = rows_of(what);
        let took = running.copy_in(&id, "/", &tar);
        table.add(into, name, took, running.bed.sync());
        let took = running.copy_out(&id, &format!("/{what}"));
        table.add(out, name, took, Duration::ZERO);
    }
    table.add_peak("copy", engine, &running);
}

fn plain_copy(table: &mut Table, made: &Made) {
    let bed = Bed::new();
    plain::create(&bed);
    for (what, tar) in [("many", made.many()), ("big", made.big())] {
        let (into, out) = rows_of(what);
        let took = plain::copy_in(&bed, &tar);
        table.add(into, PLAIN, took, bed.sync());
        table.add(out, PLAIN, plain::copy_out(&bed, what), Duration::ZERO);
    }
}

fn rows_of(what: &str) -> (&'static str, &'static str) {
    match what {
        "many" => ("many in", "many out"),
        _ => ("big in", "big out"),
    }
}

impl Table {
    fn add(&mut self, row: &'static str, who: &'static str, took: Duration, sync: Duration) {
        let times = self.times.entry((row, who)).or_default();
        times.took.push(took);
        times.syncs.push(sync);
    }

    fn add_peak(&mut self, part: &'static str, engine: Engine, running: &Running) {
        let peaks = self.peaks.entry((part, engine.name())).or_default();
        peaks.push(running.peak_mib());
    }

    fn print(&mut self, here: &[Engine]) {
        let names: Vec<_> = here.iter().map(|e| e.name()).chain([PLAIN]).collect();
        println!("| seconds | {} |", names.join(" | "));
        for row in ROWS {
            let cells = names.iter().filter_map(|who| {
                let Times { took, syncs } = self.times.get_mut(&(row, *who))?;
                let least = took.iter().min()?.as_secs_f64();
                let (took, sync) = (median(took).as_secs_f64(), median(syncs).as_secs_f64());
                let sync = if sync > 0.0 {
                    format!(" + {sync:.2}")
                } else {
                    String::new()
                };
                Some(format!("{took:.2}{sync} (least {least:.2})"))
            });
            let cells: Vec<_> = cells.collect();
            if !cells.is_empty() {
                println!("| {row} | {} |", cells.join(" | "));
            }
        }
        for (part, ..) in PARTS {
            let cells = here.iter().filter_map(|engine| {
                let peaks = self.peaks.get_mut(&(part, engine.name()))?;
                Some(format!("{:.0}", median_of(peaks)))
            });
            let cells: Vec<_> = cells.collect();
            if !cells.is_empty() {
                println!("| peak MiB of {part} | {} | |", cells.join(" | "));
            }
        }
    }
}
