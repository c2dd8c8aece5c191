//! The daemon, the floor, the directory that containers see, and how containers are made here.

use std::fs;
use std::path::PathBuf;

use benchkit::{Floor, Shape, enter};
use serde_json::json;
use testkit::{Client, Daemon, Options};

use crate::pattern::Pattern;

/// Where containers see the shared directory.
const MOUNTED: &str = "/bench";
/// Long lines, so that little is spent on the log's own words and much of the time in between.
const LINE_BYTES: usize = 1024;
const PERIOD_LINES: usize = 251;
/// A file holds so many periods.
const FILE_PERIODS: u64 = 64;

/// A directory that all containers have at `/bench`.
#[derive(Debug)]
pub(crate) struct SharedDir {
    dir: tempfile::TempDir,
    /// What one measurement moves.
    pub(crate) pattern: Pattern,
    /// How often the file is in it.
    files: u64,
}

impl SharedDir {
    /// For measurements that move about so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let file = Pattern::new(PERIOD_LINES, LINE_BYTES, FILE_PERIODS);
        let files = (bytes / file.bytes()).max(1);
        let this = Self {
            dir: tempfile::tempdir().expect("a directory"),
            pattern: file.times(FILE_PERIODS * files),
            files,
        };
        let times = usize::try_from(FILE_PERIODS).expect("small");
        this.write("pattern", &file.period().repeat(times));
        this
    }

    /// The path on this side.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file in our directory");
    }

    /// Shell words that write the pattern, a `share`th of it.
    pub(crate) fn writes(&self, share: u64) -> String {
        format!(
            "cat{}",
            format!(" {MOUNTED}/pattern").repeat(self.part(share))
        )
    }

    /// What these words write.
    pub(crate) fn written(&self, share: u64) -> Pattern {
        let files = self.part(share) as u64;
        self.pattern.times(FILE_PERIODS * files)
    }

    fn part(&self, share: u64) -> usize {
        usize::try_from((self.files / share).max(1)).expect("it is not that much")
    }

    fn bind(&self) -> String {
        format!("{}:{MOUNTED}", self.dir.path().display())
    }
}

/// Starts a daemon whose data root has room for what a measurement keeps at once: two logs, one
/// backlog, and some.
pub(crate) fn daemon(shared: &SharedDir, spill_bytes_max: Option<u64>) -> Daemon {
    let room = 4 * shared.pattern.bytes() + (1 << 30);
    let mut options = Options::new(env!("CARGO_BIN_EXE_moored")).data_root_of_bytes(room);
    if let Some(bytes) = spill_bytes_max {
        options = options.config(&format!("spill-max-bytes = {bytes}\n"));
    }
    Daemon::start(options)
}

/// What a part measures with. Everything is on a thread in the daemon's mount namespace.
#[derive(Debug)]
pub(crate) struct Bed<'a> {
    pub(crate) daemon: &'a Daemon,
    pub(crate) floor: &'a Floor,
    pub(crate) shared: &'a SharedDir,
}

/// Runs `work` with a bed.
pub(crate) fn inside(daemon: &Daemon, shared: &SharedDir, work: impl FnOnce(&Bed<'_>) + Send) {
    // A thread that went into the daemon's namespace does not come back.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter(daemon);
            let dir = daemon.root().join("data");
            let floor = Floor::new(daemon, "runc", &dir, &[shared.bind()]);
            work(&Bed {
                daemon,
                floor: &floor,
                shared,
            });
            floor.end(daemon);
        });
    });
}

impl Bed<'_> {
    pub(crate) fn http(&self) -> &Client {
        &self.daemon.http
    }

    /// Creates a container through the API.
    pub(crate) fn create(&self, shape: &Shape<'_>) -> String {
        create(self.http(), self.shared, shape)
    }

    /// Waits for its end with code 0 and removes it.
    pub(crate) fn remove(&self, id: &str) {
        remove(self.http(), id);
    }
}

pub(crate) fn create(http: &Client, shared: &SharedDir, shape: &Shape<'_>) -> String {
    let log = if shape.log { "json-file" } else { "none" };
    let body = json!({
        "Image": "busybox", "Cmd": shape.args, "Tty": shape.tty,
        "OpenStdin": shape.stdin, "StdinOnce": shape.stdin,
        "HostConfig": {
            "NetworkMode": "none", "Binds": [shared.bind()], "LogConfig": {"Type": log},
        },
    });
    let made = http.post_json("/containers/create", &body).expect(201);
    made.json()["Id"].as_str().expect("an id").to_owned()
}

pub(crate) fn start(http: &Client, id: &str) {
    http.post(&format!("/containers/{id}/start")).expect(204);
}

pub(crate) fn wait(http: &Client, id: &str) {
    let ended = http.post(&format!("/containers/{id}/wait")).expect(200);
    assert_eq!(ended.json()["StatusCode"], 0);
}

pub(crate) fn remove(http: &Client, id: &str) {
    wait(http, id);
    http.delete(&format!("/containers/{id}")).expect(204);
}

/// The log of a container.
pub(crate) fn log(http: &Client, id: &str) -> PathBuf {
    let inspect = http.get(&format!("/containers/{id}/json")).expect(200);
    inspect.json()["LogPath"]
        .as_str()
        .expect("it has a log")
        .into()
}
