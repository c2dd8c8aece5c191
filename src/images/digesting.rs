//! Digests of what is read.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// Takes the sha256 and the length of what is read through it.
pub(crate) struct Hashed<R> {
    source: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Hashed<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    /// The digest and the number of bytes read so far, and the source.
    pub(crate) fn finish(self) -> (model::Digest, u64, R) {
        let digest = model::Digest::from_sha256(self.hash.finalize().into());
        (digest, self.bytes, self.source)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buf)?;
        self.hash.update(&buf[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

/// The digest of bytes in memory.
pub(crate) fn digest_of(bytes: &[u8]) -> model::Digest {
    model::Digest::from_sha256(Sha256::digest(bytes).into())
}
