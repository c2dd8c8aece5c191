//! `docker events`.

use serde_json::json;

use crate::daemon;

#[test]
fn the_cli_shows_what_was_and_stops_at_its_time() {
    let d = daemon("runc");
    let docker = d.docker();
    docker
        .run(&[
            "run",
            "--name",
            "it",
            "--label",
            "a=b",
            "--network",
            "none",
            "busybox",
            "true",
        ])
        .expect(0);
    let now = docker
        .run(&["info", "--format", "{{.SystemTime}}"])
        .expect(0);
    let args = [
        "events",
        "--since",
        "10m",
        "--until",
        now.trimmed(),
        "--filter",
        "container=it",
        "--filter",
        "type=container",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.a}}",
    ];
    let shown = docker.run(&args).expect(0).stdout;
    assert_eq!(shown, "create it b\nattach it b\nstart it b\ndie it b\n");
    d.finish();
}

#[test]
fn the_cli_follows() {
    let d = daemon("runc");
    let docker = d.docker();
    let mut follower = docker
        .command(&[
            "events",
            "--filter",
            "event=destroy",
            "--format",
            "{{json .}}",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("docker was found and runs");
    testkit::until("it follows", || {
        d.http.get("/info").expect(200).json()["NEventsListener"] == json!(1)
    });
    d.create("it", json!({"Cmd": ["true"]}));
    docker.run(&["rm", "it"]).expect(0);
    let mut line = String::new();
    let stdout = follower.stdout.take().expect("it is a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(event["Action"], "destroy");
    assert_eq!(event["Actor"]["Attributes"]["name"], "it");
    follower.kill().expect("it is our child");
    follower.wait().expect("it is our child");
    d.finish();
}
