//! A profile of the client's own, in the form of Docker's profiles (moby/profiles, `seccomp`): the OCI
//! specification's, with rules that hold for some kernels, machines and capabilities only.
//!
//! Actions, operators and names of calls are the runtime's to know: they go through as they are.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use model::{Error, Result, limits};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::capabilities::CapSet;
use crate::document::{Seccomp, SyscallArg, SyscallRule};
use crate::host::{Arch, HostFacts};

/// What a profile comes to for a container with this bounding set on this host. `None` where it says
/// nothing at all, which is moby's word for no filter.
///
/// # Errors
/// `InvalidParameter` for what is no profile.
pub(crate) fn compose(text: &str, bounding: CapSet, host: &HostFacts) -> Result<Option<Seccomp>> {
    if text.len() > limits::SECCOMP_PROFILE_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the seccomp profile has {} bytes, more than {}",
            text.len(),
            limits::SECCOMP_PROFILE_BYTES_MAX
        )));
    }
    let Object(profile) = serde_json::from_str::<Object<Profile>>(text)
        .map_err(|e| Error::invalid(format!("Decoding seccomp profile failed: {e}")))?;
    if profile.default_action.is_empty() && profile.syscalls.is_empty() {
        return Ok(None);
    }
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(Error::invalid(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either \
             'architectures' or 'archMap'",
        ));
    }
    let (machine, native) = names(host.arch);
    let mut maps = profile.arch_map.into_iter().map(|Object(map)| map);
    let mapped = maps.find(|map| !native.is_empty() && map.architecture == native);
    let architectures = match mapped {
        Some(map) => [vec![map.architecture], map.sub_architectures].concat(),
        None => profile.architectures,
    };
    let mut syscalls = Vec::new();
    for Object(call) in profile.syscalls.into_iter().flatten() {
        let names = call.names()?;
        let has = |cap: &String| bounding.contains(cap);
        let excluded = call.excludes.as_ref().is_some_and(|Object(by)| {
            by.arches.iter().any(|arch| arch == machine)
                || by.caps.iter().any(has)
                || by.min_kernel.is_some_and(|kernel| host.kernel >= kernel.0)
        });
        let included = call.includes.as_ref().is_none_or(|Object(by)| {
            (by.arches.is_empty() || by.arches.iter().any(|arch| arch == machine))
                && by.caps.iter().all(has)
                && by.min_kernel.is_none_or(|kernel| host.kernel >= kernel.0)
        });
        if included && !excluded {
            syscalls.push(call.rule(names));
        }
    }
    Ok(Some(Seccomp {
        default_action: profile.default_action.into(),
        default_errno_ret: profile.default_errno_ret,
        architectures: owned(architectures),
        flags: owned(profile.flags),
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls,
    }))
}

/// The machine as rules name it (Go's word), and its native convention (libseccomp's).
fn names(arch: Arch) -> (&'static str, &'static str) {
    match arch {
        Arch::X86_64 => ("amd64", "SCMP_ARCH_X86_64"),
        Arch::Aarch64 => ("arm64", "SCMP_ARCH_AARCH64"),
        Arch::Riscv64 => ("riscv64", "SCMP_ARCH_RISCV64"),
        Arch::S390x => ("s390x", "SCMP_ARCH_S390X"),
        Arch::Ppc64le => ("ppc64le", "SCMP_ARCH_PPC64LE"),
        Arch::Loongarch64 | Arch::Other => ("", ""),
    }
}

fn owned(list: Vec<String>) -> Vec<Cow<'static, str>> {
    list.into_iter().map(Cow::Owned).collect()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Profile {
    #[serde(deserialize_with = "or_default")]
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    architectures: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    arch_map: Vec<Object<Map>>,
    #[serde(deserialize_with = "or_default")]
    flags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    listener_path: String,
    #[serde(deserialize_with = "or_default")]
    listener_metadata: String,
    #[serde(deserialize_with = "or_default")]
    syscalls: Vec<Option<Object<Call>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Map {
    #[serde(deserialize_with = "or_default")]
    architecture: String,
    #[serde(deserialize_with = "or_default")]
    sub_architectures: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Call {
    /// Of profiles before Docker 1.13.
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    names: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    action: String,
    errno_ret: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    args: Vec<Object<Argument>>,
    includes: Option<Object<Filter>>,
    excludes: Option<Object<Filter>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    value_two: u64,
    #[serde(deserialize_with = "or_default")]
    op: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Filter {
    #[serde(deserialize_with = "or_default")]
    caps: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    arches: Vec<String>,
    min_kernel: Option<Kernel>,
}

/// `4.8`: what a kernel must be at least.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Kernel((u32, u32));

impl TryFrom<String> for Kernel {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let invalid = || format!("invalid kernel version: {text:?}, expected \"<kernel>.<major>\"");
        if text.is_empty() {
            return Ok(Self((0, 0)));
        }
        let (kernel, major) = text.split_once('.').ok_or_else(invalid)?;
        let number = |digits: &str| digits.parse::<u8>().map_err(|_| invalid());
        match (number(kernel)?, number(major)?) {
            (0, 0) => Err(format!("{}: version cannot be 0.0", invalid())),
            (kernel, major) => Ok(Self((kernel.into(), major.into()))),
        }
    }
}

impl Call {
    fn names(&self) -> Result<Vec<String>> {
        match (self.name.as_str(), self.names.as_slice()) {
            ("", names) => Ok(names.to_vec()),
            (name, []) => Ok(vec![name.to_owned()]),
            _ => Err(Error::invalid(
                "both 'name' and 'names' are specified in the seccomp profile, use either 'name' \
                 or 'names'",
            )),
        }
    }

    fn rule(self, names: Vec<String>) -> SyscallRule {
        let args = self.args.into_iter().map(|Object(arg)| SyscallArg {
            index: arg.index,
            value: arg.value,
            value_two: Some(arg.value_two).filter(|value| *value != 0),
            op: arg.op.into(),
        });
        SyscallRule {
            names: owned(names),
            action: self.action.into(),
            errno_ret: self.errno_ret,
            args: args.collect(),
        }
    }
}

/// An object. serde would take a list as well, its entries for the fields in their order.
#[derive(Debug, Default)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Expecting<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Expecting<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                map: A,
            ) -> std::result::Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        from.deserialize_map(Expecting(PhantomData))
    }
}

/// Go reads `null` as nothing.
fn or_default<'de, D, T>(value: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(value).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture;

    fn composed(profile: &Value) -> Value {
        let host = fixture::host();
        let composed = compose(&profile.to_string(), CapSet::docker_default(), &host).unwrap();
        serde_json::to_value(composed).unwrap()
    }

    fn refused(text: &str) -> String {
        let host = fixture::host();
        let error = compose(text, CapSet::docker_default(), &host).unwrap_err();
        error.message().to_owned()
    }

    #[test]
    fn a_profile_of_the_specification_goes_through() {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                    {"index": 0, "value": 2_114_060_288u64, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]},
                {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
            ],
        });
        assert_eq!(composed(&profile), profile);
        let spec = json!({"linux": {"seccomp": profile}, "ociVersion": "1.0.2"});
        serde_json::from_value::<oci_spec::runtime::Spec>(spec).unwrap();
    }

    #[test]
    fn the_first_profiles_of_docker_are_still_read() {
        let old = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "archMap": null,
            "syscalls": [null, {"name": "chmod", "action": "SCMP_ACT_ERRNO", "args": null,
                                "comment": "no", "includes": {}, "excludes": {}}],
            "unheardOf": 1,
        });
        let wanted = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": [],
            "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}],
        });
        assert_eq!(composed(&old), wanted);
    }

    #[test]
    fn rules_hold_where_they_say() {
        let call = |name: &str, condition: Value| {
            let mut call = json!({"names": [name], "action": "SCMP_ACT_ALLOW"});
            for (key, value) in condition.as_object().unwrap() {
                call[key] = value.clone();
            }
            call
        };
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
                {"architecture": "SCMP_ARCH_X86_64",
                 "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            ],
            "syscalls": [
                call("all", json!({})),
                call("chown", json!({"includes": {"caps": ["CAP_CHOWN"]}})),
                call("both", json!({"includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}})),
                call("no-admin", json!({"excludes": {"caps": ["CAP_SYS_ADMIN"]}})),
                call("no-chown", json!({"excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}})),
                call("amd64", json!({"includes": {"arches": ["arm64", "amd64"]}})),
                call("arm64", json!({"includes": {"arches": ["arm64"]}})),
                call("not-amd64", json!({"excludes": {"arches": ["amd64"]}})),
                call("old", json!({"includes": {"minKernel": "4.8"}})),
                call("same", json!({"includes": {"minKernel": "6.1"}})),
                call("new", json!({"includes": {"minKernel": "6.2"}})),
                call("before", json!({"excludes": {"minKernel": "6.1"}})),
                call("any", json!({"includes": {"minKernel": ""}})),
            ],
        });
        let composed = composed(&profile);
        let names: Vec<&str> = composed["syscalls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["names"][0].as_str().unwrap())
            .collect();
        let wanted = ["all", "chown", "no-admin", "amd64", "old", "same", "any"];
        assert_eq!(names, wanted);
        assert_eq!(
            composed["architectures"],
            json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
        );
    }

    #[test]
    fn a_profile_that_says_nothing_is_no_filter() {
        for nothing in ["{}", r#"{"syscalls": [], "defaultAction": ""}"#] {
            let composed = compose(nothing, CapSet::default(), &fixture::host()).unwrap();
            assert!(composed.is_none(), "{nothing}");
        }
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for bad in [
            "",
            "null",
            "{",
            "[]",
            "7",
            r#"{"syscalls": {}}"#,
            r#"{"defaultAction": 1}"#,
            r#"{"syscalls": [["read"]]}"#,
            r#"{"syscalls": [{"names": ["read"], "includes": [["CAP_CHOWN"]]}]}"#,
        ] {
            let said = refused(bad);
            assert!(
                said.starts_with("Decoding seccomp profile failed: "),
                "{said}"
            );
        }
        for bad in ["4", "4.x", "4.8.1", "0.0", "4.999", "-1.2"] {
            let rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW",
                              "includes": {"minKernel": bad}});
            let said = refused(&json!({"syscalls": [rule]}).to_string());
            let words = format!("invalid kernel version: {bad:?}, expected \"<kernel>.<major>\"");
            assert!(said.contains(&words), "{said}");
        }
        assert_eq!(
            refused(r#"{"defaultAction": "x", "architectures": ["a"], "archMap": [{}]}"#),
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either \
             'architectures' or 'archMap'"
        );
        assert_eq!(
            refused(r#"{"syscalls": [{"name": "a", "names": ["b"]}]}"#),
            "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or \
             'names'"
        );
        let huge = format!("{{\"defaultAction\": \"{}\"}}", "x".repeat(1 << 20));
        assert!(refused(&huge).contains("bytes, more than"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_profile_or_refused(
            text in prop_oneof![
                "\\PC{0,80}",
                r#"\{("(syscalls|archMap|defaultAction|includes|names)": ?(\[|\]|\{|\}|"[a-z]*"|[0-9]{1,25}|null),? ?){0,6}\}"#,
            ],
        ) {
            let host = fixture::host();
            if let Ok(Some(profile)) = compose(&text, CapSet::docker_default(), &host) {
                serde_json::to_vec(&profile).unwrap();
            }
        }
    }
}
