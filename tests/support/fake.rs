//! The fake programs: conmon and an OCI runtime that can be told to misbehave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::until;

/// A directory with a `conmon` and a `runc` that do what its control file says; without a line
/// for them they are the real ones. See `tests/fakes`.
#[derive(Debug)]
pub struct Fakes {
    dir: tempfile::TempDir,
    /// Held open for writing where nothing is to be held.
    gate: Mutex<Option<fs::File>>,
}

impl Fakes {
    /// Builds the program (cargo knows when there is nothing to do) and lays out the directory.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn new() -> Self {
        let program = build();
        let dir = tempfile::Builder::new()
            .prefix("moored-fakes-")
            .tempdir()
            .expect("a directory for the fakes");
        for name in ["conmon", "runc"] {
            // A copy, not a link: the program finds its control file beside itself.
            fs::copy(&program, dir.path().join(name)).expect("a file in our dir");
        }
        let go = dir.path().join("go");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &go, mode).expect("a FIFO in our dir");
        let gate = Mutex::new(None);
        let fakes = Self { dir, gate };
        fakes.behave("");
        fakes
    }

    /// The path of a fake.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces the control file; counts from the next call on.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn behave(&self, control: &str) {
        let next = self.dir.path().join("control.next");
        fs::write(&next, control).expect("a file in our dir");
        *self.gate.lock().expect("no test panicked") = None;
        fs::rename(next, self.dir.path().join("control")).expect("a file in our dir");
    }

    /// Lets go of all that is held, and holds nothing more until the next [`Fakes::behave`].
    ///
    /// # Panics
    /// When the FIFO is gone.
    pub fn let_go(&self) {
        // Readers wait for a writer; one that reads as well waits for nobody.
        let gate = fs::File::options()
            .read(true)
            .write(true)
            .open(self.path("go"));
        *self.gate.lock().expect("no test panicked") = Some(gate.expect("the FIFO is there"));
    }

    /// Waits until so many calls have been held since the start.
    ///
    /// # Panics
    /// When they do not come.
    pub fn wait_held(&self, count: usize) {
        until("a call is held", || self.held() >= count);
    }

    /// How many calls have been held.
    pub fn held(&self) -> usize {
        let calls = self.calls();
        calls
            .iter()
            .filter(|call| call.starts_with("held "))
            .count()
    }

    /// The command lines the fakes were called with so far, oldest first.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Default for Fakes {
    fn default() -> Self {
        Self::new()
    }
}

fn build() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "-p",
            "moored-fakes",
            "--message-format=json",
        ])
        .current_dir(here)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "building moored-fakes: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the program it built")
}
