//! How much memory of a cgroup the kernel cannot take back without killing.

use std::io;
use std::path::Path;

use model::Pid;

use super::{Hierarchies, parse, read_gone};
use crate::proc;

impl Hierarchies {
    /// Bytes of memory in use in the cgroup of `pid`, or in the uppermost above it that has `name` in its
    /// own: a container's first process may be in one below its container's. Without the pages of files
    /// that the kernel drops when it needs room. `None` without the controller of v2, and of one that is
    /// gone.
    ///
    /// # Errors
    /// What reading the file says.
    pub fn memory_held(&self, pid: Pid, name: &str) -> io::Result<Option<u64>> {
        let memberships = proc::cgroups(pid)?.unwrap_or_default();
        let Some(own) = self.v2_dir(&memberships) else {
            return Ok(None);
        };
        let has_name = |dir: &&Path| {
            let file = dir.file_name().unwrap_or_default();
            file.to_string_lossy().contains(name)
        };
        let dir = own.ancestors().filter(has_name).last().unwrap_or(&own);
        let (Some(current), Some(details)) = (
            read_gone(&dir.join("memory.current"))?,
            read_gone(&dir.join("memory.stat"))?,
        ) else {
            return Ok(None);
        };
        let current = current.trim().parse().ok();
        Ok(current.map(|current| held(current, &details)))
    }
}

/// What of `current` is not of files that can be read again. Shared memory is counted with the anonymous
/// pages, and what is locked with neither.
fn held(current: u64, details: &str) -> u64 {
    let file = |key| parse::value(details, key);
    current
        .saturating_sub(file("active_file"))
        .saturating_sub(file("inactive_file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_files_are_not_held_and_shared_memory_is() {
        let details = "anon 20\nfile 75\nshmem 5\ninactive_anon 5\nactive_anon 20\n\
                       inactive_file 40\nactive_file 30\nunevictable 0\n";
        assert_eq!(held(100, details), 30);
        assert_eq!(held(100, ""), 100);
        assert_eq!(held(10, details), 0, "the two are read one after the other");
    }
}
