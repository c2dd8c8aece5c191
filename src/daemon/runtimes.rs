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

/// Where each may be.
///
/// # Errors
/// One without a path.
pub(super) fn paths_by_name(
    runtimes: BTreeMap<String, Program>,
) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let by_name = runtimes.into_iter().map(|(name, program)| {
        if program.paths.is_empty() {
            bail!("[runtimes.{name}] needs at least one path");
        }
        Ok((name, program.paths))
    });
    by_name.collect()
}
