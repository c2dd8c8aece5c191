//! Options of the local driver: what is asked, and what to mount for it (moby `volume/local`).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;

use model::{Error, Result};

/// The one driver there is.
const LOCAL: &str = "local";

/// The options, and which others each of them needs.
const KNOWN: [(&str, &[&str]); 4] = [
    ("device", &["type"]),
    ("o", &["device", "type"]),
    ("size", &[]),
    ("type", &["device"]),
];

/// Checks that there is such a driver.
///
/// # Errors
/// Docker's answer where no plugin of that name is installed.
pub(crate) fn check_driver(name: &str, driver: &str) -> Result<()> {
    match driver {
        "" | LOCAL => Ok(()),
        other => {
            let clip = |text: &str| text.chars().take(256).collect::<String>();
            let (name, other) = (clip(name), clip(other));
            Err(Error::not_found(format!(
                "create {name}: error looking up volume plugin {other}: plugin {other:?} not found"
            )))
        }
    }
}

/// Checks the options of a new volume (moby `validateOpts`).
///
/// # Errors
/// In moby's words.
pub(crate) fn check(name: &str, options: &BTreeMap<String, String>) -> Result<()> {
    why_not(options).map_err(|why| Error::invalid(format!("create {name}: {why}")))
}

fn why_not(options: &BTreeMap<String, String>) -> Result<(), String> {
    let is_known = |name: &str| KNOWN.iter().any(|(known, _)| *known == name);
    if let Some(unknown) = options.keys().find(|name| !is_known(name)) {
        return Err(format!("invalid option: {unknown:?}"));
    }
    if let Some(nul) = options.values().find(|value| value.contains('\0')) {
        return Err(format!("invalid option: {nul:?}"));
    }
    let get = |name: &str| options.get(name).map_or("", String::as_str);
    if get("type") == "cifs" && Url::parse(get("device")).is_some_and(|url| url.has_port()) {
        return Err("port not allowed in CIFS device URL, include 'port' in 'o='".to_owned());
    }
    if let Some(size) = options.get("size") {
        // Quotas are the file system's: none that is a project's is kept here.
        if ram_bytes(size)? > 0 {
            return Err("quota size requested but no quota support".to_owned());
        }
    }
    for (name, needs) in KNOWN {
        if options.contains_key(name)
            && let Some(missing) = needs.iter().find(|need| !options.contains_key(**need))
        {
            return Err(format!("missing required option: {missing:?}"));
        }
    }
    Ok(())
}

/// A size as people write it, `10m`: units of 1024 (go-units `RAMInBytes`).
fn ram_bytes(text: &str) -> Result<u64, String> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
    let invalid = || format!("invalid size: '{text}'");
    let end = end.ok_or_else(invalid)?;
    let (number, unit) = text.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if number < 0.0 {
        return Err(invalid());
    }
    let lower = unit.to_ascii_lowercase();
    let (letter, rest) = lower.split_at(lower.len().min(1));
    let power = match letter {
        "" | "b" => 0,
        letter => {
            1 + "kmgtp"
                .find(letter)
                .ok_or_else(|| format!("invalid suffix: '{unit}'"))?
        }
    };
    if !(rest.is_empty() || power > 0 && matches!(rest, "b" | "ib")) {
        return Err(format!("invalid suffix: '{unit}'"));
    }
    let factor = (0..power).fold(1.0, |factor, _| factor * 1024.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and a float that is too large becomes the largest number"
    )]
    Ok((number * factor) as u64)
}

/// What is to be mounted for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    fs_type: String,
    device: String,
    words: String,
}

impl Device {
    /// `None` for a volume that is a directory of ours.
    pub(crate) fn of(options: &BTreeMap<String, String>) -> Option<Self> {
        let get = |name: &str| options.get(name).cloned().unwrap_or_default();
        let device = Self {
            fs_type: get("type"),
            device: get("device"),
            words: get("o"),
        };
        (!device.fs_type.is_empty() || !device.device.is_empty()).then_some(device)
    }

    /// Whether it shows a directory that the host has already.
    pub(crate) fn binds(&self) -> bool {
        sys::fstab::binds(&self.words)
    }

    /// Mounts it at `place`. Blocking, as long as the server of a network file system lets it.
    ///
    /// # Errors
    /// In moby's words, without a password; nothing is mounted then.
    pub(crate) fn mount(&self, place: &Path) -> Result<()> {
        let (device, words) = self.resolved(lookup)?;
        let mounted = sys::fstab::mount(&device, place, &self.fs_type, &words);
        mounted.map_err(|e| {
            let told = hide_password(&e.to_string(), &self.words);
            Error::system(format!("failed to mount local volume: {told}"))
        })
    }

    /// Device and options with addresses in the place of hosts' names (moby `getMountOptions`).
    fn resolved(
        &self,
        lookup: impl Fn(&str) -> Result<IpAddr, String>,
    ) -> Result<(String, String)> {
        let unchanged = (self.device.clone(), self.words.clone());
        if self.device.is_empty() {
            return Err(Error::system("missing device in volume options"));
        }
        if !matches!(self.fs_type.as_str(), "nfs" | "cifs") {
            return Ok(unchanged);
        }
        let find = |host: &str| {
            lookup(host).map_err(|why| {
                Error::system(format!(
                    "error resolving passed in network volume address: {why}"
                ))
            })
        };
        if let Some(host) = value_of(&self.words, "addr").filter(|host| !is_v4(host)) {
            let address = format!("addr={}", find(host)?);
            let words = self.words.replacen(&format!("addr={host}"), &address, 1);
            return Ok((self.device.clone(), words));
        }
        match Url::parse(&self.device) {
            Some(url) if self.fs_type == "cifs" && url.host.parse::<IpAddr>().is_err() => {
                let address = find(url.host)?;
                Ok((url.with_host(&address.to_string()), self.words.clone()))
            }
            _ => Ok(unchanged),
        }
    }
}

fn is_v4(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4())
}

/// The host of a device `//host/share` or `smb://host/share`.
struct Url<'a> {
    before: &'a str,
    host: &'a str,
    after: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let start = text.find("//")? + 2;
        let rest = &text[start..];
        let end = rest.find('/').unwrap_or(rest.len());
        let (host, after) = rest.split_at(end);
        (!host.is_empty()).then_some(Self {
            before: &text[..start],
            host,
            after,
        })
    }

    fn has_port(&self) -> bool {
        let host = self.host.rsplit(']').next().unwrap_or_default();
        host.rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty())
    }

    fn with_host(&self, host: &str) -> String {
        format!("{}{host}{}", self.before, self.after)
    }
}

/// The value of `name=value` among words between commas.
fn value_of<'a>(words: &'a str, name: &str) -> Option<&'a str> {
    let values = words.split(',').filter_map(|word| word.split_once('='));
    let mut found = values.filter(|(key, value)| *key == name && !value.is_empty());
    found.next().map(|(_, value)| value)
}

fn hide_password(told: &str, words: &str) -> String {
    match value_of(words, "password") {
        Some(password) => told.replacen(&format!("password={password}"), "password=********", 1),
        None => told.to_owned(),
    }
}

/// An address of a host, one of IPv4 where it has one (Go's `ResolveIPAddr`).
fn lookup(host: &str) -> Result<IpAddr, String> {
    let found = (host, 0).to_socket_addrs();
    let found = found.map_err(|_| format!("lookup {host}: no such host"))?;
    let mut all: Vec<IpAddr> = found.map(|at: SocketAddr| at.ip()).collect();
    all.sort_by_key(IpAddr::is_ipv6);
    all.first()
        .copied()
        .ok_or_else(|| format!("lookup {host}: no such host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        of.iter().map(own).collect()
    }

    #[test]
    fn options_are_refused_in_mobys_words() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("foo", "x")], r#"create v: invalid option: "foo""#),
            (
                &[("type", "tmpfs")],
                r#"create v: missing required option: "device""#,
            ),
            (
                &[("device", "x")],
                r#"create v: missing required option: "type""#,
            ),
            (
                &[("o", "x")],
                r#"create v: missing required option: "device""#,
            ),
            (
                &[("o", "x"), ("device", "x")],
                r#"create v: missing required option: "type""#,
            ),
            (
                &[("size", "10m")],
                "create v: quota size requested but no quota support",
            ),
            (&[("size", "xx")], "create v: invalid size: 'xx'"),
            (&[("size", "1x")], "create v: invalid suffix: 'x'"),
            (&[("size", "1bb")], "create v: invalid suffix: 'bb'"),
            (&[("size", "-1k")], "create v: invalid size: '-1k'"),
            (
                &[("type", "cifs"), ("device", "//host:99/x")],
                "create v: port not allowed in CIFS device URL, include 'port' in 'o='",
            ),
        ];
        for (of, message) in table {
            assert_eq!(check("v", &options(of)).unwrap_err().message(), *message);
        }
        for of in [
            &[][..],
            &[("size", "0")],
            &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")],
            &[("type", "cifs"), ("device", "//host/x")],
        ] {
            check("v", &options(of)).unwrap();
        }
        assert_eq!(ram_bytes("1.5 KiB"), Ok(1536));
        assert_eq!(ram_bytes("2g"), Ok(2 << 30));
        assert!(
            check_driver("v", "foo").unwrap_err().message().ends_with(
                r#"create v: error looking up volume plugin foo: plugin "foo" not found"#
            )
        );
    }

    #[test]
    fn names_of_servers_become_addresses() {
        let lookup = |host: &str| match host {
            "nas" => Ok("10.0.0.7".parse().unwrap()),
            other => Err(format!("lookup {other}: no such host")),
        };
        let resolve = |fs_type: &str, device: &str, words: &str| {
            let of = [("type", fs_type), ("device", device), ("o", words)];
            let device = Device::of(&options(&of)).unwrap();
            device.resolved(lookup).map_err(|e| e.message().to_owned())
        };
        let resolved = |device: &str, words: &str| Ok((device.to_owned(), words.to_owned()));
        assert_eq!(
            resolve("nfs", ":/x", "addr=nas,rw"),
            resolved(":/x", "addr=10.0.0.7,rw")
        );
        assert_eq!(
            resolve("nfs", ":/x", "addr=1.2.3.4"),
            resolved(":/x", "addr=1.2.3.4")
        );
        assert_eq!(
            resolve("cifs", "//nas/a b", "ro"),
            resolved("//10.0.0.7/a b", "ro")
        );
        assert_eq!(
            resolve("tmpfs", "nas", "addr=nas"),
            resolved("nas", "addr=nas")
        );
        assert_eq!(
            resolve("nfs", ":/x", "addr=gone").unwrap_err(),
            "error resolving passed in network volume address: lookup gone: no such host"
        );
    }

    #[test]
    fn a_password_is_not_told() {
        let told = "mount //h/s:/v, data: username=me,password=secret: no such device";
        assert_eq!(
            hide_password(told, "username=me,password=secret"),
            "mount //h/s:/v, data: username=me,password=********: no such device"
        );
    }
}
