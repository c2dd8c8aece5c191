//! Images made from Debian's busybox-static, as archives in memory.

use std::sync::OnceLock;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The name of the image every daemon gets.
pub const BUSYBOX: &str = "busybox:latest";

const BUSYBOX_PROGRAM: &str = "/bin/busybox";

/// An image to be loaded: layers from the bottom up and a configuration.
#[derive(Debug, Clone)]
pub struct Image {
    /// Names, `busybox:latest`.
    pub tags: Vec<String>,
    /// Uncompressed layer tars, the lowest first.
    pub layers: Vec<Vec<u8>>,
    /// Of its configuration: this machine's, in Go's words.
    pub architecture: String,
    /// The `config` of the image configuration: `Cmd`, `Env`, ...
    pub config: Value,
}

impl Image {
    /// busybox with all its applets, users, and a shell as command. Made once a process.
    pub fn busybox() -> Self {
        static LAYER: OnceLock<Vec<u8>> = OnceLock::new();
        Self {
            tags: vec![BUSYBOX.to_owned()],
            layers: vec![LAYER.get_or_init(busybox_layer).clone()],
            architecture: architecture().to_owned(),
            config: json!({
                "Cmd": ["sh"],
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            }),
        }
    }

    /// busybox with another name and a changed configuration.
    pub fn with(tag: &str, changes: &Value) -> Self {
        let mut image = Self::busybox();
        image.tags = vec![tag.to_owned()];
        let changes = changes.as_object().expect("a config is an object");
        for (key, value) in changes {
            image.config[key] = value.clone();
        }
        image
    }

    /// The configuration blob: its digest is the image's id.
    pub fn config_blob(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(|l| sha256(l)).collect();
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": self.layers.iter().map(|_| json!({
                "created": "2024-01-01T00:00:00Z",
                "created_by": "moored tests",
            })).collect::<Vec<_>>(),
        })
        .to_string()
        .into_bytes()
    }

    /// The id, `sha256:...`.
    pub fn id(&self) -> String {
        sha256(&self.config_blob())
    }

    /// As `docker save` of Docker 24 and older writes it.
    pub fn docker_archive(&self) -> Vec<u8> {
        let config = self.config_blob();
        let config_name = format!("{}.json", hex_of(&sha256(&config)));
        let mut tar = TarBuilder::new();
        let mut names = Vec::new();
        for layer in &self.layers {
            let name = format!("{}/layer.tar", hex_of(&sha256(layer)));
            tar.file(&name, 0o644, layer);
            names.push(name);
        }
        tar.file(&config_name, 0o644, &config);
        let manifest = json!([
            {"Config": config_name, "RepoTags": self.tags, "Layers": names}
        ]);
        tar.file("manifest.json", 0o644, manifest.to_string().as_bytes());
        tar.finish()
    }

    /// As an OCI image layout, `org.opencontainers.image.ref.name` holding the whole name.
    pub fn oci_archive(&self) -> Vec<u8> {
        let mut tar = TarBuilder::new();
        let mut blob = |media_type: &str, bytes: &[u8]| {
            let digest = sha256(bytes);
            tar.file(&format!("blobs/sha256/{}", hex_of(&digest)), 0o644, bytes);
            json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
        };
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|l| blob("application/vnd.oci.image.layer.v1.tar", l))
            .collect();
        let config = blob(
            "application/vnd.oci.image.config.v1+json",
            &self.config_blob(),
        );
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        });
        let mut descriptor = blob(
            "application/vnd.oci.image.manifest.v1+json",
            manifest.to_string().as_bytes(),
        );
        let tag = self.tags.first().cloned().unwrap_or_default();
        descriptor["annotations"] = json!({
            "io.containerd.image.name": format!("docker.io/library/{tag}"),
            "org.opencontainers.image.ref.name": tag,
        });
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        tar.file("index.json", 0o644, index.to_string().as_bytes());
        tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
        tar.finish()
    }
}

/// Builds tars by hand, hostile ones too: names are written as they are.
pub struct TarBuilder {
    tar: tar::Builder<Vec<u8>>,
    owner: (u64, u64),
}

impl std::fmt::Debug for TarBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarBuilder").finish_non_exhaustive()
    }
}

impl Default for TarBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl TarBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            tar: tar::Builder::new(Vec::new()),
            owner: (0, 0),
        }
    }

    /// An extended header for the entry after it.
    pub fn extended(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.tar
            .append_pax_extensions([(key, value)])
            .expect("a tar in memory takes all");
        self
    }

    /// Whose the entries are from here on.
    pub fn owned_by(&mut self, uid: u64, gid: u64) -> &mut Self {
        self.owner = (uid, gid);
        self
    }

    /// Adds a regular file.
    pub fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> &mut Self {
        self.entry(tar::EntryType::Regular, name, mode, "", bytes)
    }

    /// Adds a directory.
    pub fn dir(&mut self, name: &str, mode: u32) -> &mut Self {
        self.entry(tar::EntryType::Directory, name, mode, "", b"")
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, name: &str, target: &str) -> &mut Self {
        self.entry(tar::EntryType::Symlink, name, 0o777, target, b"")
    }

    /// Adds a hard link.
    pub fn hard_link(&mut self, name: &str, target: &str) -> &mut Self {
        self.entry(tar::EntryType::Link, name, 0o644, target, b"")
    }

    fn entry(
        &mut self,
        kind: tar::EntryType,
        name: &str,
        mode: u32,
        target: &str,
        bytes: &[u8],
    ) -> &mut Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_704_067_200);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_size(bytes.len() as u64);
        let fields = header.as_gnu_mut().expect("it was made as one");
        // Not set_path: it refuses what a hostile archive has.
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.tar
            .append(&header, bytes)
            .expect("a tar in memory takes all");
        self
    }

    /// The finished tar.
    pub fn finish(self) -> Vec<u8> {
        self.tar.into_inner().expect("a tar in memory takes all")
    }
}

fn busybox_layer() -> Vec<u8> {
    let program = std::fs::read(BUSYBOX_PROGRAM)
        .expect("/bin/busybox is there: install the package busybox-static");
    let applets = std::process::Command::new(BUSYBOX_PROGRAM)
        .arg("--list")
        .output()
        .expect("busybox runs");
    let mut tar = TarBuilder::new();
    for dir in [
        "bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "var",
    ] {
        tar.dir(&format!("{dir}/"), 0o755);
    }
    tar.dir("tmp/", 0o1777);
    tar.file("bin/busybox", 0o755, &program);
    for applet in String::from_utf8_lossy(&applets.stdout).lines() {
        if applet != "busybox" {
            tar.symlink(&format!("bin/{applet}"), "/bin/busybox");
        }
    }
    tar.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\n\
          daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
          app:x:1000:1000:app:/home/app:/bin/sh\n",
    );
    tar.file(
        "etc/group",
        0o644,
        b"root:x:0:\ndaemon:x:1:\napp:x:1000:\nextra:x:2000:app\n",
    );
    tar.finish()
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", const_hex::encode(Sha256::digest(bytes)))
}

fn hex_of(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

/// Go's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
