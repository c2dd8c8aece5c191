//! Archives written and read back, and such as nobody should have made.

use std::fs;

use model::{ContainerId, Digest};
use runtime::CriuOptions;
use tempfile::TempDir;

use super::*;

fn last_run() -> Exited {
    Exited {
        status: model::ExitStatus::from_wait_status(9),
        started_at: model::Timestamp::UNIX_EPOCH,
        finished_at: model::Timestamp::UNIX_EPOCH,
        oom_killed: false,
        error: String::new(),
        by_request: true,
        by_checkpoint: true,
    }
}

struct Bed {
    dir: TempDir,
    checkpoints: Checkpoints,
    name: CheckpointName,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::of(dir.path(), "it");
        let origin = Origin {
            container: ContainerId::from_bytes([1; 32]),
            image: Digest::from_sha256([2; 32]),
            kernel: "6.1".to_owned(),
            runtime: "runc".to_owned(),
        };
        let name: CheckpointName = "one".parse().unwrap();
        let manifest = Manifest::new(origin, CriuOptions::default(), None);
        let mut making = checkpoints.begin(&name, manifest).unwrap();
        fs::write(making.images().join("pages-1.img"), vec![5; 100_000]).unwrap();
        making.finish().unwrap();
        for (file, content) in [("upper/etc/made", "by it"), ("volume/.wh.kept", "as it is")] {
            let file = dir.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        Self {
            dir,
            checkpoints,
            name,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn archive(&self, still: impl FnOnce() -> Result<()>) -> (Vec<u8>, Result<()>) {
        let volume = ExportedVolume {
            destination: "/data".to_owned(),
            name: Some("data".parse().unwrap()),
        };
        let files = Files {
            changes: Some((Changed::Upper(self.path("upper")), last_run())),
            volumes: vec![(volume, self.path("volume"))],
        };
        let named = ("it".parse().unwrap(), "busybox".to_owned());
        let request = br#"{"Image":"busybox"}"#;
        let outgoing = self.checkpoints.outgoing(&self.name, named, request, files);
        let mut out = Vec::new();
        let written = outgoing.unwrap().write(&mut out, still);
        (out, written)
    }

    /// Empty ones, anew.
    fn places(&self) -> Places {
        let make = |name: &str| {
            let place = self.path("to").join(name);
            drop(fs::remove_dir_all(&place));
            fs::create_dir_all(&place).unwrap();
            place
        };
        Places {
            images: make("images"),
            upper: Some(make("upper")),
            volumes: HashMap::from([(0, make("volume"))]),
        }
    }
}

#[test]
fn what_is_sent_arrives() {
    let bed = Bed::new();
    let (archive, written) = bed.archive(|| Ok(()));
    written.unwrap();
    let incoming = Incoming::open(&archive[..]).unwrap();
    let head = &incoming.head;
    assert_eq!(head.checkpoint, bed.name);
    assert_eq!(head.container.name.as_str(), "it");
    assert_eq!(head.container.request.get(), r#"{"Image":"busybox"}"#);
    assert_eq!(head.container.volumes[0].destination, "/data");
    assert_eq!(head.container.last_run, Some(last_run()));
    let mount = |name: &str| Mount {
        source: MountSource::Volume {
            name: name.parse().unwrap(),
            anonymous: false,
            no_copy: false,
            options: model::VolumeOptions::default(),
        },
        destination: "/data".to_owned(),
        read_only: false,
        propagation: Default::default(),
        mode: String::new(),
    };
    let found = head.container.volumes_in(&[mount("data")]).unwrap();
    assert_eq!(found[&0].as_str(), "data");
    let none = head.container.volumes_in(&[]).unwrap_err();
    assert!(
        none.message()
            .ends_with("a volume at /data, and the container none")
    );
    let mut twice = head.container.clone();
    twice.volumes.push(twice.volumes[0].clone());
    let twice = twice.volumes_in(&[mount("data")]).unwrap_err();
    assert!(twice.message().ends_with("the volume at /data twice"));
    let places = bed.places();
    incoming.unpack(&places).unwrap();
    let read = |file: &str| fs::read_to_string(bed.path("to").join(file)).unwrap();
    assert_eq!(read("upper/etc/made"), "by it");
    assert_eq!(read("volume/.wh.kept"), "as it is");
    let (_, manifest) = bed.checkpoints.manifest(&bed.name).unwrap();
    manifest.check(&places.images).unwrap();

    // What is not wanted is left out.
    let mut places = bed.places();
    let (upper, volume) = (
        places.upper.take().unwrap(),
        places.volumes.remove(&0).unwrap(),
    );
    Incoming::open(&archive[..])
        .unwrap()
        .unpack(&places)
        .unwrap();
    for left in [upper, volume] {
        assert_eq!(fs::read_dir(left).unwrap().count(), 0);
    }
}

#[test]
fn what_is_cut_off_anywhere_is_refused() {
    let bed = Bed::new();
    let (archive, _) = bed.archive(|| Ok(()));
    let places = bed.places();
    // The end is 1,024 zeros behind the entry that says so.
    for length in (0..=archive.len() - 1024 - 512).step_by(512) {
        let places_again;
        let places = match length % (64 << 10) {
            0 => {
                places_again = bed.places();
                &places_again
            }
            _ => &places,
        };
        let read = Incoming::open(&archive[..length]).and_then(|i| i.unpack(places));
        let e = read.expect_err("it is cut off");
        assert_eq!(e.kind(), model::Kind::InvalidParameter, "{length}: {e}");
    }
    let (unfinished, written) = bed.archive(|| Err(Error::conflict("it was started")));
    assert_eq!(written.unwrap_err().message(), "it was started");
    let e = Incoming::open(&unfinished[..])
        .unwrap()
        .unpack(&bed.places());
    assert_eq!(e.unwrap_err().message(), "the archive is truncated");
}

/// The whole archive with an entry more, before the first whose name begins with `before`.
fn with_entry(bed: &Bed, path: &str, kind: EntryKind, before: &str) -> Vec<u8> {
    let (mut archive, _) = bed.archive(|| Ok(()));
    let block = |at: usize, text: &str| archive[at..].starts_with(text.as_bytes());
    let mut blocks = (0..archive.len()).step_by(512);
    let mut at = blocks.find(|at| block(*at, before)).unwrap();
    // What belongs to that one stands in front of it.
    if block(at - 1024, "PaxHeaders") {
        at -= 1024;
    }
    let mut more = Writer::new(Vec::new());
    more.entry(&Entry {
        path: path.into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        modified: Default::default(),
        size_bytes: 0,
        xattrs: Vec::new(),
        segments: None,
    })
    .unwrap();
    let more = more.finish().unwrap();
    archive.splice(at..at, more[..more.len() - 1024].iter().copied());
    archive
}

#[test]
fn hostile_entries_are_refused() {
    let bed = Bed::new();
    let link = |to: &str| EntryKind::HardLink(to.into());
    for (path, kind, says) in [
        ("elsewhere/x", EntryKind::File, "no part of"),
        ("../x", EntryKind::File, "leaves the root"),
        ("rootfs/../../x", EntryKind::File, "leaves the root"),
        ("volumes/1/x", EntryKind::File, "not among the volumes"),
        ("volumes/x/x", EntryKind::File, "no part of"),
        (
            "images/x",
            EntryKind::Symlink("/etc/shadow".into()),
            "is no file",
        ),
        ("images/x", EntryKind::Fifo, "is no file"),
        ("rootfs/x", link("images/pages-1.img"), "no part of"),
        (
            "rootfs/x",
            link("rootfs/nothing"),
            "not a file of the same layer",
        ),
        ("end", EntryKind::File, "goes on behind its end"),
        ("./rootfs/x", EntryKind::File, "comes behind another part"),
        ("./images/x", EntryKind::File, "comes behind another part"),
        (
            "images/manifest.json",
            EntryKind::File,
            "checkpoint one is damaged",
        ),
        (
            "images/pages-1.img",
            EntryKind::File,
            "checkpoint one is damaged",
        ),
    ] {
        let before = match path.split('/').next() {
            Some(IMAGES) => "rootfs/",
            Some(ROOTFS) => "volumes/",
            _ => "end",
        };
        let archive = with_entry(&bed, path, kind.clone(), before);
        let read = Incoming::open(&archive[..]).unwrap().unpack(&bed.places());
        let e = read.expect_err(path);
        assert!(e.message().contains(says), "{path} {kind:?}: {e}");
        assert_eq!(
            e.kind(),
            model::Kind::InvalidParameter,
            "{path} {kind:?}: {e}"
        );
    }
    // A name is taken as the kernel takes it.
    let archive = with_entry(&bed, "rootfs/./sub//x", EntryKind::File, "volumes/");
    Incoming::open(&archive[..])
        .unwrap()
        .unpack(&bed.places())
        .unwrap();
    assert!(bed.path("to/upper/sub/x").exists());
}

/// What is told of in front must come, and nothing else.
#[test]
fn an_archive_has_what_it_says_and_no_more() {
    let bed = Bed::new();
    for (path, kind, says) in [
        (
            "images/more.img",
            EntryKind::File,
            "more.img is none of its files",
        ),
        ("end", EntryKind::Dir, "end of the archive is no empty file"),
        ("volumes/00/x", EntryKind::File, "no part of"),
    ] {
        let before = match path.starts_with("images") {
            true => "rootfs/",
            false => "end",
        };
        let archive = with_entry(&bed, path, kind, before);
        let e = Incoming::open(&archive[..]).unwrap().unpack(&bed.places());
        let e = e.unwrap_err();
        assert!(e.message().contains(says), "{path}: {e}");
    }
    let (archive, _) = bed.archive(|| Ok(()));
    for change in [
        (|head| head.container.last_run = None) as fn(&mut Head),
        |head| {
            head.container
                .volumes
                .push(head.container.volumes[0].clone())
        },
    ] {
        let mut incoming = Incoming::open(&archive[..]).unwrap();
        change(&mut incoming.head);
        let e = incoming.unpack(&bed.places()).unwrap_err();
        assert!(e.message().contains("tells of other parts"), "{e}");
    }
}

#[test]
fn other_archives_and_other_forms_are_told_apart() {
    let opened = |archive: &[u8]| Incoming::open(archive).unwrap_err().message().to_owned();
    assert!(opened(b"").contains("not an archive of a checkpoint"));
    assert!(opened(b"{}").contains("truncated"));
    assert!(opened(&[0x1f, 0x8b].repeat(300)).contains("to be unpacked first"));
    let headed = |head: &str| {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out as &mut dyn Write);
        plain_file(&mut writer, HEAD, head.as_bytes()).unwrap();
        writer.finish().unwrap();
        out
    };
    assert!(opened(&headed("{")).contains("bad moored-checkpoint.json"));
    assert!(opened(&headed("{}")).contains("missing field `format`"));
    assert!(opened(&headed(r#"{"format":2}"#)).contains("has the form 2, and this daemon knows 1"));
    assert!(opened(&headed(r#"{"format":1}"#)).contains("missing field"));
}
