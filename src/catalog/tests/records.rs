//! Records and names, changed by several at once.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::Digest;

use super::{Clock, Fixture, archive, image_id, lock, now};
use crate::Progress;
use crate::load::Came;

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
    f.catalog.keep(loaded, Came::Pull(None)).await.unwrap();
    drop(pulled);
    tagging.await.unwrap().unwrap();
    let now = f.catalog.find("b:1").unwrap();
    assert_eq!(now.record.manifest, Some(manifest));
    assert_eq!(now.references.len(), 3);
}

/// One that takes a name says so, and all are told by their ids when the last has no name.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_tells_what_it_named_and_what_lost_its_name() {
    let f = Fixture::new();
    let old = f.load(&["a:1"], &["1"]).await;
    let told = |names: &'static [&'static str]| {
        let archive = archive(names, &["2"]);
        let catalog = f.catalog.clone();
        async move {
            let mut job = catalog
                .load(std::io::Cursor::new(archive), true)
                .await
                .unwrap();
            let mut told = Vec::new();
            while let Some(step) = job.next().await {
                match step.unwrap() {
                    Progress::Text(text) => told.push(text),
                    other => panic!("{other:?}"),
                }
            }
            told
        }
    };
    let moved = format!(
        "The image a:1 already exists, renaming the old one with ID {} to empty string\n",
        old.id
    );
    assert_eq!(told(&["a:1"]).await, [&moved[..], "Loaded image: a:1\n"]);
    assert_eq!(told(&["a:1"]).await, ["Loaded image: a:1\n"]);
    let id = image_id(&["2"]);
    assert_eq!(told(&[]).await, [format!("Loaded image ID: {id}\n")]);
    // Docker calls only that a tag which somebody gave here.
    assert_eq!(f.catalog.record(&id).unwrap().tagged_at, None);
    let tagged = f.catalog.tag("a:1", "b:1".parse().unwrap());
    tagged.await.unwrap();
    assert_eq!(f.catalog.record(&id).unwrap().tagged_at, Some(now()));
}
