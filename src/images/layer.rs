//! Layers: a tar of changes made into a tree that overlayfs can stack.
//!
//! The tree does not depend on what it will lie on. What the image format says about lower
//! layers (whiteouts, opaque directories) becomes overlayfs' own marks; hard links reach only
//! within the layer. So one tree, named by its diff_id, serves every image that has the layer.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use archive::{Applier, Form, Reader};
use model::{Digest, Result};

use crate::compression::{Hashed, Unpacked, buffered};

/// A layer unpacked into staging, complete, with its digests taken on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpack {
    /// Digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Digest of the tar as it came.
    pub(crate) blob: Digest,
    /// Size of the tar as it came.
    pub(crate) blob_bytes: u64,
    /// Sum of the sizes of the regular files.
    pub(crate) size_bytes: u64,
}

/// Unpacks a layer, in one pass over `source`, which is read to its end.
///
/// # Errors
/// `InvalidParameter` for a damaged, hostile or oversized archive; `System` when the host
/// cannot write it. The caller removes what was written.
pub(crate) fn unpack(source: &mut dyn Read, tree: &Path) -> Result<Unpack> {
    let mut unpacked = Unpacked::new(Hashed::new(source))?;
    let (size_bytes, diff_id, mut unpacked) = if unpacked.is_compressed() {
        let mut hashed = Hashed::new(unpacked);
        let size_bytes = apply_all(&mut hashed, tree)?;
        let (diff_id, _, unpacked) = hashed.finish();
        (size_bytes, Some(diff_id), unpacked)
    } else {
        (apply_all(&mut unpacked, tree)?, None, unpacked)
    };
    // A damaged end of a compressed stream shows only when it is read.
    drain(&mut unpacked)?;
    let (blob, blob_bytes, _) = unpacked.finish()?.finish();
    Ok(Unpack {
        diff_id: diff_id.unwrap_or_else(|| blob.clone()),
        blob,
        blob_bytes,
        size_bytes,
    })
}

fn apply_all(source: &mut dyn Read, tree: &Path) -> Result<u64> {
    let mut reader = Reader::new(buffered(source));
    let size_bytes = Applier::new(tree, Form::Layer)?.all(&mut reader)?;
    // The end marker is padded to a record, and the digest is over all of it.
    drain(&mut reader.into_inner())?;
    Ok(size_bytes)
}

fn drain(source: &mut dyn Read) -> Result<()> {
    io::copy(source, &mut io::sink()).map_err(archive::reading)?;
    Ok(())
}

/// Whether the first bytes of a file look like a layer: a tar block or a compression's magic.
pub(crate) fn looks_like_layer(head: &[u8]) -> bool {
    const TAR_BLOCK_BYTES: usize = 512;
    const MAGICS: [&[u8]; 3] = [
        &[0x1f, 0x8b],
        &[0x28, 0xb5, 0x2f, 0xfd],
        &[0xfd, b'7', b'z', b'X', b'Z'],
    ];
    if MAGICS.iter().any(|magic| head.starts_with(magic)) || head.starts_with(b"BZh") {
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
    dir.join("tree")
}
