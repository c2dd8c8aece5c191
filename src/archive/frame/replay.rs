//! A tar written again: bytes from the frame, content from the tree, opened beneath it and no link
//! followed. Whether it is the same tar its reader must check.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::{Error, Result, limits};
use sys::beneath::Dir;

use super::{BYTES, END, FILE, FramePlaces, MAGIC, PIECE, VERSION};
use crate::failure::{At, carried};
use crate::path::CleanPath;

/// The most that a number takes.
const NUMBER_BYTES_MAX: u32 = 10;
/// Longest real path: a name as long as a layer's may be, behind links.
const PATH_BYTES_MAX: u64 = 4 * limits::LAYER_PATH_BYTES_MAX as u64;

/// Reads the tar that a frame and its tree hold; see the module's head.
pub struct Replay {
    records: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    tree: Place,
    extra: Option<Place>,
    moved: Moved,
    /// Files named so far.
    files: u64,
    file: Option<File>,
    now: Now,
}

/// What is being read.
enum Now {
    Between,
    Bytes(u64),
    Piece { at: u64, left: u64 },
    Ended,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

impl Replay {
    /// Of the layer in `dir`.
    ///
    /// # Errors
    /// System: there is none, or it is of a version that is not known.
    pub fn open(dir: &Path) -> Result<Self> {
        let places = FramePlaces::of(dir);
        let mut file = File::open(&places.frame).at("open", &places.frame)?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).at("read", &places.frame)?;
        if magic[..7] != MAGIC[..7] || magic[7] != VERSION {
            return Err(Error::system(format!(
                "{} is of a version that is not known here",
                places.frame.display()
            )));
        }
        let records = zstd::Decoder::new(file).at("read", &places.frame)?;
        let moved = Moved::read(&places.moved)?;
        let extra = match moved.is_empty() {
            true => None,
            false => Some(Place::open(&places.extra)?),
        };
        Ok(Self {
            records: BufReader::new(records),
            tree: Place::open(&places.tree)?,
            extra,
            moved,
            files: 0,
            file: None,
            now: Now::Between,
        })
    }

    /// Reads records up to one that brings bytes.
    fn advance(&mut self) -> Result<()> {
        while matches!(self.now, Now::Between) {
            let mut kind = [0];
            self.records.read_exact(&mut kind).map_err(damaged)?;
            match kind[0] {
                END => self.now = Now::Ended,
                BYTES => self.now = Now::Bytes(self.number()?),
                FILE => self.next_file()?,
                PIECE => {
                    let (at, left) = (self.number()?, self.number()?);
                    self.now = Now::Piece { at, left };
                }
                other => return Err(damaged(format!("record {other}"))),
            }
        }
        Ok(())
    }

    fn next_file(&mut self) -> Result<()> {
        let length = self.number()?;
        if length > PATH_BYTES_MAX {
            return Err(damaged(format!("a name of {length} bytes")));
        }
        let mut path = Vec::new();
        let name = (&mut self.records).take(length);
        { name }.read_to_end(&mut path).map_err(damaged)?;
        let path = self.moved.path_of(path, self.files);
        self.files += 1;
        let file = match (&path, &mut self.extra) {
            (Found::InTree(path), _) => self.tree.file(path)?,
            (Found::Aside(path), Some(extra)) => extra.file(path)?,
            (Found::Aside(_), None) => return Err(damaged("nothing was put aside")),
        };
        self.file = Some(file);
        Ok(())
    }

    fn number(&mut self) -> Result<u64> {
        read_number(&mut self.records).map_err(damaged)
    }

    /// Some of what is being read; 0 only at the end.
    fn some(&mut self, buf: &mut [u8]) -> Result<usize> {
        loop {
            self.advance()?;
            let (read, left) = match &mut self.now {
                Now::Between => continue,
                Now::Ended => return Ok(0),
                Now::Bytes(left) => {
                    let wanted = wanted(buf.len(), *left);
                    (self.records.read(&mut buf[..wanted]), left)
                }
                Now::Piece { at, left } => {
                    let file = self.file.as_ref();
                    let file = file.ok_or_else(|| damaged("content of no file"))?;
                    let wanted = wanted(buf.len(), *left);
                    let read = file.read_at(&mut buf[..wanted], *at);
                    *at += read.as_ref().map_or(0, |n| *n as u64);
                    (read, left)
                }
            };
            let read = match read {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(damaged)?,
            };
            if read == 0 && *left > 0 {
                return Err(damaged("it ends too early"));
            }
            *left -= read as u64;
            if *left == 0 {
                self.now = Now::Between;
            }
            if read > 0 {
                return Ok(read);
            }
        }
    }
}

impl Read for Replay {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.some(buf).map_err(carried)
    }
}

fn wanted(room: usize, left: u64) -> usize {
    room.min(usize::try_from(left).unwrap_or(usize::MAX))
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::system(format!("what a layer was made of cannot be read: {why}"))
}

fn read_number(source: &mut impl Read) -> io::Result<u64> {
    let mut value = 0_u64;
    for at in 0..NUMBER_BYTES_MAX {
        let mut byte = [0];
        source.read_exact(&mut byte)?;
        value |= u64::from(byte[0] & 0x7f) << (7 * at).min(63);
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// A directory whose files are opened, and the one below it that the last was in.
struct Place {
    root: Dir,
    parent: Option<(CleanPath, Dir)>,
}

impl Place {
    fn open(path: &Path) -> Result<Self> {
        let root = Dir::open(path).at("open", path)?;
        Ok(Self { root, parent: None })
    }

    fn file(&mut self, path: &CleanPath) -> Result<File> {
        let failed = |e: io::Error| damaged(format!("{}: {e}", path.as_path().display()));
        let (parent, name) = path
            .split()
            .ok_or_else(|| damaged("a file without a name"))?;
        if self.parent.as_ref().is_none_or(|(open, _)| *open != parent) {
            let dir = self.root.beneath(parent.as_path()).map_err(failed)?;
            self.parent = Some((parent, dir));
        }
        let (_, dir) = self.parent.as_ref().expect("opened just now");
        let file = dir.open_file(OsStr::from_bytes(name)).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("it is no file")));
        }
        Ok(file)
    }
}

/// Where a file is now.
enum Found {
    InTree(CleanPath),
    Aside(CleanPath),
}

/// What was moved out of the tree.
struct Moved {
    /// By path: how many files had been named, and which of the things it is; in their order.
    moves: HashMap<Vec<u8>, Vec<(u64, u64)>>,
}

impl Moved {
    fn read(path: &Path) -> Result<Self> {
        let file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    moves: HashMap::new(),
                });
            }
            other => other.at("open", path)?,
        };
        let mut bytes = Vec::new();
        file.take(limits::FRAME_MOVED_BYTES_MAX as u64 + PATH_BYTES_MAX)
            .read_to_end(&mut bytes)
            .at("read", path)?;
        let mut moves: HashMap<_, Vec<_>> = HashMap::new();
        let mut rest = &bytes[..];
        let mut count = 0;
        while !rest.is_empty() {
            let files = read_number(&mut rest).map_err(damaged)?;
            let length = read_number(&mut rest).map_err(damaged)?;
            let name = usize::try_from(length).ok();
            let split = name.and_then(|length| rest.split_at_checked(length));
            let (name, after) = split.ok_or_else(|| damaged("it ends too early"))?;
            moves.entry(name.to_vec()).or_default().push((files, count));
            rest = after;
            count += 1;
        }
        Ok(Self { moves })
    }

    fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// Where the file is that was the one of number `file`, called `path` then.
    fn path_of(&self, path: Vec<u8>, file: u64) -> Found {
        let mut first: Option<(u64, usize)> = None;
        if !self.is_empty() {
            let ends = (0..path.len()).filter(|at| path[*at] == b'/');
            for end in ends.chain([path.len()]) {
                let moves = self.moves.get(&path[..end]).map_or(&[][..], Vec::as_slice);
                let next = moves.partition_point(|(files, _)| *files <= file);
                if let Some((_, n)) = moves.get(next)
                    && first.is_none_or(|(earlier, _)| *n < earlier)
                {
                    first = Some((*n, end));
                }
            }
        }
        match first {
            None => Found::InTree(CleanPath::real(path)),
            Some((n, end)) => {
                let aside = [n.to_string().as_bytes(), &path[end..]].concat();
                Found::Aside(CleanPath::real(aside))
            }
        }
    }
}
