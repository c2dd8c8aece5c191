//! Removals, prunes, and the bytes that go with them.

use std::time::Duration;

use model::{Filters, Kind};

use super::{Fixture, archive, lock};
use crate::{RemoveImage, RemovedReference};

const PLAIN: RemoveImage = RemoveImage {
    force: false,
    parents: true,
};

async fn swept(f: &Fixture, dir: &str, left: usize) {
    let begun = std::time::Instant::now();
    while f.count(dir) != left {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{dir} is not swept"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_removals_at_once_are_swept_by_few() {
    let f = Fixture::new();
    let image = f.load(&["a:0"], &["1"]).await;
    let names: Vec<String> = (0..500).map(|n| format!("a:{n}")).collect();
    for name in &names {
        let tagged = f.catalog.tag(image.id.as_str(), name.parse().unwrap());
        tagged.await.unwrap();
    }
    let mut removals = tokio::task::JoinSet::new();
    for name in names {
        let catalog = f.catalog.clone();
        removals.spawn(async move { catalog.remove(&name, PLAIN).await });
    }
    let mut deleted = 0;
    while let Some(removed) = removals.join_next().await {
        let removed = removed.unwrap().unwrap();
        let is_deleted = |r: &&RemovedReference| matches!(r, RemovedReference::Deleted(_));
        deleted += removed.iter().filter(is_deleted).count();
    }
    assert_eq!(deleted, 2, "the image and its layer");
    assert_eq!((f.count("trees"), f.count("blobs/sha256")), (0, 0));
    let kept = f.kept();
    assert!(kept.images.is_empty() && kept.tags.is_empty());
}

/// What cannot be swept is often somebody else's, and the image is gone by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_fails_is_no_failure_of_a_removal() {
    let f = Fixture::new();
    f.load(&["a:1"], &["1"]).await;
    // No tree can be set aside where that is not to be had.
    let staging = f.root.join("images/staging");
    std::fs::remove_dir(&staging).unwrap();
    let removed = f.catalog.remove("a:1", PLAIN).await.unwrap();
    assert_eq!(removed.len(), 3);
    assert_eq!(f.count("trees"), 1, "it is left");
    std::fs::create_dir(&staging).unwrap();
    let none = Filters::default();
    let pruned = f.catalog.prune(none).await.unwrap();
    assert!(pruned.removed.is_empty());
    assert_eq!(f.count("trees"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_load_has_left_is_swept() {
    let f = Fixture::new();
    let good = archive(&["a:1"], &["1"]);
    // The first of two images is whole; a sweep is wanted all the same.
    let staging = f.root.join("images/trees").join("0".repeat(64));
    std::fs::create_dir(&staging).unwrap();
    let cut = good[..good.len() - 2048].to_vec();
    let mut job = f
        .catalog
        .load(std::io::Cursor::new(cut), true)
        .await
        .unwrap();
    job.next().await.unwrap().unwrap_err();
    swept(&f, "trees", 0).await;
}

/// An image that lost its last name but is used by a container that stands still stays, without a name.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_uses_stays_without_a_name() {
    let f = Fixture::new();
    let image = f.load(&["a:1"], &["1"]).await;
    f.is_used(&image.id, false);
    assert_eq!(f.catalog.find("a:1").unwrap().containers, 1);
    let refused = f.catalog.remove("a:1", PLAIN).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert_eq!(f.catalog.find("a:1").unwrap().references.len(), 1);
    let force = RemoveImage {
        force: true,
        ..PLAIN
    };
    let removed = f.catalog.remove("a:1", force).await.unwrap();
    assert_eq!(removed, [RemovedReference::Untagged("a:1".to_owned())]);
    assert_eq!(f.catalog.find(image.id.as_str()).unwrap().references, []);
    lock(&f.users).clear();
    f.catalog.remove(image.id.as_str(), PLAIN).await.unwrap();
    assert!(f.kept().images.is_empty());
}

/// A name that has come to mean another image since a prune looked is not its business.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moved_on_is_not_pruned() {
    let f = Fixture::new();
    let old = f.load(&["a:1"], &["1"]).await;
    let new = f.load(&["a:1"], &["2"]).await;
    let catalog = &f.catalog;
    let gone = catalog.remove_records("a:1", PLAIN, Some(&old.id)).await;
    assert_eq!(gone.unwrap(), []);
    assert_eq!(catalog.find("a:1").unwrap().record.id, new.id);
    // Another prune is refused, as in Docker.
    let _running = catalog.inner.pruning.lock().await;
    let refused = catalog.prune(Filters::default()).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.message()),
        (Kind::Conflict, "a prune operation is already running")
    );
    catalog.find(old.id.as_str()).unwrap();
}
