//! Archives of images, manifests and configurations.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use images::manifest::{self, Manifest};
use images::{Described, Images, Partials};
use model::{Digest, Kind};
use sys::beneath::Dir;

/// A store for one archive after the other.
struct Bed {
    temp: tempfile::TempDir,
    images: Images,
    empty: Vec<String>,
}

thread_local! {
    static BED: RefCell<Option<Bed>> = const { RefCell::new(None) };
}

impl Bed {
    fn new() -> Self {
        let temp = crate::tree::scratch();
        fs::create_dir(temp.path().join("canary")).unwrap();
        let images = Images::open(&temp.path().join("store"), None).unwrap();
        let empty = names(temp.path());
        Self {
            temp,
            images,
            empty,
        }
    }
}

/// Everything by name.
fn names(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            found.push(entry.path().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// An archive of images: refused as the client's fault with nothing left, or loaded so that a sweep leaves
/// nothing.
pub fn docker_load(input: &[u8]) {
    BED.with_borrow_mut(|bed| {
        let bed = bed.get_or_insert_with(Bed::new);
        let mut sealed = input.to_vec();
        hostile::reseal(&mut sealed);
        let loaded = bed.images.load(&mut &sealed[..], &mut |_| {});
        match loaded {
            Err(e) => {
                assert_eq!(e.kind(), Kind::InvalidParameter, "{e}");
                assert!(e.message().len() < 4000, "{e}");
            }
            Ok(loaded) => {
                for image in &loaded {
                    let config = bed.images.config_blob(&image.record.id).unwrap();
                    images::platform_of(&config).unwrap();
                    for layer in &image.record.layers {
                        let store = bed.temp.path().join("store/trees");
                        Dir::open(&store.join(layer.diff_id.hex())).unwrap();
                    }
                    for name in &image.references {
                        name.check_assignable().unwrap();
                    }
                }
                drop(loaded);
                let swept = bed.images.sweep(Partials::Old, || Ok(Vec::new()));
                swept.unwrap();
            }
        }
        assert_eq!(names(bed.temp.path()), bed.empty);
    });
}

pub(crate) fn archive_seeds() -> Vec<Vec<u8>> {
    let cases = [hostile::docker_archives(), hostile::layouts()].concat();
    let bytes = cases.into_iter().map(|case| case.bytes);
    bytes.filter(|bytes| bytes.len() < 32 << 10).collect()
}

/// A manifest, an index or a configuration: what is read is written and read again as the same.
pub fn oci_manifest(input: &[u8]) {
    let as_index = "application/vnd.oci.image.index.v1+json";
    for described_as in ["", as_index, manifest::DOCKER_MANIFEST] {
        match manifest::parse(input, described_as) {
            Err(e) => {
                assert_eq!(e.kind(), Kind::InvalidParameter, "{e}");
                assert!(e.message().len() < 4000, "{e}");
            }
            Ok(Manifest::Index(entries)) => {
                assert_ne!(described_as, manifest::DOCKER_MANIFEST);
                for entry in entries {
                    let _ = (entry.blob(), entry.platform(), entry.is_image());
                }
            }
            Ok(Manifest::Image { config, layers }) => {
                assert_ne!(described_as, as_index);
                let blobs: Result<Vec<_>, _> = layers.iter().map(|l| l.blob()).collect();
                if let (Ok(digest), Ok(blobs)) = (config.digest(), blobs) {
                    write_again(&digest, config.size, &blobs);
                }
            }
        }
        let _ = manifest::parse_sent(input, described_as);
    }
    let _ = manifest::media_type(input);
    // The same bytes as a configuration.
    if let Err(e) = Described::new(Vec::new(), input.to_vec(), Vec::new()) {
        assert_eq!(e.kind(), Kind::InvalidParameter, "{e}");
        assert!(e.message().len() < 4000, "{e}");
    }
}

fn write_again(config: &Digest, size: u64, blobs: &[model::Blob]) {
    let written = manifest::write(config, size, blobs).unwrap();
    let media_type = manifest::media_type(&written).unwrap();
    let Manifest::Image { config: c, layers } = manifest::parse(&written, &media_type).unwrap()
    else {
        panic!("an image was written");
    };
    assert_eq!((c.digest().unwrap(), c.size), (config.clone(), size));
    for (layer, blob) in layers.iter().zip(blobs) {
        let layer = layer.blob().unwrap();
        assert_eq!(
            (&layer.digest, layer.size_bytes),
            (&blob.digest, blob.size_bytes)
        );
    }
    assert_eq!(layers.len(), blobs.len());
}

pub(crate) fn manifest_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for case in hostile::layouts() {
        let mut reader = archive::Reader::new(&case.bytes[..]);
        while let Ok(Some(entry)) = reader.next_entry() {
            let mut content = Vec::new();
            let whole = std::io::Read::read_to_end(&mut reader, &mut content);
            if whole.is_ok() && content.starts_with(b"{") && content.len() < 8 << 10 {
                seeds.push(content);
            }
            drop(entry);
        }
    }
    seeds.sort();
    seeds.dedup();
    seeds
}
