//! Files of volumes on their way out: set aside before the row goes, gone after.
//!
//! What is set aside still belongs to its volume: where the row stays, the files go back, also when
//! only the next daemon finds that out. What is doomed has no row.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use model::{Context as _, Result, VolumeName};
use sys::beneath::remove_all;
use sys::task::blocking;

use crate::Volumes;

/// What the directories are called in which removed volumes are until they are gone; no volume's name
/// begins so.
const DOOMED_PREFIX: &str = ".doomed-";

/// What the directories are called in which volumes are whose rows are about to go, each in a directory
/// of its name.
const ASIDE_PREFIX: &str = ".aside-";

/// The first number that nothing in `dir` has; 0 where it cannot be read.
pub(crate) fn first_free(dir: &Path) -> u64 {
    let doomed = numbers(dir, DOOMED_PREFIX).into_iter();
    let taken = doomed.chain(numbers(dir, ASIDE_PREFIX)).max();
    taken.map_or(0, |n| n + 1)
}

fn numbers(dir: &Path, prefix: &str) -> Vec<u64> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix(prefix)?.parse().ok()
    };
    entries.filter_map(number).collect()
}

/// The files of a volume whose row is about to go.
#[derive(Debug)]
#[must_use = "they are out of their volume"]
pub struct Aside {
    /// Where the directory is that has them.
    dir: PathBuf,
    /// The volume's own directory.
    home: PathBuf,
    /// What the directory is called when the row is gone.
    doomed: PathBuf,
}

impl Aside {
    fn put_back(&self) -> Result<()> {
        let name = self.home.file_name().unwrap_or_default();
        give_back(&self.dir, Path::new(name), &self.home)
    }

    fn doom(self) -> Doomed {
        match std::fs::rename(&self.dir, &self.doomed) {
            Ok(()) => Doomed(self.doomed),
            Err(e) => {
                let dir = self.dir.display();
                tracing::warn!(%dir, error = %e, "a removed volume's files keep their name");
                Doomed(self.dir)
            }
        }
    }
}

fn give_back(dir: &Path, name: &Path, home: &Path) -> Result<()> {
    // Empty ones that somebody has made meanwhile.
    let _ = std::fs::remove_dir(home.join("_data"));
    std::fs::rename(dir.join(name), home)
        .and_then(|()| std::fs::remove_dir(dir))
        .context(format_args!("move {} back", home.display()))
}

/// The files of a removed volume.
#[derive(Debug)]
#[must_use = "they stay until the next start"]
pub struct Doomed(PathBuf);

impl Doomed {
    /// Takes them away; as long as it takes.
    ///
    /// # Errors
    /// What the host says.
    pub fn remove(self) -> Result<()> {
        remove_all(&self.0)
    }
}

/// The rows are written: what was set aside is gone with them, or goes back where they have stayed. Nobody
/// may come to name one of the volumes before that.
///
/// # Errors
/// That of `written`.
pub async fn settle(aside: Vec<Aside>, written: Result<()>) -> Result<Vec<Doomed>> {
    let settled = blocking(move || {
        written
            .inspect_err(|_| put_back(&aside))
            .map(|()| aside.into_iter().map(Aside::doom).collect())
    });
    settled.await
}

fn put_back(aside: &[Aside]) {
    for aside in aside {
        if let Err(e) = aside.put_back() {
            // The next daemon tries again.
            tracing::error!(error = %e, "a volume that was not removed is without its files");
        }
    }
}

/// Removes the files of volumes that are gone. What cannot go now is swept when the daemon starts.
pub async fn remove_doomed(doomed: Vec<Doomed>) {
    let remove_all = || doomed.into_iter().try_for_each(Doomed::remove);
    if let Err(e) = blocking(remove_all).await {
        tracing::warn!(error = %e, "files of a removed volume are left");
    }
}

impl Volumes {
    /// Moves the files of volumes out of the way until [`settle`] knows what becomes of them: quick, however
    /// much there is. What was mounted for one is not its own, and stays whole.
    ///
    /// # Errors
    /// What the host says; all files are in their volumes then.
    pub fn set_aside(&self, names: &[VolumeName]) -> Result<Vec<Aside>> {
        let mut aside = Vec::new();
        for name in names {
            match self.set_one_aside(name) {
                Ok(one) => aside.extend(one),
                Err(e) => {
                    put_back(&aside);
                    return Err(e);
                }
            }
        }
        Ok(aside)
    }

    fn set_one_aside(&self, name: &VolumeName) -> Result<Option<Aside>> {
        self.unmount_for_removal(name)?;
        let home = self.root.join(name.as_str());
        let failed = format_args!("remove volume {}", home.display());
        if !home.try_exists().context(failed)? {
            return Ok(None);
        }
        let number = self.next_doomed.fetch_add(1, Ordering::Relaxed);
        let dir = self.root.join(format!("{ASIDE_PREFIX}{number}"));
        let doomed = self.root.join(format!("{DOOMED_PREFIX}{number}"));
        std::fs::create_dir(&dir).context(failed)?;
        if let Err(e) = std::fs::rename(&home, dir.join(name.as_str())) {
            let _ = std::fs::remove_dir(&dir);
            return Err(e).context(failed);
        }
        Ok(Some(Aside { dir, home, doomed }))
    }

    /// When a daemon starts, before anybody has a volume: what an earlier one had set aside goes back to
    /// those that still have a row, and the rest is doomed.
    pub fn settle_earlier(&self) {
        for number in numbers(&self.root, ASIDE_PREFIX) {
            let dir = self.root.join(format!("{ASIDE_PREFIX}{number}"));
            let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            let name = entries.map(|entry| entry.file_name()).next();
            let kept = name.filter(|name| name.to_str().is_some_and(|name| self.may_have(name)));
            let settled = match kept {
                Some(name) => give_back(&dir, Path::new(&name), &self.root.join(&name)),
                None => {
                    let doomed = self.root.join(format!("{DOOMED_PREFIX}{number}"));
                    std::fs::rename(&dir, doomed).context(format_args!("move {}", dir.display()))
                }
            };
            if let Err(e) = settled {
                let dir = dir.display();
                tracing::error!(%dir, error = %e, "a volume's files are left where a removal has put them");
            }
        }
    }

    /// Whether the ledger has something about a volume of this name.
    fn may_have(&self, name: &str) -> bool {
        self.get(name).is_some() || self.is_damaged(name)
    }

    /// Removes what a daemon before this one had doomed. What was doomed by now is being removed by
    /// those who did it.
    ///
    /// # Errors
    /// What the host says.
    pub fn sweep_doomed(&self) -> Result<()> {
        for number in numbers(&self.root, DOOMED_PREFIX) {
            if number < self.first_doomed {
                let path = self.root.join(format!("{DOOMED_PREFIX}{number}"));
                Doomed(path).remove()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use model::{Error, Timestamp, VolumeRecord};

    use super::*;

    fn volumes(root: &Path, names: &[&str]) -> Volumes {
        let record = |name: &&str| VolumeRecord {
            name: name.parse().unwrap(),
            anonymous: false,
            created_at: Timestamp::UNIX_EPOCH,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        };
        let records = names.iter().map(record).collect();
        Volumes::new(records, root.join("volumes"), root.join("parts"))
    }

    fn with_data(root: &Path, names: &[&str]) -> (Volumes, Vec<VolumeName>) {
        let known = volumes(root, names);
        let names: Vec<VolumeName> = names.iter().map(|name| name.parse().unwrap()).collect();
        for name in &names {
            fs::write(known.ensure_data(name).unwrap().join("file"), "kept").unwrap();
        }
        (known, names)
    }

    #[tokio::test]
    async fn a_row_that_stays_keeps_its_files() {
        let temp = tempfile::tempdir().unwrap();
        let (known, names) = with_data(temp.path(), &["one", "two"]);
        let aside = known.set_aside(&names).unwrap();
        assert!(!known.data(&names[0]).exists());
        let full = Err(Error::system("no space"));
        assert_eq!(settle(aside, full).await.unwrap_err().message(), "no space");
        for name in &names {
            assert!(known.data(name).join("file").exists(), "{name}");
        }
        // One that cannot go keeps the others.
        fs::rename(temp.path().join("volumes/two"), temp.path().join("two")).unwrap();
        fs::write(temp.path().join("volumes/two"), "").unwrap();
        fs::create_dir(temp.path().join("volumes/.aside-3")).unwrap();
        known.set_aside(&names).unwrap_err();
        assert!(known.data(&names[0]).join("file").exists());
        fs::remove_file(temp.path().join("volumes/two")).unwrap();
        fs::remove_dir(temp.path().join("volumes/.aside-3")).unwrap();
        let aside = known.set_aside(&names[..1]).unwrap();
        let doomed = settle(aside, Ok(())).await.unwrap();
        remove_doomed(doomed).await;
        let left = fs::read_dir(temp.path().join("volumes")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[tokio::test]
    async fn the_next_daemon_gives_back_what_has_a_row_and_sweeps_the_rest() {
        let temp = tempfile::tempdir().unwrap();
        let (known, names) = with_data(temp.path(), &["one", "two", "again"]);
        drop(known.set_aside(&names).unwrap());
        let later = volumes(temp.path(), &["one"]);
        later.settle_earlier();
        // Another of the same name has nothing of the one that is gone.
        let latest = volumes(temp.path(), &["one", "again"]);
        latest.settle_earlier();
        latest.sweep_doomed().unwrap();
        assert!(latest.data(&names[0]).join("file").exists());
        let left = fs::read_dir(temp.path().join("volumes")).unwrap();
        assert_eq!(left.count(), 1);
    }
}
