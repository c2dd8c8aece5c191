//! Archives of a container's files, and archives put among them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use archive::{Applier, CleanPath, Onto, Reader, Source, Unpacked, Writer, buffered, pack_source};
use model::{ContainerSpec, Error, IdMaps, Kind as ErrorKind, Result, limits};
use sys::beneath::Dir;
use sys::tree::acting_as;

use crate::View;
use crate::look::{Looked, failed};
use crate::name::Wanted;
use crate::view::owner_of;
use crate::walk::{Thing, relative, walk};

/// How an archive is put among a container's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extract {
    /// A directory is not replaced by what is none, nor the other way round.
    pub keep_kinds: bool,
    /// All of it is to belong to the container's user, if it has one (moby `tarCopyOptions`).
    pub to_user: bool,
}

/// Where and how an archive is put, as it was found out.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) keep_kinds: bool,
    pub(crate) owner: Option<(u32, u32)>,
    /// Of the container.
    pub(crate) spec: &'a ContainerSpec,
}

impl View {
    /// Writes what was looked at as an archive.
    ///
    /// # Errors
    /// What cannot be read; what `out` says.
    pub(crate) fn send<W: Write>(
        &self,
        out: W,
        looked: Looked,
        wanted: &Wanted,
        ids: Option<&IdMaps>,
    ) -> Result<()> {
        let (dir, file) = match looked.thing {
            Thing::Dir(dir) => (dir, None),
            Thing::Other { parent, name, .. } => (parent, Some(name)),
        };
        let source = Source {
            dir,
            file,
            shown: wanted.path.clone(),
            prefix: wanted.base.clone(),
            bare: false,
            ids: ids.cloned(),
        };
        self.write(out, source)
    }

    /// Writes all of it, without an entry for the root.
    ///
    /// # Errors
    /// As [`View::send`].
    pub(crate) fn send_all<W: Write>(&self, out: W, ids: Option<&IdMaps>) -> Result<()> {
        let dir = self.root().in_root(Path::new("/"))?;
        self.write(
            out,
            Source {
                dir,
                file: None,
                shown: "/".into(),
                prefix: Vec::new(),
                bare: true,
                ids: ids.cloned(),
            },
        )
    }

    fn write<W: Write>(&self, out: W, source: Source) -> Result<()> {
        let mut writer = Writer::new(out);
        pack_source(&mut writer, source)?;
        // Before the end is written, which says that this is all.
        self.check_whole()?;
        writer.finish().map(drop).map_err(archive::writing)
    }

    /// Puts an archive, compressed or not, into a directory, and reads `upload` to its end.
    ///
    /// # Errors
    /// 404 when there is nothing at the path, 400 when it is no directory or cannot be written to, or
    /// the archive is bad; System, when the host cannot write it. What was put there by then stays.
    pub(crate) fn receive<R: Read + Send>(
        &self,
        upload: R,
        wanted: &Wanted,
        terms: &Terms<'_>,
    ) -> Result<()> {
        let (dir, path) = self.place(wanted, terms.spec)?;
        use std::os::unix::ffi::OsStrExt as _;
        let applier = Applier::onto(Onto {
            root: self.root().in_root(Path::new("/"))?,
            dir,
            path: CleanPath::parse(relative(&path).as_os_str().as_bytes())?,
            keeps_kinds: terms.keep_kinds,
            owner: terms.owner,
            ids: terms.spec.id_maps.clone(),
        });
        match owner_of(terms.spec.id_maps.as_ref()) {
            None => apply(upload, applier),
            Some(root) => acting_as(root, || apply(upload, applier)),
        }?;
        self.check_whole()
    }

    /// The directory that an archive is to be put into, and its path without links.
    ///
    /// # Errors
    /// As [`View::receive`], of the directory.
    pub(crate) fn place(&self, wanted: &Wanted, spec: &ContainerSpec) -> Result<(Dir, PathBuf)> {
        let walked = walk(self.root(), &wanted.path, true).map_err(|e| failed(&e, wanted))?;
        let dir = match walked.thing {
            Some(Thing::Dir(dir)) => dir,
            Some(Thing::Other { .. }) => {
                return Err(Error::invalid("extraction point is not a directory"));
            }
            None => return Err(Error::new(ErrorKind::NotFound, String::new())),
        };
        self.check_writable(&walked.path, spec)?;
        if dir.is_made_up()? {
            return Err(Error::invalid(format!(
                "{} holds no files: the kernel makes it up",
                walked.path.display()
            )));
        }
        Ok((dir, walked.path))
    }
}

fn apply<R: Read>(upload: R, applier: Applier) -> Result<()> {
    let mut unpacked = Unpacked::new(upload)?;
    let mut reader = Reader::new(buffered(&mut unpacked)).of_files();
    applier.all(&mut reader)?;
    // A client that is still sending does not read the answer. One that goes on and on is told all the
    // same.
    let rest = reader.into_inner().take(limits::ARCHIVE_REST_BYTES_MAX);
    let read = std::io::copy(&mut { rest }, &mut std::io::sink()).map_err(archive::reading)?;
    match read < limits::ARCHIVE_REST_BYTES_MAX {
        true => unpacked.finish_within(limits::ARCHIVE_REST_BYTES_MAX),
        false => Ok(()),
    }
}
