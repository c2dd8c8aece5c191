//! Registries: what is asked of one over HTTP, and what it answers (OCI distribution spec 1.1,
//! and what Docker's registries do beside it).
//!
//! | file | |
//! |---|---|
//! | `hosts` | which servers are asked for an image, and how each is to be spoken to |
//! | `hosts_file` | `hosts.toml`, in which an operator says that |
//! | `again` | questions that are asked once more |
//! | `client` | one server: connections, redirects, credentials, what it answers in vain |
//! | `auth` | challenges, tokens, and who gets a password |
//! | `trust` | whose certificates are good |
//! | `source` | manifests and blobs, from whichever server has them |
//! | `blob` | a blob as it comes, over every drop of the line |
//! | `target` | blobs and manifests to a server |
//! | `login` | whether credentials are good |
//! | `failure` | what went wrong, in Docker's words |
//!
//! The room knows servers, repositories and digests. It never sees the store, the ledger or a
//! client's request, and keeps nothing but tokens. What a server says is taken for no more than it
//! is: every answer is bounded, a manifest is what its digest says, a redirect takes no credentials
//! along, and a password goes to nobody whom the server names over an open line.
//!
//! Determination. The crate oci-client was looked at: it reads manifests and errors without a bound,
//! drops the reason of a refused login, and has no client certificates, identity tokens and
//! retries. The protocol itself is small; what is large, HTTP and TLS, is reqwest's and rustls'.

mod again;
mod auth;
mod blob;
mod client;
mod failure;
mod hosts;
mod hosts_file;
mod login;
mod source;
mod target;
mod trust;

use std::sync::Arc;

use model::{Reference, Result};

pub use auth::Credentials;
pub use blob::{BlobEvent, BlobStream};
pub use hosts::{Insecure, Settings};
pub use login::Login;
pub use source::{Fetched, Source, Wanted};
pub use target::{Target, Upload};

use client::Clients;
use hosts::Purpose;

/// What is known of registries; clones share it.
#[derive(Debug, Clone)]
pub struct Registries {
    settings: Arc<Settings>,
    clients: Arc<Clients>,
}

impl Registries {
    /// As the operator has it.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            clients: Arc::default(),
        }
    }

    /// Where `reference` can be had: mirrors first, then its registry.
    ///
    /// # Errors
    /// System: the configuration of its registry cannot be read.
    pub async fn source(&self, reference: &Reference, credentials: Credentials) -> Result<Source> {
        let servers = self.servers(reference.domain(), Purpose::Pull).await?;
        Ok(Source::new(
            self.clients.clone(),
            servers,
            reference,
            credentials,
        ))
    }

    /// Where `reference` goes.
    ///
    /// # Errors
    /// As [`Registries::source`]; the registry cannot be reached.
    pub async fn target(&self, reference: &Reference, credentials: Credentials) -> Result<Target> {
        let servers = self.servers(reference.domain(), Purpose::Push).await?;
        Target::open(&self.clients, servers, reference, credentials).await
    }

    async fn servers(&self, domain: &str, purpose: Purpose) -> Result<Vec<hosts::Server>> {
        hosts::servers(self.settings.clone(), domain, purpose).await
    }
}

#[cfg(test)]
mod tests;
