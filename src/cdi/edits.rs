//! What is changed about a container for its devices, as plain values.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use model::resources::device_numbers;

use crate::file::{self, ContainerEdits, DeviceNode};

/// All that a container's devices ask for, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// `KEY=value`.
    pub env: Vec<String>,
    /// Nodes to make.
    pub nodes: Vec<Node>,
    /// Paths of the host to mount.
    pub mounts: Vec<Bind>,
    /// Programs of the host to run.
    pub hooks: Vec<Hook>,
    /// Groups of the first process.
    pub additional_gids: Vec<u32>,
    /// Share of caches and of the memory's bandwidth.
    pub rdt: Option<Rdt>,
}

/// A device node to be made inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where.
    pub path: String,
    /// Its kind.
    pub kind: NodeKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits, where the file says them.
    pub file_mode: Option<u32>,
    /// Any of `r`, `w`, `m`: what the device cgroup allows.
    pub permissions: String,
    /// Owner, where the file says it; else the container's user.
    pub uid: Option<u32>,
    /// Group, where the file says it; else the container's group.
    pub gid: Option<u32>,
}

/// The kinds of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of mknod(1)")]
pub enum NodeKind {
    Char,
    Block,
    Fifo,
}

impl NodeKind {
    /// mknod's letter.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Char => "c",
            Self::Block => "b",
            Self::Fifo => "p",
        }
    }
}

/// A mount of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Path on the host, or what the type takes for one.
    pub source: String,
    /// Path inside.
    pub destination: String,
    /// Options of mount(8).
    pub options: Vec<String>,
    /// The type; empty where the options say that it is a bind.
    pub kind: String,
}

impl Bind {
    /// Its source is a path of the host.
    pub fn is_bind(&self) -> bool {
        let mut words = self.options.iter().map(String::as_str);
        words.any(|word| matches!(word, "bind" | "rbind"))
    }
}

/// A program of the host that the OCI runtime runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When.
    pub kind: HookKind,
    /// The program.
    pub path: String,
    /// Its arguments, its own name among them.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// After how many seconds it is ended.
    pub timeout: Option<i64>,
}

/// When a hook is run (OCI runtime specification, "POSIX-platform Hooks").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the specification's words")]
pub enum HookKind {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl HookKind {
    /// The specification's word.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "prestart" => Self::Prestart,
            "createRuntime" => Self::CreateRuntime,
            "createContainer" => Self::CreateContainer,
            "startContainer" => Self::StartContainer,
            "poststart" => Self::Poststart,
            "poststop" => Self::Poststop,
            _ => return None,
        })
    }
}

/// Intel's Resource Director Technology (OCI runtime specification, `linux.intelRdt`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the specification's words")]
pub struct Rdt {
    pub clos_id: String,
    pub l3_cache_schema: String,
    pub mem_bw_schema: String,
    pub enable_cmt: bool,
    pub enable_mbm: bool,
}

impl Edits {
    /// Of a container without such devices.
    pub const NONE: Self = Self {
        env: Vec::new(),
        nodes: Vec::new(),
        mounts: Vec::new(),
        hooks: Vec::new(),
        additional_gids: Vec::new(),
        rdt: None,
    };

    /// Adds what a file or a device says. Nodes are looked up on the host where it leaves their numbers out.
    pub(crate) fn add(&mut self, said: &ContainerEdits) -> Result<(), String> {
        self.env.extend(said.env.iter().flatten().cloned());
        for node in said.device_nodes.iter().flatten() {
            self.nodes.push(resolve(node)?);
        }
        let mounts = said.mounts.iter().flatten();
        self.mounts.extend(mounts.map(|mount| Bind {
            source: mount.host_path.clone(),
            destination: mount.container_path.clone(),
            options: mount.options.clone().unwrap_or_default(),
            kind: mount.r#type.clone().unwrap_or_default(),
        }));
        self.hooks
            .extend(said.hooks.iter().flatten().filter_map(hook));
        let gids = said.additional_gids.iter().flatten();
        self.additional_gids.extend(gids.filter(|gid| **gid != 0));
        if let Some(rdt) = &said.intel_rdt {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            self.rdt = Some(Rdt {
                clos_id: text(&rdt.clos_id),
                l3_cache_schema: text(&rdt.l3_cache_schema),
                mem_bw_schema: text(&rdt.mem_bw_schema),
                enable_cmt: rdt.enable_cmt.unwrap_or(false),
                enable_mbm: rdt.enable_mbm.unwrap_or(false),
            });
        }
        Ok(())
    }
}

fn hook(hook: &file::Hook) -> Option<Hook> {
    Some(Hook {
        kind: HookKind::parse(&hook.hook_name)?,
        path: hook.path.clone(),
        args: hook.args.clone().unwrap_or_default(),
        env: hook.env.clone().unwrap_or_default(),
        timeout: hook.timeout,
    })
}

fn resolve(node: &DeviceNode) -> Result<Node, String> {
    let said = match node.r#type.as_deref() {
        Some("b") => Some(NodeKind::Block),
        Some("c" | "u") => Some(NodeKind::Char),
        Some("p") => Some(NodeKind::Fifo),
        _ => None,
    };
    let major = node.major.filter(|major| *major != 0);
    let (kind, major, minor) = match (said, major) {
        (Some(NodeKind::Fifo), _) => (NodeKind::Fifo, 0, 0),
        (Some(kind), Some(major)) => (kind, major, node.minor.unwrap_or(0)),
        _ => {
            let path = match node.host_path.as_deref() {
                None | Some("") => &node.path,
                Some(path) => path,
            };
            let (found, numbers) = look(path)
                .map_err(|why| format!("failed to stat CDI host device {path:?}: {why}"))?;
            if let Some(kind) = said.filter(|kind| *kind != found) {
                return Err(format!(
                    "CDI device ({:?}, {path:?}), host type mismatch ({}, {})",
                    node.path,
                    kind.letter(),
                    found.letter()
                ));
            }
            match major {
                Some(major) => (found, major, node.minor.unwrap_or(0)),
                None => (found, numbers.0, numbers.1),
            }
        }
    };
    let permissions = node.permissions.clone().filter(|p| !p.is_empty());
    Ok(Node {
        path: node.path.clone(),
        kind,
        major,
        minor,
        file_mode: node.file_mode,
        permissions: permissions.unwrap_or_else(|| "rwm".to_owned()),
        uid: node.uid,
        gid: node.gid,
    })
}

/// Looks at a node, not through a link.
fn look(path: &str) -> Result<(NodeKind, (u32, u32)), String> {
    let found = fs::symlink_metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => e.to_string(),
    })?;
    let kind = match found.file_type() {
        t if t.is_char_device() => NodeKind::Char,
        t if t.is_block_device() => NodeKind::Block,
        t if t.is_fifo() => NodeKind::Fifo,
        _ => return Err("not a device node".to_owned()),
    };
    Ok((kind, device_numbers(found.rdev())))
}
