//! Docker Compose as it is: a project of three services on two networks, brought up, used, scaled, left
//! without a daemon for a while, and taken down to nothing.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use testkit::{Daemon, Docker, Options, clients, until};

/// More than any command takes, in seconds.
const PATIENCE: &str = "120";

/// A project of `tests/compose/project` on a daemon of its own.
struct Project {
    docker: Docker,
    daemon: Daemon,
}

impl Project {
    fn new(runtime: &str) -> Self {
        testkit::require(runtime, runtime);
        let daemon = Daemon::start(
            Options::new(env!("CARGO_BIN_EXE_moored"))
                .runtime(runtime)
                .networks(),
        );
        Self {
            docker: daemon.docker(),
            daemon,
        }
    }

    /// `docker compose WORDS`, to its end.
    fn run(&self, words: &str) -> Output {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose/project");
        let mut command = self.docker.beside("timeout");
        command
            .arg(PATIENCE)
            .arg(clients().join("docker-compose"))
            .args(["--ansi", "never", "--progress", "plain"])
            .args(words.split(' '))
            .current_dir(dir);
        command.output().expect("timeout(1) of coreutils runs")
    }

    /// As [`Project::run`]; what it printed, and a failed test where it fails.
    #[track_caller]
    fn compose(&self, words: &str) -> String {
        let done = self.run(words);
        assert!(
            done.status.success(),
            "compose {words}: {}\n{}{}\n{}",
            done.status,
            text(&done.stdout),
            text(&done.stderr),
            self.daemon.log()
        );
        text(&done.stdout)
    }

    /// What a client on the host gets at the published port.
    fn curl(&self, path: &str) -> String {
        let mut curl = self.daemon.command_inside("curl");
        curl.args(["-sS", "--fail", "--max-time", "20"]);
        stdout(curl.arg(format!("http://127.0.0.1:8080{path}")))
    }

    /// Which of its containers answers a request that goes through all three services.
    #[track_caller]
    fn who_has_apples(&self) -> String {
        let said = self.curl("/cgi-bin/goods");
        let name = said.strip_suffix(" has apples\n");
        name.unwrap_or_else(|| panic!("{said:?}")).to_owned()
    }

    /// `service state health` of each container.
    fn states(&self, words: &str) -> Vec<String> {
        let listed = self.compose(&format!("{words} --format json"));
        // One object a line; older ones print one list.
        let lines =
            listed
                .lines()
                .flat_map(|line| match serde_json::from_str(line).expect("JSON") {
                    Value::Array(all) => all,
                    one => vec![one],
                });
        let mut states: Vec<String> = lines
            .map(|one| {
                let word = |key: &str| one[key].as_str().expect("a word").to_owned();
                format!("{} {} {}", word("Service"), word("State"), word("Health"))
            })
            .collect();
        states.sort();
        states
    }

    /// Takes it down and looks that nothing is left.
    fn down(self) {
        self.compose("--profile tools down --volumes --timeout 5");
        let listed = |words: &[&str]| self.docker.run(words).expect(0).stdout;
        assert_eq!(listed(&["ps", "-aq"]), "");
        assert_eq!(listed(&["volume", "ls", "-q"]), "");
        let networks = listed(&["network", "ls", "--format", "{{.Name}}"]);
        assert_eq!(networks, "bridge\nhost\nnone\n");
        self.daemon.finish();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stdout(command: &mut Command) -> String {
    let done = command.output().expect("it runs");
    let said = text(&done.stdout);
    assert!(
        done.status.success(),
        "{command:?}: {}\n{said}{}",
        done.status,
        text(&done.stderr)
    );
    said
}

const HEALTHY: [&str; 3] = [
    "api running healthy",
    "db running healthy",
    "web running healthy",
];

fn used(p: &Project) {
    p.compose("up --detach --wait");
    assert_eq!(p.states("ps"), HEALTHY);
    assert_eq!(p.curl("/"), "<p>the shop</p>\n");
    let first = p.who_has_apples();
    assert_eq!(first.len(), 12, "a container's own host name: {first}");
    let log = p.compose("logs --no-color web");
    assert!(log.contains("response:200"), "{log}");

    // Names, aliases, and what is not on one's network.
    let asked = "wget -q -O -";
    let goods = p.compose(&format!("exec -T api {asked} http://db/goods"));
    assert_eq!(goods, "apples\n");
    for name in ["inner", "api", "shop-api-1"] {
        let said = p.compose(&format!("exec -T db {asked} http://{name}/cgi-bin/goods"));
        assert_eq!(said, format!("{first} has apples\n"), "{name}");
    }
    let hidden = p.run(&format!("exec -T web {asked} http://db/goods"));
    assert_eq!(hidden.status.code(), Some(1), "{}", text(&hidden.stderr));
    assert!(
        text(&hidden.stderr).contains("bad address 'db'"),
        "{}",
        text(&hidden.stderr)
    );
    let secret = p.compose("exec -T db cat /run/secrets/password");
    assert_eq!(secret, "swordfish");

    // Restarted they have their names again, and the volume what it had.
    let born = p.compose("exec -T db cat /srv/born");
    p.compose("restart db api");
    p.compose("up --detach --wait");
    assert_eq!(p.who_has_apples(), first);
    assert_eq!(p.compose("exec -T db cat /srv/born"), born);
    let port = p.compose("port web 80");
    assert_eq!(port, "127.0.0.1:8080\n");
}

#[test]
fn a_project_is_brought_up_used_and_taken_down() {
    for runtime in ["runc", "crun"] {
        let p = Project::new(runtime);
        used(&p);
        p.down();
    }
}

#[test]
fn a_scaled_project_goes_on_without_a_daemon_and_under_the_next() {
    let mut p = Project::new("runc");
    p.compose("up --detach --wait --scale api=5");
    assert_eq!(p.states("ps api"), ["api running healthy"; 5]);
    let found = p.compose("exec -T web nslookup api");
    let addresses = found.lines().filter(|line| line.starts_with("Address: "));
    assert_eq!(addresses.count(), 5, "{found}");
    p.who_has_apples();

    let before = p.compose("ps -q");
    p.daemon.kill9();
    // The port, the names and the networks are nobody's but the containers'.
    p.who_has_apples();
    p.daemon.restart();
    p.who_has_apples();
    assert_eq!(p.compose("ps -q"), before, "they are the same");
    // The next daemon knows the networks: one goes, one comes, and the names follow.
    p.compose("up --detach --wait --scale api=2");
    until("health is known again", || {
        p.states("ps api") == ["api running healthy"; 2]
    });
    let found = p.compose("exec -T web nslookup api");
    let addresses = found.lines().filter(|line| line.starts_with("Address: "));
    assert_eq!(addresses.count(), 2, "{found}");
    p.who_has_apples();

    // What a profile has comes when it is asked for.
    assert!(
        !p.states("ps --all")
            .iter()
            .any(|one| one.starts_with("tools"))
    );
    p.compose("--profile tools up --detach --wait tools");
    let said = p.compose("exec -T tools wget -q -O - http://db/goods");
    assert_eq!(said, "apples\n");
    p.down();
}
