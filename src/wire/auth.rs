//! Credentials and registries on the wire.

use engine::{Credentials, Distribution, Login};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who asks a registry.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct AuthConfig {
    /// The name.
    #[serde(deserialize_with = "crate::null_as_default")]
    #[schema(required = false)]
    pub username: String,
    /// The password.
    #[serde(deserialize_with = "crate::null_as_default")]
    #[schema(required = false)]
    pub password: String,
    /// The registry, `HOST[:PORT]` or a URL; Docker Hub when empty.
    #[serde(deserialize_with = "crate::null_as_default")]
    #[schema(required = false)]
    pub serveraddress: String,
    /// What a registry gave in place of a password.
    #[serde(deserialize_with = "crate::null_as_default")]
    #[schema(required = false)]
    pub identitytoken: String,
    /// A token that is sent as it is.
    #[serde(deserialize_with = "crate::null_as_default")]
    #[schema(required = false)]
    pub registrytoken: String,
}

/// Says no secret.
impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

impl From<AuthConfig> for Credentials {
    fn from(config: AuthConfig) -> Self {
        if !config.registrytoken.is_empty() {
            return Self::Token(config.registrytoken);
        }
        if !config.identitytoken.is_empty() {
            return Self::Identity(config.identitytoken);
        }
        match config.username.is_empty() {
            true => Self::Anonymous,
            false => Self::Password {
                username: config.username,
                password: config.password,
            },
        }
    }
}

/// Credentials that are good.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct AuthResponse {
    /// What may be kept in place of the password; empty where the registry gives nothing.
    pub identity_token: String,
    /// `Login Succeeded`.
    pub status: String,
}

impl From<Login> for AuthResponse {
    fn from(login: Login) -> Self {
        Self {
            identity_token: login.identity_token.unwrap_or_default(),
            status: "Login Succeeded".to_owned(),
        }
    }
}

/// What a registry has under a name.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DistributionInspect {
    /// Of the manifest or index.
    pub descriptor: Descriptor,
    /// What it is for.
    pub platforms: Vec<DistributionPlatform>,
}

/// Bytes, and what they are.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What they are.
    pub media_type: String,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// How many.
    pub size: u64,
}

/// A platform.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DistributionPlatform {
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v8` and the like.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub variant: String,
}

impl From<Distribution> for DistributionInspect {
    fn from(found: Distribution) -> Self {
        let platform = |p: model::Platform| DistributionPlatform {
            architecture: p.architecture,
            os: p.os,
            variant: p.variant,
        };
        Self {
            descriptor: Descriptor {
                media_type: found.media_type,
                digest: found.digest.to_string(),
                size: found.size_bytes,
            },
            platforms: found.platforms.into_iter().map(platform).collect(),
        }
    }
}
