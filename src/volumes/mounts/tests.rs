//! Who has a volume's file system mounted, and for how long.

use std::collections::BTreeMap;
use std::fs;

use model::{Timestamp, VolumeRecord};
use sys::mount::is_mount_point;

use super::*;

fn record(name: &str, options: &[(&str, &str)]) -> VolumeRecord {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    VolumeRecord {
        name: name.parse().unwrap(),
        anonymous: false,
        created_at: Timestamp::UNIX_EPOCH,
        labels: BTreeMap::new(),
        options: options.iter().map(own).collect(),
    }
}

fn memory() -> [VolumeRecord; 1] {
    [record("mem", &[("type", "tmpfs"), ("device", "tmpfs")])]
}

fn volumes(root: &Path, records: impl Into<Vec<VolumeRecord>>) -> Volumes {
    Volumes::new(records.into(), root.join("volumes"), root.join("parts"))
}

fn containers() -> [ContainerId; 2] {
    [[1; 32], [2; 32]].map(ContainerId::from_bytes)
}

#[test]
fn it_is_mounted_for_the_first_and_until_the_last() {
    let temp = tempfile::tempdir().unwrap();
    let known = volumes(temp.path(), memory());
    let name = "mem".parse().unwrap();
    let [one, two] = containers();
    let data = known.use_in_run(&name, &one).unwrap();
    fs::write(data.join("file"), "kept").unwrap();
    known.use_in_run(&name, &two).unwrap();
    // A start that is made again needs it once.
    known.use_in_run(&name, &two).unwrap();
    let (_, look) = known.look(&name).unwrap();
    known.release(&one, [&name]);
    known.release(&two, [&name]);
    known.release(&two, [&name]);
    assert_eq!(fs::read(data.join("file")).unwrap(), b"kept");
    drop(look);
    assert!(!is_mount_point(&data).unwrap());
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[test]
fn a_later_daemon_keeps_what_is_needed_and_takes_away_the_rest() {
    let temp = tempfile::tempdir().unwrap();
    let other = record("other", &[("type", "tmpfs"), ("device", "tmpfs")]);
    let records = [memory()[0].clone(), other];
    let names = ["mem", "other"].map(|name| name.parse().unwrap());
    let [one, two] = containers();
    let first = volumes(temp.path(), records.clone());
    let data = names.each_ref().map(|name| {
        let data = first.use_in_run(name, &one).unwrap();
        fs::create_dir(data.join("sub")).unwrap();
        std::mem::forget(first.bind_part(&data, "sub", &one).unwrap());
        data
    });
    let later = volumes(temp.path(), records);
    later.resume(&two, None, [&names[0]]);
    later.unmount_unneeded();
    let mounted = data.each_ref().map(|data| is_mount_point(data).unwrap());
    assert_eq!(mounted, [true, false]);
    assert_eq!(fs::read_dir(temp.path().join("parts")).unwrap().count(), 0);
    later.release(&two, &names);
    assert!(!is_mount_point(&data[0]).unwrap());
}

#[test]
fn what_a_container_has_mounted_out_of_sight_is_not_mounted_twice() {
    let temp = tempfile::tempdir().unwrap();
    let known = volumes(temp.path(), memory());
    let name = "mem".parse().unwrap();
    let [one, two] = containers();
    let pid = model::Pid::new(std::process::id().into()).unwrap();
    let start_ticks = sys::proc::stat(pid).unwrap().unwrap().start_ticks;
    let alive = ProcessRef { pid, start_ticks };
    known.resume(&one, Some(alive), [&name]);
    let e = known.use_in_run(&name, &two).unwrap_err();
    assert!(e.message().contains("restart that container"), "{e}");
    known.look(&name).unwrap_err();
    assert!(!is_mount_point(&known.data(&name)).unwrap());
    // It may start anew itself.
    known.use_in_run(&name, &one).unwrap();
    known.use_in_run(&name, &two).unwrap();
    known.release(&one, [&name]);
    known.release(&two, [&name]);
    let gone = ProcessRef {
        start_ticks: start_ticks + 1,
        ..alive
    };
    known.resume(&one, Some(gone), [&name]);
    known.use_in_run(&name, &two).unwrap();
    known.release(&one, [&name]);
    known.release(&two, [&name]);
    assert!(!is_mount_point(&known.data(&name)).unwrap());
}

#[test]
fn without_a_record_nobody_is_given_a_plain_directory() {
    let temp = tempfile::tempdir().unwrap();
    let damaged = std::collections::BTreeSet::from(["mem".to_owned()]);
    let (root, parts) = (temp.path().join("volumes"), temp.path().join("parts"));
    let known = Volumes::with_damaged(Vec::new(), damaged, root.clone(), parts);
    let [one, _] = containers();
    for (name, said) in [
        ("mem", "row in the ledger is damaged"),
        ("none", "no such volume"),
    ] {
        let name = name.parse().unwrap();
        let e = known.use_in_run(&name, &one).unwrap_err();
        assert!(e.message().contains(said), "{e}");
        known.look(&name).unwrap_err();
    }
    assert!(!root.exists());
    let mount = |name: &str| model::Mount {
        source: model::MountSource::Volume {
            name: name.parse().unwrap(),
            anonymous: false,
            no_copy: false,
            options: Default::default(),
        },
        destination: "/m".to_owned(),
        read_only: false,
        propagation: Default::default(),
        mode: String::new(),
    };
    let new = |name: &str| known.new_in(&[mount(name)], Timestamp::UNIX_EPOCH);
    assert_eq!(new("none").unwrap().len(), 1);
    assert_eq!(new("mem").unwrap_err().kind(), model::Kind::Conflict);
}

#[test]
fn nobody_waits_for_a_mount_but_who_needs_it() {
    let temp = tempfile::tempdir().unwrap();
    let known = volumes(temp.path(), memory());
    let name: VolumeName = "mem".parse().unwrap();
    let [one, two] = containers();
    known.ensure_data(&name).unwrap();
    let (slot, _) = known.slot(&name).unwrap();
    // As a server that does not answer.
    slot.lock().mounting = true;
    known.release(&one, [&name]);
    let e = known.set_aside(std::slice::from_ref(&name)).unwrap_err();
    assert_eq!(e.kind(), model::Kind::Conflict);
    std::thread::scope(|scope| {
        let start = scope.spawn(|| known.use_in_run(&name, &two).map(drop));
        slot.lock().mounting = false;
        slot.mounted.notify_all();
        start.join().unwrap().unwrap();
    });
    assert!(is_mount_point(&known.data(&name)).unwrap());
    known.release(&two, [&name]);
    assert!(!is_mount_point(&known.data(&name)).unwrap());
}

#[test]
fn what_is_mounted_for_a_volume_is_not_removed_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let host = temp.path().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("precious"), "").unwrap();
    let device = host.to_str().unwrap();
    let options = [("type", "none"), ("device", device), ("o", "bind")];
    let known = volumes(temp.path(), [record("here", &options)]);
    let name = "here".parse().unwrap();
    let (data, look) = known.look(&name).unwrap();
    assert!(data.join("precious").exists());
    let aside = known.set_aside(&[name]).unwrap();
    assert_eq!(aside.len(), 1);
    drop(aside);
    assert!(host.join("precious").exists());
    drop(look);
    let moved = temp.path().join("volumes/.aside-0/here/_data");
    assert_eq!(fs::read_dir(moved).unwrap().count(), 0);
}

#[test]
fn a_part_is_a_mount_of_its_own_until_it_goes() {
    let temp = tempfile::tempdir().unwrap();
    let known = volumes(temp.path(), []);
    let data = temp.path().join("data");
    fs::create_dir_all(data.join("in")).unwrap();
    fs::write(data.join("in/file"), "part").unwrap();
    let [one, _] = containers();
    let dir = known.bind_part(&data, "in/../in", &one).unwrap();
    let file = known.bind_part(&data, "in/file", &one).unwrap();
    fs::rename(data.join("in"), data.join("out")).unwrap();
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"part");
    assert_eq!(fs::read(file.path()).unwrap(), b"part");
    let places = [dir.path().to_owned(), file.path().to_owned()];
    drop((dir, file));
    assert!(places.iter().all(|place| !place.exists()));
}

#[test]
fn nothing_of_a_failed_mount_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "bogus=1")];
    let known = volumes(temp.path(), [record("bad", &options)]);
    let name = "bad".parse().unwrap();
    let [one, _] = containers();
    let at = temp.path().join("volumes/bad/_data");
    let e = known.use_in_run(&name, &one).unwrap_err();
    let at = at.display();
    assert_eq!(
        e.message(),
        format!(
            "error while mounting volume '{at}': failed to mount local volume: mount \
             tmpfs:{at}, data: bogus=1: invalid argument"
        )
    );
    let (slot, _) = known.slot(&name).unwrap();
    assert!(slot.lock().holders.is_empty());
}
