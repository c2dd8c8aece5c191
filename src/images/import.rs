//! An image of one layer, made from the tar of a root file system.

use std::io::Read;
use std::sync::Arc;

use failpoint::Point;
use model::image::HistoryEntry;
use model::{Context, ImageConfig, Result, Timestamp};

use crate::digesting::digest_of;
use crate::layer::Keep;
use crate::leases::{Item, Lease};
use crate::load::{LoadedImage, record};
use crate::store::{Staged, Store, TreeInfo};
use crate::{config, layer};

pub(crate) fn import(
    store: &Arc<Store>,
    tar: &mut dyn Read,
    mut image: ImageConfig,
    comment: &str,
    created: Timestamp,
) -> Result<LoadedImage> {
    let staging = store.stage()?;
    let dir = staging.layer(0)?;
    // Nobody names it by what it was compressed to.
    let unpack = layer::unpack(tar, &dir, Keep::Plain).context("cannot import the archive")?;
    store.pass(Point::ImageArchiveRead)?;
    let info = TreeInfo::from(unpack);
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
    let staged = Staged::new(dir, info.clone());
    store.commit(&staging, &[staged], &[(id.clone(), bytes)])?;
    Ok(LoadedImage {
        record: record(id, image, vec![(info, None)]),
        references: Vec::new(),
        lease,
    })
}
