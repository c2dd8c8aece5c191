//! A checkpoint with its container's files as one archive, for another daemon.
//!
//! ```text
//! moored-checkpoint.json   what it is of, and the request its container was made with
//! images/                  CRIU's images, with their manifest
//! rootfs/                  the container's changes, as a layer
//! volumes/<n>/             the files of the n-th volume in the first entry
//! end                      nothing: what has no end was cut off
//! ```
//!
//! An archive comes from anybody. What it says of itself is compared, what it brings is put below the
//! places it is given and nowhere else, and nothing of it is taken for right before all of it is there.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use archive::{
    Applier, Changed, CleanPath, Entry, EntryKind, Form, Layered, Reader, Writer, pack,
    pack_changed, shown,
};
use model::{
    CheckpointName, ContainerName, Context as _, Error, Exited, Mount, MountSource, Result,
    VolumeName,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sys::durable::FileSystem;

use crate::manifest::{Manifest, Origin};
use crate::{Checkpoints, damaged};

/// The first entry, and how long it may be.
const HEAD: &str = "moored-checkpoint.json";
const HEAD_BYTES_MAX: u64 = 4 << 20;
/// The only form there is so far.
const FORMAT: u32 = 1;
const IMAGES: &str = "images";
const ROOTFS: &str = "rootfs";
const VOLUMES: &str = "volumes";
const END: &str = "end";
/// Volumes of one container.
const VOLUMES_MAX: usize = 4096;

/// What an archive says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    format: u32,
    /// What the checkpoint is called.
    pub checkpoint: CheckpointName,
    /// What it is of.
    pub origin: Origin,
    /// Its container.
    pub container: Exported,
}

/// A container as an archive carries it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// What it was called.
    pub name: ContainerName,
    /// Its image, as its client named it.
    pub image: String,
    /// The request it was made with, in the words of those who took it.
    pub request: Box<RawValue>,
    /// The run that the checkpoint has ended, where its changes are in the archive.
    pub last_run: Option<Exited>,
    /// The volumes that are in the archive, by number.
    pub volumes: Vec<ExportedVolume>,
}

/// A volume as an archive carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportedVolume {
    /// Where it is in the container.
    pub destination: String,
    /// What it is called; `None` when nobody chose the name.
    pub name: Option<VolumeName>,
}

impl ExportedVolume {
    /// The volume of a mount, and what an archive says of it; `None` where the mount shows something
    /// else.
    pub fn of(mount: &Mount) -> Option<(&VolumeName, Self)> {
        let MountSource::Volume {
            name, anonymous, ..
        } = &mount.source
        else {
            return None;
        };
        let told = Self {
            destination: mount.destination.clone(),
            name: (!anonymous).then(|| name.clone()),
        };
        Some((name, told))
    }
}

impl Exported {
    /// The volumes of `mounts` that the archive's belong to, by number.
    ///
    /// # Errors
    /// Invalid when there is none for one of them, or the same for two.
    pub fn volumes_in(&self, mounts: &[Mount]) -> Result<HashMap<usize, VolumeName>> {
        let mut taken = HashSet::new();
        let in_mounts = |(number, told): (usize, &ExportedVolume)| {
            let mut there = mounts.iter().filter_map(ExportedVolume::of);
            let found = there.find(|(_, it)| it.destination == told.destination);
            let (name, _) = found.ok_or_else(|| {
                Error::invalid(format!(
                    "the archive has a volume at {}, and the container none",
                    told.destination
                ))
            })?;
            if !taken.insert(name) {
                return Err(Error::invalid(format!(
                    "the archive has the volume at {} twice",
                    told.destination
                )));
            }
            Ok((number, name.clone()))
        };
        self.volumes.iter().enumerate().map(in_mounts).collect()
    }
}

/// What goes into an archive beside the checkpoint.
#[derive(Debug, Default)]
pub struct Files {
    /// The container's changes, and the run after which they are what they are.
    pub changes: Option<(Changed, Exited)>,
    /// Each volume's files, each volume once.
    pub volumes: Vec<(ExportedVolume, PathBuf)>,
}

/// A checkpoint that is to be sent.
#[derive(Debug)]
pub struct Outgoing {
    head: Head,
    images: PathBuf,
    files: Files,
}

impl Checkpoints {
    /// Looks whether a checkpoint is whole, and makes it ready to be sent. Reads every file once.
    ///
    /// # Errors
    /// NotFound, in Docker's words; System when it is damaged.
    pub fn outgoing(
        &self,
        name: &CheckpointName,
        (container, image): (ContainerName, String),
        request: &[u8],
        files: Files,
    ) -> Result<Outgoing> {
        let (images, manifest) = self.whole(name)?;
        let request = serde_json::from_slice(request)
            .map_err(|e| Error::system(format!("the request of {container} is damaged: {e}")))?;
        let exported = Exported {
            name: container,
            image,
            request,
            last_run: files.changes.as_ref().map(|(_, last)| last.clone()),
            volumes: files.volumes.iter().map(|(told, _)| told.clone()).collect(),
        };
        Ok(Outgoing {
            head: Head {
                format: FORMAT,
                checkpoint: name.clone(),
                origin: manifest.origin,
                container: exported,
            },
            images,
            files,
        })
    }
}

impl Outgoing {
    /// Writes the archive. `still` is asked at the end whether what was read was at rest.
    ///
    /// # Errors
    /// What cannot be read, or sent; what `still` says. The archive has no end then.
    pub fn write(self, out: &mut dyn Write, still: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut out = Writer::new(out);
        let head = serde_json::to_vec(&self.head).expect("its keys are strings");
        plain_file(&mut out, HEAD, &head)?;
        pack(&mut out, &self.images, IMAGES, Form::Plain)?;
        if let Some((changed, _)) = &self.files.changes {
            let how = Layered {
                prefix: ROOTFS,
                is_exact: true,
                ..Layered::default()
            };
            pack_changed(&mut out, changed, how)?;
        }
        for (number, (_, files)) in self.files.volumes.iter().enumerate() {
            pack(&mut out, files, &format!("{VOLUMES}/{number}"), Form::Plain)?;
        }
        still()?;
        plain_file(&mut out, END, b"")?;
        out.finish().map(drop).map_err(archive::writing)
    }
}

fn plain_file(out: &mut Writer<&mut dyn Write>, name: &str, content: &[u8]) -> Result<()> {
    let entry = Entry {
        path: name.into(),
        kind: EntryKind::File,
        mode: 0o600,
        uid: 0,
        gid: 0,
        modified: Default::default(),
        size_bytes: content.len() as u64,
        xattrs: Vec::new(),
        segments: None,
    };
    let written = out.entry(&entry).and_then(|()| out.write_all(content));
    written.map_err(archive::writing)
}

/// An archive of which nothing but the head was read.
#[derive(Debug)]
pub struct Incoming<R> {
    /// What it says of itself.
    pub head: Head,
    reader: Reader<R>,
}

/// Where an archive's parts go: directories that are there and empty.
#[derive(Debug)]
pub struct Places {
    /// The checkpoint.
    pub images: PathBuf,
    /// The container's changes; `None` leaves them out.
    pub upper: Option<PathBuf>,
    /// The volumes by their numbers; one that is not among them is left out.
    pub volumes: HashMap<usize, PathBuf>,
}

impl Places {
    /// Watches where they are, before anything is written.
    fn watch(&self) -> Result<Vec<(&Path, FileSystem)>> {
        let all = [&self.images].into_iter().chain(&self.upper);
        let all = all.chain(self.volumes.values());
        let watched = all.map(|place| {
            let disk = FileSystem::watch(place).context(format_args!("open {}", place.display()));
            Ok((place.as_path(), disk?))
        });
        watched.collect()
    }
}

impl<R: Read> Incoming<R> {
    /// Reads the head. `archive` should be buffered.
    ///
    /// # Errors
    /// Invalid: it is none of a checkpoint, or of a form that is not known.
    pub fn open(archive: R) -> Result<Self> {
        let none = || {
            Error::invalid(format!(
                "not an archive of a checkpoint: no {HEAD} in front"
            ))
        };
        let mut reader = Reader::new(archive);
        let first = reader.next_entry().map_err(|e| {
            let why = e.message();
            Error::invalid(format!(
                "not an archive of a checkpoint (one that is compressed is to be unpacked first): {why}"
            ))
        })?;
        let first = first.ok_or_else(none)?;
        if first.path != HEAD.as_bytes() || first.kind != EntryKind::File {
            return Err(none());
        }
        if first.size_bytes > HEAD_BYTES_MAX {
            return Err(Error::invalid(format!(
                "{HEAD} has more than {HEAD_BYTES_MAX} bytes"
            )));
        }
        let mut text = Vec::new();
        reader.read_to_end(&mut text).map_err(archive::reading)?;
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let bad = |e: serde_json::Error| Error::invalid(format!("bad {HEAD}: {e}"));
        let Form { format } = serde_json::from_slice(&text).map_err(bad)?;
        if format != FORMAT {
            return Err(Error::invalid(format!(
                "the archive has the form {format}, and this daemon knows {FORMAT}"
            )));
        }
        let head: Head = serde_json::from_slice(&text).map_err(bad)?;
        if head.container.volumes.len() > VOLUMES_MAX {
            return Err(Error::invalid(format!("more than {VOLUMES_MAX} volumes")));
        }
        Ok(Self { head, reader })
    }

    /// Puts everything in its place, to the end of the archive, and makes it survive a loss of power.
    ///
    /// # Errors
    /// Invalid for an archive that is damaged, cut off or hostile; System when the host cannot hold
    /// it. The caller removes what was written.
    pub fn unpack(self, places: &Places) -> Result<()> {
        let watched = places.watch()?;
        self.fill(places)?;
        for (place, disk) in watched {
            disk.sync()
                .context(format_args!("flush {}", place.display()))?;
        }
        Ok(())
    }

    fn fill(mut self, places: &Places) -> Result<()> {
        let mut tree: Option<(Part, Applier)> = None;
        let (mut seen, mut finished) = (HashSet::new(), HashSet::new());
        let mut ended = false;
        while let Some(mut entry) = self.reader.next_entry()? {
            if ended {
                return Err(Error::invalid(format!(
                    "the archive goes on behind its {END}"
                )));
            }
            let path = CleanPath::parse(&entry.path)?;
            if path.as_bytes() == END.as_bytes() {
                if entry.kind != EntryKind::File || entry.size_bytes != 0 {
                    return Err(Error::invalid(format!(
                        "{END} of the archive is no empty file"
                    )));
                }
                ended = true;
                continue;
            }
            let (part, rest) = part_of(&path).ok_or_else(|| unknown(&path))?;
            seen.insert(part);
            let Some((place, form)) = self.place(part, places)? else {
                continue;
            };
            if part == Part::Images && !matches!(entry.kind, EntryKind::File | EntryKind::Dir) {
                return Err(Error::invalid(format!("{} is no file", shown(&entry.path))));
            }
            if let EntryKind::HardLink(target) = &mut entry.kind {
                let parsed = CleanPath::parse(target)?;
                let (_, inside) = part_of(&parsed)
                    .filter(|(of, _)| *of == part)
                    .ok_or_else(|| unknown(&parsed))?;
                *target = inside;
            }
            entry.path = rest;
            if let Some((before, whole)) = tree.take_if(|(before, _)| *before != part) {
                whole.finish()?;
                finished.insert(before);
            }
            if finished.contains(&part) {
                return Err(Error::invalid(format!(
                    "{} comes behind another part of the archive",
                    shown(path.as_bytes())
                )));
            }
            let (_, tree) = match &mut tree {
                Some(tree) => tree,
                none => none.insert((part, Applier::new(place, form)?)),
            };
            tree.entry(&mut self.reader, &entry)?;
        }
        if !ended {
            return Err(Error::invalid("the archive is truncated"));
        }
        if let Some((_, last)) = tree {
            last.finish()?;
        }
        self.head.expect_parts(&seen)?;
        // To its last byte: a client that is still sending takes an early answer for a failure.
        let rest = io::copy(&mut self.reader.into_inner(), &mut io::sink());
        rest.map_err(archive::reading)?;
        self.head.check(&places.images)
    }

    fn place<'p>(&self, part: Part, places: &'p Places) -> Result<Option<(&'p Path, Form)>> {
        let plain = |path: &'p PathBuf| (path.as_path(), Form::Plain);
        match part {
            Part::Images => Ok(Some(plain(&places.images))),
            Part::Rootfs => Ok(places.upper.as_deref().map(|upper| (upper, Form::Layer))),
            Part::Volume(number) if number >= self.head.container.volumes.len() => {
                Err(Error::invalid(format!(
                    "{VOLUMES}/{number} is not among the volumes of {HEAD}"
                )))
            }
            Part::Volume(number) => Ok(places.volumes.get(&number).map(plain)),
        }
    }
}

impl Head {
    /// Whether all that it tells of has come, and nothing else.
    fn expect_parts(&self, seen: &HashSet<Part>) -> Result<()> {
        let mut told = HashSet::from([Part::Images]);
        told.extend(self.container.last_run.as_ref().map(|_| Part::Rootfs));
        told.extend((0..self.container.volumes.len()).map(Part::Volume));
        match told == *seen {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "{HEAD} tells of other parts than the archive has"
            ))),
        }
    }

    /// Whether what was put into `images` is what it says, byte for byte.
    fn check(&self, images: &Path) -> Result<()> {
        let bad = |e: io::Error| {
            let e = damaged(&self.checkpoint, &e);
            Error::invalid(e.message())
        };
        let manifest = Manifest::read(images).map_err(bad)?;
        if manifest.origin != self.origin {
            return Err(Error::invalid(format!(
                "{HEAD} and {IMAGES} are of two checkpoints"
            )));
        }
        manifest.check_all(images).map_err(bad)
    }
}

/// What an entry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Images,
    Rootfs,
    Volume(usize),
}

/// The part, and the path in it.
fn part_of(path: &CleanPath) -> Option<(Part, Vec<u8>)> {
    let mut components = path.components();
    let part = match components.next()? {
        first if first == IMAGES.as_bytes() => Part::Images,
        first if first == ROOTFS.as_bytes() => Part::Rootfs,
        first if first == VOLUMES.as_bytes() => {
            let number = std::str::from_utf8(components.next()?).ok()?;
            let number: usize = number
                .parse()
                .ok()
                .filter(|n: &usize| n.to_string() == number)?;
            Part::Volume(number)
        }
        _ => return None,
    };
    Some((part, components.collect::<Vec<_>>().join(&b'/')))
}

fn unknown(path: &CleanPath) -> Error {
    let path = shown(path.as_bytes());
    Error::invalid(format!("{path} is no part of an archive of a checkpoint"))
}

#[cfg(test)]
mod tests;
