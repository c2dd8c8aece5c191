//! The Container Device Interface: files of the host's operator that say what a container needs for a
//! device, by the device's name (`vendor/class=name`).
//!
//! The files are read anew for each start that asks for devices, so what a vendor's tool writes counts at
//! once. Only the operator's directories are looked into; a request names devices and never a path. The
//! rules and their words are those of `tags.cncf.io/container-device-interface`, which is in dockerd.

mod check;
mod edits;
mod file;
mod name;
mod scan;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;

use model::{Error, Result};

pub use edits::{Bind, Edits, Hook, HookKind, Node, NodeKind, Rdt};

use scan::Registry;

/// What a container needs for the devices of these names: the edits of the files they are in, each once,
/// and their own. What a later directory says counts. Blocking.
///
/// # Errors
/// `System`, as in Docker, for a name that no file knows, or a device of the host that is not there.
pub fn edits(dirs: &[PathBuf], names: &[String]) -> Result<Edits> {
    if names.is_empty() {
        return Ok(Edits::default());
    }
    if dirs.is_empty() {
        // Then Docker has no such driver.
        return Err(Error::system(
            "could not select device driver \"cdi\" with capabilities: []",
        ));
    }
    let registry = Registry::read(dirs);
    let failed = |why: String| Error::system(format!("CDI device injection failed: {why}"));
    let known = |name: &&String| registry.find(name).is_none();
    let unknown: Vec<&str> = names.iter().filter(known).map(String::as_str).collect();
    if !unknown.is_empty() {
        for fault in &registry.faults {
            tracing::warn!("{fault}");
        }
        let unknown = unknown.join(", ");
        return Err(failed(format!("unresolvable CDI devices {unknown}")));
    }
    let mut edits = Edits::default();
    let mut files = BTreeSet::new();
    for (at, device) in names.iter().filter_map(|name| registry.find(name)) {
        let file = &registry.files[at];
        let found = match files.insert(at) {
            true => edits.add(&file.container_edits),
            false => Ok(()),
        };
        found
            .and_then(|()| edits.add(&device.container_edits))
            .map_err(|why| failed(format!("failed to inject devices: {why}")))?;
    }
    Ok(edits)
}
