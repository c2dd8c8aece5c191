//! The sections `[runtimes.NAME]` of the configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use engine::RuntimeTraits;
use serde::Deserialize;

/// `[runtimes.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Program {
    #[serde(default)]
    paths: Vec<PathBuf>,
    #[serde(default)]
    args: Vec<String>,
    json_errors: Option<bool>,
    without_cgroups: Option<bool>,
}

impl Program {
    fn traits(&self) -> RuntimeTraits {
        RuntimeTraits {
            args: self.args.clone(),
            json_errors: self.json_errors,
            without_cgroups: self.without_cgroups,
        }
    }
}

/// What is said of each beside its places.
pub(super) fn traits_by_name(
    runtimes: &BTreeMap<String, Program>,
) -> BTreeMap<String, RuntimeTraits> {
    let told = |(name, program): (&String, &Program)| (name.clone(), program.traits());
    runtimes.iter().map(told).collect()
}

/// What the daemon says itself, in each call or in some.
const OWN_ARGS: &[&str] = &[
    "--root",
    "--log",
    "--log-format",
    "--systemd-cgroup",
    "--cgroup-manager",
];

/// Where each may be; none is where it usually is.
///
/// # Errors
/// One that is to be told what the daemon says itself.
pub(super) fn paths_by_name(
    runtimes: BTreeMap<String, Program>,
) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let by_name = runtimes.into_iter().map(|(name, program)| {
        let option = |arg: &String| arg.split('=').next().unwrap_or_default().to_owned();
        let mut options = program.args.iter().map(option);
        if let Some(own) = options.find(|option| OWN_ARGS.contains(&option.as_str())) {
            bail!("[runtimes.{name}] args must not have {own}: the daemon gives it");
        }
        Ok((name, program.paths))
    });
    by_name.collect()
}
