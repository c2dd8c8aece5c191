//! Medians and how they are printed.

use std::time::Duration;

/// The middle of the values.
pub(crate) fn median(values: &mut [Duration]) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Milliseconds with two digits.
pub(crate) fn ms(value: Duration) -> String {
    format!("{:.2} ms", value.as_secs_f64() * 1000.0)
}
