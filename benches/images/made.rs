//! What is loaded, pulled and copied: made once a run, the same bytes in each.

use std::path::PathBuf;

use testkit::{Image, TarBuilder, require};

use crate::bed::{Bed, REGISTRY, run};

/// Layers of the image.
const LAYERS: usize = 5;
/// Of each: small files, as programs and libraries have them, and larger ones. 60 MB together.
const SMALL: (usize, usize) = (1900, 8 << 10);
const LARGE: (usize, usize) = (100, 450 << 10);
/// Of the directory that is copied.
const MANY: (usize, usize) = (20_000, 4 << 10);
/// The one file that is copied.
const BIG_BYTES: usize = 256 << 20;
/// Files of one directory.
const DIR_FILES: usize = 100;

/// The image's name, in archives.
pub(crate) const IMAGE: &str = "bench:latest";

/// The files on the disk of this machine.
#[derive(Debug)]
pub(crate) struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    /// Makes all of them.
    pub(crate) fn new() -> Self {
        let made = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        let mut bytes = Bytes(0x9e37_79b9_7f4a_7c15);
        let layers = (0..LAYERS).map(|n| layer(&mut bytes, n)).collect();
        let mut image = Image::busybox();
        image.tags = vec![IMAGE.to_owned()];
        image.layers = layers;
        made.write("image.tar", &image.docker_archive());
        made.write("busybox.tar", &Image::busybox().docker_archive());
        let mut many = TarBuilder::new();
        files(&mut many, &mut bytes, "many", MANY);
        made.write("many.tar", &many.finish());
        let mut big = TarBuilder::new();
        big.file("big", 0o644, &bytes.take(BIG_BYTES));
        made.write("big.tar", &big.finish());
        made.push();
        made
    }

    /// For the head of the table.
    pub(crate) fn describe() -> String {
        format!(
            "an image of {LAYERS} layers of {} MB, {} files of 4 KiB, one file of {} MiB",
            (SMALL.0 * SMALL.1 + LARGE.0 * LARGE.1) / 1_000_000,
            MANY.0,
            BIG_BYTES >> 20
        )
    }

    /// The archive of the image.
    pub(crate) fn image(&self) -> PathBuf {
        self.path("image.tar")
    }

    /// The archive of a small image.
    pub(crate) fn busybox(&self) -> PathBuf {
        self.path("busybox.tar")
    }

    /// A tar of `many`, a directory of small files.
    pub(crate) fn many(&self) -> PathBuf {
        self.path("many.tar")
    }

    /// A tar of `big`, one file.
    pub(crate) fn big(&self) -> PathBuf {
        self.path("big.tar")
    }

    /// What the registry keeps: the image with compressed layers.
    pub(crate) fn registry(&self) -> PathBuf {
        self.path("registry")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("there is room for it");
    }

    fn push(&self) {
        let mut bed = Bed::new();
        bed.start_registry(&self.registry());
        let mut skopeo = bed.command(require("skopeo", "skopeo"));
        skopeo.args([
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
        ]);
        skopeo.arg(format!("docker-archive:{}", self.image().display()));
        run(skopeo.arg(format!("docker://{}", pulled())));
    }
}

/// The image's name, in the registry.
pub(crate) fn pulled() -> String {
    format!("{REGISTRY}/{IMAGE}")
}

fn layer(bytes: &mut Bytes, number: usize) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    files(&mut tar, bytes, &format!("layer{number}/small"), SMALL);
    files(&mut tar, bytes, &format!("layer{number}/large"), LARGE);
    tar.finish()
}

fn files(tar: &mut TarBuilder, bytes: &mut Bytes, dir: &str, (count, size): (usize, usize)) {
    tar.dir(&format!("{dir}/"), 0o755);
    for n in 0..count {
        if n % DIR_FILES == 0 {
            tar.dir(&format!("{dir}/{}/", n / DIR_FILES), 0o755);
        }
        tar.file(
            &format!("{dir}/{}/{n}", n / DIR_FILES),
            0o644,
            &bytes.take(size),
        );
    }
}

/// Bytes that are always the same, half of them noise: a compressor has something to do, and finds
/// something.
struct Bytes(u64);

impl Bytes {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut taken = Vec::with_capacity(count + 64);
        while taken.len() < count {
            for _ in 0..4 {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                taken.extend_from_slice(&self.0.to_le_bytes());
            }
            taken.extend_from_slice(&[b'x'; 32]);
        }
        taken.truncate(count);
        taken
    }
}
