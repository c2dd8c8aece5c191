//! How a tar is written again, byte for byte, from the tree that was made of it.
//!
//! While a tar is applied, everything in it that is not content of a file of the tree (headers,
//! extended headers, padding, what the tree leaves out, the end and whatever follows it) goes into a
//! *frame*, and for each piece of content a line about where the tree has it. Both together give the
//! tar back, so nobody has to keep it beside the tree.
//!
//! ```text
//! DIR/tree      the tree
//! DIR/frame     8 bytes of magic and version, then records, compressed with zstd:
//!                 0                        the end; nothing follows
//!                 1 length bytes           these bytes, as they are
//!                 2 length path            what follows is content of this file of the tree
//!                 3 offset length          this piece of it
//! DIR/moved     for each thing that a later entry replaced: files named before, length, path
//! DIR/extra/N   the Nth of those things, counted from 0
//! ```
//!
//! Numbers are LEB128. A path is the real one, without a link on the way. An entry that replaces an
//! earlier one of its name does not destroy its content, which is still part of the tar: it moves to
//! `extra`, a directory as a whole. So the content of a file is below `extra` if it, or a directory
//! above it, was moved *after* the file was named in the frame (`moved` says how many had been named
//! by then), and in the tree otherwise. Nothing moves twice.
//!
//! Never trusted: whoever writes a tar from a frame checks its digest.

mod replay;

use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Error, Result, limits};

use crate::failure::{At, carried};
use crate::path::CleanPath;

pub use replay::Replay;

pub(super) const MAGIC: &[u8; 8] = b"mrdframe";
/// Raised when the meaning of what is written changes.
pub(super) const VERSION: u8 = 1;

pub(super) const END: u8 = 0;
pub(super) const BYTES: u8 = 1;
pub(super) const FILE: u8 = 2;
pub(super) const PIECE: u8 = 3;

/// Bytes that are collected before they become a record.
const BYTES_WAITING_MAX: usize = 64 << 10;
/// Headers repeat themselves so much that more effort gains little.
const COMPRESSION_LEVEL: i32 = 1;

/// The names in a layer's directory.
#[derive(Debug, Clone)]
pub struct FramePlaces {
    /// The tree.
    pub tree: PathBuf,
    /// The frame itself.
    pub frame: PathBuf,
    /// What was replaced; absent when nothing was.
    pub moved: PathBuf,
    /// Where that is; absent when nothing was.
    pub extra: PathBuf,
}

impl FramePlaces {
    /// Those of the layer in `dir`.
    pub fn of(dir: &Path) -> Self {
        Self {
            tree: dir.join("tree"),
            frame: dir.join("frame"),
            moved: dir.join("moved"),
            extra: dir.join("extra"),
        }
    }
}

/// What a finished frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed {
    /// Size of the tar.
    pub tar_bytes: u64,
    /// What the frame takes on the disk, without the content of what was replaced.
    pub frame_bytes: u64,
}

/// The applier's end of a frame that is being recorded.
#[derive(Debug, Clone)]
pub struct Recording {
    tape: Arc<Mutex<Tape>>,
}

/// A tar on its way to a reader: what passes and is not content of the tree goes into the frame.
#[derive(Debug)]
pub struct Recorded<R> {
    source: R,
    tape: Arc<Mutex<Tape>>,
}

/// Begins a frame in the directory `dir` for the tar that `source` brings. The [`Recorded`] must not be
/// read ahead of the entries: what buffers comes below it.
///
/// # Errors
/// System: the host cannot write it.
pub fn record<R: Read>(source: R, dir: &Path) -> Result<(Recorded<R>, Recording)> {
    let tape = Arc::new(Mutex::new(Tape::new(FramePlaces::of(dir))?));
    let recorded = Recorded {
        source,
        tape: tape.clone(),
    };
    Ok((recorded, Recording { tape }))
}

impl<R: Read> Read for Recorded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buf)?;
        lock(&self.tape).pass(&buf[..n]).map_err(carried)?;
        Ok(n)
    }
}

impl<R> Recorded<R> {
    /// Ends the frame, when all of the tar has been read; and the source.
    ///
    /// # Errors
    /// System: the host cannot write it.
    pub fn finish(self) -> Result<(Framed, R)> {
        let framed = lock(&self.tape).finish()?;
        Ok((framed, self.source))
    }
}

impl Recording {
    /// The next `length` bytes of the tar are content of `file`, a real path, from `offset` on.
    ///
    /// # Errors
    /// System: the host cannot write it.
    pub(crate) fn piece(&self, file: &CleanPath, offset: u64, length: u64) -> Result<()> {
        lock(&self.tape).piece(file, offset, length)
    }

    /// Moves what is called `name` in `dir`, `path` being its real one, out of the tree, because an entry
    /// replaces it.
    ///
    /// # Errors
    /// `InvalidParameter` when too much was replaced; System.
    pub(crate) fn put_aside(
        &self,
        dir: &sys::beneath::Dir,
        name: &std::ffi::OsStr,
        path: &CleanPath,
    ) -> Result<()> {
        lock(&self.tape).put_aside(dir, name, path)
    }
}

fn lock(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    // One that failed is never finished, so what a panic leaves of it is not read.
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What both ends write to.
struct Tape {
    places: FramePlaces,
    out: Option<zstd::Encoder<'static, BufWriter<File>>>,
    /// Bytes that are not in a record yet.
    waiting: Vec<u8>,
    bytes: u64,
    tar_bytes: u64,
    /// How much of what comes next is content of the tree.
    content_left: u64,
    /// The file that was named last, and how many have been.
    file: Option<CleanPath>,
    files: u64,
    extra: Option<sys::beneath::Dir>,
    moved: Vec<u8>,
    moves: u64,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

impl Tape {
    fn new(places: FramePlaces) -> Result<Self> {
        let begin = || {
            let mut file = BufWriter::new(File::create_new(&places.frame)?);
            file.write_all(&[&MAGIC[..7], &[VERSION]].concat())?;
            zstd::Encoder::new(file, COMPRESSION_LEVEL)
        };
        Ok(Self {
            out: Some(begin().at("write", &places.frame)?),
            places,
            waiting: Vec::with_capacity(BYTES_WAITING_MAX),
            bytes: 0,
            tar_bytes: 0,
            content_left: 0,
            file: None,
            files: 0,
            extra: None,
            moved: Vec::new(),
            moves: 0,
        })
    }

    fn pass(&mut self, passing: &[u8]) -> Result<()> {
        self.tar_bytes += passing.len() as u64;
        let content = usize::try_from(self.content_left).unwrap_or(usize::MAX);
        let (content, rest) = passing.split_at(passing.len().min(content));
        self.content_left -= content.len() as u64;
        if rest.is_empty() {
            return Ok(());
        }
        self.bytes += rest.len() as u64;
        if self.bytes > limits::FRAME_BYTES_MAX {
            return Err(Error::invalid(format!(
                "more than {} bytes in a layer that are no content of its files",
                limits::FRAME_BYTES_MAX
            )));
        }
        if self.waiting.len() + rest.len() > BYTES_WAITING_MAX {
            self.flush()?;
        }
        match rest.len() > BYTES_WAITING_MAX {
            true => self.write_record(BYTES, &[rest.len() as u64], rest),
            false => {
                self.waiting.extend_from_slice(rest);
                Ok(())
            }
        }
    }

    fn piece(&mut self, file: &CleanPath, offset: u64, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        self.flush()?;
        if self.file.as_ref() != Some(file) {
            let name = file.as_bytes();
            self.write_record(FILE, &[name.len() as u64], name)?;
            self.file = Some(file.clone());
            self.files += 1;
        }
        self.content_left = length;
        self.write_record(PIECE, &[offset, length], &[])
    }

    fn put_aside(
        &mut self,
        dir: &sys::beneath::Dir,
        name: &std::ffi::OsStr,
        path: &CleanPath,
    ) -> Result<()> {
        let places = &self.places;
        let extra = match self.extra.take() {
            Some(extra) => extra,
            None => {
                let made = DirBuilder::new().mode(0o700).create(&places.extra);
                made.at("create", &places.extra)?;
                sys::beneath::Dir::open(&places.extra).at("open", &places.extra)?
            }
        };
        let aside = self.moves.to_string();
        dir.rename(name, &extra, std::ffi::OsStr::new(&aside))
            .at("move aside", &places.tree.join(path.as_path()))?;
        self.extra = Some(extra);
        self.moves += 1;
        // What comes of that name from now on is another file.
        self.file = None;
        number(&mut self.moved, self.files);
        number(&mut self.moved, path.as_bytes().len() as u64);
        self.moved.extend_from_slice(path.as_bytes());
        if self.moved.len() > limits::FRAME_MOVED_BYTES_MAX {
            return Err(Error::invalid(
                "too many entries of the layer replace earlier ones",
            ));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        self.write_record(BYTES, &[waiting.len() as u64], &waiting)?;
        waiting.clear();
        self.waiting = waiting;
        Ok(())
    }

    fn write_record(&mut self, kind: u8, numbers: &[u64], bytes: &[u8]) -> Result<()> {
        let mut head = vec![kind];
        for n in numbers {
            number(&mut head, *n);
        }
        let out = self
            .out
            .as_mut()
            .expect("nothing is recorded after the end");
        out.write_all(&head)
            .and_then(|()| out.write_all(bytes))
            .at("write", &self.places.frame)
    }

    fn finish(&mut self) -> Result<Framed> {
        self.flush()?;
        self.write_record(END, &[], &[])?;
        let out = self.out.take().expect("a frame ends once");
        let end = || {
            let file = out
                .finish()?
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            Ok(file.metadata()?.len())
        };
        let frame_bytes: u64 = end().at("write", &self.places.frame)?;
        if self.moves > 0 {
            std::fs::write(&self.places.moved, &self.moved).at("write", &self.places.moved)?;
        }
        Ok(Framed {
            tar_bytes: self.tar_bytes,
            frame_bytes: frame_bytes + self.moved.len() as u64,
        })
    }
}

/// LEB128: seven bits a byte, the lowest first, the topmost bit says that more follow.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

fn low_bits(value: u64) -> u8 {
    u8::try_from(value & 0x7f).expect("seven bits")
}

#[cfg(test)]
mod tests;
