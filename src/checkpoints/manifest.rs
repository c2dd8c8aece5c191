//! What a checkpoint is of, and what its files hold.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use model::{CheckpointName, ContainerId, Digest, Error, Result, Timestamp};
use runtime::CriuOptions;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sys::durable::write_whole;

/// The manifest's file.
const FILE: &str = "manifest.json";
/// Longest manifest, in bytes.
const BYTES_MAX: u64 = 16 << 20;
/// Directories below that of the images; CRIU makes none.
const DEPTH_MAX: usize = 4;

/// Where a checkpoint was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Of which container.
    pub container: ContainerId,
    /// Its image: the files its processes have open are in there.
    pub image: Digest,
    /// The kernel's release. CRIU promises nothing between kernels.
    pub kernel: String,
    /// The OCI runtime; each has a form of its own for what it keeps beside CRIU's images.
    pub runtime: String,
}

impl Origin {
    /// Looks whether something of here fits.
    ///
    /// # Errors
    /// Conflict, naming the first difference.
    pub fn expect_same(&self, name: &CheckpointName, here: &Self) -> Result<()> {
        let differs = if self.container != here.container {
            format!("is of container {}", self.container)
        } else if self.image != here.image {
            format!(
                "is of image {}, and the container's is {}",
                self.image, here.image
            )
        } else if self.kernel != here.kernel {
            format!(
                "was made on kernel {}, and this is {}",
                self.kernel, here.kernel
            )
        } else if self.runtime != here.runtime {
            format!(
                "was made by {}, and the container's runtime is {}",
                self.runtime, here.runtime
            )
        } else {
            return Ok(());
        };
        Err(Error::conflict(format!("checkpoint {name} {differs}")))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) origin: Origin,
    /// As it was made; a restore must say the same.
    pub(crate) options: CriuOptions,
    /// When the run began that ended with it: the container's files are those of the checkpoint until
    /// it runs again.
    #[serde(default)]
    pub(crate) ended_run: Option<Timestamp>,
    /// By path below the directory.
    files: BTreeMap<String, Content>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Of one that has no files yet.
    pub(crate) fn new(origin: Origin, options: CriuOptions, ended_run: Option<Timestamp>) -> Self {
        Self {
            origin,
            options,
            ended_run,
            files: BTreeMap::new(),
        }
    }

    /// Takes in what is in `images` now.
    pub(crate) fn fill(&mut self, images: &Path) -> io::Result<()> {
        self.files.clear();
        collect(images, "", 0, &mut self.files)
    }

    pub(crate) fn write(&self, images: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        write_whole(&images.join(FILE), &text, 0o600)
    }

    pub(crate) fn read(images: &Path) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{FILE}: {e}"));
        let mut text = Vec::new();
        let file = File::open(images.join(FILE)).map_err(named)?;
        file.take(BYTES_MAX).read_to_end(&mut text).map_err(named)?;
        serde_json::from_slice(&text).map_err(|e| named(e.into()))
    }

    /// Of all files.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.files.values().map(|content| content.bytes).sum()
    }

    /// Whether each file is what it was, and there are no others.
    pub(crate) fn check_all(&self, images: &Path) -> io::Result<()> {
        self.check(images)?;
        let mut found = BTreeMap::new();
        collect(images, "", 0, &mut found)?;
        match found.keys().find(|name| !self.files.contains_key(*name)) {
            Some(other) => Err(io::Error::other(format!("{other} is none of its files"))),
            None => Ok(()),
        }
    }

    /// Whether each file is what it was.
    pub(crate) fn check(&self, images: &Path) -> io::Result<()> {
        for (name, promised) in &self.files {
            let plain = Path::new(name)
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_)));
            let found = match plain {
                true => content(&images.join(name)),
                false => Err(io::ErrorKind::InvalidInput.into()),
            };
            let found = found.map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
            if found != *promised {
                return Err(io::Error::other(format!("{name} is not what was written")));
            }
        }
        Ok(())
    }
}

/// The manifest's place among the images.
pub(crate) fn path(images: &Path) -> PathBuf {
    images.join(FILE)
}

fn collect(
    dir: &Path,
    below: &str,
    depth: usize,
    files: &mut BTreeMap<String, Content>,
) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| io::Error::other("a file's name is not UTF-8"))?;
        let path = format!("{below}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEPTH_MAX {
            collect(&entry.path(), &format!("{path}/"), depth + 1, files)?;
        } else if kind.is_file() && path != FILE {
            files.insert(path, content(&entry.path())?);
        }
    }
    Ok(())
}

fn content(path: &Path) -> io::Result<Content> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok(Content {
        bytes,
        sha256: const_hex::encode(hash.finalize()),
    })
}
