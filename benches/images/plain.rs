//! The floor: tar(1), curl(1) and sync(1), which keep what an engine has to keep.

use std::path::Path;
use std::time::Duration;

use crate::bed::{Bed, REGISTRY, timed};

/// Unpacks an archive of `docker save` and then its layers. The archive's members stay, as an engine
/// must be able to give the image away again.
pub(crate) fn load(bed: &Bed, archive: &Path) -> Duration {
    let script = r#"
        mkdir "$2"/archive; tar -xf "$1" -C "$2"/archive
        for layer in "$2"/archive/*/layer.tar; do
            name=$(basename "$(dirname "$layer")")
            mkdir -p "$2/trees/$name"; tar -xf "$layer" -C "$2/trees/$name"
        done
        sync -f "$2"
    "#;
    timed(bed.shell(script, &[archive, &bed.root()]))
}

/// Fetches an image's layers, three at once as engines do, keeps each as it came and unpacks it on
/// its way.
pub(crate) fn pull(bed: &Bed, name: &str) -> Duration {
    let (image, tag) = name.rsplit_once(':').expect("it has a tag");
    let image = image.strip_prefix(REGISTRY).expect("it is of our registry");
    let base = format!("http://{REGISTRY}/v2{image}");
    let script = format!(
        r#"
        accept='Accept: application/vnd.docker.distribution.manifest.v2+json'
        mkdir "$1"/blobs "$1"/trees
        curl -sSf -H "$accept" {base}/manifests/{tag} -o "$1"/manifest.json
        fetch() {{
            mkdir "$2/trees/$1"
            curl -sSf "{base}/blobs/$1" | tee "$2/blobs/$1" | tar -xz -C "$2/trees/$1"
        }}
        export -f fetch
        grep -o 'sha256:[0-9a-f]*' "$1"/manifest.json | tail -n +2 |
            xargs -P 3 -I {{}} bash -e -o pipefail -c 'fetch {{}} "$0"' "$1"
        sync -f "$1"
    "#
    );
    timed(bed.shell(&script, &[&bed.root()]))
}

/// Packs the trees of [`load`].
pub(crate) fn save(bed: &Bed) -> Duration {
    let script = r#"for tree in "$1"/trees/*; do tar -c -C "$tree" . ; done | cat >/dev/null"#;
    timed(bed.shell(script, &[&bed.root()]))
}

/// Makes what a container has: an image's directory and one for its changes.
pub(crate) fn create(bed: &Bed) {
    timed(bed.shell(r#"cd "$1"; mkdir lower upper work merged"#, &[&bed.root()]));
}

/// Nobody has a container mounted that does not run.
const MOUNT: &str = r#"
    cd "$1"; mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
"#;

/// Unpacks a tar there.
pub(crate) fn copy_in(bed: &Bed, tar: &Path) -> Duration {
    let script = format!(r#"{MOUNT} tar -xf "$2" -C merged"#);
    let took = timed(bed.shell(&script, &[&bed.root(), tar]));
    unmount(bed);
    took
}

/// Packs a path of it.
pub(crate) fn copy_out(bed: &Bed, path: &str) -> Duration {
    let script = format!("{MOUNT} tar -c -C merged {path} | cat >/dev/null");
    let took = timed(bed.shell(&script, &[&bed.root()]));
    unmount(bed);
    took
}

fn unmount(bed: &Bed) {
    timed(bed.shell(r#"umount "$1"/merged"#, &[&bed.root()]));
}
