//! What most tests do with containers, in one call each. All of it goes through the API.

use serde_json::{Value, json};

use crate::{BUSYBOX, Daemon, Image, Streams, census, demux, query, until};

/// How a container ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its id.
    pub id: String,
    /// Its exit code.
    pub code: i64,
    /// Its output, from the log.
    pub output: Streams,
}

impl Daemon {
    /// Loads an image.
    ///
    /// # Panics
    /// When it is refused.
    pub fn load(&self, image: &Image) {
        let tar = [("Content-Type", "application/x-tar")];
        let answer = self
            .http
            .send(
                "POST",
                "/images/load?quiet=1",
                &tar,
                &image.docker_archive(),
            )
            .expect(200);
        assert!(answer.text().contains("Loaded image"), "{}", answer.text());
    }

    /// Creates a container of busybox without a network, unless the body says otherwise.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create(&self, name: &str, body: Value) -> String {
        let answer = self
            .http
            .post_json(
                &query("/containers/create", &[("name", name)]),
                &defaults(body),
            )
            .expect(201)
            .json();
        answer["Id"].as_str().expect("an id").to_owned()
    }

    /// Starts a container.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn start_container(&self, id: &str) {
        self.http
            .post(&format!("/containers/{id}/start"))
            .expect(204);
    }

    /// Creates and starts a container.
    ///
    /// # Panics
    /// When either is refused.
    #[track_caller]
    pub fn run_detached(&self, name: &str, body: Value) -> String {
        let id = self.create(name, body);
        self.start_container(&id);
        id
    }

    /// Waits for a container that was started; its code.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn wait(&self, id: &str) -> i64 {
        let answer = self.http.post(&format!("/containers/{id}/wait"));
        answer.expect(200).json()["StatusCode"]
            .as_i64()
            .expect("a number")
    }

    /// Creates a container, starts it, waits for its end and reads its log.
    ///
    /// # Panics
    /// When any of it fails.
    #[track_caller]
    pub fn run(&self, name: &str, body: Value) -> Outcome {
        let id = self.run_detached(name, body);
        let code = self.wait(&id);
        let output = self.logs(&id);
        Outcome { id, code, output }
    }

    /// The whole log of a container without a terminal.
    ///
    /// # Panics
    /// When it is refused or not framed.
    #[track_caller]
    pub fn logs(&self, id: &str) -> Streams {
        let path = format!("/containers/{id}/logs?stdout=1&stderr=1");
        demux(&self.http.get(&path).expect(200).body)
    }

    /// Inspects a container.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn inspect(&self, id: &str) -> Value {
        self.http
            .get(&format!("/containers/{id}/json"))
            .expect(200)
            .json()
    }

    /// `State.Status` of a container.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn status(&self, id: &str) -> String {
        let state = &self.inspect(id)["State"];
        state["Status"].as_str().expect("a word").to_owned()
    }

    /// Waits until a container has this status.
    ///
    /// # Panics
    /// When it does not get it in time.
    #[track_caller]
    pub fn wait_status(&self, id: &str, status: &str) {
        until(&format!("container {id} {status}"), || {
            self.status(id) == status
        });
    }

    /// Waits until its health checks say so.
    ///
    /// # Panics
    /// When they do not in time.
    #[track_caller]
    pub fn wait_health(&self, id: &str, status: &str) {
        until(&format!("container {id} {status}"), || {
            self.inspect(id)["State"]["Health"]["Status"] == status
        });
    }

    /// The pid of a running container's first process, as the host sees it.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn init_pid(&self, id: &str) -> u32 {
        let pid = self.inspect(id)["State"]["Pid"].as_u64();
        let pid = u32::try_from(pid.expect("a number")).expect("a pid");
        assert_ne!(pid, 0, "the container runs");
        pid
    }

    /// The pid of a container's conmon, found by its command line.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[track_caller]
    pub fn conmon_pid(&self, id: &str) -> u32 {
        let all = census::processes(&self.mark(), None, &self.not_left());
        let theirs: Vec<_> = all
            .iter()
            .filter(|p| p.what.contains("conmon ") && p.what.contains(id))
            .collect();
        assert_eq!(theirs.len(), 1, "conmon of {id}: {theirs:#?}");
        theirs[0].pid
    }
}

/// busybox without a network, where the body does not say.
fn defaults(mut body: Value) -> Value {
    if body.get("Image").is_none() {
        body["Image"] = json!(BUSYBOX);
    }
    if body["HostConfig"].get("NetworkMode").is_none() {
        body["HostConfig"]["NetworkMode"] = json!("none");
    }
    body
}
