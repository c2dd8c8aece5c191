//! What was verified becomes visible, after it is durable; and blobs, read, asked for and written.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use archive::{At, FramePlaces};
use failpoint::Point;
use model::{Blob, Digest, Error, Result};
use sys::durable;

use crate::digesting::digest_of;
use crate::layer;
use crate::store::{Store, TreeInfo};

/// Blobs of one layer that are remembered.
const PACKED_MAX: usize = 16;

impl Store {
    /// Makes blobs and staged layers visible, after making them durable. What somebody else committed
    /// meanwhile stays staged, to be removed with its staging directory; what a layer that is there
    /// lacks is added to it.
    ///
    /// One syncfs(2) serves all of them: an fsync for each of a layer's thousands of files would
    /// cost a journal commit each. The price is that other dirty data of the file system is
    /// written too.
    pub(crate) fn commit(
        &self,
        layers: &[(PathBuf, TreeInfo)],
        blobs: &[(Digest, Vec<u8>)],
    ) -> Result<()> {
        for (dir, info) in layers {
            let path = dir.join("tree.json");
            std::fs::write(&path, described(info)?).at("write", &path)?;
        }
        if !layers.is_empty() {
            durable::sync_file_system(self.root()).at("sync the file system of", self.root())?;
        }
        self.pass(Point::ImageSynced)?;
        // A tree that speaks of a blob comes after it.
        for (dir, info) in layers {
            self.show_packed(dir, info)?;
        }
        durable::sync_dir(&self.blobs()).at("sync", &self.blobs())?;
        self.pass(Point::ImageBlobsShown)?;
        for (dir, info) in layers {
            let target = self.layer_dir(&info.diff_id);
            if !durable::rename_new(dir, &target).at("rename a layer to", &target)? {
                self.add(dir, info, &target)?;
            }
        }
        // Also when there was nothing to rename: whoever committed a tree that is used here may
        // not have come to this line yet.
        durable::sync_dir(&self.trees()).at("sync", &self.trees())?;
        self.pass(Point::ImageTreesShown)?;
        for (digest, bytes) in blobs {
            let path = self.blob_path(digest);
            durable::write_whole(&path, bytes, 0o600).at("write", &path)?;
        }
        self.pass(Point::ImageKept)
    }

    /// A failpoint of work on the store.
    pub(crate) fn pass(&self, point: Point) -> Result<()> {
        failpoint::hit(point).at("keep what came in", self.root())
    }

    fn show_packed(&self, dir: &Path, info: &TreeInfo) -> Result<()> {
        let packed = layer::packed_in(dir);
        for blob in &info.packed {
            let target = self.blob_path(&blob.digest);
            match durable::rename_new(&packed, &target) {
                Ok(true) => {}
                // Somebody else was first. It must not become part of the tree.
                Ok(false) => std::fs::remove_file(&packed).at("remove", &packed)?,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && target.exists() => {}
                Err(e) => return Err(e).at("rename a layer to", &target),
            }
        }
        Ok(())
    }

    /// What the staged layer in `dir` has and the same one in `target` lacks goes there. The description
    /// changes last: what it does not speak of is not there.
    fn add(&self, dir: &Path, info: &TreeInfo, target: &Path) -> Result<()> {
        let _turn = self
            .describing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(mut known) = self.tree_info(&info.diff_id)? else {
            return Err(Error::system(format!(
                "{} has no description",
                target.display()
            )));
        };
        let before = known.clone();
        if let (None, Some(bytes)) = (known.frame_bytes, info.frame_bytes) {
            let (from, to) = (FramePlaces::of(dir), FramePlaces::of(target));
            let moves = [
                (from.extra, to.extra),
                (from.moved, to.moved),
                (from.frame, to.frame),
            ];
            for (from, to) in moves {
                // Of a daemon that was killed here.
                if to.symlink_metadata().is_ok() {
                    self.remove_any(&to)?;
                }
                if from.symlink_metadata().is_ok() {
                    std::fs::rename(&from, &to).at("rename what a layer lacked to", &to)?;
                }
            }
            known.frame_bytes = Some(bytes);
        }
        known.tar_bytes = known.tar_bytes.or(info.tar_bytes);
        for blob in &info.packed {
            if !known.packed.iter().any(|k| k.digest == blob.digest) {
                known.packed.push(blob.clone());
            }
        }
        if known == before {
            return Ok(());
        }
        let path = target.join("tree.json");
        durable::sync_dir(target).at("sync", target)?;
        self.pass(Point::ImageFrameMoved)?;
        durable::write_whole(&path, &described(&known)?, 0o600).at("write", &path)?;
        self.pass(Point::ImageDescribed)
    }

    /// Remembers one more blob that is known to unpack to a layer; whether it is here is another thing.
    pub(crate) fn remember_blob(&self, diff_id: &Digest, blob: Blob) -> Result<()> {
        let _turn = self
            .describing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(mut known) = self.tree_info(diff_id)? else {
            return Ok(());
        };
        let is_known = known.packed.iter().any(|other| other.digest == blob.digest);
        if is_known || known.packed.len() >= PACKED_MAX {
            return Ok(());
        }
        known.packed.push(blob);
        let path = self.layer_dir(diff_id).join("tree.json");
        durable::write_whole(&path, &described(&known)?, 0o600).at("write", &path)
    }

    /// Removes what a daemon that was killed left in a layer's directory: a description that was not
    /// finished, a frame that the description does not speak of.
    pub(crate) fn tidy(&self, diff_id: &Digest) -> Result<()> {
        let _turn = self
            .describing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(info) = self.tree_info(diff_id)? else {
            return Ok(());
        };
        let dir = self.layer_dir(diff_id);
        let places = FramePlaces::of(&dir);
        let frame = [places.frame, places.moved, places.extra];
        for entry in std::fs::read_dir(&dir).at("read", &dir)? {
            let entry = entry.at("read", &dir)?;
            let is_temporary = entry.file_name().as_encoded_bytes().starts_with(b".");
            let is_unspoken = info.frame_bytes.is_none() && frame.contains(&entry.path());
            if is_temporary || is_unspoken {
                self.remove_any(&entry.path())?;
            }
        }
        Ok(())
    }

    fn remove_any(&self, path: &Path) -> Result<()> {
        match path.is_dir() {
            true => self.remove(path).map(drop),
            false => std::fs::remove_file(path).at("remove", path),
        }
    }

    /// Whether the blob is here. To be asked when it is held, or it may go at once.
    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// The verified content of a small blob.
    pub(crate) fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::not_found(format!(
                    "no blob {digest} in the image store"
                )));
            }
            other => other.at("read", &path)?,
        };
        if digest_of(&bytes) != *digest {
            return Err(Error::system(format!(
                "{} is damaged: its content is not what its name says",
                path.display()
            )));
        }
        Ok(bytes)
    }
}

fn described(info: &TreeInfo) -> Result<Vec<u8>> {
    serde_json::to_vec(info).map_err(|e| Error::system(e.to_string()))
}
