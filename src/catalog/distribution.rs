//! What a registry has, without having it.

use images::manifest::{self, Descriptor, Manifest};
use model::{Digest, Platform, Reference, Result};
use registry::{Credentials, Login};

use crate::Catalog;
use crate::pull::{small_blob, wanted};

impl Catalog {
    /// The descriptor of what a name stands for in its registry, and the platforms it is for.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn distribution(
        &self,
        reference: &Reference,
        credentials: Credentials,
    ) -> Result<Distribution> {
        let registries = &self.inner.tools.registries;
        let source = registries.source(reference, credentials).await?;
        let fetched = source.manifest(&wanted(reference)).await?;
        let platforms = match manifest::parse_sent(&fetched.bytes, &fetched.media_type)? {
            Manifest::Index(entries) => entries.iter().filter_map(Descriptor::platform).collect(),
            Manifest::Image { config, .. } => {
                let bytes = small_blob(&source, &config.digest()?, config.size).await?;
                vec![images::platform_of(&bytes)?]
            }
        };
        Ok(Distribution {
            media_type: match manifest::is_media_type(&fetched.media_type) {
                true => fetched.media_type,
                false => manifest::media_type(&fetched.bytes)?,
            },
            digest: fetched.digest,
            size_bytes: fetched.bytes.len() as u64,
            platforms,
        })
    }
}

/// What a registry has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// What it is.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size_bytes: u64,
    /// What it is for.
    pub platforms: Vec<Platform>,
}

impl Catalog {
    /// Shows credentials to a registry.
    ///
    /// # Errors
    /// Unauthorized: they are no good; System: it cannot be reached.
    pub async fn login(&self, server: &str, credentials: &Credentials) -> Result<Login> {
        self.inner.tools.registries.login(server, credentials).await
    }
}
