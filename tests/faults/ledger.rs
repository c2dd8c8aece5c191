//! The ledger damaged behind the daemon's back.

use std::path::PathBuf;

use serde_json::json;
use testkit::{Daemon, Image, TarBuilder, until};

use crate::daemon;

/// The ledger: the one database of the data root.
fn ledger(d: &Daemon) -> PathBuf {
    let entries = std::fs::read_dir(d.root().join("data")).expect("the data root is there");
    let mut found = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "db"));
    let path = found.next().expect("a database");
    assert_eq!(found.next(), None, "one database");
    path
}

/// Changes the ledger as a defect or a bad disk would, while no daemon runs.
fn tamper(d: &Daemon, sql: &str) {
    let path = ledger(d);
    let script = format!("PRAGMA ignore_check_constraints = 1; {sql}");
    let output = std::process::Command::new(testkit::require("sqlite3", "sqlite3"))
        .arg(&path)
        .arg(script)
        .output()
        .expect("sqlite3 runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_damaged_row_hides_nothing_else_and_can_be_removed() {
    let mut d = daemon();
    let bad = d.create("bad", json!({"Cmd": ["true"]}));
    let good = d.run_detached("good", json!({"Cmd": ["sleep", "1000"]}));
    d.stop();
    tamper(
        &d,
        &format!("UPDATE containers SET spec = '{{\"cut' WHERE id = '{bad}';"),
    );
    d.restart();
    assert_eq!(d.status(&good), "running");
    let state = &d.inspect("bad")["State"];
    assert_eq!(state["Status"], "dead", "{state}");
    assert_eq!(state["Dead"], true);
    assert_ne!(state["Error"], "", "{state}");
    d.http.post("/containers/bad/start").expect(409);
    // What goes meanwhile goes from the disk, too: a container's trees are those of its image.
    let trees = d.root().join("data/images/trees");
    let count = || std::fs::read_dir(&trees).expect("they are there").count();
    let before = count();
    let mut layer = TarBuilder::new();
    layer.file("extra", 0o644, b"extra");
    let extra = Image {
        tags: vec!["extra:1".to_owned()],
        layers: vec![layer.finish()],
        ..Image::busybox()
    };
    d.load(&extra);
    assert_eq!(count(), before + 1);
    d.http.delete("/images/extra:1").expect(200);
    assert_eq!(count(), before);
    d.http.delete("/containers/bad?force=1").expect(204);
    d.create("bad", json!({"Cmd": ["true"]}));
    d.finish();
}

/// Nobody knows whose volumes it has: none goes with another container, neither one whose removal is
/// asked for nor one whose removal the daemon finishes.
#[test]
fn a_damaged_row_keeps_the_volumes_it_may_have() {
    for is_cut_short in [false, true] {
        let mut d = daemon();
        d.run_detached(
            "owner",
            json!({"Cmd": ["sleep", "1000"], "Volumes": {"/v": {}}}),
        );
        let from = json!({"Cmd": ["sleep", "1000"], "HostConfig": {"VolumesFrom": ["owner"]}});
        let bad = d.run_detached("bad", from);
        let remove = "/containers/owner?force=1&v=1";
        d.stop();
        if is_cut_short {
            d.set_failpoints("remove-promised=kill");
            d.spawn();
            d.wait_ready();
            assert!(d.http.attempt("DELETE", remove, "", b"").is_none());
            d.kill9();
            d.set_failpoints("");
        }
        tamper(
            &d,
            &format!("UPDATE containers SET spec = '{{\"cut' WHERE id = '{bad}';"),
        );
        d.restart();
        if !is_cut_short {
            d.http.delete(remove).expect(204);
        }
        until("it is gone", || {
            d.http.get("/containers/owner/json").status == 404
        });
        let volumes = || d.http.get("/volumes").expect(200).json()["Volumes"].clone();
        let kept = volumes();
        let path = kept[0]["Mountpoint"].as_str().expect("it is kept");
        assert!(d.inside(path).exists(), "{path}");
        d.http.delete("/containers/bad?force=1").expect(204);
        let name = kept[0]["Name"].as_str().expect("a name");
        d.http.delete(&format!("/volumes/{name}")).expect(204);
        d.finish();
    }
}

/// What it has of another's memory is let go of, though nobody knows that it has any.
#[test]
fn a_damaged_row_that_shares_memory_can_be_removed() {
    let mut d = daemon();
    let shares = json!({"Cmd": ["sleep", "1000"], "HostConfig": {"IpcMode": "shareable"}});
    d.run_detached("donor", shares);
    let joins = json!({"Cmd": ["sleep", "1000"], "HostConfig": {"IpcMode": "container:donor"}});
    let bad = d.run_detached("bad", joins);
    d.stop();
    tamper(
        &d,
        &format!("UPDATE containers SET spec = '{{\"cut' WHERE id = '{bad}';"),
    );
    d.restart();
    d.http.delete("/containers/bad?force=1").expect(204);
    d.finish();
}

#[test]
fn a_broken_ledger_stops_the_daemon_with_advice_and_no_container() {
    let mut d = daemon();
    let id = d.run_detached("lives", json!({"Cmd": ["sleep", "1000"]}));
    let init = d.init_pid(&id);
    d.stop();
    let path = ledger(&d);
    // The write-ahead log holds the newest pages: without it away, the ledger would be whole.
    let beside = |end: &str| path.with_file_name(format!("ledger.db{end}"));
    let parts = ["", "-wal", "-shm"].map(beside);
    let whole = parts.clone().map(|part| std::fs::read(part).ok());
    for part in &parts[1..] {
        let _ = std::fs::remove_file(part);
    }
    std::fs::write(&path, b"this is not a database, by no means").expect("it is ours");
    let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| d.restart()))
        .expect_err("the daemon must not start");
    let said = said
        .downcast_ref::<String>()
        .expect("the kit tells the log")
        .clone();
    assert!(said.contains(path.to_str().expect("text")), "{said}");
    assert!(said.contains(".recover"), "{said}");
    let alive = std::fs::exists(format!("/proc/{init}")).expect("/proc is mounted");
    assert!(alive, "the container does not notice");
    for (part, bytes) in parts.iter().zip(&whole) {
        match bytes {
            Some(bytes) => std::fs::write(part, bytes).expect("it is ours"),
            None => drop(std::fs::remove_file(part)),
        }
    }
    d.restart();
    assert_eq!(d.status(&id), "running");
    d.finish();
}

/// What runs on such a network goes on, what cannot be asked for is told why, and it can be removed.
#[test]
fn a_damaged_network_costs_only_itself() {
    let mut d = Daemon::start(crate::options().networks());
    let create = |name: &str| d.http.post_json("/networks/create", &json!({"Name": name}));
    create("bad").expect(201);
    create("good").expect(201);
    let on = |name: &str| json!({"Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": name}});
    for name in ["bridge", "bad", "good"] {
        d.run_detached(&format!("on-{name}"), on(name));
    }
    let address = |d: &Daemon, name: &str, network: &str| {
        d.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"].clone()
    };
    let before = address(&d, "on-bridge", "bridge");
    d.stop();
    tamper(
        &d,
        "UPDATE networks SET record = '{}' WHERE name IN ('bridge', 'bad', 'none');",
    );
    d.restart();
    for name in ["bridge", "bad", "good"] {
        assert_eq!(d.status(&format!("on-{name}")), "running");
    }
    // The default one is made anew, and those on it do not notice.
    d.run_detached("new", on("bridge"));
    assert_eq!(address(&d, "on-bridge", "bridge"), before);
    let prefix = |address: &serde_json::Value| address.as_str().expect("text")[..7].to_owned();
    assert_eq!(
        prefix(&address(&d, "new", "bridge")),
        prefix(&before),
        "the same range"
    );
    let create = |name: &str| d.http.post_json("/networks/create", &json!({"Name": name}));
    let said = create("bad").error(409);
    assert!(said.contains("damaged"), "{said}");
    let said = d.http.get("/networks/bad").error(409);
    assert!(said.contains("damaged"), "{said}");
    d.http.delete("/networks/bad").error(403);
    d.http.delete("/containers/on-bad?force=1").expect(204);
    until("it can be removed", || {
        d.http.delete("/networks/bad").status == 204
    });
    let links = d.command_inside("ip").args(["-o", "link"]).output();
    let links = links.expect("ip runs").stdout;
    let bridges = String::from_utf8_lossy(&links).matches(": br-").count();
    assert_eq!(bridges, 1, "that of the good one");
    create("bad").expect(201);
    d.stop();
    d.restart();
    d.run_detached("again", on("bad"));
    d.finish();
}

/// Its process may run, so what it holds is nobody else's before it is removed.
#[test]
fn a_damaged_row_keeps_its_addresses() {
    let mut d = Daemon::start(crate::options().networks());
    let body = json!({"Name": "one"});
    d.http.post_json("/networks/create", &body).expect(201);
    let on = json!({"Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "one"}});
    let bad = d.run_detached("bad", on.clone());
    let address = |d: &Daemon, name: &str| {
        d.inspect(name)["NetworkSettings"]["Networks"]["one"]["IPAddress"].clone()
    };
    let before = address(&d, "bad");
    d.stop();
    tamper(
        &d,
        &format!("UPDATE containers SET spec = '{{\"cut' WHERE id = '{bad}';"),
    );
    d.restart();
    d.run_detached("good", on.clone());
    assert_ne!(address(&d, "good"), before);
    d.http.delete("/networks/one").error(403);
    d.http.delete("/containers/bad?force=1").expect(204);
    until("its address is free", || {
        d.http.delete("/containers/good?force=1").expect(204);
        d.run_detached("good", on.clone());
        address(&d, "good") == before
    });
    d.finish();
}
