//! Archives that mean harm, at every door that takes one: each is refused in Docker's form or kept inside,
//! nothing beside the store is touched, nothing is left, and the daemon goes on as before, no larger.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hostile::{Case, Fate};
use serde_json::{Value, json};
use testkit::{Daemon, Reached, Registry, Response, query};

use crate::{daemon, options};

/// What the daemon may ever have had in memory, built for tests; without an archive it is half of that.
const RESIDENT_BYTES_MAX: u64 = 128 << 20;

/// What must not change, and what must be there again afterwards.
struct Watch<'a> {
    d: &'a Daemon,
    beside: Vec<String>,
    store: Vec<String>,
    images: Value,
}

impl<'a> Watch<'a> {
    fn new(d: &'a Daemon) -> Self {
        let canary = d.root().join("canary");
        fs::create_dir(&canary).expect("ours");
        fs::write(canary.join("keep"), "safe").expect("ours");
        let mut watch = Self {
            d,
            beside: Vec::new(),
            store: Vec::new(),
            images: Value::Null,
        };
        watch.beside = watch.canary();
        watch.store = watch.names();
        watch.images = watch.listed();
        watch
    }

    fn canary(&self) -> Vec<String> {
        let canary = self.d.root().join("canary");
        let told = |path: &Path| {
            let m = fs::symlink_metadata(path).expect("it is there");
            let times = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
            format!("{} {:o} {} {times:?}", path.display(), m.mode(), m.nlink())
        };
        let entries = fs::read_dir(&canary).expect("it is there");
        let mut found: Vec<String> = entries
            .map(|e| told(&e.expect("it is there").path()))
            .collect();
        found.push(told(&canary));
        found
    }

    /// All that the store has, by name.
    fn names(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting: Vec<PathBuf> = vec![self.d.inside(self.d.root().join("data/images"))];
        while let Some(dir) = waiting.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                found.push(entry.path().display().to_string());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    waiting.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    fn listed(&self) -> Value {
        self.d.http.get("/images/json?all=1").expect(200).json()
    }

    /// After a case: what came of it goes, and everything is as before.
    fn expect_as_before(&self, what: &str) {
        let before: Vec<_> = ids(&self.images);
        for id in ids(&self.listed()) {
            if !before.contains(&id) {
                self.d
                    .http
                    .delete(&format!("/images/{id}?force=1"))
                    .expect(200);
            }
        }
        assert_eq!(self.listed(), self.images, "{what}");
        let now = self.names();
        let left: Vec<_> = now
            .iter()
            .filter(|name| !self.store.contains(name))
            .collect();
        assert!(left.is_empty(), "{what} left {left:?}");
        assert_eq!(self.canary(), self.beside, "{what}");
        self.d.http.get("/_ping").expect(200);
    }

    fn expect_small(&self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.d.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|text| text.trim().strip_suffix(" kB"));
        let kib: u64 = kib.and_then(|text| text.parse().ok()).expect("a number");
        assert!(kib << 10 < RESIDENT_BYTES_MAX, "the daemon had {kib} kB");
    }
}

fn ids(images: &Value) -> Vec<String> {
    let images = images.as_array().expect("a list");
    let id = |image: &Value| image["Id"].as_str().expect("an id").to_owned();
    images.iter().map(id).collect()
}

/// What went wrong: a status with a message, or the last line of a stream.
fn refusal(answer: &Response) -> Option<String> {
    if answer.status >= 400 {
        let message = answer.json()["message"]
            .as_str()
            .expect("a message")
            .to_owned();
        assert!(answer.status < 500, "{}: {message}", answer.status);
        return Some(message);
    }
    let last: Value = serde_json::from_str(answer.text().lines().last()?).ok()?;
    let message = last["errorDetail"]["message"].as_str()?;
    assert_eq!(last["error"], message);
    Some(message.to_owned())
}

fn expect_fate(what: &str, answer: &Response, fate: &Fate) {
    match (refusal(answer), fate) {
        (Some(message), Fate::Refused(why)) => {
            assert!(
                message.contains(why) && message.len() < 4000,
                "{what}: {message}"
            );
        }
        (None, Fate::Taken(_)) => {}
        (told, _) => panic!("{what}: {}, {told:?}", answer.status),
    }
}

/// Every third, beginning with that one.
fn some(cases: Vec<Case>, first: usize) -> impl Iterator<Item = Case> {
    cases.into_iter().skip(first).step_by(3)
}

fn load(d: &Daemon, archive: &[u8]) -> Response {
    let tar = [("Content-Type", "application/x-tar")];
    d.http.send("POST", "/images/load", &tar, archive)
}

#[test]
fn hostile_archives_are_refused_at_the_doors_for_images() {
    let d = Daemon::start(options().bare());
    let watch = Watch::new(&d);
    let path = query("/images/create", &[("fromSrc", "-"), ("repo", "hostile")]);
    for case in some(hostile::layers(), 0) {
        let what = format!("{}, imported", case.name);
        let answer = d.http.send(
            "POST",
            &path,
            &[("Content-Type", "application/x-tar")],
            &case.bytes,
        );
        expect_fate(&what, &answer, &case.fate);
        watch.expect_as_before(&what);
    }
    let archives = [
        hostile::docker_archives(),
        hostile::layouts(),
        hostile::floods(),
    ];
    for case in some(archives.concat(), 1) {
        let what = format!("{}, loaded", case.name);
        expect_fate(&what, &load(&d, &case.bytes), &case.fate);
        watch.expect_as_before(&what);
    }
    watch.expect_small();
    d.finish();
}

/// Into a container, where a layer's marks are names like others, and there is more to go through.
#[test]
fn hostile_archives_stay_inside_a_container() {
    let d = daemon();
    let watch = Watch::new(&d);
    d.create(
        "box",
        json!({"Cmd": ["sleep", "1000"], "HostConfig": {"Binds": ["kept:/kept"]}}),
    );
    let secret = fs::read("/etc/passwd").expect("the host has one");
    for (n, case) in some(hostile::layers(), 2).enumerate() {
        let what = format!("{}, put", case.name);
        if n == 20 {
            d.start_container("box");
        }
        let dir = ["/tmp", "/kept", "/"][n % 3];
        let path = query("/containers/box/archive", &[("path", dir)]);
        let answer = d.http.send("PUT", &path, &[], &case.bytes);
        let told = refusal(&answer);
        if let Fate::Taken(_) = case.fate {
            assert_eq!(told, None, "{what}");
        }
        assert_eq!(watch.canary(), watch.beside, "{what}");
        d.http.get("/_ping").expect(200);
    }
    assert_eq!(fs::read("/etc/passwd").expect("the host has one"), secret);
    watch.expect_small();
    d.finish();
}

/// A registry takes whatever bytes have the digest they are named by.
#[test]
fn hostile_layers_of_a_registry_are_refused() {
    let d = Daemon::start(options().bare());
    let watch = Watch::new(&d);
    let registry = Registry::start(&d, Reached::Openly);
    // A compressed one has another digest than what it unpacks to, which the configuration here names.
    let is_plain = |case: &Case| {
        !case.bytes.starts_with(&[0x1f, 0x8b]) && !case.bytes.starts_with(&[0x28, 0xb5])
    };
    for case in some(hostile::layers(), 1).filter(is_plain).step_by(4) {
        let what = format!("{}, pulled", case.name);
        let image = hostile::Image::with_layer(&case.bytes);
        let config = blob(&d, &registry, image.config.to_string().as_bytes());
        let layer = blob(&d, &registry, &case.bytes);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("application/vnd.oci.image.config.v1+json", &config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        put_manifest(&d, &registry, &manifest);
        let name = format!("{}/hostile:1", registry.host());
        let path = query("/images/create", &[("fromImage", &name)]);
        let answer = d.http.send("POST", &path, &[], b"");
        expect_fate(&what, &answer, &case.fate);
        watch.expect_as_before(&what);
    }
    watch.expect_small();
    drop(registry);
    d.finish();
}

fn described(media_type: &str, (digest, bytes): &(String, usize)) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": bytes})
}

fn curl(d: &Daemon, args: &[&str]) -> String {
    let output = d.command_inside("curl").args(["-sfS"]).args(args).output();
    let output = output.expect("curl runs");
    assert!(output.status.success(), "curl {args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Uploads a blob; its digest and size.
fn blob(d: &Daemon, registry: &Registry, bytes: &[u8]) -> (String, usize) {
    let digest = hostile::digest(bytes);
    let file = d.root().join("blob");
    fs::write(&file, bytes).expect("ours");
    let start = format!("{}/v2/hostile/blobs/uploads/", registry.url());
    let head = curl(d, &["-X", "POST", "-D", "-", "-o", "/dev/null", &start]);
    let location = head.lines().find_map(|l| {
        l.to_lowercase()
            .starts_with("location:")
            .then(|| l[9..].trim().to_owned())
    });
    let location = location.expect("it says where to");
    let joint = if location.contains('?') { '&' } else { '?' };
    let url = format!("{location}{joint}digest={digest}");
    let data = format!("@{}", file.display());
    let kind = "Content-Type: application/octet-stream";
    curl(d, &["-X", "PUT", "-H", kind, "--data-binary", &data, &url]);
    (digest, bytes.len())
}

fn put_manifest(d: &Daemon, registry: &Registry, manifest: &Value) {
    let url = format!("{}/v2/hostile/manifests/1", registry.url());
    let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json";
    curl(
        d,
        &["-X", "PUT", "-H", kind, "-d", &manifest.to_string(), &url],
    );
}
