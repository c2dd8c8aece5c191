//! `/info`: counts that follow the containers, and what was found on the host.

use serde_json::json;

use crate::daemon;

#[test]
fn info_counts_containers_by_state() {
    let d = daemon();
    let sleep = || json!({"Cmd": ["sleep", "1000"]});
    d.create("made", sleep());
    d.run_detached("runs", sleep());
    d.run_detached("frozen", sleep());
    d.http.post("/containers/frozen/pause").expect(204);
    let info = d.http.get("/info").expect(200).json();
    assert_eq!(info["Containers"], 3);
    assert_eq!(info["ContainersRunning"], 1);
    assert_eq!(info["ContainersPaused"], 1);
    assert_eq!(info["ContainersStopped"], 1);
    assert_eq!(info["Images"], 1);
    d.http.post("/containers/frozen/unpause").expect(204);
    d.finish();
}

#[test]
fn info_describes_the_host_and_the_runtimes() {
    let d = daemon();
    let info = d.http.get("/info").expect(200).json();
    assert_eq!(info["DefaultRuntime"], "runc");
    assert!(info["Runtimes"]["runc"].is_object(), "{}", info["Runtimes"]);
    assert_eq!(info["OSType"], "linux");
    assert_eq!(info["CgroupDriver"], "cgroupfs");
    let version = info["CgroupVersion"].as_str().expect("text");
    assert!(["1", "2"].contains(&version), "{version}");
    assert!(info["NCPU"].as_u64().expect("a number") > 0);
    assert!(info["MemTotal"].as_u64().expect("a number") > 0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("it is there");
    assert_eq!(info["KernelVersion"], kernel.trim());
    let root = info["DockerRootDir"].as_str().expect("text");
    assert!(root.contains(&d.mark()), "{root}");
    let id = info["ID"].as_str().expect("text").to_owned();
    assert_ne!(id, "");

    let mut d = d;
    d.stop();
    d.restart();
    let again = d.http.get("/info").expect(200).json();
    assert_eq!(again["ID"], id.as_str(), "the id outlives a restart");
    d.finish();
}

#[test]
fn a_runtime_that_cannot_tell_its_version_is_warned_of() {
    let dir = tempfile::tempdir().expect("a directory");
    let broken = dir.path().join("broken");
    std::fs::write(&broken, "#!/bin/sh\necho out of order >&2\nexit 1\n").expect("a file in ours");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&broken, mode).expect("it is ours");
    let config = format!("[runtimes.broken]\npaths = [{broken:?}]\n");
    let d = testkit::Daemon::start(crate::options().config(&config));
    let info = d.http.get("/info").expect(200).json();
    let warnings = info["Warnings"].to_string();
    assert!(
        warnings.contains("WARNING: runtime broken cannot be used"),
        "{warnings}"
    );
    assert!(warnings.contains("out of order"), "{warnings}");
    // The packages are known to whoever has them: Debian's do.
    let version = d.http.get("/version").expect(200).json();
    let components = version["Components"].as_array().expect("a list");
    let runc = components
        .iter()
        .find(|c| c["Name"] == "runc")
        .expect("it is there");
    let package = runc["Details"]["Package"].as_str().unwrap_or_default();
    assert!(package.contains("runc"), "{runc}");
    d.finish();
}

#[test]
fn the_operators_log_driver_is_told_and_given_to_who_names_none() {
    let config = "log-driver = 'local'\n[log-opts]\nmax-size = '64k'\n";
    let d = testkit::Daemon::start(crate::options().config(config));
    let info = d.http.get("/info").expect(200).json();
    assert_eq!(info["LoggingDriver"], "local");
    d.create("plain", json!({"Cmd": ["true"]}));
    let log = &d.inspect("plain")["HostConfig"]["LogConfig"];
    assert_eq!(
        *log,
        json!({"Type": "local", "Config": {"max-size": "64k"}})
    );
    let other = json!({"Cmd": ["true"], "HostConfig": {"LogConfig": {"Type": "none"}}});
    d.create("other", other);
    let log = &d.inspect("other")["HostConfig"]["LogConfig"];
    assert_eq!(*log, json!({"Type": "none", "Config": {}}));
    d.finish();
}

#[test]
fn info_is_complete_for_each_version() {
    let config = "labels = [\"place=here\"]\n[registries]\ninsecure = [\"plain.test:5000\"]\n\
                  [runtimes.runc]\nargs = [\"--debug\"]\n\
                  [networks]\ndefault-address-pools = [{ base = '10.9.0.0/16', size = 24 }]\n";
    let d = testkit::Daemon::start(crate::options().config(config));
    let info = |version: &str| d.http.get(&format!("/v{version}/info")).expect(200).json();
    let now = info("1.47");
    assert_eq!(now["Labels"], json!(["place=here"]));
    assert_eq!(
        now["RegistryConfig"]["IndexConfigs"]["plain.test:5000"]["Secure"],
        false
    );
    assert_eq!(now["Runtimes"]["runc"]["runtimeArgs"], json!(["--debug"]));
    let is_overlay = now["Driver"] == "overlay2";
    assert_eq!(now["DriverStatus"].is_array(), is_overlay, "{now}");
    // It is the kernel's own word, and not ours.
    let memsw = "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes";
    let memsw = std::path::Path::new(memsw).exists();
    if now["CgroupVersion"] == "1" {
        assert_eq!(now["SwapLimit"], memsw);
        let told = now["Warnings"].to_string();
        assert_eq!(told.contains("WARNING: No swap limit support"), !memsw);
        assert_eq!(info("1.41")["KernelMemory"], true);
        assert_eq!(now.get("KernelMemory"), None);
    }
    let is_on = |name: &str| {
        let mut cat = d.command_inside("cat");
        let said = cat.arg(format!("/proc/sys/net/{name}")).output();
        said.expect("cat runs").stdout == b"1\n"
    };
    for (key, name) in [
        ("IPv4Forwarding", "ipv4/ip_forward"),
        ("BridgeNfIptables", "bridge/bridge-nf-call-iptables"),
        ("BridgeNfIp6tables", "bridge/bridge-nf-call-ip6tables"),
    ] {
        assert_eq!(now[key], is_on(name), "{key}");
    }
    let pools = &now["DefaultAddressPools"];
    assert_eq!(pools, &json!([{"Base": "10.9.0.0/16", "Size": 24}]));
    let options = info("1.24")["SecurityOptions"].to_string();
    assert!(!options.contains('='), "{options}");
    d.finish();
}
