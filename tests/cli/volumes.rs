//! `docker volume`, and every form of `-v`, `--mount`, `--tmpfs` and `--volumes-from`.

use std::fs;

use crate::with_each_runtime;

/// A run that ends by itself.
fn run<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    let fixed = ["run", "--rm", "--network=none"];
    let mut args = [&fixed[..], options].concat();
    args.extend(["busybox", "sh", "-c", script]);
    args
}

#[test]
fn docker_volume_from_create_to_prune() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let says = |args: &[&str]| docker.run(args).expect(0).stdout;
        assert_eq!(
            says(&["volume", "create", "--label", "a=b", "one"]),
            "one\n"
        );
        let unnamed = says(&["volume", "create"]);
        let memory = [
            "--opt",
            "type=tmpfs",
            "--opt",
            "device=tmpfs",
            "--opt",
            "o=size=1m",
        ];
        says(&[&["volume", "create"][..], &memory, &["mem"]].concat());
        let list = says(&["volume", "ls", "-q", "--filter", "label=a=b"]);
        assert_eq!(list, "one\n");
        let format = "{{.Name}} {{.Driver}} {{.Options.o}}";
        let shown = says(&["volume", "inspect", "--format", format, "mem"]);
        assert_eq!(shown, "mem local size=1m\n");
        let out = says(&run(
            &["-v", "mem:/m"],
            "df -k /m | tail -n1 | awk '{print $2}'",
        ));
        assert_eq!(out, "1024\n");
        says(&["create", "--name", "user", "-v", "one:/o", "busybox"]);
        let refused = docker.run(&["volume", "rm", "one", "nosuch"]).expect(1);
        assert!(
            refused.stderr.contains("remove one: volume is in use - ["),
            "{refused:?}"
        );
        assert!(
            refused.stderr.contains("get nosuch: no such volume"),
            "{refused:?}"
        );
        assert_eq!(says(&["volume", "rm", "-f", "nosuch"]), "nosuch\n");
        let pruned = says(&["volume", "prune", "-f"]);
        assert!(pruned.contains(unnamed.trim()), "{pruned}");
        says(&["rm", "user"]);
        let pruned = says(&["volume", "prune", "-af"]);
        assert_eq!(
            pruned,
            "Deleted Volumes:\none\n\nTotal reclaimed space: 0B\n"
        );
        assert_eq!(says(&["volume", "ls", "-q"]), "mem\n");
        says(&["volume", "rm", "mem"]);
        let wrong = docker
            .run(&["volume", "create", "--opt", "size=1g", "x1"])
            .expect(1);
        let why = "create x1: quota size requested but no quota support";
        assert!(wrong.stderr.contains(why), "{wrong:?}");
    });
}

#[test]
fn system_prune_takes_volumes_along() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let says = |args: &[&str]| docker.run(args).expect(0).stdout;
        says(&["volume", "create", "named"]);
        says(&["create", "-v", "/unnamed", "busybox"]);
        let told = says(&["system", "prune", "--volumes", "-f"]);
        assert!(told.contains("Deleted Containers:"), "{told}");
        assert!(told.contains("Deleted Volumes:"), "{told}");
        assert_eq!(says(&["volume", "ls", "-q"]), "named\n");
    });
}

#[test]
fn every_form_of_a_mount() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let host = d.root().join("host");
        fs::create_dir_all(host.join("below")).expect("ours");
        fs::write(host.join("file"), "host\n").expect("ours");
        let host = host.to_str().expect("text");
        let says =
            |options: &[&str], script: &str| docker.run(&run(options, script)).expect(0).stdout;
        let mount = |text: &str| text.replace("HOST", host);
        let ro = "touch /m/x 2>&1 | grep -c Read-only";
        let cases = [
            (mount("type=bind,src=HOST,dst=/m"), "cat /m/file", "host\n"),
            (mount("type=bind,src=HOST,dst=/m,readonly"), ro, "1\n"),
            (
                mount("type=bind,src=HOST,dst=/m,ro,bind-recursive=writable"),
                ro,
                "1\n",
            ),
            (
                mount("type=bind,src=HOST,dst=/m,bind-recursive=disabled"),
                "ls /m",
                "below\nfile\n",
            ),
            (
                mount("type=bind,src=HOST/file,dst=/m/file"),
                "cat /m/file",
                "host\n",
            ),
            (
                mount("type=volume,src=vol,dst=/m"),
                "echo vol > /m/f; mkdir /m/sub; cat /m/f",
                "vol\n",
            ),
            (mount("type=volume,src=vol,dst=/m,readonly"), ro, "1\n"),
            (
                mount("type=volume,src=vol,dst=/m,volume-subpath=sub"),
                "ls -A /m; touch /m/in",
                "",
            ),
            (
                mount("type=volume,src=vol,dst=/m,volume-subpath=sub"),
                "ls -A /m",
                "in\n",
            ),
            (
                mount("type=volume,src=nc,dst=/etc,volume-nocopy"),
                "ls -A /etc | grep -c passwd || true",
                "0\n",
            ),
            (mount("type=volume,dst=/m"), "touch /m/x && ls /m", "x\n"),
            (
                mount("type=volume,src=lab,dst=/m,volume-label=a=b"),
                "true",
                "",
            ),
            (
                mount(
                    "type=volume,src=opt,dst=/m,volume-driver=local,volume-opt=type=none,volume-opt=device=HOST,volume-opt=o=bind",
                ),
                "cat /m/file",
                "host\n",
            ),
            (
                mount("type=tmpfs,dst=/m,tmpfs-size=64k,tmpfs-mode=700"),
                "stat -c %a /m",
                "700\n",
            ),
        ];
        for (text, script, expected) in &cases {
            assert_eq!(says(&["--mount", text], script), *expected, "{text}");
        }
        let all = "type=bind,src=HOST,dst=/m,ro,bind-recursive=readonly,bind-propagation=rprivate";
        let all = docker.run(&run(&["--mount", &mount(all)], ro));
        let unable = all
            .stderr
            .contains("rro is not supported by runtime \"crun\"");
        assert!(unable || all.stdout == "1\n", "{all:?}");
        let labels = docker.run(&["volume", "inspect", "--format", "{{.Labels.a}}", "lab"]);
        assert_eq!(labels.expect(0).stdout, "b\n");
        let bind = format!("{host}:/m:ro,z");
        assert_eq!(says(&["-v", &bind], ro), "1\n");
        assert_eq!(says(&["-v", "vol:/m:ro"], ro), "1\n");
        let words = "grep ' /t ' /proc/mounts | grep -c 'size=64k,mode=700'";
        assert_eq!(says(&["--tmpfs", "/t:size=64k,mode=700"], words), "1\n");
        let gone = run(&["--mount", "type=bind,src=/no/such,dst=/m"], "true");
        let gone = docker.run(&gone).expect(125).stderr;
        assert!(
            gone.contains("bind source path does not exist: /no/such"),
            "{gone}"
        );
    });
}

#[test]
fn volumes_from_others() {
    with_each_runtime(|d| {
        let docker = d.docker();
        let says = |args: &[&str]| docker.run(args).expect(0).stdout;
        says(&[
            "run",
            "--name",
            "one",
            "-v",
            "data:/d",
            "-v",
            "/a",
            "busybox",
            "sh",
            "-c",
            "echo x > /a/x",
        ]);
        assert_eq!(
            says(&run(&["--volumes-from", "one"], "cat /a/x; touch /d/y")),
            "x\n"
        );
        let ro = run(
            &["--volumes-from", "one:ro"],
            "touch /d/z 2>&1 | grep -c Read-only",
        );
        assert_eq!(says(&ro), "1\n");
        let nobody = docker
            .run(&run(&["--volumes-from", "nosuch"], "true"))
            .expect(125);
        assert!(
            nobody.stderr.contains("No such container: nosuch"),
            "{nobody:?}"
        );
        // --rm of those who borrowed has taken nothing.
        assert_eq!(says(&["volume", "ls", "-q"]).lines().count(), 2);
        says(&["rm", "-v", "one"]);
        assert_eq!(says(&["volume", "ls", "-q"]), "data\n");
    });
}
