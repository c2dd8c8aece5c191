//! `[registries]`: how registries are reached.

use std::path::PathBuf;

use anyhow::{Result, bail};
use engine::{Insecure, RegistrySettings};
use serde::Deserialize;

/// The table.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Registries {
    /// `HOST[:PORT]`, or a network.
    insecure: Vec<String>,
    /// Of Docker Hub.
    mirrors: Vec<String>,
    certs_dirs: Option<Vec<PathBuf>>,
}

impl Registries {
    /// What the engine is to go by.
    ///
    /// # Errors
    /// A mirror that is no URL, a registry with a scheme or a path, a relative directory.
    pub(crate) fn settings(self) -> Result<RegistrySettings> {
        for host in &self.insecure {
            let is_net = matches!(Insecure::from(host.as_str()), Insecure::Net(_));
            if host.is_empty() || host.contains('/') && !is_net {
                bail!(
                    "registries.insecure: {host:?} is neither HOST[:PORT] nor a network such as \
                     10.0.0.0/8"
                );
            }
        }
        let mut settings = RegistrySettings {
            insecure: self.insecure.iter().map(|i| i.as_str().into()).collect(),
            mirrors: self.mirrors,
            ..RegistrySettings::default()
        };
        if let Some(dirs) = self.certs_dirs {
            settings.certs_dirs = dirs;
        }
        if let Some(dir) = settings.certs_dirs.iter().find(|dir| !dir.is_absolute()) {
            bail!("registries.certs-dirs: {} is not absolute", dir.display());
        }
        settings.check()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<RegistrySettings> {
        toml::from_str::<Registries>(text)?.settings()
    }

    #[test]
    fn what_reaches_no_registry_is_refused() {
        let good = settings(
            "insecure = [\"a.test:5000\", \"10.0.0.0/8\"]\nmirrors = [\"https://m.test\"]\n",
        );
        assert_eq!(good.unwrap().insecure.len(), 2);
        for bad in [
            "insecure = [\"http://a.test\"]",
            "insecure = [\"\"]",
            "mirrors = [\"m.test\"]",
            "certs-dirs = [\"certs\"]",
            "mirror = []",
        ] {
            assert!(settings(bad).is_err(), "{bad}");
        }
    }
}
