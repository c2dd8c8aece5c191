//! One container by hand: overlay, conmon, the runtime's create, start and delete.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use sys::mount::unmount;
use sys::overlay::{Overlay, OverlayApi, overlay};
use sys::spawn::Program;
use tokio::runtime::Runtime;

use crate::conmon::{Pipes, launch};
use crate::floor::{CGROUP, DEADLINE, Floor, tokio_runtime};
use crate::{Attach, Shape};

/// A container that is created; [`Container::end`] takes it away again.
#[derive(Debug)]
pub struct Container<'a> {
    floor: &'a Floor,
    id: String,
    dir: PathBuf,
    root_arg: String,
    pipes: Pipes,
    tokio: Runtime,
}

impl Floor {
    /// Creates a container. On a thread that has entered.
    ///
    /// # Panics
    /// When conmon or the runtime fails.
    pub fn create(&self, number: usize, shape: &Shape<'_>) -> Container<'_> {
        let id = format!("floor{}x{number}", std::process::id());
        let dir = self.root().join(&id);
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| dir.join(name));
        for path in [&upper, &work, &merged] {
            fs::create_dir_all(path).expect("a directory");
        }
        let layers = Overlay {
            lower: std::slice::from_ref(self.lower()),
            upper: &upper,
            work: &work,
            ids: None,
            label: None,
        };
        overlay(OverlayApi::Fsopen, layers, &merged).expect("an overlay");
        let mut config = self.config().clone();
        config["root"]["path"] = json!(merged);
        config["linux"]["cgroupsPath"] = json!(format!("/{CGROUP}/{id}"));
        config["process"]["args"] = json!(shape.args);
        config["process"]["terminal"] = json!(shape.tty);
        fs::write(dir.join("config.json"), config.to_string()).expect("a spec");
        let root_arg = format!("--root={}", self.root().join("state").display());
        let tokio = tokio_runtime();
        let args = self.create_args(&id, &dir, &root_arg, shape);
        let pipes = tokio.block_on(async {
            let pipes = launch(self.conmon(), args, &dir, false).await;
            pipes.expect_pid().await;
            pipes
        });
        Container {
            floor: self,
            id,
            dir,
            root_arg,
            pipes,
            tokio,
        }
    }

    fn create_args(
        &self,
        id: &str,
        dir: &Path,
        root_arg: &str,
        shape: &Shape<'_>,
    ) -> Vec<OsString> {
        let log = match shape.log {
            true => format!("k8s-file:{}", dir.join("log").display()),
            false => "none".to_owned(),
        };
        let mut args = self.conmon_args(id, id, dir, shape);
        args.extend(["-l".into(), log.into(), "--no-sync-log".into()]);
        args.extend(["--runtime-arg".into(), root_arg.into()]);
        args
    }

    /// What a container's conmon is told and an exec's, too; `container` is the runtime's name.
    pub(crate) fn conmon_args(
        &self,
        container: &str,
        id: &str,
        dir: &Path,
        shape: &Shape<'_>,
    ) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![
            "--api-version".into(),
            "-c".into(),
            container.into(),
            "-u".into(),
            id.into(),
            "-r".into(),
            self.runtime().into(),
            "-b".into(),
            dir.into(),
            "-p".into(),
            dir.join("pidfile").into(),
            "--exit-dir".into(),
            dir.into(),
            "--full-attach".into(),
        ];
        args.extend(shape.tty.then(|| "-t".into()));
        args.extend(shape.stdin.then(|| "-i".into()));
        args
    }
}

impl Container<'_> {
    /// Connects to its streams.
    ///
    /// # Panics
    /// When conmon does not listen.
    pub fn attach(&self) -> Attach {
        Attach::connect(&self.dir.join("attach"))
    }

    /// Starts its process.
    ///
    /// # Panics
    /// When the runtime fails.
    pub fn start(&self) {
        self.call("start");
    }

    /// Waits until it has ended with code 0, and leaves nothing of it.
    ///
    /// # Panics
    /// When it ends in another way.
    pub fn end(self) {
        let last = self.tokio.block_on(self.pipes.sync.receive());
        assert!(last.expect("the end").is_none());
        let code = fs::read(self.dir.join(&self.id)).expect("an exit file");
        assert_eq!(code, b"0");
        self.call("delete");
        unmount(&self.dir.join("merged"), false).expect("it is mounted");
        fs::remove_dir_all(&self.dir).expect("it is ours");
    }

    fn call(&self, verb: &str) {
        let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")];
        let done = self.tokio.block_on(async {
            Program::new(self.floor.runtime())
                .args([self.root_arg.as_str(), verb, &self.id])
                .env(env)
                .run(DEADLINE)
                .await
        });
        let done = done.expect("the runtime runs");
        assert!(done.status.success(), "{verb}: {}", done.message());
    }
}
