//! Layers: a tar of changes made into a tree that overlayfs can stack.
//!
//! The tree does not depend on what it will lie on. What the image format says about lower
//! layers (whiteouts, opaque directories) becomes overlayfs' own marks; hard links reach only
//! within the layer. So one tree, named by its diff_id, serves every image that has the layer.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use archive::{Applier, At, Form, Packing, Reader, Unpacked, buffered};
use model::image::Blob;
use model::{Digest, Result};

use crate::digesting::Hashed;

/// A layer unpacked into staging, complete, with its digests taken on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpack {
    /// Digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Size of the uncompressed tar.
    pub(crate) tar_bytes: u64,
    /// Sum of the sizes of the regular files.
    pub(crate) size_bytes: u64,
    /// What keeps the tar's bytes.
    pub(crate) kept: Kept,
}

/// How the bytes of a layer's tar are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In the tree and a frame of this many bytes.
    Frame(u64),
    /// As it came, in a file beside the tree.
    Packed(Blob),
}

/// Which of the two a compressed tar gets. A plain one always has a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// How it was compressed matters: somebody may name it by the digest of that.
    AsItCame,
    /// Only what it unpacks to.
    Plain,
}

/// Unpacks a layer into the directory `dir` of staging, in one pass over `source`, which is read to
/// its end.
///
/// # Errors
/// `InvalidParameter` for a damaged, hostile or oversized archive; `System` when the host
/// cannot write it. The caller removes what was written.
pub(crate) fn unpack(source: &mut dyn Read, dir: &Path, keep: Keep) -> Result<Unpack> {
    let (head, mut source) = archive::peek(source)?;
    match media_type_of(&head) {
        Some(media_type) if keep == Keep::AsItCame => keep_packed(&mut source, dir, media_type),
        _ => {
            let mut tar = Hashed::new(Unpacked::new(source)?);
            let (size_bytes, frame_bytes) = apply_recorded(&mut tar, dir)?;
            let (diff_id, tar_bytes, unpacked) = tar.finish();
            unpacked.finish()?;
            Ok(Unpack {
                diff_id,
                tar_bytes,
                size_bytes,
                kept: Kept::Frame(frame_bytes),
            })
        }
    }
}

fn keep_packed(source: &mut dyn Read, dir: &Path, media_type: &str) -> Result<Unpack> {
    let (unpacked, copied) = unpack_packed(Copied::new(source, &packed_in(dir))?, dir)?;
    copied.finish()?;
    Ok(Unpack {
        diff_id: unpacked.diff_id,
        tar_bytes: unpacked.tar_bytes,
        size_bytes: unpacked.size_bytes,
        kept: Kept::Packed(Blob {
            digest: unpacked.blob,
            size_bytes: unpacked.blob_bytes,
            media_type: media_type.to_owned(),
        }),
    })
}

/// A layer unpacked whose bytes somebody else keeps.
pub(crate) struct UnpackedBlob {
    /// Digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Size of the uncompressed tar.
    pub(crate) tar_bytes: u64,
    /// Sum of the sizes of the regular files.
    pub(crate) size_bytes: u64,
    /// Digest of the tar as it came.
    pub(crate) blob: Digest,
    /// Size of the tar as it came.
    pub(crate) blob_bytes: u64,
}

/// Unpacks a layer, compressed or not, into the directory `dir` of staging, and gives `source` back, read
/// to its end.
///
/// # Errors
/// As [`unpack`].
pub(crate) fn unpack_packed<R: Read>(source: R, dir: &Path) -> Result<(UnpackedBlob, R)> {
    let mut tar = Hashed::new(Unpacked::new(Hashed::new(source))?);
    let mut reader = Reader::new(buffered(&mut tar));
    let size_bytes = Applier::new(&tree_in(dir), Form::Layer)?.all(&mut reader)?;
    // The end marker is padded to a record, and the digest is over all of it.
    drain(&mut reader.into_inner())?;
    let (diff_id, tar_bytes, unpacked) = tar.finish();
    let (blob, blob_bytes, source) = unpacked.finish()?.finish();
    let unpacked = UnpackedBlob {
        diff_id,
        tar_bytes,
        size_bytes,
        blob,
        blob_bytes,
    };
    Ok((unpacked, source))
}

fn apply_recorded(tar: &mut dyn Read, dir: &Path) -> Result<(u64, u64)> {
    let (recorded, recording) = archive::record(buffered(tar), dir)?;
    let mut reader = Reader::new(recorded);
    let applier = Applier::new(&tree_in(dir), Form::Layer)?.recording(recording);
    let size_bytes = applier.all(&mut reader)?;
    let mut recorded = reader.into_inner();
    drain(&mut recorded)?;
    let (framed, _) = recorded.finish()?;
    Ok((size_bytes, framed.frame_bytes))
}

fn drain(source: &mut dyn Read) -> Result<()> {
    io::copy(source, &mut io::sink()).map_err(archive::reading)?;
    Ok(())
}

/// What a compressed layer that begins so is called (OCI image spec, layer.md); `None` for a plain
/// one, or what is none.
fn media_type_of(head: &[u8]) -> Option<&'static str> {
    match archive::packed_with(head)? {
        Packing::Gzip => Some("application/vnd.oci.image.layer.v1.tar+gzip"),
        Packing::Zstd => Some("application/vnd.oci.image.layer.v1.tar+zstd"),
    }
}

/// What is read, written to a file on the way.
struct Copied<R> {
    source: R,
    path: PathBuf,
    file: BufWriter<File>,
}

impl<R: Read> Copied<R> {
    fn new(source: R, path: &Path) -> Result<Self> {
        Ok(Self {
            source,
            file: BufWriter::new(File::create_new(path).at("create", path)?),
            path: path.to_owned(),
        })
    }

    fn finish(mut self) -> Result<()> {
        self.file.flush().at("write", &self.path)
    }
}

impl<R: Read> Read for Copied<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buf)?;
        let written = self.file.write_all(&buf[..n]).at("write", &self.path);
        written.map_err(archive::carried)?;
        Ok(n)
    }
}

/// Whether the first bytes of a file look like a layer: a tar block or a compression's magic.
pub(crate) fn looks_like_layer(head: &[u8]) -> bool {
    const TAR_BLOCK_BYTES: usize = 512;
    if archive::is_packed(head) {
        return true;
    }
    head.get(..TAR_BLOCK_BYTES).is_some_and(|block| {
        // An empty archive is all zeros; old tars have no magic but end their name with a NUL.
        &block[257..262] == b"ustar"
            || block.iter().all(|b| *b == 0)
            || block[99] == 0 && block[155] <= b' '
    })
}

/// The tree's path relative to the directory that holds it and its description.
pub(crate) fn tree_in(dir: &Path) -> PathBuf {
    archive::FramePlaces::of(dir).tree
}

/// The same of the compressed layer, while it is in staging.
pub(crate) fn packed_in(dir: &Path) -> PathBuf {
    dir.join("packed")
}
