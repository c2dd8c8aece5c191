//! What must hold of any input, target by target: more than that nothing panics.
//!
//! The functions are called by a fuzzer (`fuzz/`, for cargo-fuzz), and by the tests here with every
//! seed, with what once broke something (`fuzz/found/TARGET`) and with a number of mutations that is
//! the same each time.

#![expect(
    clippy::unwrap_used,
    reason = "a target fails by a panic, that is what a fuzzer looks for"
)]

mod load;
mod tree;
mod words;

pub use load::{docker_load, oci_manifest};
pub use tree::tar_apply;
pub use words::{digest, platform, reference};

/// A target by its name.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As `fuzz/fuzz_targets` calls it.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
    /// What to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations a short run makes.
    pub short: u64,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "tar_apply",
        run: tar_apply,
        seeds: tree::seeds,
        short: 1500,
    },
    Target {
        name: "docker_load",
        run: docker_load,
        seeds: load::archive_seeds,
        short: 300,
    },
    Target {
        name: "oci_manifest",
        run: oci_manifest,
        seeds: load::manifest_seeds,
        short: 5000,
    },
    Target {
        name: "reference",
        run: reference,
        seeds: words::reference_seeds,
        short: 20_000,
    },
    Target {
        name: "digest",
        run: digest,
        seeds: words::digest_seeds,
        short: 20_000,
    },
    Target {
        name: "platform",
        run: platform,
        seeds: words::platform_seeds,
        short: 20_000,
    },
];
