//! Medians and how they are printed.

use std::time::{Duration, Instant};

/// The middle of the values.
///
/// # Panics
/// Without any.
pub fn median(values: &mut [Duration]) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

/// What all but one of a hundred values are below.
///
/// # Panics
/// Without any.
pub fn p99(values: &mut [Duration]) -> Duration {
    values.sort_unstable();
    values[values.len() * 99 / 100]
}

/// The middle of other values.
///
/// # Panics
/// Without any.
pub fn median_of(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds with two digits.
pub fn ms(value: Duration) -> String {
    format!("{:.2} ms", value.as_secs_f64() * 1000.0)
}

/// How long it takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
