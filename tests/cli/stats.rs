//! `docker stats`.

use serde_json::json;

use crate::daemon;

#[test]
fn the_cli_shows_what_containers_use() {
    let d = daemon("runc");
    let docker = d.docker();
    let host = json!({"Memory": 64 << 20, "PidsLimit": 9});
    let burn = json!({"Cmd": ["sh", "-c", "while :; do :; done"], "HostConfig": host});
    let id = d.run_detached("burns", burn);
    d.run_detached("idles", json!({"Cmd": ["sleep", "1000"]}));
    d.create("never", json!({"Cmd": ["true"]}));
    let format = "{{.ID}} {{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}";
    let args = ["stats", "--no-stream", "--no-trunc", "--format", format];
    let shown = docker.run(&args).expect(0).stdout;
    let line = |name: &str| {
        let found = shown.lines().find(|line| line.contains(name));
        let words = found.unwrap_or_else(|| panic!("{name}: {shown}"));
        words.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let (burns, idles) = (line(" burns "), line(" idles "));
    let percent =
        |words: &[String]| -> f64 { words[2].trim_end_matches('%').parse().expect("a number") };
    assert!(percent(&burns) > 1.0, "{shown}");
    assert!(percent(&idles) < percent(&burns), "{shown}");
    assert_eq!(burns[0], id);
    assert_eq!((burns[5].as_str(), burns[6].as_str()), ("64MiB", "1"));
    assert!(!shown.contains("never"), "{shown}");
    let args = [
        "stats",
        "--no-stream",
        "--format",
        "{{.Name}} {{.PIDs}}",
        "never",
    ];
    assert_eq!(docker.run(&args).expect(0).stdout, "never 0\n");
    let none = docker.run(&["stats", "--no-stream", "none"]).expect(1);
    assert!(
        none.stderr.contains("No such container: none"),
        "{}",
        none.stderr
    );
    d.finish();
}

/// Its screen follows what starts and what goes.
#[test]
fn the_cli_follows() {
    let d = daemon("runc");
    let mut screen = d
        .docker()
        .pty(&["stats", "--format", "<{{.Name}}>"], 24, 80);
    d.run_detached("first", json!({"Cmd": ["sleep", "1000"]}));
    screen.expect("<first>");
    d.run_detached("second", json!({"Cmd": ["sleep", "1000"]}));
    screen.expect("<second>");
    d.http.delete("/containers/first?force=1").expect(204);
    screen.write([3]);
    let (_, rest) = screen.wait();
    assert!(!rest.contains("Error"), "{rest}");
    d.finish();
}
