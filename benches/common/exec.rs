//! One exec in the model by hand: conmon, the runtime's exec, nothing else.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::runtime::Runtime;

use crate::conmon::{Pipes, launch};
use crate::floor::{Floor, tokio_runtime};
use crate::{Attach, Shape};

/// An exec whose command does not run yet: conmon waits for the word.
#[derive(Debug)]
pub struct Exec<'a> {
    floor: &'a Floor,
    dir: PathBuf,
    pipes: Pipes,
    attach: Attach,
    tokio: Runtime,
}

impl Floor {
    /// Prepares an exec in the model, its streams connected.
    ///
    /// # Panics
    /// When conmon fails.
    pub fn exec(&self, number: usize, shape: &Shape<'_>) -> Exec<'_> {
        let id = format!("exec{number}");
        let dir = self.root().join(&id);
        fs::create_dir_all(&dir).expect("a directory");
        let mut process = self.config()["process"].clone();
        process["args"] = json!(shape.args);
        process["terminal"] = json!(shape.tty);
        fs::write(dir.join("process.json"), process.to_string()).expect("a process");
        let args = self.exec_args(&id, &dir, shape);
        let tokio = tokio_runtime();
        let pipes = tokio.block_on(async {
            let pipes = launch(self.conmon(), args, &dir, true).await;
            let listens = pipes.attach.receive().await.expect("a packet");
            listens.expect("it listens");
            pipes
        });
        Exec {
            floor: self,
            attach: Attach::connect(&dir.join("attach")),
            dir,
            pipes,
            tokio,
        }
    }

    fn exec_args(&self, id: &str, dir: &Path, shape: &Shape<'_>) -> Vec<OsString> {
        let mut args = self.conmon_args(self.model(), id, dir, shape);
        args.extend(["-e".into(), "--exec-attach".into()]);
        args.extend([
            "--exec-process-spec".into(),
            dir.join("process.json").into(),
        ]);
        args.extend(["-l".into(), "none".into()]);
        args.extend(["--runtime-arg".into(), self.model_root_arg().into()]);
        args
    }
}

impl Exec<'_> {
    /// Its streams.
    pub fn attach(&self) -> &Attach {
        &self.attach
    }

    /// Starts the command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self) {
        self.tokio.block_on(async {
            self.pipes.start.send(&[0]).await.expect("conmon reads");
            self.pipes.expect_pid().await;
        });
    }

    /// Waits until the command has ended with code 0, and leaves nothing of it.
    ///
    /// # Panics
    /// When it ends in another way.
    pub fn end(self) {
        self.tokio.block_on(self.pipes.sync.closed());
        let code = fs::read(self.dir.join(self.floor.model())).expect("an exit file");
        assert_eq!(code, b"0");
        fs::remove_dir_all(&self.dir).expect("it is ours");
    }
}
