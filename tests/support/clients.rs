//! Clients that are no package of this system: see `scripts/compose.sh`, which puts them in place.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where they are: `docker-compose` of the second generation, and `python/bin/python` that has
/// testcontainers.
///
/// # Panics
/// When they cannot be had.
pub fn clients() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/compose.sh");
        let done = Command::new(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("bash runs");
        assert!(
            done.status.success(),
            "{}: {}",
            script.display(),
            done.status
        );
        let dir = String::from_utf8(done.stdout).expect("a path of ours");
        PathBuf::from(dir.trim())
    })
}
