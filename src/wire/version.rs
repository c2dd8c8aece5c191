//! API versions: what a path asks for and which this daemon speaks.

use std::fmt;

use model::Error;

/// A version of Docker's API, `1.47`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u32,
    minor: u32,
}

/// The oldest version this daemon can speak.
pub const OLDEST: ApiVersion = ApiVersion::v1(24);
/// The newest version this daemon can speak.
pub const NEWEST: ApiVersion = ApiVersion::v1(47);

impl ApiVersion {
    /// Version `1.minor`.
    pub const fn v1(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    /// From the digits and dots of a path. Total, as moby's `versions.compare` is: what is
    /// missing or not a number counts as zero, and parts after the second are not looked at.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
        Self {
            major: parts.next().unwrap_or(0),
            minor: parts.next().unwrap_or(0),
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What the operator decides about the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Requests below this are refused.
    pub min_version: ApiVersion,
    /// Requests above this are refused; advertised in `Api-Version`.
    pub max_version: ApiVersion,
    /// Docker's clients offer what they call experimental: checkpoints.
    pub experimental: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            min_version: OLDEST,
            max_version: NEWEST,
            experimental: false,
        }
    }
}

impl Options {
    /// Options that speak `min` to `max`.
    ///
    /// # Errors
    /// When the range is empty or wider than [`OLDEST`] to [`NEWEST`].
    pub fn new(min: ApiVersion, max: ApiVersion) -> Result<Self, Error> {
        if min < OLDEST || max > NEWEST || min > max {
            return Err(Error::invalid(format!(
                "API versions {min} to {max}: moored speaks {OLDEST} to {NEWEST}"
            )));
        }
        Ok(Self {
            min_version: min,
            max_version: max,
            experimental: false,
        })
    }

    /// Refuses a version outside the range, in Docker's words (moby
    /// `daemon/server/middleware/version.go`).
    ///
    /// # Errors
    /// 400, too new or too old.
    pub fn check(&self, asked: ApiVersion) -> Result<(), Error> {
        if asked > self.max_version {
            return Err(Error::invalid(format!(
                "client version {asked} is too new. Maximum supported API version is {}",
                self.max_version
            )));
        }
        if asked < self.min_version {
            return Err(Error::invalid(format!(
                "client version {asked} is too old. Minimum supported API version is {}, \
                 please upgrade your client to a newer version",
                self.min_version
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_by_number_not_by_text() {
        assert!(ApiVersion::parse("1.9") < ApiVersion::parse("1.24"));
        assert!(ApiVersion::parse("2") > NEWEST);
        assert_eq!(ApiVersion::parse("1"), ApiVersion::v1(0));
        assert_eq!(ApiVersion::parse("1..."), ApiVersion::v1(0));
        assert_eq!(ApiVersion::parse("99999999999999.1").to_string(), "0.1");
    }

    #[test]
    fn an_operator_can_narrow_the_range_only() {
        assert!(Options::new(ApiVersion::v1(44), NEWEST).is_ok());
        assert!(Options::new(ApiVersion::v1(23), NEWEST).is_err());
        assert!(Options::new(OLDEST, ApiVersion::v1(99)).is_err());
        assert!(Options::new(NEWEST, OLDEST).is_err());
    }
}
