//! The directories: which files are there, and which device of a name counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use model::limits;

use crate::file::{Device, File};
use crate::{check, file, name};

/// What all directories say.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// The files that count.
    pub(crate) files: Vec<File>,
    /// Which file and which of its devices a qualified name is.
    devices: BTreeMap<String, (usize, usize)>,
    /// What was found wrong.
    pub(crate) faults: Vec<String>,
}

impl Registry {
    /// Reads the directories. A later one counts where two know the same device; of two files of one
    /// directory neither does. What is wrong with a file is a fault, and the others count.
    pub(crate) fn read(dirs: &[PathBuf]) -> Self {
        let mut registry = Self::default();
        let mut left = limits::CDI_FILES_MAX;
        for dir in dirs {
            registry.read_dir(dir, &mut left);
        }
        registry
    }

    /// The file and the device of a qualified name.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Device)> {
        let (file, device) = self.devices.get(name)?;
        Some((*file, &self.files[*file].devices[*device]))
    }

    fn read_dir(&mut self, dir: &Path, left: &mut usize) {
        let mut conflicts = BTreeSet::new();
        let mut of_dir: BTreeMap<String, PathBuf> = BTreeMap::new();
        for path in self.paths(dir, left) {
            let read = load(&path).and_then(|file| check::file(&file).map(|()| file));
            let file = match read {
                Ok(file) => file,
                Err(why) => {
                    let path = path.display();
                    self.faults
                        .push(format!("failed to load CDI Spec {path}: {why}"));
                    continue;
                }
            };
            let (vendor, class) = name::split_kind(&file.kind);
            for (at, device) in file.devices.iter().enumerate() {
                let name = format!("{vendor}/{class}={}", device.name);
                if let Some(other) = of_dir.insert(name.clone(), path.clone()) {
                    self.faults.push(format!(
                        "conflicting device {name:?} (specs {path:?}, {other:?})"
                    ));
                    conflicts.insert(name.clone());
                }
                self.devices.insert(name, (self.files.len(), at));
            }
            self.files.push(file);
        }
        for name in conflicts {
            self.devices.remove(&name);
        }
    }

    /// The files of a directory, by name. One that is not there has none.
    fn paths(&mut self, dir: &Path, left: &mut usize) -> Vec<PathBuf> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Vec::new(),
            Err(e) => {
                self.faults
                    .push(format!("CDI directory {}: {e}", dir.display()));
                return Vec::new();
            }
        };
        let is_file = |path: &PathBuf| {
            let ext = path.extension().and_then(|ext| ext.to_str());
            matches!(ext, Some("json" | "yaml")) && !path.is_dir()
        };
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(is_file)
            .take(left.saturating_add(1))
            .collect();
        if paths.len() > *left {
            let max = limits::CDI_FILES_MAX;
            self.faults.push(format!(
                "more than {max} CDI files: the others are not read"
            ));
            paths.truncate(*left);
        }
        *left -= paths.len();
        paths.sort();
        paths
    }
}

fn load(path: &Path) -> Result<File, String> {
    let mut text = String::new();
    // What is no file (a FIFO, say) would be waited for.
    let is_file = fs::metadata(path).map_err(|e| e.to_string())?.is_file();
    if !is_file {
        return Err("not a regular file".to_owned());
    }
    let read = fs::File::open(path).and_then(|file| {
        let most = limits::CDI_FILE_BYTES_MAX + 1;
        file.take(most).read_to_string(&mut text)
    });
    match read {
        Err(e) => Err(format!("failed to read: {e}")),
        Ok(read) if read as u64 > limits::CDI_FILE_BYTES_MAX => {
            let max = limits::CDI_FILE_BYTES_MAX;
            Err(format!("larger than {max} bytes"))
        }
        Ok(_) => file::parse(&text, path.extension().is_some_and(|ext| ext == "json")),
    }
}
