//! What hosts do to daemons: a process that no signal reaches, a disk that is full.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use crate::{Daemon, census};

/// A container whose cgroup was frozen behind the daemon's back: no signal reaches it, as in
/// uninterruptible sleep.
#[derive(Debug)]
pub struct Frozen(Vec<(PathBuf, &'static str)>);

impl Frozen {
    /// Freezes the containers of a cgroup parent: a thaw of one of them does not help it.
    ///
    /// # Panics
    /// When none of its cgroups can be frozen.
    pub fn new(d: &Daemon, parent: &str) -> Self {
        let groups = census::cgroups(&d.mark()).into_iter();
        let own: Vec<PathBuf> = groups.filter(|g| g.ends_with(parent)).collect();
        let switches = own.iter().flat_map(|group| {
            let v1 = group.join("freezer.state");
            let v2 = group.join("cgroup.freeze");
            [(v1, "FROZEN", "THAWED"), (v2, "1", "0")]
        });
        let frozen = switches.filter(|(file, on, _)| fs::write(file, on).is_ok());
        let frozen = Self(frozen.map(|(file, _, off)| (file, off)).collect());
        assert!(!frozen.0.is_empty(), "no freezer among {own:?}");
        frozen
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it is gone.
    pub fn thaw(self) {
        for (file, off) in self.0 {
            fs::write(file, off).expect("it is there");
        }
    }
}

/// A data root without room.
#[derive(Debug)]
pub struct Full(PathBuf);

impl Full {
    /// Fills the data root of a daemon that has a small one, from inside its namespace: nobody else
    /// sees that file system.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub fn new(d: &Daemon) -> Self {
        let filler = d.inside(d.root().join("data/filler"));
        let mut file = File::create(&filler).expect("the data root is reachable");
        let block = vec![0; 64 << 10];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
        Self(filler)
    }

    /// Makes room again.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub fn relieve(self) {
        fs::remove_file(self.0).expect("the data root is reachable");
    }
}
