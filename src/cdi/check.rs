//! What a file must be to count.

use std::collections::BTreeSet;

use crate::edits::HookKind;
use crate::file::{ContainerEdits, Device, DeviceNode, File, Hook, IntelRdt, Mount};
use crate::name;

/// Versions of the specification, from the oldest on.
const VERSIONS: [&str; 9] = [
    "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0",
];

/// Checks a whole file.
pub(crate) fn file(file: &File) -> Result<(), String> {
    let invalid = |why: String| format!("invalid CDI Spec: {why}");
    version(file).map_err(invalid)?;
    let (vendor, class) = name::split_kind(&file.kind);
    name::check_vendor(vendor).map_err(invalid)?;
    name::check_class(class).map_err(invalid)?;
    edits(&file.container_edits).map_err(invalid)?;
    let mut names = BTreeSet::new();
    for one in &file.devices {
        device(one).map_err(|why| invalid(format!("failed add device {:?}: {why}", one.name)))?;
        if !names.insert(&one.name) {
            return Err(invalid(format!(
                "invalid spec, multiple device {:?}",
                one.name
            )));
        }
    }
    if names.is_empty() {
        return Err(invalid("invalid spec, no devices".to_owned()));
    }
    Ok(())
}

/// A file may only use what its version has.
fn version(file: &File) -> Result<(), String> {
    let said = file
        .cdi_version
        .strip_prefix('v')
        .unwrap_or(&file.cdi_version);
    let Some(at) = VERSIONS.iter().position(|known| *known == said) else {
        return Err(format!("invalid version {:?}", file.cdi_version));
    };
    let needed = needed_version(file);
    let needs = VERSIONS.iter().position(|known| *known == needed);
    if needs.is_some_and(|needs| needs > at) {
        return Err(format!("the spec version must be at least v{needed}"));
    }
    Ok(())
}

fn needed_version(file: &File) -> &'static str {
    let devices = || file.devices.iter();
    let all_edits = || {
        let own = devices().map(|device| &device.container_edits);
        own.chain([&file.container_edits])
    };
    let annotated = |map: &Option<std::collections::BTreeMap<_, _>>| {
        map.as_ref().is_some_and(|map| !map.is_empty())
    };
    if all_edits().any(|e| e.intel_rdt.is_some() || some(&e.additional_gids).next().is_some()) {
        "0.7.0"
    } else if annotated(&file.annotations)
        || devices().any(|device| annotated(&device.annotations))
        || name::split_kind(&file.kind).1.contains('.')
    {
        "0.6.0"
    } else if devices().any(|device| device.name.starts_with(|c: char| c.is_ascii_digit()))
        || all_edits()
            .flat_map(|e| some(&e.device_nodes))
            .any(|node| some_text(&node.host_path))
    {
        "0.5.0"
    } else if all_edits()
        .flat_map(|e| some(&e.mounts))
        .any(|mount| some_text(&mount.r#type))
    {
        "0.4.0"
    } else {
        "0.3.0"
    }
}

fn some<T>(list: &Option<Vec<T>>) -> impl Iterator<Item = &T> {
    list.iter().flatten()
}

fn some_text(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn device(device: &Device) -> Result<(), String> {
    name::check_device(&device.name)?;
    let own = &device.container_edits;
    let is_empty = some(&own.env).next().is_none()
        && some(&own.device_nodes).next().is_none()
        && some(&own.hooks).next().is_none()
        && some(&own.mounts).next().is_none()
        && some(&own.additional_gids).next().is_none()
        && own.intel_rdt.is_none();
    if is_empty {
        return Err("invalid device, empty device edits".to_owned());
    }
    edits(own).map_err(|why| format!("invalid device {:?}: {why}", device.name))
}

fn edits(edits: &ContainerEdits) -> Result<(), String> {
    env(some(&edits.env)).map_err(|why| format!("invalid container edits: {why}"))?;
    some(&edits.device_nodes).try_for_each(node)?;
    some(&edits.hooks).try_for_each(hook)?;
    some(&edits.mounts).try_for_each(mount)?;
    edits.intel_rdt.as_ref().map_or(Ok(()), rdt)
}

fn env<'a>(mut list: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let named = |entry: &str| entry.find('=').is_some_and(|at| at > 0) && !entry.contains('\0');
    match list.find(|entry| !named(entry)) {
        None => Ok(()),
        Some(bad) => Err(format!("invalid environment variable {bad:?}")),
    }
}

fn node(node: &DeviceNode) -> Result<(), String> {
    let DeviceNode { path, .. } = node;
    if path.is_empty() {
        return Err("invalid (empty) device path".to_owned());
    }
    let kind = node.r#type.as_deref().unwrap_or_default();
    if !["", "b", "c", "u", "p"].contains(&kind) {
        return Err(format!("device {path:?}: invalid type {kind:?}"));
    }
    let permissions = node.permissions.as_deref().unwrap_or_default();
    if !permissions.chars().all(|c| "rwm".contains(c)) {
        return Err(format!(
            "device {path:?}: invalid permissions {permissions:?}"
        ));
    }
    Ok(())
}

fn hook(hook: &Hook) -> Result<(), String> {
    let name = &hook.hook_name;
    if HookKind::parse(name).is_none() {
        return Err(format!("invalid hook name {name:?}"));
    }
    if hook.path.is_empty() {
        return Err(format!("invalid hook {name:?} with empty path"));
    }
    env(some(&hook.env)).map_err(|why| format!("invalid hook {name:?}: {why}"))
}

fn mount(mount: &Mount) -> Result<(), String> {
    if mount.host_path.is_empty() {
        return Err("invalid mount, empty host path".to_owned());
    }
    if mount.container_path.is_empty() {
        return Err("invalid mount, empty container path".to_owned());
    }
    Ok(())
}

/// The id of a class is a directory of the kernel's.
fn rdt(rdt: &IntelRdt) -> Result<(), String> {
    let id = rdt.clos_id.as_deref().unwrap_or_default();
    if id.len() >= 4096 || id == "." || id == ".." || id.contains(['/', '\n']) {
        return Err("invalid ClosID".to_owned());
    }
    Ok(())
}
