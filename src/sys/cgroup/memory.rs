//! How much memory a cgroup uses.

use std::io;
use std::path::Path;

use model::Pid;

use super::{Hierarchies, read_gone};
use crate::proc;

impl Hierarchies {
    /// Bytes of memory in use in the cgroup of `pid`, or in the uppermost above it that has `name` in its
    /// own: a container's first process may be in one below its container's. `None` without the
    /// controller of v2, and of one that is gone.
    ///
    /// # Errors
    /// What reading the file says.
    pub fn memory_current(&self, pid: Pid, name: &str) -> io::Result<Option<u64>> {
        let memberships = proc::cgroups(pid)?.unwrap_or_default();
        let Some(own) = self.v2_dir(&memberships) else {
            return Ok(None);
        };
        let has_name = |dir: &&Path| {
            let file = dir.file_name().unwrap_or_default();
            file.to_string_lossy().contains(name)
        };
        let dir = own.ancestors().filter(has_name).last().unwrap_or(&own);
        let text = read_gone(&dir.join("memory.current"))?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    }
}
