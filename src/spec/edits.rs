//! What devices of the Container Device Interface change about a spec (moby `injectCDIDevices`, and the
//! interface's own `ContainerEdits.Apply`).

use std::borrow::Cow;

use cdi::{Bind, Edits, HookKind, Node, NodeKind, Rdt};

use super::SpecInput;
use super::document::{DeviceNode, DeviceRule, Hook, Hooks, IntelRdt, MountEntry};

/// Sets variables: in their places where they are there already.
pub(super) fn environment(edits: &Edits, env: &mut Vec<String>) {
    let key = |entry: &str| entry.split('=').next().map(str::to_owned);
    for entry in &edits.env {
        let wanted = key(entry);
        match env.iter_mut().find(|old| key(old) == wanted) {
            Some(old) => old.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
}

/// The groups of the first process.
pub(super) fn groups<'a>(own: &'a [u32], edits: &Edits) -> Cow<'a, [u32]> {
    let mut groups = Cow::Borrowed(own);
    for gid in &edits.additional_gids {
        if !groups.contains(gid) {
            groups.to_mut().push(*gid);
        }
    }
    groups
}

/// Adds nodes; one that is there already at their path goes.
pub(super) fn nodes<'a>(input: &SpecInput<'a>, nodes: &mut Vec<DeviceNode<'a>>) {
    let user = input.user;
    for node in &input.edits.nodes {
        nodes.retain(|old| old.path != node.path.as_str());
        nodes.push(DeviceNode {
            path: Cow::Borrowed(&node.path),
            kind: node.kind.letter(),
            major: node.major,
            minor: node.minor,
            file_mode: node.file_mode,
            uid: node.uid.or_else(|| Some(user.uid).filter(|uid| *uid > 0)),
            gid: node.gid.or_else(|| Some(user.gid).filter(|gid| *gid > 0)),
        });
    }
}

/// What the device cgroup allows with them.
pub(super) fn rules(edits: &Edits) -> impl Iterator<Item = DeviceRule<'_>> {
    let devices = edits
        .nodes
        .iter()
        .filter(|node| node.kind != NodeKind::Fifo);
    devices.map(|node: &Node| DeviceRule {
        allow: true,
        kind: Some(node.kind.letter()),
        major: Some(node.major),
        minor: Some(node.minor),
        access: &node.permissions,
    })
}

/// Adds mounts among those that every container has, in whose places they come; parents first.
pub(super) fn mounts<'a>(edits: &'a Edits, mounts: &mut Vec<MountEntry<'a>>) {
    if edits.mounts.is_empty() {
        return;
    }
    for bind in &edits.mounts {
        let Bind {
            source,
            destination,
            options,
            kind,
        } = bind;
        mounts.retain(|old| old.destination != destination.as_str());
        mounts.push(MountEntry {
            destination: destination.as_str().into(),
            kind: kind.as_str().into(),
            source: source.as_str().into(),
            options: options.iter().map(|o| Cow::Borrowed(o.as_str())).collect(),
        });
    }
    mounts.sort_by_key(|mount| super::mounts::depth(&mount.destination));
}

/// The hooks, where there are any.
pub(super) fn hooks(edits: &Edits) -> Option<Hooks> {
    if edits.hooks.is_empty() {
        return None;
    }
    let of = |kind: HookKind| {
        let hooks = edits.hooks.iter().filter(move |hook| hook.kind == kind);
        let hook = |hook: &'_ cdi::Hook| Hook {
            path: hook.path.clone(),
            args: hook.args.clone(),
            env: hook.env.clone(),
            timeout: hook.timeout,
        };
        hooks.map(hook).collect()
    };
    Some(Hooks {
        prestart: of(HookKind::Prestart),
        create_runtime: of(HookKind::CreateRuntime),
        create_container: of(HookKind::CreateContainer),
        start_container: of(HookKind::StartContainer),
        poststart: of(HookKind::Poststart),
        poststop: of(HookKind::Poststop),
    })
}

/// Intel's RDT, where a file speaks of it.
pub(super) fn intel_rdt(edits: &Edits) -> Option<IntelRdt<'_>> {
    let Rdt {
        clos_id,
        l3_cache_schema,
        mem_bw_schema,
        enable_cmt,
        enable_mbm,
    } = edits.rdt.as_ref()?;
    Some(IntelRdt {
        clos_id,
        l3_cache_schema,
        mem_bw_schema,
        enable_cmt: *enable_cmt,
        enable_mbm: *enable_mbm,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{SpecInput, build, fixture, user::ResolvedUser};

    fn built(edits: &Edits, uid: u32) -> Value {
        let (id, spec, host) = (fixture::id(), fixture::spec(), fixture::host());
        let user = ResolvedUser {
            uid,
            gid: uid,
            additional_gids: vec![10],
            home: "/".to_owned(),
        };
        let input = SpecInput {
            edits,
            ..fixture::input(&id, &spec, &user, &host)
        };
        let built = build(&input).unwrap();
        serde_json::from_slice(&built.config_json).unwrap()
    }

    fn node(path: &str, kind: NodeKind) -> Node {
        Node {
            path: path.to_owned(),
            kind,
            major: 7,
            minor: 1,
            file_mode: None,
            permissions: "rw".to_owned(),
            uid: None,
            gid: Some(0),
        }
    }

    #[test]
    fn all_that_a_device_needs_is_written() {
        let bind = |source: &str, destination: &str| Bind {
            source: source.to_owned(),
            destination: destination.to_owned(),
            options: vec!["rbind".to_owned(), "ro".to_owned()],
            kind: String::new(),
        };
        let edits = Edits {
            env: vec!["PATH=/vendor".to_owned(), "NEW=1".to_owned()],
            nodes: vec![
                node("/dev/a", NodeKind::Block),
                node("/dev/f", NodeKind::Fifo),
            ],
            mounts: vec![
                bind("/vendor/lib", "/usr/lib/x"),
                bind("/vendor/shm", "/dev/shm"),
            ],
            hooks: vec![cdi::Hook {
                kind: HookKind::CreateContainer,
                path: "/vendor/hook".to_owned(),
                args: vec!["hook".to_owned()],
                env: Vec::new(),
                timeout: Some(3),
            }],
            additional_gids: vec![10, 44],
            rdt: Some(Rdt {
                clos_id: "c".to_owned(),
                l3_cache_schema: String::new(),
                mem_bw_schema: String::new(),
                enable_cmt: true,
                enable_mbm: false,
            }),
        };
        let spec = built(&edits, 5);
        serde_json::from_value::<oci_spec::runtime::Spec>(spec.clone()).unwrap();
        let process = &spec["process"];
        assert_eq!(process["user"]["additionalGids"], json!([10, 44]));
        let env = process["env"].as_array().unwrap();
        assert_eq!(env[0], "PATH=/vendor", "in its place");
        assert!(env.contains(&json!("NEW=1")));
        let linux = &spec["linux"];
        let wanted = |path: &str, kind: &str| json!({"path": path, "type": kind, "major": 7, "minor": 1, "uid": 5, "gid": 0});
        assert_eq!(
            linux["devices"],
            json!([wanted("/dev/a", "b"), wanted("/dev/f", "p")])
        );
        let rules = linux["resources"]["devices"].as_array().unwrap();
        let rule = json!({"allow": true, "type": "b", "major": 7, "minor": 1, "access": "rw"});
        assert_eq!(rules.last(), Some(&rule), "a FIFO has none");
        assert_eq!(linux["intelRdt"]["closID"], "c");
        let hook = json!({"path": "/vendor/hook", "args": ["hook"], "timeout": 3});
        assert_eq!(spec["hooks"], json!({"createContainer": [hook]}));
        let mounts = spec["mounts"].as_array().unwrap();
        let of = |at: &str| {
            mounts
                .iter()
                .filter(move |m| m["destination"] == at)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("/dev/shm").len(), 1, "in place of ours");
        assert_eq!(of("/dev/shm")[0]["source"], "/vendor/shm");
        assert!(of("/usr/lib/x")[0].get("type").is_none());
        let at = |at: &str| mounts.iter().position(|m| m["destination"] == at);
        assert!(at("/dev") < at("/dev/shm"), "{mounts:?}");
    }

    #[test]
    fn no_devices_change_nothing() {
        let none = built(&Edits::NONE, 0);
        assert!(none.get("hooks").is_none());
        assert!(none["linux"].get("intelRdt").is_none());
        assert_eq!(none["process"]["user"]["additionalGids"], json!([10]));
    }
}
