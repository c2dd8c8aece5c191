//! Every target without a fuzzer: its seeds, what once broke something, and a number of mutations that are
//! the same each time, many more of them with `MOORED_SOAK`.

#![expect(clippy::unwrap_used, reason = "it is a test")]

mod mutate;

use std::path::Path;

use fuzzed::{TARGETS, Target};

/// How many times as many mutations a long run makes.
const SOAK: u64 = 200;

fn run(name: &str) {
    let target = TARGETS.iter().find(|t| t.name == name).unwrap();
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/found");
    let mut seeds = (target.seeds)();
    assert!(!seeds.is_empty());
    for entry in std::fs::read_dir(found.join(name)).into_iter().flatten() {
        seeds.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    for seed in &seeds {
        check(target, seed, "a seed");
    }
    let soak = std::env::var_os("MOORED_SOAK").is_some();
    let count = target.short * if soak { SOAK } else { 1 };
    let mut random = mutate::Random::new(count);
    for n in 0..count {
        let input = mutate::of(&seeds, &mut random);
        check(target, &input, &format!("mutation {n}"));
    }
}

/// Runs it; when it fails the input is kept, to be looked at.
fn check(target: &Target, input: &[u8], which: &str) {
    let done = std::panic::catch_unwind(|| (target.run)(input));
    if let Err(panic) = done {
        let path = std::env::temp_dir().join(format!("moored-fuzz-{}", target.name));
        std::fs::write(&path, input).unwrap();
        eprintln!(
            "{} failed on {which}, kept as {}",
            target.name,
            path.display()
        );
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn tar_apply_holds() {
    run("tar_apply");
}

#[test]
fn docker_load_holds() {
    run("docker_load");
}

#[test]
fn oci_manifest_holds() {
    run("oci_manifest");
}

#[test]
fn reference_holds() {
    run("reference");
}

#[test]
fn digest_holds() {
    run("digest");
}

#[test]
fn platform_holds() {
    run("platform");
}
