//! `hosts.toml`: the servers for one registry, as containerd's operators write them.
//!
//! Read strictly: a key that is not known here would be a wish that is not granted.

use std::path::{Path, PathBuf};

use model::{Error, Result};
use serde::Deserialize;

use crate::hosts::{self, Purpose, Server, Tls};

const NAME: &str = "hosts.toml";
/// Longest such file.
const BYTES_MAX: u64 = 1 << 20;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HostsFile {
    /// The registry itself, where that is not the name.
    server: Option<String>,
    ca: Files,
    client: Option<Client>,
    skip_verify: bool,
    /// Asked before it, in this order.
    #[serde(deserialize_with = "in_order")]
    host: Vec<(String, Host)>,
    #[serde(skip)]
    dir: PathBuf,
}

/// What is said of one server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Host {
    /// Of `pull`, `resolve` and `push`; none said is all of them.
    capabilities: Vec<Capability>,
    ca: Files,
    client: Option<Client>,
    skip_verify: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Capability {
    Pull,
    Resolve,
    Push,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
enum Files {
    #[default]
    None,
    One(PathBuf),
    Many(Vec<PathBuf>),
}

/// One file with both, or the certificate and its key.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Client {
    Both(PathBuf),
    Pairs(Vec<(PathBuf, PathBuf)>),
}

/// Reads the file of a registry's directory; `None` where there is none.
///
/// # Errors
/// What cannot be read, or is not understood.
pub(crate) fn read(dir: &Path) -> Result<Option<HostsFile>> {
    let path = dir.join(NAME);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = hosts::bounded(&path, BYTES_MAX)?;
    let bad = |e: String| Error::system(format!("{}: {e}", path.display()));
    let text = String::from_utf8(bytes).map_err(|e| bad(e.to_string()))?;
    let mut file: HostsFile = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
    file.dir = dir.to_owned();
    Ok(Some(file))
}

impl HostsFile {
    /// The servers for `purpose`: the hosts that have it, then the registry.
    pub(crate) fn servers(
        &self,
        domain: &str,
        purpose: Purpose,
        is_insecure: bool,
    ) -> Result<Vec<Server>> {
        let own = self.server.as_deref().map(with_scheme);
        let own = own.map(|server| hosts::url(&server)).transpose()?;
        let mut servers = Vec::new();
        let wanted = match purpose {
            Purpose::Pull => Capability::Pull,
            Purpose::Push => Capability::Push,
        };
        for (name, host) in &self.host {
            if host.capabilities.is_empty() || host.capabilities.contains(&wanted) {
                let base = hosts::url(&with_scheme(name))?;
                let is_own = own
                    .as_ref()
                    .is_some_and(|own| own.origin() == base.origin());
                servers.push(Server {
                    is_origin: is_own || hosts::is_origin(&base, domain),
                    base,
                    tls: self.tls(host)?,
                });
            }
        }
        let tls = self.tls(&Host {
            capabilities: Vec::new(),
            ca: self.ca.clone(),
            client: self.client.clone(),
            skip_verify: self.skip_verify,
        })?;
        match own {
            Some(base) => servers.push(Server {
                base,
                is_origin: true,
                tls,
            }),
            None => servers.extend(hosts::origin(domain, tls, is_insecure)?),
        }
        Ok(servers)
    }

    fn tls(&self, host: &Host) -> Result<Tls> {
        let files = match &host.ca {
            Files::None => Vec::new(),
            Files::One(path) => vec![path.clone()],
            Files::Many(paths) => paths.clone(),
        };
        let at = |path: &PathBuf| self.dir.join(path);
        let identity = match &host.client {
            None => None,
            Some(Client::Both(path)) => Some(hosts::pem(&at(path))?),
            Some(Client::Pairs(pairs)) => pairs
                .first()
                .map(|(certificate, key)| hosts::identity(&at(certificate), &at(key)))
                .transpose()?,
        };
        Ok(Tls {
            unchecked: host.skip_verify,
            authorities: files
                .iter()
                .map(|path| hosts::pem(&at(path)))
                .collect::<Result<_>>()?,
            identity,
        })
    }
}

fn with_scheme(server: &str) -> String {
    match server.contains("://") {
        true => server.to_owned(),
        false => format!("https://{server}"),
    }
}

/// A table's entries in the order of the file.
fn in_order<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<(String, Host)>, D::Error> {
    struct Entries;
    impl<'de> serde::de::Visitor<'de> for Entries {
        type Value = Vec<(String, Host)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a table of hosts")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Result<Option<HostsFile>>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(NAME), text).unwrap();
        let read = read(dir.path());
        (dir, read)
    }

    #[test]
    fn hosts_are_asked_in_order_and_only_for_what_they_do() {
        let (_dir, read) = file(
            "server = \"https://real.test\"\n\
             [host.\"https://z.test\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
             [host.\"http://a.test:5000/sub\"]\nskip_verify = true\n",
        );
        let file = read.unwrap().unwrap();
        let bases = |purpose| {
            let servers = file.servers("real.test", purpose, false).unwrap();
            servers
                .iter()
                .map(|s| s.base.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            bases(Purpose::Pull),
            [
                "https://z.test/",
                "http://a.test:5000/sub",
                "https://real.test/"
            ]
        );
        assert_eq!(
            bases(Purpose::Push),
            ["http://a.test:5000/sub", "https://real.test/"]
        );
    }

    #[test]
    fn certificates_are_beside_the_file_and_the_name_is_the_server() {
        let (dir, read) = file("ca = \"ca.pem\"\nclient = [[\"me.pem\", \"me.key\"]]\n");
        for name in ["ca.pem", "me.pem", "me.key"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let servers = read
            .unwrap()
            .unwrap()
            .servers("r.test:1", Purpose::Pull, false)
            .unwrap();
        assert_eq!(servers[0].base.as_str(), "https://r.test:1/");
        assert_eq!(servers[0].tls.authorities, [b"ca.pem"]);
        assert_eq!(
            servers[0].tls.identity.as_deref(),
            Some(&b"me.pem\nme.key"[..])
        );
    }

    #[test]
    fn a_wish_that_is_not_known_is_an_error() {
        for bad in [
            "sever = \"x\"",
            "[host.\"https://x\"]\noverride_path = true",
            "x =",
        ] {
            assert!(file(bad).1.is_err(), "{bad}");
        }
    }
}
