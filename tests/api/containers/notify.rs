//! sd_notify of containers: what one says of itself is told, and the daemon's own socket is no
//! container's.

use std::fs;
use std::os::unix::net::UnixDatagram;

use serde_json::{Value, json};
use testkit::{Daemon, until};

use crate::options;

/// A container that says by sd_notify what it finds in the files `/say/1`, `/say/2`, ... With the host's
/// perl: busybox has nothing that sends to such a socket.
fn speaker(d: &Daemon, name: &str, userns: &str) -> String {
    let say = d.root().join(format!("{name}-says"));
    fs::create_dir(&say).expect("ours");
    let send = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, \
                Peer => $ENV{NOTIFY_SOCKET}) or die \"$ENV{NOTIFY_SOCKET}: $!\"; \
                local $/; my $said = <STDIN>; $s->send($said) or die $!";
    let script = format!(
        "n=1; while :; do while [ ! -e /say/$n ]; do sleep 0.02; done; \
         if perl -e '{send}' </say/$n; then echo said $n; n=$((n+1)); else rm /say/$n; fi; done"
    );
    let mut binds = vec![format!("{}:/say", say.display())];
    binds.extend(["/usr", "/lib", "/lib64"].map(|dir| format!("{dir}:{dir}:ro")));
    let body = json!({"Cmd": ["/bin/sh", "-c", script], "Env": ["PATH=/bin:/usr/bin"],
        "Labels": {"moored.sdnotify": "container"},
        "HostConfig": {"UsernsMode": userns, "Binds": binds}});
    d.run_detached(name, body)
}

fn say(d: &Daemon, name: &str, number: u32, text: &str) {
    let dir = d.root().join(format!("{name}-says"));
    // Whole at once.
    fs::write(dir.join("next"), text).expect("ours");
    fs::rename(dir.join("next"), dir.join(number.to_string())).expect("ours");
}

fn expect_readiness(d: &Daemon, name: &str, ready: bool, status: &str) {
    let expected = json!({"Ready": ready, "Status": status});
    until("it is told", || {
        d.inspect(name)["State"]["Readiness"] == expected
    });
}

/// How often it was told that `id` is ready.
fn told(d: &Daemon, id: &str) -> usize {
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs_f64();
    let path = format!("/events?since=1&until={now}&filters=%7B%22event%22%3A%5B%22ready%22%5D%7D");
    let body = String::from_utf8(d.http.get(&path).expect(200).body).expect("text");
    body.lines().filter(|line| line.contains(id)).count()
}

#[test]
fn what_a_container_says_is_told_by_inspect_and_events() {
    for (runtime, userns) in [
        ("runc", ""),
        ("crun", ""),
        ("runc", "0:300000:65536"),
        ("crun", "0:300000:65536"),
    ] {
        let mut d = Daemon::start(options().runtime(runtime));
        let id = speaker(&d, "speaker", userns);
        expect_readiness(&d, "speaker", false, "");
        say(&d, "speaker", 1, "READY=1\n");
        expect_readiness(&d, "speaker", true, "");
        until("the event", || told(&d, &id) == 1);
        // Ready is ready, and the next daemon knows it.
        say(&d, "speaker", 2, "READY=1\n");
        until("it was said", || d.logs(&id).stdout == "said 1\nsaid 2\n");
        d.kill9();
        d.restart();
        expect_readiness(&d, "speaker", true, "");
        assert_eq!(told(&d, &id), 1);
        assert_eq!(d.logs(&id).stderr, "");
        // It hears what comes then, and each run is its own.
        d.http.post("/containers/speaker/restart?t=0").expect(204);
        until("its next run says it, too", || told(&d, &id) == 2);
        expect_readiness(&d, "speaker", true, "");
        d.http.post("/containers/speaker/stop?t=0").expect(204);
        assert_eq!(d.inspect("speaker")["State"]["Readiness"], Value::Null);
        d.finish();
    }
}

/// A daemon that comes while a container runs takes the place of the one before, also when the container
/// has spoken to nobody meanwhile.
#[test]
fn a_later_daemon_hears_it() {
    let mut d = Daemon::start(options());
    let id = speaker(&d, "speaker", "");
    say(&d, "speaker", 1, "STATUS=begins\n");
    expect_readiness(&d, "speaker", false, "begins");
    d.kill9();
    say(&d, "speaker", 2, "READY=1\n");
    let log = d.root().join(format!("data/containers/{id}/container.log"));
    until("nobody heard it", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("refused"))
    });
    d.restart();
    // What it does was not written; whether it is ready is all that is.
    expect_readiness(&d, "speaker", false, "");
    say(&d, "speaker", 2, "READY=1\nSTATUS=serves\n");
    expect_readiness(&d, "speaker", true, "serves");
    assert_eq!(told(&d, &id), 1);
    d.finish();
}

#[test]
fn the_daemons_own_socket_and_descriptors_reach_nobody() {
    let mut d = Daemon::start(options());
    d.stop();
    let path = d.root().join("systemd");
    let systemd = UnixDatagram::bind(&path).expect("ours");
    let words = [
        "env".to_owned(),
        format!("NOTIFY_SOCKET={}", path.display()),
        "LISTEN_FDS=1".to_owned(),
        "LISTEN_PID=1".to_owned(),
        "LISTEN_FDNAMES=secret".to_owned(),
    ];
    d.set_through(&words.iter().map(String::as_str).collect::<Vec<_>>());
    d.restart();
    let mut buffer = [0; 512];
    let read = systemd
        .recv(&mut buffer)
        .expect("the daemon says that it is ready");
    assert!(String::from_utf8_lossy(&buffer[..read]).contains("READY=1"));
    let id = d.run_detached("plain", json!({"Cmd": ["sh", "-c", "env; sleep 1000"]}));
    until("it has told", || d.logs("plain").stdout.contains("PATH="));
    let conmon = d.conmon_pid(&id);
    let conmons = fs::read(format!("/proc/{conmon}/environ")).expect("it runs");
    let conmons = String::from_utf8_lossy(&conmons).into_owned();
    for env in [d.logs("plain").stdout, conmons] {
        assert!(!env.contains("NOTIFY") && !env.contains("LISTEN"), "{env}");
    }
    assert!(d.inspect("plain")["State"].get("Readiness").is_none());
    let mine =
        json!({"Cmd": ["true"], "Image": "busybox", "Labels": {"moored.sdnotify": "conmon"}});
    let said = d.http.post_json("/containers/create", &mine).error(400);
    assert!(
        said.starts_with("invalid label moored.sdnotify=conmon"),
        "{said}"
    );
    d.finish();
}
