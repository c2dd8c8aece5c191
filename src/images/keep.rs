//! What was verified becomes visible, after it is durable; and blobs, read, asked for and written.

use std::path::Path;
use std::sync::PoisonError;

use archive::{At, FramePlaces};
use failpoint::Point;
use model::{Blob, Digest, Error, Result};
use sys::durable;

use crate::digesting::digest_of;
use crate::store::{Staged, Staging, Store, TreeInfo};

/// Blobs of one layer that are remembered.
const PACKED_MAX: usize = 16;

impl Store {
    /// Makes what was staged visible, after making it durable: layers, and small blobs that are whole in
    /// memory. What somebody else committed meanwhile stays staged, to be removed with its staging
    /// directory; what a layer that is there lacks is added to it.
    ///
    /// One syncfs(2) serves all of them: an fsync for each of a layer's thousands of files would
    /// cost a journal commit each. The price is that other dirty data of the file system is
    /// written too; where there is no layer, the few blobs are flushed by themselves.
    pub(crate) fn commit(
        &self,
        staging: &Staging,
        layers: &[Staged],
        blobs: &[(Digest, Vec<u8>)],
    ) -> Result<()> {
        for staged in layers {
            let path = staged.dir.join("tree.json");
            std::fs::write(&path, described(&staged.info)?).at("write", &path)?;
        }
        let mut renames = Vec::with_capacity(blobs.len());
        for (n, (digest, bytes)) in blobs.iter().enumerate() {
            let path = staging.path().join(format!("blob{n}"));
            let file = durable::write_new(&path, bytes, 0o600).at("write", &path)?;
            if layers.is_empty() {
                file.sync_all().at("write", &path)?;
            }
            renames.push((path, self.blob_path(digest)));
        }
        if !layers.is_empty() {
            staging.sync()?;
        }
        self.pass(Point::ImageSynced)?;
        for (from, to) in renames {
            std::fs::rename(&from, &to).at("rename a blob to", &to)?;
        }
        for staged in layers {
            self.show_packed(staged)?;
        }
        self.pass(Point::ImageBlobsShown)?;
        for Staged { dir, info, .. } in layers {
            let target = self.layer_dir(&info.diff_id);
            if !durable::rename_new(dir, &target).at("rename a layer to", &target)? {
                self.add(dir, info, &target)?;
            }
        }
        self.pass(Point::ImageTreesShown)?;
        // Also when there was nothing to rename: whoever committed a tree that is used here may
        // not have come to this line yet. A tree that survives without its blob is one whose bytes
        // are not here, as those of one that an older daemon made.
        durable::sync_dir(&self.blobs()).at("sync", &self.blobs())?;
        durable::sync_dir(&self.trees()).at("sync", &self.trees())?;
        self.pass(Point::ImageKept)
    }

    /// A failpoint of work on the store.
    pub(crate) fn pass(&self, point: Point) -> Result<()> {
        failpoint::hit(point).at("keep what came in", self.root())
    }

    fn show_packed(&self, staged: &Staged) -> Result<()> {
        let (Some(packed), Some(blob)) = (&staged.packed, staged.info.packed.first()) else {
            return Ok(());
        };
        let target = self.blob_path(&blob.digest);
        let shown = durable::rename_new(packed, &target).at("rename a layer to", &target)?;
        match shown {
            true => Ok(()),
            // It must not go along with the tree, where nobody would ever look for it.
            false => std::fs::remove_file(packed).at("remove", packed),
        }
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
            self.push_packed(&mut known.packed, blob);
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
    pub(crate) fn remember_blob(&self, diff_id: &Digest, blob: &Blob) -> Result<()> {
        let _turn = self
            .describing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(mut known) = self.tree_info(diff_id)? else {
            return Ok(());
        };
        if !self.push_packed(&mut known.packed, blob) {
            return Ok(());
        }
        let path = self.layer_dir(diff_id).join("tree.json");
        durable::write_whole(&path, &described(&known)?, 0o600).at("write", &path)
    }

    /// Adds one to those that unpack to a layer; false when it was among them. When there are too many
    /// the oldest goes that is not here.
    fn push_packed(&self, known: &mut Vec<Blob>, blob: &Blob) -> bool {
        if known.iter().any(|other| other.digest == blob.digest) {
            return false;
        }
        while known.len() >= PACKED_MAX {
            let gone = known.iter().position(|b| !self.has_blob(&b.digest));
            known.remove(gone.unwrap_or_default());
        }
        known.push(blob.clone());
        true
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
