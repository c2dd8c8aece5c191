//! Which servers are asked for an image, and how each is to be spoken to.
//!
//! As in Docker a registry is spoken to by TLS, with the certificates of
//! `certs.d/HOST[:PORT]/{*.crt, *.cert, *.key}`. One that the operator calls insecure, or that is on
//! this host, may have certificates that nobody vouches for, or no TLS at all. `hosts.toml` in the
//! same directory says more (containerd's format), and mirrors are asked before Docker Hub.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use model::{Context as _, Error, Result};
use reqwest::Url;

use crate::hosts_file;

/// What an image without a registry in its name is asked of.
pub(crate) const HUB: &str = "docker.io";
const HUB_SERVER: &str = "registry-1.docker.io";
/// Longest certificate or key file.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// What the operator says of registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Those that need no TLS, or none that anybody vouches for.
    pub insecure: Vec<Insecure>,
    /// Asked before Docker Hub, in order: `https://mirror.test[:PORT][/PATH]`.
    pub mirrors: Vec<String>,
    /// Directories with one directory for each registry; the first that has it counts.
    pub certs_dirs: Vec<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            certs_dirs: vec!["/etc/moored/certs.d".into(), "/etc/docker/certs.d".into()],
        }
    }
}

impl Settings {
    /// Finds what no registry can be reached by.
    ///
    /// # Errors
    /// A mirror that is no URL.
    pub fn check(&self) -> Result<()> {
        self.mirrors.iter().try_for_each(|m| url(m).map(drop))
    }
}

/// A registry that needs no TLS: by its name, or by where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insecure {
    /// `HOST` or `HOST:PORT`, as it stands in the names of images.
    Host(String),
    /// Every address of a network, `10.0.0.0/8`.
    Net(IpNet),
}

impl From<&str> for Insecure {
    fn from(text: &str) -> Self {
        match text.parse() {
            Ok(net) => Self::Net(net),
            Err(_) => Self::Host(text.to_owned()),
        }
    }
}

/// What a server is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Pull,
    Push,
}

/// A server that may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// Up to and without `/v2/`.
    pub(crate) base: Url,
    /// The registry of the image's name; a mirror is another one, and gets nobody's credentials.
    pub(crate) is_origin: bool,
    pub(crate) tls: Tls,
}

/// Whom to trust, and who we are.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tls {
    /// Any certificate will do.
    pub(crate) unchecked: bool,
    /// Certificates of authorities, as PEM, besides the host's.
    pub(crate) authorities: Vec<Vec<u8>>,
    /// Our certificate and its key, as PEM.
    pub(crate) identity: Option<Vec<u8>>,
}

/// Says no key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("unchecked", &self.unchecked)
            .finish_non_exhaustive()
    }
}

/// The servers for a registry, in the order in which to ask.
pub(crate) async fn servers(
    settings: Arc<Settings>,
    domain: &str,
    purpose: Purpose,
) -> Result<Vec<Server>> {
    let is_insecure = is_insecure(&settings.insecure, domain).await;
    let domain = domain.to_owned();
    // Files are read, few and small.
    let found = tokio::task::spawn_blocking(move || {
        configured(&settings, &domain, purpose, is_insecure)
            .context(format_args!("registry {domain}"))
    });
    found
        .await
        .map_err(|e| Error::system(format!("looking up a registry ended early: {e}")))?
}

fn configured(
    settings: &Settings,
    domain: &str,
    purpose: Purpose,
    is_insecure: bool,
) -> Result<Vec<Server>> {
    let dir = dir_of(settings, domain);
    if let Some(dir) = &dir
        && let Some(file) = hosts_file::read(dir)?
    {
        return file.servers(domain, purpose, is_insecure);
    }
    let mut servers = Vec::new();
    if domain == HUB && purpose == Purpose::Pull {
        for mirror in &settings.mirrors {
            let base = url(mirror)?;
            let name = authority(&base);
            let mut tls = match dir_of(settings, &name) {
                Some(dir) => tls_of(&dir)?,
                None => Tls::default(),
            };
            let host = |i: &Insecure| matches!(i, Insecure::Host(host) if *host == name);
            tls.unchecked = settings.insecure.iter().any(host);
            servers.push(Server {
                base,
                is_origin: false,
                tls,
            });
        }
    }
    let tls = dir.as_deref().map(tls_of).transpose()?.unwrap_or_default();
    servers.extend(origin(domain, tls, is_insecure)?);
    Ok(servers)
}

/// The registry itself; over an open line at last, where that is allowed.
pub(crate) fn origin(domain: &str, tls: Tls, is_insecure: bool) -> Result<Vec<Server>> {
    let host = if domain == HUB { HUB_SERVER } else { domain };
    let server = |scheme: &str, tls: Tls| -> Result<Server> {
        Ok(Server {
            base: url(&format!("{scheme}://{host}"))?,
            is_origin: true,
            tls,
        })
    };
    if !is_insecure {
        return Ok(vec![server("https", tls)?]);
    }
    let unchecked = Tls {
        unchecked: true,
        ..tls
    };
    Ok(vec![
        server("https", unchecked)?,
        server("http", Tls::default())?,
    ])
}

/// Docker's rule: by name, or because it is in a network that is said to be, as loopback always is.
async fn is_insecure(insecure: &[Insecure], domain: &str) -> bool {
    let by_name = |i: &Insecure| matches!(i, Insecure::Host(host) if host == domain);
    if domain == HUB {
        return false;
    }
    if insecure.iter().any(by_name) {
        return true;
    }
    let inside = |ip: IpAddr| {
        ip.is_loopback()
            || insecure
                .iter()
                .any(|i| matches!(i, Insecure::Net(net) if net.contains(&ip)))
    };
    let host = host_of(domain);
    if let Ok(ip) = host.parse() {
        return inside(ip);
    }
    // A name that does not resolve is told of when it is asked.
    match tokio::net::lookup_host((host, 443)).await {
        Ok(mut found) => found.any(|address| inside(address.ip())),
        Err(_) => false,
    }
}

/// `HOST:PORT` without the port, `[::1]:5000` without brackets either.
fn host_of(domain: &str) -> &str {
    if let Some(rest) = domain.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    domain.rsplit_once(':').map_or(domain, |(host, _)| host)
}

/// Whether a server is the registry itself, which gets the credentials.
pub(crate) fn is_origin(base: &Url, domain: &str) -> bool {
    let host = if domain == HUB { HUB_SERVER } else { domain };
    let origin = |scheme: &str| Url::parse(&format!("{scheme}://{host}"));
    ["https", "http"]
        .iter()
        .any(|scheme| origin(scheme).is_ok_and(|url| url.origin() == base.origin()))
}

/// `HOST[:PORT]` of a URL.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A URL that servers can have.
pub(crate) fn url(text: &str) -> Result<Url> {
    let bad = |e: &dyn fmt::Display| {
        Error::invalid(format!("{text:?} is not the URL of a registry: {e}"))
    };
    let url = Url::parse(text).map_err(|e| bad(&e))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(bad(&"it must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(&"it must not have credentials"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad(&"it ends with its path"));
    }
    Ok(url)
}

fn dir_of(settings: &Settings, domain: &str) -> Option<PathBuf> {
    let mut dirs = settings.certs_dirs.iter().map(|dir| dir.join(domain));
    dirs.find(|dir| dir.is_dir())
}

/// `*.crt` are authorities; `NAME.cert` with `NAME.key` is ours (Docker's certs.d).
fn tls_of(dir: &Path) -> Result<Tls> {
    let mut names: Vec<PathBuf> = fs::read_dir(dir)
        .and_then(|entries| entries.map(|e| Ok(e?.path())).collect::<io::Result<_>>())
        .context(format_args!("read {}", dir.display()))?;
    names.sort();
    let with = |extension: &str| {
        let fits = move |path: &&PathBuf| path.extension().is_some_and(|e| e == extension);
        names.iter().filter(fits).collect::<Vec<_>>()
    };
    let mut tls = Tls::default();
    for path in with("crt") {
        tls.authorities.push(pem(path)?);
    }
    for path in with("cert") {
        let key = path.with_extension("key");
        if !key.exists() {
            return Err(Error::system(format!(
                "missing key {} for client certificate {}. CA certificates must use the extension \
                 .crt",
                key.display(),
                path.display()
            )));
        }
        tls.identity = Some(identity(path, &key)?);
    }
    Ok(tls)
}

/// A certificate and its key in one.
pub(crate) fn identity(certificate: &Path, key: &Path) -> Result<Vec<u8>> {
    let mut both = pem(certificate)?;
    both.push(b'\n');
    both.extend(pem(key)?);
    Ok(both)
}

/// A file of certificates or keys.
pub(crate) fn pem(path: &Path) -> Result<Vec<u8>> {
    bounded(path, PEM_BYTES_MAX)
}

/// A file of at most so many bytes.
pub(crate) fn bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .context(format_args!("read {}", path.display()))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::system(format!(
            "{} has more than {bytes_max} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(servers: &[Server]) -> Vec<String> {
        servers.iter().map(|s| s.base.to_string()).collect()
    }

    async fn asked(settings: &Settings, domain: &str, purpose: Purpose) -> Vec<Server> {
        let settings = Arc::new(settings.clone());
        servers(settings, domain, purpose).await.unwrap()
    }

    #[tokio::test]
    async fn mirrors_are_asked_for_images_of_the_hub_and_get_none() {
        let settings = Settings {
            mirrors: vec!["https://mirror.test/path".to_owned()],
            certs_dirs: Vec::new(),
            ..Settings::default()
        };
        let pull = asked(&settings, HUB, Purpose::Pull).await;
        assert_eq!(
            bases(&pull),
            ["https://mirror.test/path", "https://registry-1.docker.io/"]
        );
        assert!(!pull[0].is_origin && pull[1].is_origin);
        let push = asked(&settings, HUB, Purpose::Push).await;
        assert_eq!(bases(&push), ["https://registry-1.docker.io/"]);
        let other = asked(&settings, "192.0.2.1:5000", Purpose::Pull).await;
        assert_eq!(bases(&other), ["https://192.0.2.1:5000/"]);
        assert!(!other[0].tls.unchecked);
    }

    #[tokio::test]
    async fn only_what_is_said_to_be_insecure_and_this_host_are() {
        let insecure = ["plain.test:5000", "10.0.0.0/8"].map(Insecure::from).into();
        let settings = Settings {
            insecure,
            certs_dirs: Vec::new(),
            ..Settings::default()
        };
        for open in [
            "plain.test:5000",
            "10.1.2.3",
            "127.0.0.1:5000",
            "[::1]:5000",
            "localhost:1",
        ] {
            let servers = asked(&settings, open, Purpose::Pull).await;
            let bases = [format!("https://{open}/"), format!("http://{open}/")];
            assert_eq!(self::bases(&servers), bases, "{open}");
            assert!(servers[0].tls.unchecked);
        }
        for closed in ["192.0.2.1", "192.0.2.1:5000"] {
            let servers = asked(&settings, closed, Purpose::Pull).await;
            assert_eq!(bases(&servers), [format!("https://{closed}/")]);
        }
    }

    #[tokio::test]
    async fn certificates_are_found_by_the_registrys_name() {
        let dir = tempfile::tempdir().unwrap();
        let of = dir.path().join("192.0.2.1:5000");
        fs::create_dir(&of).unwrap();
        for (name, text) in [("ca.crt", "CA"), ("me.cert", "CERT"), ("me.key", "KEY")] {
            fs::write(of.join(name), text).unwrap();
        }
        let settings = Settings {
            certs_dirs: vec![dir.path().join("none"), dir.path().into()],
            ..Settings::default()
        };
        let servers = asked(&settings, "192.0.2.1:5000", Purpose::Pull).await;
        assert_eq!(servers[0].tls.authorities, [b"CA"]);
        assert_eq!(servers[0].tls.identity.as_deref(), Some(&b"CERT\nKEY"[..]));
        fs::remove_file(of.join("me.key")).unwrap();
        let settings = Arc::new(settings);
        let e = super::servers(settings, "192.0.2.1:5000", Purpose::Pull).await;
        assert!(e.unwrap_err().message().contains("me.key"));
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for bad in [
            "mirror.test",
            "ftp://x",
            "https://",
            "https://u:p@x",
            "https://x?y",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
