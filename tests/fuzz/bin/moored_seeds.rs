//! Writes the seeds of every target into `DIR/TARGET`, for a fuzzer to begin with.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| PathBuf::from("fuzz/corpus"));
    for target in fuzzed::TARGETS {
        let dir = dir.join(target.name);
        std::fs::create_dir_all(&dir)?;
        for (n, seed) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{n:03}")), seed)?;
        }
    }
    Ok(())
}
