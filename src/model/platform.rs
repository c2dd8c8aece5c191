//! Platforms of images: operating system, architecture and variant, in Go's words.

use std::fmt;

use crate::error::{Error, Result};

/// Systems that stand for a platform by themselves.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
/// Architectures that stand for a platform by themselves.
const ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// Go's name of an architecture, which is Docker's, from that of the kernel or of the compiler.
pub fn go_architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i386" | "i686" => "386",
        "armv6l" | "armv7l" => "arm",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// The architecture this program is for, in Go's words.
pub fn host_architecture() -> &'static str {
    go_architecture(std::env::consts::ARCH)
}

/// A platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v8` and the like; often empty.
    pub variant: String,
}

impl Platform {
    /// This host, with the most its processor can do: the `level` of an x86-64 one.
    pub fn host(level: Option<u8>) -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: host_architecture().to_owned(),
            // Docker does not write the baseline.
            variant: level
                .filter(|level| *level > 1)
                .map_or_else(String::new, |level| format!("v{level}")),
        }
    }

    /// Reads `os`, `architecture`, `os/architecture` or `os/architecture/variant`, with the
    /// aliases that are in use (`x86_64`, `aarch64`, `armhf`, ...), as containerd's
    /// `platforms.Parse` does.
    ///
    /// # Errors
    /// 400 in containerd's words.
    pub fn parse(text: &str) -> Result<Self> {
        let shown: String = text.chars().take(128).collect();
        let invalid = |what: &str| Error::invalid(format!("{what}: invalid argument"));
        if text.contains('*') {
            return Err(invalid(&format!("{shown:?}: wildcards not yet supported")));
        }
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let is_word = |part: &str| {
            let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            !part.is_empty() && part.chars().all(is_fine)
        };
        if let Some(part) = parts.iter().find(|part| !is_word(part)) {
            let part: String = part.chars().take(128).collect();
            return Err(invalid(&format!(
                "{part:?} is an invalid component of {shown:?}: platform specifier component must \
                 match \"^[A-Za-z0-9_-]+$\""
            )));
        }
        let platform = match parts[..] {
            [word] => Self::from_word(word).ok_or_else(|| {
                invalid(&format!(
                    "{shown:?}: unknown operating system or architecture"
                ))
            })?,
            [os, architecture] => Self::normal(os, architecture, ""),
            [os, architecture, variant] => Self::normal(os, architecture, variant),
            _ => {
                return Err(invalid(&format!(
                    "{shown:?}: cannot parse platform specifier"
                )));
            }
        };
        Ok(platform.shown(parts.len() == 3))
    }

    /// One word: a system, for the host's architecture, or an architecture.
    fn from_word(word: &str) -> Option<Self> {
        let system = Self::normal(word, host_architecture(), "");
        if SYSTEMS.contains(&system.os.as_str()) {
            return Some(system);
        }
        let platform = Self::normal("linux", word, "");
        ARCHITECTURES
            .contains(&platform.architecture.as_str())
            .then_some(platform)
    }

    /// As `Parse` writes it: 32-bit ARM's usual variant is left out unless it was given, that of
    /// 64-bit ARM is written when one was given.
    fn shown(mut self, is_full: bool) -> Self {
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("arm", "v7") if !is_full => self.variant.clear(),
            ("arm64", "") if is_full => "v8".clone_into(&mut self.variant),
            _ => {}
        }
        self
    }

    /// With aliases resolved and variants that mean nothing left out (containerd's `Normalize`).
    fn normal(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "" => "linux".to_owned(),
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            other => other,
        };
        Self {
            os,
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// Whether an image of platform `image` runs where this one does: it is the same, or an older
    /// variant, or the 32-bit kind (containerd's `platforms.Only`). An image that says no variant
    /// matches each of its architecture, since many say none (moby `OnlyPlatformWithFallback`).
    pub fn takes(&self, image: &Self) -> bool {
        let normal = |p: &Self| Self::normal(&p.os, &p.architecture, &p.variant);
        let (host, other) = (normal(self), normal(image));
        if host.os != other.os {
            return false;
        }
        let is_same = host.architecture == other.architecture;
        let is_older = || match (host.level(), other.level()) {
            (Some(host), Some(image)) => image <= host,
            _ => host.variant == other.variant,
        };
        match (host.architecture.as_str(), other.architecture.as_str()) {
            ("amd64", "386") => true,
            // 64-bit ARM runs everything up to version 8.
            ("arm64", "arm") => other.level().is_some_and(|level| level <= 8),
            _ => is_same && (image.variant.is_empty() || is_older()),
        }
    }

    /// How well an image of platform `image` fits, lower is better: the same architecture, and of that
    /// the highest variant that runs (the order of containerd's `platforms.Only`). `None` where it
    /// does not run.
    pub fn rank(&self, image: &Self) -> Option<(bool, std::cmp::Reverse<u32>)> {
        let level = Self::normal(&image.os, &image.architecture, &image.variant).level();
        let is_other = self.architecture != image.architecture;
        self.takes(image)
            .then(|| (is_other, std::cmp::Reverse(level.unwrap_or_default())))
    }

    /// The number of a normal variant, where higher ones run what lower ones do.
    fn level(&self) -> Option<u32> {
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("amd64", "") => Some(1),
            ("arm64", "") => Some(8),
            ("amd64" | "arm64" | "arm", variant) => variant.strip_prefix('v')?.parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.write_str("unknown");
        }
        f.write_str(&self.os)?;
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Platform {
            os: next(),
            architecture: next(),
            variant: next(),
        }
    }

    #[test]
    fn specifiers_are_read_as_containerd_reads_them() {
        let host = format!("linux/{}", host_architecture());
        for (text, wanted) in [
            ("linux", host.as_str()),
            ("amd64", "linux/amd64"),
            ("x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("armhf", "linux/arm"),
            ("armel", "linux/arm/v6"),
            ("Linux/X86-64", "linux/amd64"),
            ("linux/i386", "linux/386"),
            ("linux/arm64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64/v8"),
            ("linux/arm64/8", "linux/arm64/v8"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("macos/arm64", "darwin/arm64"),
            ("windows/amd64", "windows/amd64"),
            ("linux/mine", "linux/mine"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn rubbish_is_refused() {
        for (text, words) in [
            (
                "beos9",
                "\"beos9\": unknown operating system or architecture",
            ),
            ("linux/*", "\"linux/*\": wildcards not yet supported"),
            ("a/b/c/d", "\"a/b/c/d\": cannot parse platform specifier"),
            ("/amd64", "\"\" is an invalid component of \"/amd64\""),
            ("linux/", "\"\" is an invalid component of \"linux/\""),
            ("", "\"\" is an invalid component of \"\""),
            (
                "linux/a b",
                "\"a b\" is an invalid component of \"linux/a b\"",
            ),
            ("linux/arm64/v8.1", "\"v8.1\" is an invalid component"),
        ] {
            let e = Platform::parse(text).unwrap_err();
            assert!(e.message().starts_with(words), "{text}: {e}");
        }
    }

    #[test]
    fn older_variants_run_and_newer_ones_and_others_do_not() {
        for (host, image, wanted) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/amd64/v1", true),
            ("linux/amd64", "linux/amd64/v3", false),
            ("linux/amd64/v3", "linux/amd64/v2", true),
            ("linux/amd64/v3", "linux/amd64/v4", false),
            ("linux/amd64", "linux/386", true),
            ("linux/386", "linux/amd64", false),
            ("linux/amd64", "linux/arm64", false),
            ("linux/amd64", "/amd64", true),
            ("linux/amd64", "windows/amd64", false),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm/v7", true),
            ("linux/arm64", "linux/arm64/v9", false),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm/v6", "linux/arm", true),
            ("linux/arm/v7", "linux/arm/v6", true),
            ("linux/s390x", "linux/s390x", true),
            ("linux/s390x/odd", "linux/s390x/other", false),
            ("linux/amd64", "", false),
        ] {
            let found = platform(host).takes(&platform(image));
            assert_eq!(found, wanted, "{image} on {host}");
        }
    }
}
