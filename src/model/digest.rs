//! Content digests.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::string_newtype;

/// A sha256 digest, `sha256:` and 64 lower-case hex digits (OCI image spec, descriptor.md).
///
/// Other algorithms are refused at the door: nothing in the store is named by them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Arc<str>);

string_newtype!(Digest);

const PREFIX: &str = "sha256:";

impl Digest {
    /// From the 32 bytes of a finished sha256.
    pub fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", const_hex::encode(bytes)).into())
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// The first twelve hex digits.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let valid = text.strip_prefix(PREFIX).is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if !valid {
            let shown: String = text.chars().take(128).collect();
            return Err(Error::invalid(format!("invalid digest: {shown:?}")));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_in_lower_case_hex_is_a_digest() {
        let d = Digest::from_sha256([1; 32]);
        assert_eq!(d.to_string().parse::<Digest>().unwrap(), d);
        assert_eq!(d.short(), "010101010101");
        for bad in ["", "sha256:", "sha512:00", "sha256:ZZ", d.hex()] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
