//! `config.json` of an OCI bundle, as far as we write it (runtime-spec 1.0.2).
//!
//! Own structs rather than those of the oci-spec crate, for two reasons: its capability sets are
//! hash sets, so the same container would give another file each time (no golden tests, no
//! comparing after an upgrade), and it owns every string, which would copy some 400 names of
//! system calls per start. A test parses what these structs write with oci-spec's, so a
//! misspelt field is found.
//!
//! Shape only: which values go in is decided by the other files of this directory.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// The version of the specification that everything here exists in, and that every runtime of
/// the last years accepts.
pub(super) const OCI_VERSION: &str = "1.0.2";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    pub(super) oci_version: &'static str,
    pub(super) process: Process<'a>,
    pub(super) root: Root<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<&'a str>,
    pub(super) mounts: Vec<MountEntry<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    pub(super) annotations: Cow<'a, BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hooks: Option<Hooks>,
    pub(super) linux: Linux<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process<'a> {
    pub(super) terminal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) console_size: Option<ConsoleSize>,
    pub(super) user: User<'a>,
    pub(super) args: Vec<Cow<'a, str>>,
    pub(super) env: Vec<String>,
    pub(super) cwd: &'a str,
    pub(super) capabilities: Capabilities,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rlimits: Vec<Rlimit>,
    pub(super) no_new_privileges: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) apparmor_profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) selinux_label: Option<&'a str>,
    pub(super) oom_score_adj: i32,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User<'a> {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) additional_gids: Cow<'a, [u32]>,
}

#[derive(Debug, Serialize)]
pub(super) struct Capabilities {
    pub(super) bounding: Vec<&'static str>,
    pub(super) effective: Vec<&'static str>,
    pub(super) permitted: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Rlimit {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) hard: u64,
    pub(super) soft: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Root<'a> {
    pub(super) path: &'a str,
    pub(super) readonly: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct MountEntry<'a> {
    pub(super) destination: Cow<'a, str>,
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    pub(super) kind: Cow<'a, str>,
    pub(super) source: Cow<'a, str>,
    pub(super) options: Vec<Cow<'a, str>>,
}

/// Programs of the host that the runtime runs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hooks {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) prestart: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) create_runtime: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) create_container: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) start_container: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) poststart: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) poststop: Vec<Hook>,
}

#[derive(Debug, Serialize)]
pub(super) struct Hook {
    pub(super) path: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IntelRdt<'a> {
    #[serde(rename = "closID", skip_serializing_if = "str::is_empty")]
    pub(super) clos_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) l3_cache_schema: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) mem_bw_schema: &'a str,
    #[serde(rename = "enableCMT")]
    pub(super) enable_cmt: bool,
    #[serde(rename = "enableMBM")]
    pub(super) enable_mbm: bool,
}

fn is_empty(map: &BTreeMap<String, String>) -> bool {
    map.is_empty()
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Linux<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) sysctl: BTreeMap<&'a str, &'a str>,
    pub(super) resources: Resources<'a>,
    pub(super) cgroups_path: &'a str,
    pub(super) namespaces: Vec<Namespace<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) uid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) gid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) devices: Vec<DeviceNode<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seccomp: Option<Seccomp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) intel_rdt: Option<IntelRdt<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rootfs_propagation: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) masked_paths: Vec<&'a str>,
    /// Of what the runtime mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mount_label: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) readonly_paths: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Namespace<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// Another's; without it a new one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct IdMapping {
    #[serde(rename = "containerID")]
    pub(super) container_id: u32,
    #[serde(rename = "hostID")]
    pub(super) host_id: u32,
    pub(super) size: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceNode<'a> {
    pub(super) path: Cow<'a, str>,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) major: u32,
    pub(super) minor: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gid: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct Resources<'a> {
    pub(super) devices: Vec<DeviceRule<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<Cpu<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pids: Option<Pids>,
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
    pub(super) block_io: Option<BlockIo>,
}

/// A rule of the device cgroup. `None` for the type or a number means all.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DeviceRule<'a> {
    pub(super) allow: bool,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) major: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) minor: Option<u32>,
    pub(super) access: &'a str,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reservation: Option<i64>,
    /// Memory and swap together, as in cgroup v1; runtimes subtract for v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) swap: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<i64>,
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub(super) kernel_tcp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) swappiness: Option<i64>,
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub(super) disable_oom_killer: Option<bool>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cpu<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shares: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quota: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) period: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) realtime_runtime: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) realtime_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpus: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mems: Option<Cow<'a, str>>,
}

/// What `update --resources` of the OCI runtimes reads: limits of a cgroup that is there.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Update<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<Cpu<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pids: Option<Pids>,
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
    pub(super) block_io: Option<BlockIo>,
    /// Files of v2 and what is written to them, after all else.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) unified: BTreeMap<&'static str, &'static str>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Pids {
    pub(super) limit: i64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockIo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) weight_device: Vec<WeightDevice>,
    #[serde(
        rename = "throttleReadBpsDevice",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) read_bps: Vec<Throttle>,
    #[serde(
        rename = "throttleWriteBpsDevice",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) write_bps: Vec<Throttle>,
    #[serde(
        rename = "throttleReadIOPSDevice",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) read_iops: Vec<Throttle>,
    #[serde(
        rename = "throttleWriteIOPSDevice",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) write_iops: Vec<Throttle>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct WeightDevice {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) weight: u16,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Throttle {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) rate: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seccomp {
    pub(super) default_action: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_errno_ret: Option<u32>,
    pub(super) architectures: Vec<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) flags: Vec<Cow<'static, str>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) listener_path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) listener_metadata: String,
    pub(super) syscalls: Vec<SyscallRule>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SyscallRule {
    pub(super) names: Vec<Cow<'static, str>>,
    pub(super) action: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errno_ret: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<SyscallArg>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SyscallArg {
    pub(super) index: u32,
    pub(super) value: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value_two: Option<u64>,
    pub(super) op: Cow<'static, str>,
}
