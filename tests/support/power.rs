//! A machine that loses its power: all that was not flushed to the disk is gone, and everything that
//! ran.
//!
//! The data root is a file system of its own on a file, mounted so that the kernel writes nothing
//! back by itself for as long as a test lasts: what is in the file was asked for with fsync(2) or its
//! like. A copy of the file is then what a disk would have held.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Daemon, census};

/// What the kernel is to wait before it commits a journal by itself: longer than any test lasts.
/// Without it ext4 flushes a file that is renamed over another, asked or not.
/// Data that is in no journal waits for 30 s (`vm.dirty_expire_centisecs`).
const OPTIONS: &str = "loop,commit=3000,noauto_da_alloc";

fn expect_done(command: &mut Command) {
    let status = command.status();
    let done = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(done, "{command:?}: {status:?}");
}

impl Daemon {
    fn disk(&self) -> std::path::PathBuf {
        self.root().join("disk")
    }

    /// Gives the data root a disk of its own.
    pub(crate) fn make_disk(&self, bytes: u64) {
        let disk = fs::File::create(self.disk()).expect("a file in our dir");
        disk.set_len(bytes).expect("it is sparse");
        let mkfs = crate::require("mkfs.ext4", "e2fsprogs");
        expect_done(Command::new(mkfs).arg("-q").arg(self.disk()));
        fs::create_dir(self.root().join("data")).expect("a directory in ours");
        self.mount_disk();
        let data = self.inside(self.root().join("data"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o710);
        fs::set_permissions(data, mode).expect("it is ours");
    }

    fn mount_disk(&self) {
        let mut mount = self.command_inside("mount");
        mount.args(["-o", OPTIONS]).arg(self.disk());
        expect_done(mount.arg(self.root().join("data")));
    }

    /// Takes the power away in the middle of whatever goes on, then starts machine and daemon again.
    ///
    /// # Panics
    /// When the daemon does not come back, or was not given a disk
    /// ([`crate::Options::data_root_on_disk_of_bytes`]).
    pub fn lose_power(&mut self) {
        self.kill9();
        let left = self.root().join("disk.left");
        let copy = ["--sparse=always", "--"];
        expect_done(Command::new("cp").args(copy).arg(self.disk()).arg(&left));
        // Nothing runs, and nothing is mounted: what is in memory goes with it.
        self.purge();
        self.unmount_all();
        let run = self.root().join("run");
        fs::remove_dir_all(run).expect("nothing is mounted there");
        fs::rename(left, self.disk()).expect("both are ours");
        self.mount_disk();
        self.start_another_boot();
    }

    /// Unmounts all below its root in its namespace, the newest first.
    fn unmount_all(&self) {
        let table = format!("/proc/{}/mountinfo", self.keeper());
        let table = fs::read_to_string(table).expect("it is there");
        for line in table.lines().rev() {
            let point = line.split(' ').nth(4).unwrap_or_default();
            if Path::new(point).starts_with(self.root()) {
                expect_done(self.command_inside("umount").arg("-l").arg(point));
            }
        }
        let left = census::mounts(&self.mark(), Some(self.keeper()));
        assert!(left.is_empty(), "still mounted: {left:?}");
    }

    /// Starts it where the kernel tells of another boot.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start_another_boot(&mut self) {
        let target = "/proc/sys/kernel/random/boot_id";
        let boots = self.root().join("boots");
        let count = fs::read_to_string(&boots).unwrap_or_default().len();
        fs::write(&boots, "x".repeat(count + 1)).expect("a file in ours");
        let boot_id = self.root().join("boot_id");
        let id = format!("4f4b6a5e-1b6d-4b5e-8f0e-{count:012}\n");
        fs::write(&boot_id, id).expect("a file in ours");
        let mut mount = self.command_inside("mount");
        expect_done(mount.arg("--bind").arg(&boot_id).arg(target));
        self.restart();
        expect_done(self.command_inside("umount").arg(target));
    }
}
