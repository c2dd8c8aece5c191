//! An image of one layer, made from the tar of a root file system.

use std::io::Read;
use std::sync::Arc;

use model::image::HistoryEntry;
use model::{Context, ImageConfig, Result, Timestamp};

use crate::compression::digest_of;
use crate::load::{LoadedImage, record};
use crate::store::{Item, Lease, Store, TreeInfo};
use crate::{config, layer};

pub(crate) fn import(
    store: &Arc<Store>,
    tar: &mut dyn Read,
    mut image: ImageConfig,
    comment: &str,
    created: Timestamp,
) -> Result<LoadedImage> {
    let staging = store.stage()?;
    let (dir, tree) = staging.layer(0)?;
    let info = TreeInfo::from(layer::unpack(tar, &tree).context("cannot import the archive")?);
    image.created = Some(created);
    image.history = vec![HistoryEntry {
        created: Some(created),
        comment: comment.to_owned(),
        ..HistoryEntry::default()
    }];
    let bytes = config::write(&image, std::slice::from_ref(&info.diff_id))?;
    let id = digest_of(&bytes);
    let mut lease = Lease::new(store);
    lease.hold(Item::Blob(id.clone()));
    lease.hold(Item::Tree(info.diff_id.clone()));
    store.commit(&[(dir, info.clone())], &[(id.clone(), bytes)])?;
    Ok(LoadedImage {
        record: record(id, image, vec![info]),
        references: Vec::new(),
        lease,
    })
}
