//! The host's `ps`, for `top` (moby `daemon/top_unix.go`).
//!
//! It runs on the host, never inside a container: nothing from a rootfs is run.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{Error, Result, limits};
use sys::spawn::Program;

/// How long `ps` may take.
const PS_TIMEOUT: Duration = Duration::from_secs(10);

/// What `ps` prints with these arguments, `-ef` where there are none: of these processes, where it
/// and its arguments allow that, or of all.
///
/// # Errors
/// Arguments that `ps` refuses; no `ps`; more than is read of it.
pub async fn ps(pids: &BTreeSet<u32>, args: &str) -> Result<String> {
    let args = match args.trim() {
        "" => "-ef",
        args => args,
    };
    let ps = sys::host::find_program("ps").ok_or_else(|| {
        Error::system("ps was not found on this host: install the package procps")
    })?;
    let run = async |chosen: Option<String>| {
        let program = Program::new(&ps)
            .args(args.split_whitespace())
            .args(chosen)
            .output_max(limits::PS_OUTPUT_BYTES_MAX);
        program.run(PS_TIMEOUT).await
    };
    // Only ours at first (moby asks the same way).
    let list: Vec<String> = pids.iter().map(u32::to_string).collect();
    let mut finished = run(Some(format!("-q{}", list.join(",")))).await?;
    if !finished.status.success() {
        finished = run(None).await?;
    }
    if !finished.status.success() {
        let said = finished.message();
        // The first line says why (moby).
        let why = said.lines().next().unwrap_or_default();
        return Err(Error::invalid(format!("ps: {why}")));
    }
    if finished.cut {
        return Err(Error::system(format!(
            "ps printed more than {} bytes: choose fewer columns",
            limits::PS_OUTPUT_BYTES_MAX
        )));
    }
    Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
}
