//! Refusing what Docker has and moored does not have yet: honestly, with 501 and a name, never
//! by ignoring a request's wish.

use model::{Error, Result};

/// Refusals of parts of a request that are not built.
#[derive(Debug)]
pub struct NotBuilt;

impl NotBuilt {
    /// Refuses a field of a request (`HostConfig.Isolation`) that is not at its default.
    ///
    /// # Errors
    /// 501 naming the field, when `is_default` is false.
    pub fn field(name: &str, is_default: bool) -> Result<()> {
        if is_default {
            return Ok(());
        }
        Err(Self::error(name))
    }

    /// The refusal itself: `what is not implemented by moored yet`.
    pub fn error(what: &str) -> Error {
        Error::not_implemented(format!("{what} is not implemented by moored yet"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_at_its_default_is_no_wish() {
        assert!(NotBuilt::field("HostConfig.Links", true).is_ok());
        let refused = NotBuilt::field("HostConfig.Links", false).unwrap_err();
        assert_eq!(
            refused.message(),
            "HostConfig.Links is not implemented by moored yet"
        );
        assert_eq!(refused.kind(), model::Kind::NotImplemented);
    }
}
