//! Work on images, and a daemon with a registry beside it to do it on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Client, Daemon, Image, Reached, Registry, TarBuilder, query, whole_images};

use super::store;
use crate::daemon;

const JSON: &str = "application/json";
const TAR: &str = "application/x-tar";
/// The container that is committed and that runs.
pub(super) const RUNS: &str = "runs";
/// The one that has ended.
const ENDED: &str = "ended";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A pull of one of two images that share a layer.
    Pull(Pulled),
    /// An archive of plain layers.
    Load,
    /// An archive of two images.
    LoadTwo,
    /// The layers of the first image that is pulled, as plain ones.
    LoadPulled,
    /// A root file system, without a name.
    Import,
    /// A container that has ended.
    Commit,
    /// One that runs, which stands still meanwhile; without a name.
    CommitRunning,
    /// Of what [`Work::Load`] makes.
    Remove,
    /// Of one of two names.
    Untag,
    /// Of images without a name.
    Prune,
    /// Of what [`Work::Save`] needs.
    Save,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulled {
    One,
    Other,
}

impl Work {
    pub(super) const ALL: [Self; 12] = [
        Self::Pull(Pulled::One),
        Self::Pull(Pulled::Other),
        Self::Load,
        Self::LoadTwo,
        Self::LoadPulled,
        Self::Import,
        Self::Commit,
        Self::CommitRunning,
        Self::Remove,
        Self::Untag,
        Self::Prune,
        Self::Save,
    ];

    /// The names that it makes.
    fn makes(self, at: &Place) -> Vec<String> {
        match self {
            Self::Pull(which) => vec![at.pulled(which)],
            Self::Load => vec!["loaded:1".to_owned()],
            Self::LoadTwo => vec!["first:1".to_owned(), "second:1".to_owned()],
            Self::LoadPulled => vec!["plain:1".to_owned()],
            Self::Commit => vec!["committed:1".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// What work is done on, for as many threads as like.
#[derive(Debug, Clone)]
pub(super) struct Place {
    http: Client,
    registry: String,
    archives: std::sync::Arc<Archives>,
}

#[derive(Debug)]
struct Archives {
    loaded: Vec<u8>,
    two: Vec<u8>,
    plain: Vec<u8>,
    root: Vec<u8>,
    loaded_id: String,
}

/// Bytes that no compression makes smaller, others for each `seed`.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (seed << 32 | 1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let words = std::iter::repeat_with(&mut next).take(bytes / 8);
    words.flatten().collect()
}

/// A layer of many small files and of one that is large.
fn layer(seed: u64, bytes: usize) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    tar.dir(&format!("dir{seed}/"), 0o755);
    for n in 0..100 {
        let name = format!("dir{seed}/{n}");
        tar.file(&name, 0o644, name.as_bytes());
    }
    tar.file(&format!("noise{seed}"), 0o644, &noise(seed, bytes));
    // Twice, so that there is more than a tree to keep.
    tar.file(&format!("dir{seed}/0"), 0o600, b"replaced");
    tar.finish()
}

/// busybox that says its name, on layers of its own.
fn image(name: &str, seeds: &[u64]) -> Image {
    let mut image = Image::with(name, &json!({"Cmd": ["echo", name]}));
    image
        .layers
        .extend(seeds.iter().map(|n| layer(*n, 512 << 10)));
    image
}

impl Archives {
    fn new() -> Self {
        let mut two = TarBuilder::new();
        let mut rows = Vec::new();
        for image in [image("first:1", &[20, 21]), image("second:1", &[20, 22])] {
            let name = format!("{}.json", image.tags[0].replace(':', "-"));
            two.file(&name, 0o644, &image.config_blob());
            let mut layers = Vec::new();
            for (n, layer) in image.layers.iter().enumerate() {
                let layer_name = format!("{name}-{n}.tar");
                two.file(&layer_name, 0o644, layer);
                layers.push(layer_name);
            }
            rows.push(json!({"Config": name, "RepoTags": image.tags, "Layers": layers}));
        }
        two.file("manifest.json", 0o644, json!(rows).to_string().as_bytes());
        let loaded = image("loaded:1", &[10, 11]);
        Self {
            loaded: loaded.docker_archive(),
            loaded_id: loaded.id(),
            two: two.finish(),
            plain: image("plain:1", &[1, 2]).docker_archive(),
            root: layer(30, 1 << 20),
        }
    }
}

impl Place {
    pub(super) fn pulled(&self, which: Pulled) -> String {
        let name = match which {
            Pulled::One => "one",
            Pulled::Other => "other",
        };
        format!("{}/{name}:1", self.registry)
    }

    /// Does it. `None` when the daemon died on it, `Some(Err)` when it says that it could not be done.
    pub(super) fn work(&self, work: Work) -> Option<Result<(), String>> {
        if work == Work::Save {
            return self.save();
        }
        let (path, method, body): (String, &str, &[u8]) = match work {
            Work::Pull(which) => {
                let name = self.pulled(which);
                (
                    query("/images/create", &[("fromImage", &name)]),
                    "POST",
                    b"",
                )
            }
            Work::Load => ("/images/load".into(), "POST", &self.archives.loaded),
            Work::LoadTwo => ("/images/load".into(), "POST", &self.archives.two),
            Work::LoadPulled => ("/images/load".into(), "POST", &self.archives.plain),
            Work::Import => (
                "/images/create?fromSrc=-".into(),
                "POST",
                &self.archives.root,
            ),
            Work::Commit => {
                let path = format!("/commit?container={ENDED}&repo=committed&tag=1");
                (path, "POST", b"")
            }
            Work::CommitRunning => (format!("/commit?container={RUNS}"), "POST", b""),
            Work::Remove => ("/images/loaded:1".into(), "DELETE", b""),
            Work::Untag => ("/images/kept:2".into(), "DELETE", b""),
            Work::Prune => ("/images/prune".into(), "POST", b""),
            Work::Save => unreachable!("it has an answer of its own"),
        };
        let kind = if body.is_empty() { JSON } else { TAR };
        let answer = self.http.attempt(method, &path, kind, body)?;
        if answer.status >= 400 {
            let said: Value = serde_json::from_str(&answer.text).ok()?;
            return Some(Err(said["message"].as_str().expect("text").to_owned()));
        }
        let last = answer.text.lines().last().unwrap_or_default();
        let last: Value = serde_json::from_str(last).unwrap_or_default();
        if let Some(said) = last["error"].as_str() {
            return Some(Err(said.to_owned()));
        }
        // One that dies cuts its answer off, and nobody sees that.
        let is_whole = match work {
            Work::Pull(_) => last["status"]
                .as_str()
                .is_some_and(|s| s.starts_with("Status: ")),
            Work::Load | Work::LoadTwo | Work::LoadPulled => {
                let made = work.makes(self).len();
                answer.text.matches("Loaded image").count() == made
            }
            Work::Import => last["status"].is_string(),
            _ => !last.is_null(),
        };
        is_whole.then_some(Ok(()))
    }

    /// What ends as it should is whole.
    fn save(&self) -> Option<Result<(), String>> {
        let path = "/images/get?names=busybox&names=kept:1";
        let saved = std::panic::catch_unwind(|| self.http.get(path)).ok()?;
        if saved.status != 200 {
            return Some(Err(saved.text()));
        }
        assert_eq!(whole_images(&saved.body).len(), 2);
        Some(Ok(()))
    }

    /// Makes room for it: what it makes is not there.
    pub(super) fn prepare(&self, work: Work) {
        for name in work.makes(self) {
            let gone = self.http.delete(&format!("/images/{name}?force=1"));
            assert!(matches!(gone.status, 200 | 404), "{}", gone.text());
        }
        if work == Work::Pull(Pulled::One) {
            // It has the same layers.
            let gone = self.http.delete("/images/plain:1");
            assert!(matches!(gone.status, 200 | 404), "{}", gone.text());
        }
        if work == Work::LoadPulled {
            // Anew, for what is loaded once has all that a load brings.
            self.prepare(Work::Pull(Pulled::One));
            self.done(Work::Pull(Pulled::One));
        }
        if work == Work::Remove && self.id("loaded:1").is_none() {
            self.done(Work::Load);
        }
        if work == Work::Untag {
            let tagged = self.http.post("/images/kept:1/tag?repo=kept&tag=2");
            tagged.expect(201);
        }
        if work == Work::Prune {
            self.done(Work::Import);
        }
    }

    /// Does it while nothing goes wrong.
    ///
    /// # Panics
    /// When it cannot be done.
    pub(super) fn done(&self, work: Work) {
        match self.work(work) {
            Some(Ok(())) => {}
            // It was done before it was told.
            Some(Err(said))
                if matches!(work, Work::Remove | Work::Untag) && said.contains("No such image") => {
            }
            other => panic!("{work:?}: {other:?}"),
        }
    }

    /// Checks that what was told is so.
    ///
    /// # Panics
    /// When it is not.
    pub(super) fn expect_done(&self, work: Work) {
        for name in work.makes(self) {
            assert!(
                self.id(&name).is_some(),
                "{work:?} was done, and {name} is not there"
            );
        }
        if work == Work::Remove {
            let images = self.images();
            assert!(
                !images.contains_key(&self.archives.loaded_id),
                "{work:?} was done: {images:?}"
            );
        }
    }

    fn id(&self, name: &str) -> Option<String> {
        let shown = self.http.get(&format!("/images/{name}/json"));
        (shown.status == 200).then(|| shown.json()["Id"].as_str().expect("an id").to_owned())
    }

    /// The images there are: their names, or `<none>`, with their ids.
    pub(super) fn images(&self) -> BTreeMap<String, Vec<String>> {
        let mut images = BTreeMap::new();
        let all = self.http.get("/images/json?all=1").expect(200).json();
        for image in all.as_array().expect("a list") {
            let tags = image["RepoTags"].as_array().cloned().unwrap_or_default();
            let tags = tags.iter().filter_map(|tag| Some(tag.as_str()?.to_owned()));
            images.insert(
                image["Id"].as_str().expect("an id").to_owned(),
                tags.collect(),
            );
        }
        images
    }
}

/// A daemon with images to work on.
pub(super) struct World {
    pub(super) d: Daemon,
    pub(super) place: Place,
    registry: Registry,
}

impl World {
    pub(super) fn new() -> Self {
        let d = daemon();
        let registry = Registry::start(&d, Reached::Openly);
        let place = Place {
            http: d.http.clone(),
            registry: registry.host(),
            archives: Archives::new().into(),
        };
        d.load(&image("kept:1", &[40]));
        for (which, seeds) in [(Pulled::One, [1, 2]), (Pulled::Other, [1, 3])] {
            let name = place.pulled(which);
            d.load(&image(&name, &seeds));
            let repository = name.trim_end_matches(":1");
            let pushed = d
                .http
                .post(&format!("/images/{repository}/push?tag=1"))
                .expect(200);
            assert!(!pushed.text().contains("error"), "{}", pushed.text());
            d.http.delete(&format!("/images/{name}")).expect(200);
        }
        let script = "mkdir /new; for n in $(seq 100); do echo $n > /new/$n; done; \
                      head -c 500000 /dev/urandom > /new/noise; rm /bin/vi";
        d.run(ENDED, json!({"Cmd": ["sh", "-c", script]}));
        let script = format!("{script}; echo ready; exec sleep 100000");
        d.run_detached(RUNS, json!({"Cmd": ["sh", "-c", script]}));
        testkit::until("it has changed all", || {
            d.logs(RUNS).stdout.contains("ready")
        });
        Self { d, place, registry }
    }

    /// How long each takes.
    pub(super) fn durations(&self) -> Vec<(Work, Duration)> {
        let measured = Work::ALL.map(|work| {
            self.place.prepare(work);
            let start = Instant::now();
            self.place.done(work);
            (work, start.elapsed())
        });
        measured.into()
    }

    /// Checks all images but those of `before`: what they say, and what they are made of.
    pub(super) fn check_images(&self, before: &BTreeMap<String, Vec<String>>) {
        for id in self.place.images().keys() {
            if !before.contains_key(id) {
                store::check_image(&self.d, id);
            }
        }
    }

    /// Checks that what was there is there, unless it was to go.
    pub(super) fn check_kept(&self, before: &BTreeMap<String, Vec<String>>, works: &[Work]) {
        let after = self.place.images();
        for (id, tags) in before {
            let may_go = match tags.as_slice() {
                [] => works.contains(&Work::Prune),
                [tag] if tag == "loaded:1" => works.contains(&Work::Remove),
                [first, _] if first == "kept:1" => {
                    works.contains(&Work::Untag) && after.contains_key(id)
                }
                _ => false,
            };
            let is_there = after.get(id) == Some(tags);
            assert!(may_go || is_there, "{id}, {tags:?} is gone after {works:?}");
        }
    }

    /// Runs a container of each image that says its name.
    pub(super) fn run_all(&self) {
        for (id, tags) in self.place.images() {
            let said = d_says(&self.d, &id);
            let is_known =
                said.is_none_or(|said| tags.iter().any(|tag| said == format!("{tag}\n")));
            assert!(is_known, "{id}, {tags:?}");
        }
    }

    /// What ran on runs on, and is not paused.
    pub(super) fn check_container(&self) {
        assert_eq!(self.d.status(RUNS), "running");
    }

    /// Removes all images; nothing may be left of them.
    pub(super) fn finish(self) {
        let Self { d, place, registry } = self;
        for name in [ENDED, RUNS] {
            d.http
                .delete(&format!("/containers/{name}?force=1&v=1"))
                .expect(204);
        }
        for id in place.images().keys() {
            // One that another was made from goes after it.
            let gone = d.http.delete(&format!("/images/{id}?force=1"));
            assert!(matches!(gone.status, 200 | 404 | 409), "{}", gone.text());
        }
        for id in place.images().keys() {
            d.http.delete(&format!("/images/{id}?force=1")).expect(200);
        }
        d.http.post("/images/prune").expect(200);
        store::check_empty(&d);
        drop(registry);
        d.finish();
    }
}

/// What a container of an image says that has something to say.
fn d_says(d: &Daemon, id: &str) -> Option<String> {
    let shown = d.http.get(&format!("/images/{id}/json")).expect(200).json();
    if shown["Config"]["Cmd"][0] != "echo" {
        return None;
    }
    let ran = d.run("says", json!({"Image": id}));
    assert_eq!(ran.code, 0);
    d.http.delete("/containers/says").expect(204);
    Some(ran.output.stdout)
}
