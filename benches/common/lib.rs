//! What the benchmarks share: the floor to measure against, which parts were asked for, medians.
//!
//! A benchmark asserts nothing about time. What it checks are results: a wrong one is no
//! measurement.

mod attach;
mod conmon;
mod container;
mod exec;
mod floor;
mod stats;

pub use attach::Attach;
pub use container::Container;
pub use exec::Exec;
pub use floor::{Floor, enter};
pub use stats::{median, median_of, ms, p99, timed};

/// A process and how its streams are held.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// Its arguments, the program first.
    pub args: &'a [&'a str],
    /// Its output is logged; never that of an exec.
    pub log: bool,
    /// It has a terminal.
    pub tty: bool,
    /// Its stdin is open, until the client that writes to it ends it.
    pub stdin: bool,
}

impl<'a> Shape<'a> {
    /// Without a terminal and without stdin; logged.
    pub fn new(args: &'a [&'a str]) -> Self {
        Self {
            args,
            log: true,
            tty: false,
            stdin: false,
        }
    }
}

/// The parts that the command line names; all of them when it names none.
#[derive(Debug)]
pub struct Words(Vec<String>);

impl Words {
    /// Of this program. `--bench` is cargo's.
    pub fn of_command_line() -> Self {
        let words = std::env::args().skip(1);
        Self(words.filter(|word| !word.starts_with("--")).collect())
    }

    /// Whether this part was asked for.
    pub fn want(&self, part: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| word == part)
    }
}
