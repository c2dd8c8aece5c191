//! Image references, normalised as Docker's `distribution/reference` does it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Error;
use crate::limits;

/// A full image name: `docker.io/library/busybox:latest`, or with a digest in place of or beside
/// the tag. [`fmt::Display`] gives the full form, [`Reference::familiar`] the one users type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const DIGEST_ALGORITHM: &str = "sha256";

impl Reference {
    /// The registry: `docker.io` where none was written.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; a reference with neither tag nor digest was given `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when one was written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The repository as users write it: `busybox`, `user/app`, `localhost:5000/app`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as users write it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// The same repository with another tag and no digest.
    ///
    /// # Errors
    /// When `tag` is not a valid tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, Error> {
        // What stands alone has a sentence of its own (distribution/reference `ErrTagInvalidFormat`).
        check_tag(tag).map_err(|_| Error::invalid("invalid tag format"))?;
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository with this digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// What an image of this name is kept and looked up under: beside a digest the tag says nothing,
    /// for it may have come to mean another image (moby `reference.store`, `favorDigest`).
    #[must_use]
    pub fn lookup_key(&self) -> Self {
        match &self.digest {
            Some(digest) => self.with_digest(digest.clone()),
            None => self.clone(),
        }
    }

    /// Whether an image may be given this name: `sha256:TEXT` would be read as a digest.
    ///
    /// # Errors
    /// Docker's refusal of the repository `sha256`.
    pub fn check_assignable(&self) -> Result<(), Error> {
        if self.familiar_name() == DIGEST_ALGORITHM {
            return Err(Error::invalid(
                "refusing to create an ambiguous tag using digest algorithm as name",
            ));
        }
        Ok(())
    }

    fn suffix(&self) -> String {
        let tag = self
            .tag
            .as_ref()
            .map(|t| format!(":{t}"))
            .unwrap_or_default();
        let digest = self
            .digest
            .as_ref()
            .map(|d| format!("@{d}"))
            .unwrap_or_default();
        format!("{tag}{digest}")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.domain, self.path, self.suffix())
    }
}

impl From<Reference> for String {
    fn from(r: Reference) -> Self {
        r.to_string()
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::invalid(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (domain, remainder) = split_domain(rest);
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remainder, None),
        };
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            let official = domain == DEFAULT_DOMAIN && !path.contains('/');
            let prefix = if official { OFFICIAL_PREFIX } else { "" };
            let shown: String = path.chars().take(limits::REPOSITORY_BYTES_MAX).collect();
            return Err(Error::invalid(format!(
                "invalid reference format: repository name ({prefix}{shown}) must be lowercase"
            )));
        }
        if !path.split('/').all(is_path_component) || !is_domain(domain) {
            return Err(invalid_format());
        }
        let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
            format!("{OFFICIAL_PREFIX}{path}")
        } else {
            path.to_owned()
        };
        if domain.len() + 1 + path.len() > limits::REPOSITORY_BYTES_MAX {
            return Err(Error::invalid(
                "repository name must not be more than 255 characters",
            ));
        }
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Self {
            domain: domain.to_owned(),
            path,
            tag,
            digest,
        })
    }
}

/// The first component is a domain only when it looks like one: it has a dot or a colon, is
/// `localhost`, or has upper case (`distribution/reference` `splitDockerDomain`).
fn split_domain(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            if first == "index.docker.io" {
                (DEFAULT_DOMAIN, rest)
            } else {
                (first, rest)
            }
        }
        _ => (DEFAULT_DOMAIN, text),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, Some(port)),
        _ => (domain, None),
    };
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let ip6 = host.starts_with('[') && host.ends_with(']');
    let host_ok = if ip6 {
        host[1..host.len() - 1]
            .bytes()
            .all(|b| b.is_ascii_hexdigit() || b == b':')
    } else {
        host.split('.').all(label)
    };
    host_ok && port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// Alphanumeric runs joined by one of `.`, `_`, `__`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alnum(*first)
        && alnum(*last)
        && bytes
            .split(|b| alnum(*b))
            .all(|sep| matches!(sep, b"" | b"." | b"_" | b"__") || sep.iter().all(|b| *b == b'-'))
}

fn check_tag(tag: &str) -> Result<(), Error> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.len() <= limits::TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if valid { Ok(()) } else { Err(invalid_format()) }
}

fn invalid_format() -> Error {
    Error::invalid("invalid reference format")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn short_names_are_docker_hubs_library() {
        let r = parse("busybox");
        assert_eq!(r.to_string(), "docker.io/library/busybox:latest");
        assert_eq!(r.familiar(), "busybox:latest");
        assert_eq!(parse("user/app:1").to_string(), "docker.io/user/app:1");
        assert_eq!(parse("index.docker.io/library/x").familiar(), "x:latest");
    }

    #[test]
    fn registries_and_ports_are_kept() {
        let r = parse("localhost:5000/a/b:v1.2");
        assert_eq!(
            (r.domain(), r.path(), r.tag()),
            ("localhost:5000", "a/b", Some("v1.2"))
        );
        assert_eq!(parse("ghcr.io/x/y").familiar(), "ghcr.io/x/y:latest");
    }

    #[test]
    fn a_digest_takes_the_place_of_the_default_tag() {
        let digest = Digest::from_sha256([7; 32]);
        let r = parse(&format!("busybox@{digest}"));
        assert_eq!((r.tag(), r.digest()), (None, Some(&digest)));
        let both = parse(&format!("busybox:1@{digest}"));
        assert_eq!(both.familiar(), format!("busybox:1@{digest}"));
        assert_eq!(both.lookup_key(), r);
        assert_eq!(parse("busybox:1").lookup_key(), parse("busybox:1"));
    }

    #[test]
    fn no_image_may_be_named_like_a_digest() {
        for bad in ["sha256", "sha256:abc", "docker.io/library/sha256"] {
            let e = parse(bad).check_assignable().unwrap_err();
            assert!(e.message().starts_with("refusing to create"), "{bad}");
        }
        for good in ["user/sha256", "localhost/sha256:1", "sha512:1"] {
            parse(good).check_assignable().unwrap();
        }
    }

    #[test]
    fn rubbish_is_refused_as_docker_refuses_it() {
        let hex = "a".repeat(64);
        let long = format!("{}/x", "a".repeat(300));
        for bad in [
            "", "UPPER", "UPPER/x:", "x:", "a//b", "a..b", "-a", "a:b c", ":tag", "@x", &hex, &long,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        let e = "Foo".parse::<Reference>().unwrap_err();
        assert_eq!(
            e.message(),
            "invalid reference format: repository name (library/Foo) must be lowercase"
        );
    }
}
