//! Whether credentials are good.

use model::{Error, Kind, Result};
use reqwest::{Method, StatusCode};

use crate::Registries;
use crate::auth::{self, Challenge, Credentials, Scope};
use crate::client::Client;
use crate::failure::{Failure, Failures};
use crate::hosts::{HUB, Purpose};

/// What a login has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What may be kept in place of the password.
    pub identity_token: Option<String>,
}

impl Registries {
    /// Shows credentials to a registry, `HOST[:PORT]`, a URL, or empty for Docker Hub.
    ///
    /// # Errors
    /// Unauthorized: they are no good; System: the registry cannot be reached.
    pub async fn login(&self, server: &str, credentials: &Credentials) -> Result<Login> {
        let domain = domain_of(server);
        let mut failures = Failures::default();
        let servers = self.servers(domain, Purpose::Push).await?;
        // A mirror is to learn no password.
        for server in servers.into_iter().filter(|server| server.is_origin) {
            let client = match Client::connect(&self.clients, &server, credentials).await {
                Ok(client) => client,
                Err(failure) => {
                    failures.add(failure);
                    continue;
                }
            };
            return self.prove(&client, credentials).await.map_err(refused);
        }
        Err(failures.most_telling().into_error())
    }

    async fn prove(&self, client: &Client, credentials: &Credentials) -> Result<Login, Failure> {
        if let Some(Challenge::Bearer { realm, service }) = client.challenge() {
            let key = auth::key(&realm, &service, &Scope::none(), credentials);
            let granted = self
                .clients
                .tokens()
                .fetch(client.http(), key, true)
                .await?;
            return Ok(Login {
                identity_token: granted.identity,
            });
        }
        let url = client.url("");
        let scope = Scope::none();
        let asked = client.ask(Method::GET, &url, &scope, |request| request);
        asked.await.map(|_| Login {
            identity_token: None,
        })
    }
}

/// Docker's sentence where the credentials are at fault.
fn refused(failure: Failure) -> Error {
    match failure {
        Failure::Refused(refusal) if refusal.status == StatusCode::UNAUTHORIZED => {
            Error::new(Kind::Unauthorized, refusal.message)
        }
        other => other.into_error(),
    }
}

/// The registry that a client means: `https://index.docker.io/v1/` is how the CLI names Docker Hub.
fn domain_of(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => HUB,
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_in_many_ways() {
        for (text, domain) in [
            ("", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("http://localhost:5000/v2/", "localhost:5000"),
        ] {
            assert_eq!(domain_of(text), domain, "{text}");
        }
    }
}
