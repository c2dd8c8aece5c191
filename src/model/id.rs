//! Ids and names: newtypes that are valid by construction.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::limits;

/// Implements what all string newtypes share: `as_str`, `Display`, `Debug`, `TryFrom`, and the
/// serde pair through `String`.
macro_rules! string_newtype {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.as_ref().to_owned()
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use string_newtype;

/// What ids of 64 hex digits have in common; `$what` is what a malformed one is told to be.
macro_rules! hex_id {
    ($name:ident, $what:literal) => {
        string_newtype!($name);

        impl $name {
            /// An id from 32 random bytes; the caller owns the randomness.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(const_hex::encode(bytes).into())
            }

            /// The first twelve digits, as `docker ps` shows them; for logs.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let hex = text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                if text.len() != 64 || !hex {
                    let shown = clip(text);
                    return Err(Error::invalid(format!("invalid {} ID: {shown:?}", $what)));
                }
                Ok(Self(text.into()))
            }
        }
    };
}

/// A container's id: 64 lower-case hex digits, as Docker makes them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(Arc<str>);

hex_id!(ContainerId, "container");

/// The id of an exec session: 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExecId(Arc<str>);

hex_id!(ExecId, "exec");

/// A network's id: 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkId(Arc<str>);

hex_id!(NetworkId, "network");

/// The id of a container's place on a network: 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointId(Arc<str>);

hex_id!(EndpointId, "endpoint");

/// A container's name without the leading slash: `[a-zA-Z0-9][a-zA-Z0-9_.-]+` (moby
/// `daemon/names`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(Arc<str>);

string_newtype!(ContainerName);

impl FromStr for ContainerName {
    type Err = Error;

    /// Accepts one leading slash, as Docker does. The message is Docker's.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bare = text.strip_prefix('/').unwrap_or(text);
        if !is_restricted_name(bare) || bare.len() > limits::NAME_BYTES_MAX {
            return Err(Error::invalid(format!(
                "Invalid container name ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                clip(text)
            )));
        }
        Ok(Self(bare.into()))
    }
}

/// A network's name: anything that is not blank (moby `NewNetwork`), in one line.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(Arc<str>);

string_newtype!(NetworkName);

impl FromStr for NetworkName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Err(Error::invalid(format!("invalid name: {text}")));
        }
        if text.len() > limits::NAME_BYTES_MAX || text.contains(char::is_control) {
            let shown = clip(text);
            return Err(Error::invalid(format!("invalid network name: {shown:?}")));
        }
        Ok(Self(text.into()))
    }
}

/// A volume's name, by the same rule as a container's.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(Arc<str>);

string_newtype!(VolumeName);

impl VolumeName {
    /// The name of an anonymous volume: 64 hex digits from 32 random bytes.
    pub fn anonymous(bytes: [u8; 32]) -> Self {
        Self(const_hex::encode(bytes).into())
    }
}

impl FromStr for VolumeName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() == 1 {
            return Err(Error::invalid(format!(
                "create {text}: volume name is too short, names should be at least two \
                 alphanumeric characters"
            )));
        }
        if text.len() > limits::NAME_BYTES_MAX {
            return Err(Error::invalid(format!(
                "create {}: volume name is too long, names should be at most {} characters",
                clip(text),
                limits::NAME_BYTES_MAX
            )));
        }
        if !is_restricted_name(text) {
            return Err(Error::invalid(format!(
                "create {0}: \"{0}\" includes invalid characters for a local volume name, only \
                 \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host \
                 directory, use absolute path",
                clip(text)
            )));
        }
        Ok(Self(text.into()))
    }
}

/// A checkpoint's name. It becomes a directory's.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointName(Arc<str>);

string_newtype!(CheckpointName);

impl FromStr for CheckpointName {
    type Err = Error;

    /// # Errors
    /// In Docker's words (moby `CheckpointCreate`).
    fn from_str(text: &str) -> Result<Self, Error> {
        if !is_restricted_name(text) || text.len() > limits::NAME_BYTES_MAX {
            return Err(Error::invalid(format!(
                "Invalid checkpoint ID ({}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                clip(text)
            )));
        }
        Ok(Self(text.into()))
    }
}

/// Docker's restricted name pattern: at least two characters, the first alphanumeric.
fn is_restricted_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 2
        && bytes[0].is_ascii_alphanumeric()
        && bytes[1..]
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b))
}

/// At most 256 characters of what a client sent, so that an error message stays a message.
fn clip(text: &str) -> String {
    text.chars().take(256).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids_are_64_lower_case_hex() {
        let id = ContainerId::from_bytes([0xab; 32]);
        assert_eq!(id.short(), "abababababab");
        assert_eq!(id.as_str().parse::<ContainerId>().unwrap(), id);
        assert!("AB".repeat(32).parse::<ContainerId>().is_err());
        assert!("ab".parse::<ContainerId>().is_err());
    }

    #[test]
    fn names_follow_dockers_pattern_and_lose_one_slash() {
        assert_eq!("/web-1".parse::<ContainerName>().unwrap().as_str(), "web-1");
        for bad in ["", "/", "a", "..bad", "//x", "a/b", "-x", "a b", "ä1"] {
            let e = bad.parse::<ContainerName>().unwrap_err();
            assert!(e.message().starts_with("Invalid container name ("), "{bad}");
        }
        assert!(
            "x".repeat(limits::NAME_BYTES_MAX + 1)
                .parse::<ContainerName>()
                .is_err()
        );
    }
}
