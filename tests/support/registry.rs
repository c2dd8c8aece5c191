//! A real registry beside a daemon: Debian's docker-registry, in the daemon's namespaces.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Daemon, require, until};

/// The port of each: a daemon's network namespace is its own.
const PORT: u16 = 5000;
/// An address that is not loopback, so that nobody takes it for insecure.
const ADDRESS: &str = "192.0.2.10";
/// `test` and `secret`, as htpasswd(1) -B writes it.
const HTPASSWD: &str = "test:$2y$05$.WHNEvywc.tpkHsXHv2LRuB7i224ug0nJylVZzNTwI5YrNiuhr2uy\n";

/// A registry that runs. To be stopped before the daemon's test ends.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    dir: tempfile::TempDir,
    tls: bool,
}

/// How a registry is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// On loopback, without TLS, by anybody.
    Openly,
    /// By TLS, with a certificate that nobody knows, by `test` with the password `secret`.
    ByTls,
}

impl Registry {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(daemon: &Daemon, reached: Reached) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(crate::census::PREFIX)
            .tempdir()
            .expect("a directory for the registry");
        let tls = reached == Reached::ByTls;
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mut http = format!("addr: {}, secret: x", address(tls));
        let mut auth = String::new();
        if tls {
            make_certificate(&dir);
            let added = daemon.command_inside(require("ip", "iproute2"));
            run(
                added,
                &["addr", "replace", &format!("{ADDRESS}/32"), "dev", "lo"],
            );
            fs::write(at("htpasswd"), HTPASSWD).expect("a file in our dir");
            http.push_str(&format!(
                ", tls: {{certificate: {}, key: {}}}",
                at("cert.pem"),
                at("key.pem")
            ));
            auth = format!(
                "auth: {{htpasswd: {{realm: x, path: {}}}}}\n",
                at("htpasswd")
            );
        }
        let config = format!(
            "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: false}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{{http}}}\n{auth}",
            at("data")
        );
        fs::write(at("config.yml"), config).expect("a file in our dir");
        let log = File::create(at("log")).expect("a file in our dir");
        let child = daemon
            .command_inside(require("docker-registry", "docker-registry"))
            .args(["serve", &at("config.yml")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("nsenter(1) of util-linux runs");
        let registry = Self { child, dir, tls };
        until("the registry answers", || {
            let mut curl = daemon.command_inside(require("curl", "curl"));
            let url = format!("{}/v2/", registry.url());
            curl.args(["-sk", "-o", "/dev/null", &url]);
            curl.status().is_ok_and(|status| status.success())
        });
        registry
    }

    /// `HOST:PORT`, as it stands in names of images.
    pub fn host(&self) -> String {
        address(self.tls)
    }

    /// `http://HOST:PORT`.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    /// The certificate of its authority.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// The requests that it answered and that say `what`.
    pub fn answered(&self, what: &str) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains(what));
        lines.map(str::to_owned).collect()
    }

    /// Lets it stand still, or go on.
    ///
    /// # Panics
    /// When it is gone.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        kill_process(Pid::from_child(&self.child), signal).expect("it is our child");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(tls: bool) -> String {
    let host = if tls { ADDRESS } else { "127.0.0.1" };
    format!("{host}:{PORT}")
}

fn make_certificate(dir: &tempfile::TempDir) {
    let mut openssl = std::process::Command::new(require("openssl", "openssl"));
    openssl.current_dir(dir.path()).stderr(Stdio::null());
    let san = format!("subjectAltName=IP:{ADDRESS}");
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
                 -subj /CN=registry -keyout key.pem -out cert.pem -addext";
    let mut args: Vec<&str> = words.split_whitespace().collect();
    args.push(&san);
    run(openssl, &args);
}

fn run(mut command: std::process::Command, args: &[&str]) {
    let status = command.args(args).status().expect("it runs");
    assert!(status.success(), "{command:?}: {status}");
}
