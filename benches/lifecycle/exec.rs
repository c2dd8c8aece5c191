//! An exec from its start to its code, beside the floor: the same conmon and runtime by hand, in
//! the same running container.

use std::fs;

use serde_json::json;
use sys::attach_socket;
use sys::seqpacket::pair;
use sys::spawn::Program;
use testkit::Daemon;

use crate::floor::{DEADLINE, Floor};
use crate::stats::{median, ms};
use crate::{PAIRS, timed};

/// Prints how one exec compares.
pub(crate) fn execs(daemon: &Daemon, floor: &Floor) {
    exec(daemon, floor.model());
    floor.exec(0);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..PAIRS {
        ours.push(timed(|| exec(daemon, floor.model())));
        theirs.push(timed(|| floor.exec(round)));
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!(
        "exec, sequential: {} (floor {}, over it {})",
        ms(ours),
        ms(theirs),
        ms(ours.saturating_sub(theirs))
    );
}

/// As the docker CLI does it: create, start attached, read to the end, inspect.
fn exec(daemon: &Daemon, container: &str) {
    let http = testkit::Client::new(daemon.http.socket());
    let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["true"]});
    let path = format!("/containers/{container}/exec");
    let made = http.post_json(&path, &body).expect(201).json();
    let id = made["Id"].as_str().expect("an id");
    let mut stream = http.hijack_json(&format!("/exec/{id}/start"), &json!({}), true);
    assert_eq!(stream.read_to_end(), b"");
    let inspect = http.get(&format!("/exec/{id}/json")).expect(200).json();
    assert_eq!(inspect["ExitCode"], 0);
}

impl Floor {
    /// One exec in the model, from its directory to its exit file.
    fn exec(&self, number: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .expect("a runtime")
            .block_on(self.run_exec(&format!("exec{number}")));
    }

    async fn run_exec(&self, id: &str) {
        let dir = self.root().join(id);
        fs::create_dir_all(&dir).expect("a directory");
        let process = dir.join("process.json");
        fs::write(&process, self.process().to_string()).expect("a process");
        let (sync, sync_end) = pair().expect("a pair");
        let (start, start_end) = pair().expect("a pair");
        let (attach, attach_end) = pair().expect("a pair");
        let args: Vec<std::ffi::OsString> = vec![
            "--api-version".into(),
            "-c".into(),
            self.model().into(),
            "-u".into(),
            id.into(),
            "-r".into(),
            self.runtime().into(),
            "-b".into(),
            dir.clone().into(),
            "-p".into(),
            dir.join("pidfile").into(),
            "-e".into(),
            "--exec-attach".into(),
            "--exec-process-spec".into(),
            process.into(),
            "-l".into(),
            "none".into(),
            "--exit-dir".into(),
            dir.clone().into(),
            "--full-attach".into(),
            "--runtime-arg".into(),
            self.model_root_arg().into(),
        ];
        let env = [
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("_OCI_SYNCPIPE", "3"),
            ("_OCI_STARTPIPE", "4"),
            ("_OCI_ATTACHPIPE", "5"),
        ];
        let conmon = Program::new(self.conmon())
            .args(args)
            .env(env)
            .dir(&dir)
            .fd(3, sync_end)
            .fd(4, start_end)
            .fd(5, attach_end);
        let conmon = conmon.start().expect("conmon starts");
        start.send(&[0]).await.expect("conmon reads");
        let ended = conmon.finish(DEADLINE).await.expect("conmon forks");
        assert!(ended.status.success(), "{}", ended.message());
        attach
            .receive()
            .await
            .expect("a packet")
            .expect("it listens");
        let (output, _input) = attach_socket::connect(&dir.join("attach")).expect("it listens");
        start.send(&[0]).await.expect("conmon reads");
        let started = sync.receive().await.expect("a packet").expect("a pid");
        assert!(started.starts_with(b"{\"data\": "));
        let mut buffer = vec![0; 64 << 10];
        while output.recv(&mut buffer).await.expect("it is open") > 0 {}
        sync.closed().await;
        let code = fs::read(dir.join(self.model())).expect("an exit file");
        assert_eq!(code, b"0");
        fs::remove_dir_all(dir).expect("it is ours");
    }
}
