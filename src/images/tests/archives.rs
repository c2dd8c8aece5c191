//! Archives of images in every form that Docker, podman, skopeo and containerd write.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Fixture, Tar, config_of, docker_archive, docker_archive_with, gzip, layer_of, read, zstd,
};
use crate::Shown;
use crate::digesting::digest_of;
use crate::{LoadStep, LoadedImage};

/// An OCI layout in the making.
#[derive(Default)]
pub(super) struct Oci {
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) entries: Vec<Value>,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Oci {
    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest_of(&bytes);
        let size = bytes.len();
        self.blobs.insert(digest.hex().to_owned(), bytes);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    pub(super) fn manifest(&mut self, layers: &[Vec<u8>], pack: fn(&[u8]) -> Vec<u8>) -> Value {
        let config = self.blob(
            "application/vnd.oci.image.config.v1+json",
            config_of(layers),
        );
        let layers: Vec<_> = layers
            .iter()
            .map(|l| self.blob("application/vnd.oci.image.layer.v1.tar", pack(l)))
            .collect();
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.blob(MANIFEST, manifest.to_string().into_bytes())
    }

    pub(super) fn archive(&self) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries});
        let mut tar = Tar::default().dir("blobs").dir("blobs/sha256");
        for (hex, bytes) in &self.blobs {
            tar = tar.file(&format!("blobs/sha256/{hex}"), bytes);
        }
        tar.file("index.json", index.to_string().as_bytes())
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .end()
    }
}

fn with(mut descriptor: Value, key: &str, value: Value) -> Value {
    descriptor[key] = value;
    descriptor
}

fn names(image: &LoadedImage) -> Vec<String> {
    image.references.iter().map(|r| r.familiar()).collect()
}

#[test]
fn every_packing_of_a_docker_archive_gives_the_same_image() {
    let plain: fn(&[u8]) -> Vec<u8> = |b| b.to_vec();
    let layers = [layer_of("a", b"1"), layer_of("b", &[2; 5000])];
    for outer in [plain, gzip, zstd] {
        for inner in [plain, gzip, zstd] {
            let f = Fixture::new();
            let packed: Vec<_> = layers.iter().map(|l| inner(l)).collect();
            let archive =
                docker_archive_with(&packed, &config_of(&layers), &["busybox:bench", "u/app"]);
            let mut loaded = f.load(&outer(&archive)).unwrap();
            assert_eq!(loaded.len(), 1);
            let image = loaded.remove(0);
            assert_eq!(names(&image), ["busybox:bench", "u/app:latest"]);
            let r = &image.record;
            assert_eq!(r.id, digest_of(&config_of(&layers)));
            assert_eq!(f.images.config_blob(&r.id).unwrap(), config_of(&layers));
            assert_eq!((r.size_bytes, r.layers[0].size_bytes), (5001, 1));
            assert_eq!(r.layers[0].diff_id, digest_of(&layers[0]));
            assert_eq!(r.layers[0].chain_id, r.layers[0].diff_id);
            let chain = format!("{} {}", r.layers[0].diff_id, r.layers[1].diff_id);
            assert_eq!(r.layers[1].chain_id, digest_of(chain.as_bytes()));
            assert_eq!(r.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
            assert_eq!(std::fs::read(f.tree(r).join("b")).unwrap(), [2; 5000]);
            assert_eq!(f.staged(), 0);
        }
    }
}

#[test]
fn layers_may_be_linked_named_by_digest_and_come_after_the_manifest() {
    let f = Fixture::new();
    let layer = layer_of("f", b"x");
    let layers = [layer.clone(), layer.clone(), layer.clone()];
    let hex = digest_of(&layer).hex().to_owned();
    let manifest = json!([{"Config": "c.json", "RepoTags": null,
        "Layers": [format!("{hex}.tar"), "two/layer.tar", "three.tar"]}]);
    let archive = Tar::default()
        .file("manifest.json", manifest.to_string().as_bytes())
        .file("repositories", b"{}")
        .file("c.json", &config_of(&layers))
        .symlink("two/layer.tar", &format!("../{hex}.tar"))
        .hard_link("three.tar", &format!("{hex}.tar"))
        .file(&format!("{hex}.tar"), &layer)
        .end();
    let image = f.load(&archive).unwrap().remove(0);
    assert_eq!(image.record.layers.len(), 3);
    assert!(image.references.is_empty());
    // The same layer three times is one tree, and still mounts.
    f.images.create_writable("k").unwrap();
    let merged = f
        .images
        .mount("k", &image.record.layers, Shown::default())
        .unwrap();
    assert_eq!(read(merged.join("f")), "x");
}

#[test]
fn an_oci_layout_is_loaded_with_every_packing_of_layers() {
    let plain: fn(&[u8]) -> Vec<u8> = |b| b.to_vec();
    for pack in [plain, gzip, zstd] {
        let f = Fixture::new();
        let layers = [layer_of("a", b"1"), layer_of("b", b"22")];
        let mut oci = Oci::default();
        let manifest = oci.manifest(&layers, pack);
        let names_of = json!({"io.containerd.image.name": "docker.io/library/x:1",
            "org.opencontainers.image.ref.name": "1"});
        oci.entries.push(with(manifest, "annotations", names_of));
        let image = f.load(&oci.archive()).unwrap().remove(0);
        assert_eq!(names(&image), ["x:1"]);
        assert_eq!(image.record.id, digest_of(&config_of(&layers)));
        assert_eq!(image.record.size_bytes, 3);
    }
}

#[test]
fn the_annotation_of_a_bare_tag_names_nothing() {
    for (annotation, expected) in [
        ("latest", vec![]),
        ("r.io/a:2", vec!["r.io/a:2"]),
        ("b:3", vec!["b:3"]),
    ] {
        let f = Fixture::new();
        let mut oci = Oci::default();
        let manifest = oci.manifest(&[layer_of("a", b"1")], gzip);
        let name = json!({"org.opencontainers.image.ref.name": annotation});
        oci.entries.push(with(manifest, "annotations", name));
        assert_eq!(names(&f.load(&oci.archive()).unwrap()[0]), expected);
    }
}

#[test]
fn a_name_with_a_digest_must_be_of_what_it_names() {
    let layers = [layer_of("f", b"x")];
    let other = digest_of(b"what a registry has");
    for forged in [
        format!("nginx@{other}"),
        format!("nginx:1@{other}"),
        "sha256:0".to_owned(),
    ] {
        let f = Fixture::new();
        let e = f.load(&docker_archive(&layers, &[&forged])).unwrap_err();
        assert_eq!(e.kind(), model::Kind::InvalidParameter, "{e}");
        let mut oci = Oci::default();
        let manifest = oci.manifest(&layers, gzip);
        let annotations = json!({"io.containerd.image.name": forged});
        oci.entries.push(with(manifest, "annotations", annotations));
        let e = f.load(&oci.archive()).unwrap_err();
        assert_eq!(e.kind(), model::Kind::InvalidParameter, "{e}");
    }
    // The digest of its own manifest is true, except in a form that has no manifests.
    let f = Fixture::new();
    let mut oci = Oci::default();
    let manifest = oci.manifest(&layers, gzip);
    let name = format!("nginx@{}", manifest["digest"].as_str().unwrap());
    let annotations = json!({"io.containerd.image.name": name});
    oci.entries.push(with(manifest, "annotations", annotations));
    let loaded = f.load(&oci.archive()).unwrap();
    assert_eq!(names(&loaded[0]), [name.as_str()]);
    let e = f.load(&docker_archive(&layers, &[&name])).unwrap_err();
    assert_eq!(e.message(), format!("invalid tag {name:?}"));
}

#[test]
fn a_nested_index_gives_the_image_of_this_host() {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let f = Fixture::new();
    let mut oci = Oci::default();
    let platform = |arch: &str| json!({"os": "linux", "architecture": arch});
    let foreign = oci.manifest(&[layer_of("foreign", b"1")], gzip);
    let ours = oci.manifest(&[layer_of("ours", b"1")], gzip);
    let about = with(
        ours.clone(),
        "platform",
        json!({"os": "unknown", "architecture": "unknown"}),
    );
    let about = with(
        about,
        "annotations",
        json!({"vnd.docker.reference.type": "attestation-manifest"}),
    );
    let absent = json!({"mediaType": MANIFEST, "digest": format!("sha256:{}", "0".repeat(64)),
        "size": 1, "platform": platform("mips")});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        about, with(foreign.clone(), "platform", platform("sparc")),
        with(ours, "platform", platform(arch)), absent]});
    let index = oci.blob(INDEX, index.to_string().into_bytes());
    oci.entries.push(with(
        index,
        "annotations",
        json!({"io.containerd.image.name": "m:1"}),
    ));
    let image = f.load(&oci.archive()).unwrap().remove(0);
    assert!(f.tree(&image.record).join("ours").exists());
    assert_eq!(names(&image), ["m:1"]);

    // Two that are both foreign: nobody can choose.
    let mut oci = Oci::default();
    let a = oci.manifest(&[layer_of("a", b"1")], gzip);
    let b = oci.manifest(&[layer_of("b", b"1")], gzip);
    let index = json!({"schemaVersion": 2, "manifests": [
        with(a, "platform", platform("sparc")), with(b, "platform", platform("mips"))]});
    let index = oci.blob(INDEX, index.to_string().into_bytes());
    oci.entries.push(index);
    let e = f.load(&oci.archive()).unwrap_err();
    assert!(e.message().contains("linux/sparc, linux/mips"), "{e}");
}

#[test]
fn bad_oci_layouts_are_refused() {
    let f = Fixture::new();
    let layers = [layer_of("a", b"1")];
    let good = || {
        let mut oci = Oci::default();
        let manifest = oci.manifest(&layers, gzip);
        (oci, manifest)
    };
    let refused = |oci: &Oci, why: &str| {
        let e = f.load(&oci.archive()).expect_err(why);
        assert_eq!(e.kind(), model::Kind::InvalidParameter, "{why}: {e}");
        assert!(e.message().contains(why), "{why}: {e}");
        assert_eq!(f.staged(), 0);
    };
    let (mut oci, manifest) = good();
    oci.entries.push(with(manifest, "size", json!(3)));
    refused(&oci, "has the digest");
    let (mut oci, manifest) = good();
    let hex = manifest["digest"].as_str().unwrap()[7..].to_owned();
    oci.blobs.get_mut(&hex).unwrap().push(b' ');
    oci.entries.push(manifest);
    refused(&oci, "has the digest");
    let (mut oci, manifest) = good();
    oci.entries.push(with(manifest, "mediaType", json!(INDEX)));
    refused(&oci, "media type");
    let mut oci = Oci::default();
    let both = json!({"schemaVersion": 2, "manifests": [], "config": {"digest": "x", "size": 1}, "layers": []});
    let both = oci.blob(MANIFEST, both.to_string().into_bytes());
    oci.entries.push(both);
    refused(&oci, "neither those of an index nor of an image");
    let mut oci = Oci::default();
    let old = json!({"schemaVersion": 1, "fsLayers": []});
    let old = oci.blob(
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        old.to_string().into_bytes(),
    );
    oci.entries.push(old);
    refused(&oci, "version 1");
    let mut oci = Oci::default();
    let config = oci.blob("application/vnd.cncf.helm.config.v1+json", b"{}".to_vec());
    let chart = json!({"schemaVersion": 2, "config": config, "layers": []});
    let chart = oci.blob(MANIFEST, chart.to_string().into_bytes());
    oci.entries.push(chart);
    refused(&oci, "not a container image");
    let mut oci = Oci::default();
    oci.entries
        .push(json!({"mediaType": MANIFEST, "digest": "sha256:../../../../etc/passwd", "size": 1}));
    refused(&oci, "invalid digest");
    refused(&Oci::default(), "no image");
    // An index that names itself would need its own digest, so a chain stands for it.
    let mut oci = Oci::default();
    let mut inner = oci.manifest(&layers, gzip);
    for _ in 0..6 {
        let index = json!({"schemaVersion": 2, "manifests": [inner]});
        inner = oci.blob(INDEX, index.to_string().into_bytes());
    }
    oci.entries.push(inner);
    refused(&oci, "indexes within one another");
    // A layer that is not what its manifest says is caught by the configuration.
    let (mut oci, manifest) = good();
    let hex = digest_of(&gzip(&layers[0])).hex().to_owned();
    oci.blobs.insert(hex, gzip(&layer_of("a", b"other")));
    oci.entries.push(manifest);
    refused(&oci, "the configuration says");
}

#[test]
fn images_of_one_archive_share_layers_and_names_add_up() {
    let f = Fixture::new();
    let (base, top) = (layer_of("base", b"1"), layer_of("top", b"2"));
    let (one, two) = (
        config_of(std::slice::from_ref(&base)),
        config_of(&[base.clone(), top.clone()]),
    );
    let manifest = json!([
        {"Config": "one.json", "RepoTags": ["a:1"], "Layers": ["base.tar"]},
        {"Config": "two.json", "RepoTags": ["b:1"], "Layers": ["base.tar", "top.tar"]},
        {"Config": "one.json", "RepoTags": ["a:2", "a:1"], "Layers": ["base.tar"]},
    ]);
    let archive = Tar::default()
        .file("base.tar", &base)
        .file("top.tar", &top)
        .file("one.json", &one)
        .file("two.json", &two)
        .file("unused.tar", b"\x1f\x8bbroken, but nobody asks for it")
        .file("manifest.json", manifest.to_string().as_bytes())
        .end();
    let loaded = f.load(&archive).unwrap();
    assert_eq!(
        loaded.iter().map(names).collect::<Vec<_>>(),
        [vec!["a:1", "a:2"], vec!["b:1"]]
    );
    assert_eq!(std::fs::read_dir(f.root.join("trees")).unwrap().count(), 2);
}

#[test]
fn a_layer_that_is_there_is_not_unpacked_again() {
    let f = Fixture::new();
    let layers = [layer_of("a", b"1"), layer_of("b", b"2")];
    let mut oci = Oci::default();
    let manifest = oci.manifest(&layers, gzip);
    oci.entries.push(manifest);
    let first = f.load(&oci.archive()).unwrap();
    let tree = f.tree(&first[0].record);
    std::fs::write(tree.join("mark"), "").unwrap();
    let mut steps = 0;
    let again = f
        .images
        .load(&mut &oci.archive()[..], &mut |_| steps += 1)
        .unwrap();
    assert_eq!(again[0].record, first[0].record);
    assert_eq!(steps, 0);
    // Also under other names, where only the configuration tells.
    let docker = f.load(&docker_archive(&layers, &["x:1"])).unwrap();
    let chain = |image: &LoadedImage| -> Vec<_> {
        let layers = image.record.layers.iter();
        layers.map(|l| l.chain_id.clone()).collect()
    };
    assert_eq!(chain(&docker[0]), chain(&first[0]));
    assert!(tree.join("mark").exists());
}

#[test]
fn progress_ends_at_the_size_of_each_layer() {
    let f = Fixture::new();
    let layers = [layer_of("a", &vec![1; 3 << 20]), layer_of("b", b"2")];
    let mut last: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut steps = 0;
    let archive = docker_archive(&layers, &["x:1"]);
    f.images
        .load(&mut &archive[..], &mut |step| {
            let LoadStep::Layer {
                name,
                read_bytes,
                total_bytes,
            } = step;
            steps += 1;
            last.insert(name, (read_bytes, total_bytes));
        })
        .unwrap();
    assert!((4..10).contains(&steps), "{steps}");
    assert_eq!(last.len(), 2);
    assert!(last.values().all(|(read, total)| read == total), "{last:?}");
}

#[test]
fn loads_of_the_same_archive_at_once_all_succeed() {
    let f = Fixture::new();
    let mut many = Tar::default();
    for n in 0..300 {
        many = many.file(&format!("d{}/f{n}", n % 7), &[3; 2000]);
    }
    let layers = [many.end(), layer_of("b", b"2")];
    let archive = docker_archive(&layers, &["x:1"]);
    std::thread::scope(|scope| {
        let loads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| f.load(&archive).unwrap()))
            .collect();
        let sweeps = scope.spawn(|| {
            for _ in 0..20 {
                f.images
                    .sweep(crate::Partials::Old, || Ok(Vec::new()))
                    .unwrap();
            }
        });
        let loaded: Vec<_> = loads.into_iter().map(|l| l.join().unwrap()).collect();
        sweeps.join().unwrap();
        for images in &loaded {
            assert_eq!(images[0].record, loaded[0][0].record);
            for layer in &images[0].record.layers {
                assert!(
                    f.images
                        .paths("k", std::slice::from_ref(layer))
                        .unwrap()
                        .lower[0]
                        .is_dir()
                );
            }
        }
    });
    assert_eq!(f.staged(), 0);
    assert_eq!(
        f.images
            .sweep(crate::Partials::Old, || Ok(Vec::new()))
            .unwrap()
            .trees,
        2
    );
}
