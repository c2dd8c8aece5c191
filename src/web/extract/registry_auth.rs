//! `X-Registry-Auth`: who asks a registry, as Docker's clients send it.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use data_encoding::{BASE64URL, BASE64URL_NOPAD};
use engine::Credentials;
use wire::auth::AuthConfig;

use super::fold_keys;

const HEADER: &str = "x-registry-auth";

/// The credentials of a request. What is missing or cannot be read is nobody, as in Docker: a client
/// sends what it has for the registry, and many have rubbish for one that needs none.
#[derive(Debug)]
pub struct RegistryAuth(pub Credentials);

impl<S: Send + Sync> FromRequestParts<S> for RegistryAuth {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = parts.headers.get(HEADER).and_then(|v| v.to_str().ok());
        Ok(Self(header.and_then(read).unwrap_or_default()))
    }
}

fn read(text: &str) -> Option<Credentials> {
    let text = text.trim().as_bytes();
    let decoded = BASE64URL.decode(text);
    let decoded = decoded.or_else(|_| BASE64URL_NOPAD.decode(text)).ok()?;
    let config: AuthConfig = fold_keys::from_slice(&decoded).ok()?;
    Some(config.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Option<Credentials> {
        let padded = read(&BASE64URL.encode(json.as_bytes()));
        assert_eq!(read(&BASE64URL_NOPAD.encode(json.as_bytes())), padded);
        padded
    }

    #[test]
    fn the_strongest_of_what_is_sent_counts() {
        let password = Credentials::Password {
            username: "u".to_owned(),
            password: "p>?".to_owned(),
        };
        assert_eq!(of(r#"{"username":"u","password":"p>?"}"#), Some(password));
        let identity = r#"{"username":"u","password":"","identitytoken":"t"}"#;
        assert_eq!(of(identity), Some(Credentials::Identity("t".to_owned())));
        let token = r#"{"registrytoken":"r","identitytoken":"t"}"#;
        assert_eq!(of(token), Some(Credentials::Token("r".to_owned())));
        // docker-py with a credential store writes them so.
        let odd = r#"{"Username":"u","Password":null,"IdentityToken":"t","email":null}"#;
        assert_eq!(of(odd), Some(Credentials::Identity("t".to_owned())));
        assert_eq!(of("{}"), Some(Credentials::Anonymous));
        for rubbish in ["", "null?", "e30=x", "!!!"] {
            assert_eq!(read(rubbish), None, "{rubbish}");
        }
    }
}
