//! Layers seen as one tree, as overlayfs would show it: the topmost that has a name gives it, a
//! whiteout hides what is below, directories are merged down to the first opaque one.
//!
//! Only looks. Every directory is opened beneath its layer and no link is followed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::Result;
use sys::beneath::{Dir, Kind, Metadata};

use crate::failure::At;
use crate::overlay::{WHITEOUT_PREFIX, hides_below, is_mark, is_whiteout, mark_of};

/// Layers, the topmost first.
#[derive(Debug)]
pub struct Merged {
    layers: Vec<Dir>,
}

/// One directory of [`Merged`]: the layers' own that are merged in it.
#[derive(Debug)]
pub struct Level {
    dirs: Vec<(usize, Dir)>,
}

/// What layers show under a name.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number of the layer that gives it.
    pub layer: usize,
    /// What it is.
    pub found: Metadata,
    /// The layers whose directories are merged, when it is one.
    pub dirs: Vec<usize>,
}

impl Merged {
    /// # Errors
    /// System: a layer that cannot be opened.
    pub fn open(layers: &[PathBuf]) -> Result<Self> {
        let open = |path: &PathBuf| Dir::open(path).at("open", path);
        let layers = layers.iter().map(open).collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// The numbers of all layers, which are merged at the root.
    pub fn numbers(&self) -> Vec<usize> {
        (0..self.layers.len()).collect()
    }

    /// The directory `path` of those layers.
    ///
    /// # Errors
    /// What openat2(2) says.
    pub fn level(&self, path: &Path, layers: &[usize]) -> io::Result<Level> {
        let open = |nth: &usize| Ok((*nth, self.layers[*nth].beneath(path)?));
        let dirs = layers.iter().map(open).collect::<io::Result<_>>()?;
        Ok(Level { dirs })
    }
}

impl Level {
    /// The directory of the layer `number`, which is merged here.
    pub fn of(&self, number: usize) -> Option<&Dir> {
        let mut dirs = self.dirs.iter();
        dirs.find(|(nth, _)| *nth == number).map(|(_, dir)| dir)
    }

    /// The topmost, whose attributes the directory has.
    pub fn top(&self) -> Option<&Dir> {
        self.dirs.first().map(|(_, dir)| dir)
    }

    /// What is shown under `name`; `None` is nothing.
    ///
    /// # Errors
    /// What fstatat(2) and those after it say.
    pub fn seen(&self, name: &OsStr) -> io::Result<Option<Seen>> {
        let mut names = Names::default();
        for (nth, dir) in &self.dirs {
            match dir.metadata(name)? {
                Some(found) => names.add(*nth, dir, name, found)?,
                None if is_mark(dir, &mark_of(name))? => names.close(name),
                None => continue,
            }
            if names.is_closed(name) {
                break;
            }
        }
        Ok(names.shown().remove(name))
    }

    /// All that is shown, by name.
    ///
    /// # Errors
    /// As [`Level::seen`].
    pub fn all(&self) -> io::Result<BTreeMap<OsString, Seen>> {
        let mut names = Names::default();
        for (nth, dir) in &self.dirs {
            let mut hidden = Vec::new();
            for name in dir.names()? {
                if let Some(of) = hidden_by(&name)
                    && is_mark(dir, &name)?
                {
                    hidden.push(of);
                    continue;
                }
                // A layer does not change; one that is being removed has no more names than this.
                if !names.is_closed(&name)
                    && let Some(found) = dir.metadata(&name)?
                {
                    names.add(*nth, dir, &name, found)?;
                }
            }
            // A layer's marks hide what is below it, not what it has.
            hidden.iter().for_each(|name| names.close(name));
        }
        Ok(names.shown())
    }
}

/// The name that a mark hides; empty for what hides all of them.
fn hidden_by(mark: &OsStr) -> Option<OsString> {
    let hidden = mark.as_bytes().strip_prefix(WHITEOUT_PREFIX)?;
    Some(OsStr::from_bytes(hidden).to_owned())
}

/// Names that are gathered from the topmost layer down.
#[derive(Debug, Default)]
struct Names {
    /// What is shown, and whether layers below have no say any more.
    all: BTreeMap<OsString, (Option<Seen>, bool)>,
}

impl Names {
    fn is_closed(&self, name: &OsStr) -> bool {
        self.all.get(name).is_some_and(|(_, closed)| *closed)
    }

    fn close(&mut self, name: &OsStr) {
        self.all.entry(name.to_owned()).or_default().1 = true;
    }

    fn add(&mut self, layer: usize, dir: &Dir, name: &OsStr, found: Metadata) -> io::Result<()> {
        let (seen, closed) = self.all.entry(name.to_owned()).or_default();
        let is_dir = found.kind == Kind::Dir;
        *closed = !is_dir || hides_below(&dir.child(name)?)?;
        if is_whiteout(&found) {
            return Ok(());
        }
        match seen {
            Some(seen) if is_dir => seen.dirs.push(layer),
            // What is no directory is hidden by the directory above it.
            Some(_) => {}
            None => {
                let dirs = if is_dir { vec![layer] } else { Vec::new() };
                *seen = Some(Seen { layer, found, dirs });
            }
        }
        Ok(())
    }

    fn shown(self) -> BTreeMap<OsString, Seen> {
        let shown = self.all.into_iter();
        shown
            .filter_map(|(name, (seen, _))| Some((name, seen?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A layer of `.wh.` names: what a file system without whiteouts holds.
    #[test]
    fn names_hide_as_whiteouts_do() {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| temp.path().join(path);
        for file in [
            "low/gone/x",
            "low/kept",
            "low/d/old",
            "low/o/old",
            "low/file",
            "top/.wh.gone",
            "top/d/new",
            "top/o/.wh..wh..opq",
            "top/o/new",
            "top/.wh.d2/own",
            "top/file/in",
        ] {
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), "").unwrap();
        }
        let merged = Merged::open(&[at("top"), at("low")]).unwrap();
        let root = merged.level(Path::new(""), &merged.numbers()).unwrap();
        let all = root.all().unwrap();
        let names: Vec<_> = all.keys().map(|n| n.to_str().unwrap()).collect();
        // A directory of such a name is somebody's, whatever it is called.
        assert_eq!(names, [".wh.d2", "d", "file", "kept", "o"]);
        for name in ["gone", "d", "file", "o", "kept", "none"] {
            let alone = root
                .seen(OsStr::new(name))
                .unwrap()
                .map(|s| (s.layer, s.dirs));
            let among = all.get(OsStr::new(name)).map(|s| (s.layer, s.dirs.clone()));
            assert_eq!(alone, among, "{name}");
        }
        assert_eq!(all[OsStr::new("d")].dirs, [0, 1]);
        assert_eq!(all[OsStr::new("o")].dirs, [0]);
        assert_eq!(all[OsStr::new("file")].dirs, [0]);
        let o = merged.level(Path::new("o"), &[0]).unwrap();
        assert_eq!(o.all().unwrap().len(), 1);
    }
}
