//! The versions of the engine and of the programs it drives, on the wire.

use std::collections::BTreeMap;

use engine::HostInfo;
use model::platform::go_architecture;
use serde::Serialize;
use utoipa::ToSchema;

use crate::version::Options;

/// The daemon's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `GET /version`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SystemVersion {
    /// The product.
    pub platform: Platform,
    /// The engine and the programs it drives.
    pub components: Vec<ComponentVersion>,
    /// The engine's version.
    pub version: String,
    /// The newest API version.
    pub api_version: String,
    /// The oldest API version.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// Empty: a release is named by its version.
    pub git_commit: String,
    /// Empty: this is not a Go program.
    pub go_version: String,
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub arch: String,
    /// The kernel's release.
    pub kernel_version: String,
}

/// The product.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Platform {
    /// Its name.
    pub name: String,
}

/// One program.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ComponentVersion {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// More about it.
    pub details: BTreeMap<String, String>,
}

impl SystemVersion {
    /// From what the engine found.
    pub fn new(host: &HostInfo, options: &Options) -> Self {
        let mut components = vec![engine_component(host, options)];
        components.extend(host.conmon.iter().map(|conmon| ComponentVersion {
            name: "conmon".to_owned(),
            version: version_number(&conmon.version),
            details: details(&[
                ("GitCommit", commit(&conmon.version)),
                ("Package", &conmon.package),
                ("Path", &conmon.path),
            ]),
        }));
        components.extend(host.runtimes.iter().map(|runtime| ComponentVersion {
            name: runtime.name.clone(),
            version: version_number(&runtime.version),
            details: details(&[
                ("GitCommit", commit(&runtime.version)),
                ("Path", &runtime.path),
                ("Package", &runtime.package),
                ("Note", &runtime.note),
            ]),
        }));
        Self {
            platform: Platform {
                name: "Moored".to_owned(),
            },
            components,
            version: VERSION.to_owned(),
            api_version: options.max_version.to_string(),
            min_api_version: options.min_version.to_string(),
            git_commit: String::new(),
            go_version: String::new(),
            os: "linux".to_owned(),
            arch: go_architecture(&host.architecture).to_owned(),
            kernel_version: host.kernel_version.clone(),
        }
    }
}

fn engine_component(host: &HostInfo, options: &Options) -> ComponentVersion {
    ComponentVersion {
        // Docker's name for it; clients look the component up by it.
        name: "Engine".to_owned(),
        version: VERSION.to_owned(),
        details: details(&[
            ("ApiVersion", &options.max_version.to_string()),
            ("Arch", go_architecture(&host.architecture)),
            ("Experimental", &options.experimental.to_string()),
            ("KernelVersion", &host.kernel_version),
            ("MinAPIVersion", &options.min_version.to_string()),
            ("Os", "linux"),
        ]),
    }
}

pub(super) fn details(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// The number in `conmon version 2.1.6` or `runc version 1.1.5+ds1\ncommit: …`; the whole first
/// line where there is none.
pub(super) fn version_number(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    line.split_whitespace()
        .find(is_number)
        .unwrap_or(line)
        .trim_end_matches(',')
        .to_owned()
}

/// What `commit: …` says in a program's version; empty where nothing does.
pub(super) fn commit(text: &str) -> &str {
    let after = text.split_once("commit: ").map_or("", |(_, after)| after);
    let word = after.split_whitespace().next().unwrap_or_default();
    match word {
        "unknown" => "",
        word => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::host;

    #[test]
    fn version_names_the_programs_it_drives() {
        let version = SystemVersion::new(&host(), &Options::default());
        assert_eq!(version.arch, "amd64");
        let named: Vec<_> = version
            .components
            .iter()
            .map(|c| (c.name.as_str(), c.version.as_str()))
            .collect();
        assert_eq!(
            named,
            [
                ("Engine", VERSION),
                ("conmon", "2.1.6"),
                ("runc", "1.1.5+ds1")
            ]
        );
        // What is not known is not there, rather than empty.
        assert_eq!(version.components[1].details.get("Package"), None);
    }

    #[test]
    fn a_version_without_a_number_is_shown_as_it_is() {
        assert_eq!(version_number("crun 1.8.1\nspec: 1.0.0"), "1.8.1");
        assert_eq!(version_number("something else"), "something else");
        assert_eq!(version_number(""), "");
    }

    #[test]
    fn a_commit_is_shown_where_one_is_told() {
        assert_eq!(
            commit("runc version 1.1.5+ds1\ncommit: 1.1.5-1\nspec: 1"),
            "1.1.5-1"
        );
        assert_eq!(commit("conmon version 2.1.6, commit: unknown"), "");
        assert_eq!(commit("youki 0.3"), "");
    }
}
