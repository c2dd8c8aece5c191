//! Records and names, changed by several at once.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Action, Digest};

use super::{Clock, Fixture, lock, now};

/// A record is written whole. What one learns of it must not be written over by another who looked at it
/// before.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_beside_a_pull_takes_nothing_from_it() {
    let look: Arc<Mutex<Option<mpsc::Receiver<()>>>> = Arc::default();
    let looked = look.clone();
    let begun = Arc::new(tokio::sync::Notify::new());
    let tell = begun.clone();
    let clock: Clock = Arc::new(move || {
        if let Some(pulled) = lock(&looked).take() {
            // Between the look at the record and its write.
            tell.notify_one();
            let _ = pulled.recv_timeout(Duration::from_millis(500));
        }
        now()
    });
    let f = Fixture::with_clock(clock);
    let image = f.load(&["a:1"], &["1"]).await;
    let (pulled, wait) = mpsc::channel();
    *lock(&look) = Some(wait);
    let tagging = {
        let catalog = f.catalog.clone();
        tokio::spawn(async move { catalog.tag("a:1", "b:1".parse().unwrap()).await })
    };
    begun.notified().await;
    let manifest = Digest::from_sha256([9; 32]);
    let mut record = (*image).clone();
    record.manifest = Some(manifest.clone());
    let loaded = images::LoadedImage {
        lease: f.catalog.store().hold(&record),
        record,
        references: vec!["c:1".parse().unwrap()],
    };
    f.catalog.keep(loaded, Action::Pull).await.unwrap();
    drop(pulled);
    tagging.await.unwrap().unwrap();
    let now = f.catalog.find("b:1").unwrap();
    assert_eq!(now.record.manifest, Some(manifest));
    assert_eq!(now.references.len(), 3);
}
