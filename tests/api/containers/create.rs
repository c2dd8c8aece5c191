//! What a container is made of: its environment, user, names, limits, root file system.

use serde_json::{Value, json};
use testkit::{Daemon, Image, until};

use crate::daemon;

/// Runs a shell script and gives its standard output.
#[track_caller]
fn shell(d: &Daemon, name: &str, script: &str, body: Value) -> String {
    let mut body = body;
    body["Cmd"] = json!(["sh", "-c", script]);
    let out = d.run(name, body);
    assert_eq!((out.code, out.output.stderr.as_str()), (0, ""), "{script}");
    out.output.stdout
}

#[test]
fn environment_and_command_are_merged_with_the_images() {
    let d = daemon();
    d.load(&Image::with(
        "merged:1",
        &json!({
            "Entrypoint": ["echo", "from-image"],
            "Cmd": ["image-cmd"],
            "Env": ["PATH=/bin", "A=image", "B=image"],
            "WorkingDir": "/tmp",
            "Labels": {"from": "image", "both": "image"},
        }),
    ));
    let image = |mut body: Value| {
        body["Image"] = json!("merged:1");
        body
    };
    let out = d.run("plain", image(json!({})));
    assert_eq!(out.output.stdout, "from-image image-cmd\n");
    let out = d.run("cmd", image(json!({"Cmd": ["mine"]})));
    assert_eq!(out.output.stdout, "from-image mine\n");
    let entry = json!({"Entrypoint": ["sh", "-c"], "Cmd": ["pwd; echo $A $B $C"],
                       "Env": ["B=mine", "C=mine"], "Labels": {"both": "mine"}});
    let out = d.run("entry", image(entry));
    assert_eq!(out.output.stdout, "/tmp\nimage mine mine\n");
    let config = &d.inspect("entry")["Config"];
    assert_eq!(config["Labels"], json!({"from": "image", "both": "mine"}));
    assert_eq!(config["WorkingDir"], "/tmp");
    d.finish();
}

#[test]
fn users_and_groups_are_looked_up_inside() {
    let d = daemon();
    for (user, wanted) in [
        ("", "0 0 root"),
        ("app", "1000 1000 app"),
        ("app:daemon", "1000 1 daemon"),
        ("1000:2000", "1000 2000 extra"),
        ("4242", "4242 0 root"),
    ] {
        let name = format!("user-{}", user.replace(':', "-"));
        let out = shell(&d, &name, "id -u; id -g; id -gn", json!({"User": user}));
        assert_eq!(out.replace('\n', " ").trim(), wanted, "{user:?}");
    }
    let out = shell(&d, "groups", "id -G", json!({"User": "app"}));
    assert_eq!(out, "1000 2000\n", "the groups that name the user");
    let added = json!({"User": "app", "HostConfig": {"GroupAdd": ["daemon", "77"]}});
    let out = shell(&d, "added", "id -G", added);
    for group in ["1", "77", "1000"] {
        assert!(
            out.split_whitespace().any(|g| g == group),
            "{group} in {out}"
        );
    }
    let out = shell(&d, "home", "echo $HOME", json!({"User": "app"}));
    assert_eq!(out, "/home/app\n");
    d.finish();
}

#[test]
fn names_and_resolver_files_are_in_place() {
    let d = daemon();
    let id = d.create(
        "plain",
        json!({"Cmd": ["sh", "-c", "hostname; cat /etc/hostname"]}),
    );
    d.start_container(&id);
    d.wait(&id);
    let short = &id[..12];
    assert_eq!(d.logs(&id).stdout, format!("{short}\n{short}\n"));
    let named = json!({"Hostname": "box", "Domainname": "example.test",
                       "HostConfig": {"ExtraHosts": ["db:10.1.2.3"], "Dns": ["192.0.2.1"],
                                      "DnsSearch": ["example.test"]}});
    let out = shell(
        &d,
        "named",
        "hostname; grep db /etc/hosts; cat /etc/resolv.conf",
        named,
    );
    assert!(out.starts_with("box\n10.1.2.3\tdb\n"), "{out}");
    assert!(out.contains("nameserver 192.0.2.1\n"), "{out}");
    assert!(out.contains("search example.test\n"), "{out}");
    d.finish();
}

#[test]
fn the_namespaces_are_the_containers_own() {
    let d = daemon();
    let out = shell(
        &d,
        "own",
        "echo $$; ls /sys/class/net; ls /proc | grep -c '^[0-9]'",
        json!({}),
    );
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..2], ["1", "lo"], "{out}");
    assert!(lines[2].parse::<u32>().expect("a number") < 6, "{out}");
    let host = json!({"HostConfig": {"NetworkMode": "host", "PidMode": "host"}});
    let out = shell(
        &d,
        "host",
        "readlink /proc/self/ns/net; readlink /proc/self/ns/pid",
        host,
    );
    let net = std::fs::read_link(format!("/proc/{}/ns/net", d.pid())).expect("it runs");
    let pid = std::fs::read_link("/proc/self/ns/pid").expect("we run");
    assert_eq!(out, format!("{}\n{}\n", net.display(), pid.display()));
    let own = shell(&d, "net", "readlink /proc/self/ns/net", json!({}));
    assert_ne!(own.trim(), net.to_string_lossy());
    d.finish();
}

#[test]
fn the_root_file_system_is_shielded() {
    let d = daemon();
    let script = "for f in /proc/kcore /proc/keys /proc/timer_list; do \
                    test -e $f && head -c1 $f | wc -c; done; \
                  echo x 2>/dev/null > /proc/sys/kernel/hostname && echo written; \
                  ls /dev | sort | tr '\\n' ' '";
    let out = shell(&d, "shielded", script, json!({}));
    assert!(!out.contains("written"), "{out}");
    assert!(!out.contains('1'), "masked files are empty: {out}");
    for device in [
        "console", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom",
        "zero",
    ] {
        if device != "console" {
            assert!(out.contains(device), "{device} in {out}");
        }
    }
    let read_only = json!({"HostConfig": {"ReadonlyRootfs": true, "Tmpfs": {"/tmp": ""}}});
    let script = "touch /x 2>/dev/null && echo root; touch /tmp/x && echo tmp";
    assert_eq!(shell(&d, "read-only", script, read_only), "tmp\n");
    d.finish();
}

#[test]
fn capabilities_are_dockers_default_and_follow_add_and_drop() {
    let d = daemon();
    let script = "grep CapEff /proc/self/status | cut -f2";
    let bits = |name: &str, host: Value| {
        let out = shell(&d, name, script, json!({"HostConfig": host}));
        u64::from_str_radix(out.trim(), 16).expect("hex")
    };
    let ours = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let bounding = ours
        .lines()
        .find_map(|l| l.strip_prefix("CapBnd:\t"))
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .expect("a set");
    // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW
    // SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP
    let default = 0xa804_25fb_u64;
    assert_eq!(bits("default", json!({})), default & bounding);
    assert_eq!(bits("none", json!({"CapDrop": ["ALL"]})), 0);
    assert_eq!(
        bits("one", json!({"CapDrop": ["ALL"], "CapAdd": ["CHOWN"]})),
        1
    );
    let added = bits("added", json!({"CapAdd": ["NET_ADMIN"]}));
    assert_eq!(added, (default | 1 << 12) & bounding);
    assert_eq!(bits("all", json!({"Privileged": true})), bounding);
    d.finish();
}

#[test]
fn limits_reach_the_cgroup() {
    let d = daemon();
    let body = json!({
        "Cmd": ["sleep", "1000"],
        "HostConfig": {"Memory": 64 << 20, "CpuShares": 512, "PidsLimit": 50,
                       "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}]},
    });
    let id = d.run_detached("limited", body);
    let init = d.init_pid(&id);
    let limits = std::fs::read_to_string(format!("/proc/{init}/limits")).expect("it runs");
    let files = limits
        .lines()
        .find(|l| l.starts_with("Max open files"))
        .expect("a line");
    let numbers: Vec<_> = files
        .split_whitespace()
        .filter(|w| w.parse::<u32>().is_ok())
        .collect();
    assert_eq!(numbers, ["100", "200"]);
    let read = |v1: (&str, &str), v2: &str| {
        testkit::census::cgroups(&d.mark())
            .iter()
            .filter(|c| c.to_string_lossy().contains(&id))
            .find_map(|dir| {
                let v1_here = dir.to_string_lossy().contains(&format!("/{}/", v1.0));
                let file = if v1_here { v1.1 } else { v2 };
                std::fs::read_to_string(dir.join(file)).ok()
            })
            .unwrap_or_else(|| panic!("{v1:?} or {v2} of {id}"))
    };
    let memory = read(("memory", "memory.limit_in_bytes"), "memory.max");
    assert_eq!(memory.trim(), (64 << 20).to_string());
    assert_eq!(read(("pids", "pids.max"), "pids.max").trim(), "50");
    let host = &d.inspect(&id)["HostConfig"];
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["PidsLimit"], 50);
    d.finish();
}

#[test]
fn the_out_of_memory_killer_is_told_of() {
    let d = daemon();
    let body = json!({
        "Cmd": ["sh", "-c", "x=1; while :; do x=$x$x$x$x; done"],
        "HostConfig": {"Memory": 8 << 20, "MemorySwap": 8 << 20},
    });
    let out = d.run("hungry", body);
    assert_eq!(out.code, 137);
    assert_eq!(d.inspect("hungry")["State"]["OOMKilled"], true);
    d.finish();
}

#[test]
fn a_cgroup_parent_is_where_the_container_is() {
    let d = daemon();
    let parent = format!("/{}/more/levels", d.mark());
    let body = json!({"Cmd": ["sleep", "1000"], "HostConfig": {"CgroupParent": parent}});
    let id = d.run_detached("it", body);
    let pid = d.init_pid("it");
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    assert!(cgroups.contains(&format!("{parent}/{id}")), "{cgroups}");
    d.http.delete("/containers/it?force=1").expect(204);
    for bad in ["/../outside", "a/../../b"] {
        let body = json!({"Image": "busybox", "HostConfig": {"CgroupParent": bad}});
        let said = d.http.post_json("/containers/create", &body).error(400);
        assert!(
            said.contains("must stay below the root of the cgroups"),
            "{said}"
        );
    }
    // As with Docker what a client named stays: it may be somebody's.
    for cgroup in testkit::census::cgroups(&d.mark()) {
        if ["levels", "more"].iter().any(|name| cgroup.ends_with(name)) {
            std::fs::remove_dir(&cgroup).expect("it is empty");
        }
    }
    d.finish();
}

#[test]
fn an_init_forwards_signals_and_reaps() {
    testkit::require("catatonit", "catatonit");
    let d = daemon();
    let cmd = ["sh", "-c", "echo ready; exec sleep 1000"];
    let id = d.run_detached(
        "with-init",
        json!({"Cmd": cmd, "HostConfig": {"Init": true}}),
    );
    // Before that the init may not have set up its signals yet, and the kernel drops those that
    // the first process of a pid namespace does not handle.
    until("the init has a child", || d.logs(&id).stdout == "ready\n");
    d.http.post("/containers/with-init/stop?t=20").expect(204);
    assert_eq!(d.inspect("with-init")["State"]["ExitCode"], 143);
    d.finish();
}

/// The daemon raises its own limit of open files; that is no wish of a container.
#[test]
fn a_container_gets_the_open_files_the_daemon_was_started_with() {
    let d = Daemon::start(crate::options().open_files(1234));
    let limits = json!({"Cmd": ["sh", "-c", "ulimit -Sn"]});
    assert_eq!(d.run("it", limits).output.stdout, "1234\n");
    d.finish();
}

/// What Docker puts between the image and the container.
#[test]
fn a_container_finds_dockerenv_and_places_to_mount_on() {
    let d = daemon();
    let script = "test -f /.dockerenv && readlink /etc/mtab && ls /etc/hosts";
    let out = d.run("plain", json!({"Cmd": ["sh", "-c", script]}));
    assert_eq!(out.output.stdout, "/proc/mounts\n/etc/hosts\n");
    // A read-only volume over /etc was filled with the places of what is mounted there.
    let body = json!({"Cmd": ["ls", "/etc/hosts"], "HostConfig": {"Binds": ["etc:/etc:ro"]}});
    assert_eq!(d.run("covered", body).output.stdout, "/etc/hosts\n");
    d.finish();
}

#[test]
fn an_image_must_be_of_the_platform_asked_for() {
    let d = daemon();
    let mut image = Image::busybox();
    image.tags = vec!["strange:1".to_owned()];
    image.architecture = "sparc64".to_owned();
    d.load(&image);
    let body = |image: &str| json!({"Image": image, "Cmd": ["true"]});
    let create = |image: &str, platform: &str| {
        let path = testkit::query("/containers/create", &[("platform", platform)]);
        d.http.post_json(&path, &body(image))
    };
    create("strange:1", "linux/sparc64").expect(201);
    create(testkit::BUSYBOX, "linux").expect(201);
    create("strange:1", "linux/arm64/v8").expect_error(
        404,
        "image with reference strange:1 was found but its platform (linux/sparc64) does not match \
         the specified platform (linux/arm64/v8)",
    );
    let said = create("strange:1", "what is this").error(400);
    assert!(said.starts_with("\"what is this\" is an invalid"), "{said}");
    let made = d.http.post_json("/containers/create", &body("strange:1"));
    let made = made.expect(201).json();
    let warning = made["Warnings"][0].as_str().expect("a warning");
    assert!(
        warning.starts_with("The requested image's platform (linux/sparc64) does not match"),
        "{warning}"
    );
    let plain = create(testkit::BUSYBOX, "").expect(201).json();
    assert_eq!(plain["Warnings"], json!([]));
    d.finish();
}

/// Where the kernel has no SELinux, or nobody switched it on, a label is not applied, and that is told.
#[test]
fn a_label_is_shown_where_there_are_labels_and_told_where_not() {
    let d = daemon();
    let body = json!({"Image": "busybox", "Cmd": ["true"],
        "HostConfig": {"SecurityOpt": ["label=type:x_t"], "Binds": ["vol:/vol:Z"]}});
    let made = d.http.post_json("/containers/create?name=it", &body);
    let made = made.expect(201).json();
    let warning = "SELinux is not enabled: the label is not applied";
    assert_eq!(made["Warnings"], json!([warning]));
    d.start_container("it");
    d.wait("it");
    let shown = d.inspect("it");
    assert_eq!(
        (&shown["ProcessLabel"], &shown["MountLabel"]),
        (&json!(""), &json!(""))
    );
    let options = d.http.get("/info").expect(200).json()["SecurityOptions"].to_string();
    assert!(!options.contains("selinux"), "{options}");
    d.finish();
}
