//! Clients that behave badly: the container runs on, and the daemon holds nothing for them.

use std::io::Write as _;

use serde_json::json;
use testkit::{Daemon, census, demux, until};

use crate::daemon;

const WATCH: &str = "/containers/it/attach?stream=1&stdout=1";

fn descriptors(d: &Daemon) -> usize {
    census::descriptors(d.pid()).len()
}

#[test]
fn a_thousand_attaches_get_all_and_a_few_more_are_refused() {
    let d = daemon();
    d.create("it", json!({"Cmd": ["sh", "-c", "seq 1 20000"]}));
    let before = descriptors(&d);
    let mut clients: Vec<_> = (0..1024).map(|_| d.http.hijack(WATCH, true)).collect();
    let mut refused = d.http.hijack(WATCH, true);
    let said = String::from_utf8_lossy(&refused.read_to_end()).into_owned();
    assert!(said.contains("too many clients are attached"), "{said}");
    // Half of them vanish without having read a byte.
    clients.truncate(512);
    let idle = census::resident_bytes(d.pid());
    d.start_container("it");
    assert_eq!(d.wait("it"), 0);
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    let held = census::resident_bytes(d.pid()).saturating_sub(idle);
    assert!(held < 512 << 20, "{held} bytes for 512 clients of 1 MiB");
    for client in &mut clients {
        assert!(demux(&client.read_to_end()).stdout == expected);
    }
    drop((clients, refused));
    until("nothing is held for them", || descriptors(&d) <= before);
    d.finish();
}

#[test]
fn clients_that_vanish_in_the_middle_of_a_frame_stop_nobody() {
    let d = daemon();
    let go = d.root().join("go");
    std::fs::create_dir(&go).expect("a directory in ours");
    let bind = format!("{}:/go:ro", go.display());
    let script = "while [ ! -e /go/end ]; do seq 1 5000; done; echo last; sleep 1000";
    let config = json!({"Binds": [bind], "LogConfig": {"Config": {"max-size": "1m"}}});
    let id = d.run_detached(
        "it",
        json!({"Cmd": ["sh", "-c", script], "HostConfig": config}),
    );
    let before = descriptors(&d);
    for n in 0..200 {
        let mut client = d.http.hijack(WATCH, n % 2 == 0);
        assert!(!client.read().is_empty(), "it writes");
        if n % 3 == 0 {
            client.half_close();
        }
    }
    std::fs::write(go.join("end"), "").expect("a file in ours");
    let path = format!("/containers/{id}/logs?stdout=1&tail=1");
    until("it writes on to its end", || {
        demux(&d.http.get(&path).expect(200).body).stdout == "last\n"
    });
    until("nothing is held for them", || descriptors(&d) <= before);
    assert_eq!(d.status(&id), "running");
    d.finish();
}

#[test]
fn sizes_that_no_terminal_has_change_no_container() {
    let d = daemon();
    let body = json!({"Cmd": ["sh", "-c", "while read x; do stty size; done"],
                      "Tty": true, "OpenStdin": true});
    let id = d.run_detached("it", body);
    let mut terminal = d
        .http
        .hijack("/containers/it/attach?stream=1&stdin=1&stdout=1", true);
    let resize = |h: &str, w: &str| d.http.post(&format!("/containers/it/resize?h={h}&w={w}"));
    resize("24", "80").expect(200);
    terminal.write("\n");
    terminal.read_until("24 80");
    for (h, w) in [("65536", "80"), ("-1", "80"), ("x", "80"), ("24", "")] {
        assert_eq!(resize(h, w).status, 400, "{h}x{w}");
    }
    // The kernel takes any size; and nothing of it hurts the next.
    for (h, w) in [("0", "0"), ("65535", "65535")] {
        resize(h, w).expect(200);
    }
    resize("30", "100").expect(200);
    until("the last one counts", || {
        terminal.write("\n");
        terminal.read_until("\r\n").contains("30 100")
    });
    assert_eq!(d.status(&id), "running");
    d.finish();
}

/// Rubbish after an upgrade is input like any other; in a WebSocket it is the client's end.
#[test]
fn rubbish_after_an_upgrade_ends_its_own_session_only() {
    let d = daemon();
    let body = json!({"Cmd": ["cat"], "OpenStdin": true, "Tty": false});
    let id = d.run_detached("it", body);
    let rubbish: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut raw = d
        .http
        .hijack("/containers/it/attach?stream=1&stdin=1&stdout=1", true);
    raw.write(&rubbish);
    let mut echo = Vec::new();
    while echo.len() < rubbish.len() {
        echo.extend(raw.frame().expect("an echo").payload);
    }
    assert!(echo == rubbish);
    let before = descriptors(&d);
    for seed in 0..20_u8 {
        let stream = d.http.connect().expect("the daemon listens");
        let url = "ws://d/containers/it/attach/ws?stream=1&stdin=1&stdout=1";
        let (mut socket, _) = tungstenite::client(url, stream).expect("a handshake");
        let bytes: Vec<u8> = rubbish
            .iter()
            .map(|byte| byte.wrapping_mul(seed | 1))
            .collect();
        // It may be closed before all is written.
        let _ = socket.get_mut().write_all(&bytes[..2000]);
        while socket.read().is_ok() {}
    }
    until("nothing is held for them", || descriptors(&d) <= before);
    assert_eq!(d.status(&id), "running");
    d.finish();
}
