//! `/version`, `/info`, swarm's refusals and the other 501s.

use super::send;

#[tokio::test]
async fn version_has_what_clients_read() {
    let answer = send("GET", "/v1.45/version").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.body.ends_with("}\n"));
    let version = answer.json();
    assert_eq!(version["ApiVersion"], "1.47");
    assert_eq!(version["MinAPIVersion"], "1.24");
    assert_eq!(version["Os"], "linux");
    let engine = &version["Components"][0];
    assert_eq!(engine["Name"], "Engine");
    assert_eq!(engine["Version"], version["Version"]);
    assert_eq!(engine["Details"]["ApiVersion"], "1.47");
}

#[tokio::test]
async fn info_has_dockers_fields_by_dockers_names() {
    let info = send("GET", "/info").await.json();
    // Every field that dockerd 26 always sends.
    for field in [
        "ID",
        "Containers",
        "ContainersRunning",
        "ContainersPaused",
        "ContainersStopped",
        "Images",
        "Driver",
        "DriverStatus",
        "Plugins",
        "MemoryLimit",
        "SwapLimit",
        "CpuCfsPeriod",
        "CpuCfsQuota",
        "CPUShares",
        "CPUSet",
        "PidsLimit",
        "IPv4Forwarding",
        "BridgeNfIptables",
        "BridgeNfIp6tables",
        "Debug",
        "NFd",
        "OomKillDisable",
        "NGoroutines",
        "SystemTime",
        "LoggingDriver",
        "CgroupDriver",
        "CgroupVersion",
        "NEventsListener",
        "KernelVersion",
        "OperatingSystem",
        "OSVersion",
        "OSType",
        "Architecture",
        "IndexServerAddress",
        "RegistryConfig",
        "NCPU",
        "MemTotal",
        "GenericResources",
        "DockerRootDir",
        "HttpProxy",
        "HttpsProxy",
        "NoProxy",
        "Name",
        "Labels",
        "ExperimentalBuild",
        "ServerVersion",
        "Runtimes",
        "DefaultRuntime",
        "Swarm",
        "LiveRestoreEnabled",
        "Isolation",
        "InitBinary",
        "ContainerdCommit",
        "RuncCommit",
        "InitCommit",
        "SecurityOptions",
        "CDISpecDirs",
        "Warnings",
    ] {
        assert!(info.get(field).is_some(), "{field}");
    }
    assert_eq!(info["Swarm"]["LocalNodeState"], "inactive");
    assert_eq!(info["Plugins"]["Volume"][0], "local");
}

#[tokio::test]
async fn swarm_is_refused_in_dockers_words() {
    for (method, path) in [
        ("GET", "/v1.45/swarm"),
        ("GET", "/services"),
        ("POST", "/secrets/create"),
        ("DELETE", "/nodes/x"),
    ] {
        send(method, path).await.assert_error(
            503,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
             join\" to connect this node to swarm and try again.",
        );
    }
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    send("GET", "/v1.47/images/search")
        .await
        .assert_error(501, "GET /images/search is not implemented by moored yet");
    send("GET", "/images/a/b/attestations").await.assert_error(
        501,
        "GET /images/{name}/attestations is not implemented by moored yet",
    );
    let options = send("OPTIONS", "/anything").await;
    assert_eq!(options.status, 200);
}
