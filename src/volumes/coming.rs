//! Files of volumes that come with a container from another daemon: before their records are written,
//! and after.

use std::path::PathBuf;

use model::{ContainerId, Context, Result, VolumeName};
use sys::beneath::remove_all;

use crate::Volumes;

/// What the directories are called in which files of volumes are before there are the volumes.
const COMING_PREFIX: &str = ".coming-";

impl Volumes {
    /// A directory for the files of volumes that come with a container, each in a directory of its
    /// name. Made anew.
    ///
    /// # Errors
    /// What the host says.
    pub fn coming(&self, container: &ContainerId) -> Result<PathBuf> {
        let dir = self.root.join(format!("{COMING_PREFIX}{container}"));
        self.remove_coming(container)?;
        std::fs::create_dir(&dir).context(format_args!("create {}", dir.display()))?;
        Ok(dir)
    }

    /// Makes room for volumes whose files come: what can fail fails before the ledger has them.
    ///
    /// # Errors
    /// What the host says.
    pub fn expect<'a>(&self, names: impl IntoIterator<Item = &'a VolumeName>) -> Result<()> {
        names.into_iter().try_for_each(|name| {
            let dir = self.root.join(name.as_str());
            std::fs::create_dir_all(&dir).context(format_args!("create {}", dir.display()))
        })
    }

    /// Gives volumes their files that came with a container; the ledger has both. Quick, however much
    /// there is. What an earlier call has done stays.
    ///
    /// # Errors
    /// What the host says, also when a volume has files by now: those that came stay where they are. A
    /// later call goes on.
    pub fn arrived(&self, container: &ContainerId) -> Result<()> {
        let dir = self.root.join(format!("{COMING_PREFIX}{container}"));
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.context(format_args!("read {}", dir.display()))?,
        };
        for entry in entries {
            let entry = entry.context(format_args!("read {}", dir.display()))?;
            let volume = self.root.join(entry.file_name());
            let data = volume.join("_data");
            std::fs::create_dir_all(&volume)
                .and_then(|()| std::fs::rename(entry.path(), &data))
                .context(format_args!(
                    "move {} to {}",
                    entry.path().display(),
                    data.display()
                ))?;
        }
        std::fs::remove_dir(&dir).context(format_args!("remove {}", dir.display()))
    }

    /// The containers with which files of volumes come, or came before a daemon's death.
    pub fn all_coming(&self) -> Vec<ContainerId> {
        let entries = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten();
        let id = |entry: std::fs::DirEntry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix(COMING_PREFIX)?.parse().ok()
        };
        entries.filter_map(id).collect()
    }

    /// Removes what came with a container that is not to be.
    ///
    /// # Errors
    /// What the host says.
    pub fn remove_coming(&self, container: &ContainerId) -> Result<()> {
        let dir = self.root.join(format!("{COMING_PREFIX}{container}"));
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            // The room that was made for it; with anything in it, it stays.
            let _ = std::fs::remove_dir(self.root.join(entry.file_name()));
        }
        remove_all(&dir)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_came_with_a_container_arrives_once_and_only_with_it() {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(
            Vec::new(),
            root.path().to_owned(),
            root.path().join("parts"),
        );
        let [one, two] = [[1; 32], [2; 32]].map(ContainerId::from_bytes);
        let bring = |id: &ContainerId, name: &str| {
            let dir = volumes.coming(id).unwrap();
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("file"), id.as_str()).unwrap();
        };
        bring(&one, "left");
        // Of an attempt that was cut short.
        bring(&one, "data");
        bring(&two, "other");
        volumes.expect(&["other".parse().unwrap()]).unwrap();
        let mut all = volumes.all_coming();
        all.sort();
        assert_eq!(all, [one.clone(), two.clone()]);
        volumes.arrived(&one).unwrap();
        volumes.remove_coming(&two).unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join(name).join("_data/file"));
        assert_eq!(read("data").unwrap(), one.as_str());
        assert!(read("left").is_err() && read("other").is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        volumes.arrived(&one).unwrap();
        // What a volume has stays, and what came stays where it is.
        bring(&two, "data");
        assert!(volumes.arrived(&two).is_err());
        assert_eq!(read("data").unwrap(), one.as_str());
        assert_eq!(volumes.all_coming(), std::slice::from_ref(&two));
        fs::remove_dir_all(root.path().join("data/_data")).unwrap();
        volumes.arrived(&two).unwrap();
        assert_eq!(read("data").unwrap(), two.as_str());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
