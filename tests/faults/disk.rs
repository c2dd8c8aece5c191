//! A full disk: clear errors, reads that work, removal that works, nothing half made.

use serde_json::json;

use crate::options;
use testkit::Daemon;

#[test]
fn a_full_data_root_is_told_and_survived() {
    let d = Daemon::start(options().data_root_of_bytes(48 << 20));
    let id = d.run("before", json!({"Cmd": ["true"]})).id;
    let running = d.run_detached("runs", json!({"Cmd": ["sleep", "1000"]}));
    // Fill it from inside the daemon's namespace: the small file system is only there.
    let filler = d.inside(d.root().join("data/filler"));
    let full = std::fs::File::create(&filler).map(|mut file| {
        use std::io::Write;
        let block = vec![0; 64 << 10];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    });
    full.expect("the data root is reachable");
    let answer = d.http.post_json(
        "/containers/create?name=late",
        &json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}),
    );
    if answer.status != 201 {
        let said = answer.error(500).to_lowercase();
        assert!(
            said.contains("no space left") || said.contains("full"),
            "{said}"
        );
        d.http.get("/containers/late/json").error(404);
    }
    assert_eq!(d.inspect(&id)["State"]["ExitCode"], 0);
    d.http.get("/containers/json?all=1").expect(200);
    std::fs::remove_file(&filler).expect("the data root is reachable");
    d.http.post("/containers/runs/stop?t=0").expect(204);
    assert_eq!(d.inspect(&running)["State"]["ExitCode"], 137);
    assert_eq!(d.run("after", json!({"Cmd": ["true"]})).code, 0);
    d.finish();
}
