//! Challenges, tokens, and who gets a password.
//!
//! A server that wants to know who asks says how (RFC 9110, 11.6.1): `Basic`, which sends name and
//! password with each request, or `Bearer`, a token that another server gives for them (distribution's
//! token specification). That other server is whichever the first one names, as in Docker; but over
//! an open line only where the registry itself is spoken to over one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use http_auth::parse_challenges;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::client::Http;
use crate::failure::Failure;

/// Who we are to token servers.
const CLIENT_ID: &str = "moored";
/// How long a token is good where its server does not say (distribution's token specification).
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// A token that ends sooner is not begun with.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// Longest that one is believed to be good.
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(3600);
/// Tokens that are kept.
const TOKENS_MAX: usize = 256;
/// Longest answer of a token server.
const TOKEN_BYTES_MAX: usize = 1 << 20;

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// What a token server gave in place of a password (OAuth2's refresh token).
    Identity(String),
    /// A token that is sent as it is.
    Token(String),
}

/// Says which kind, and no secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password",
            Self::Identity(_) => "Identity",
            Self::Token(_) => "Token",
        })
    }
}

/// What a server wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: Url, service: String },
}

/// What may be done with a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    /// To read one repository.
    pub(crate) fn pull(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull")])
    }

    /// To write one, and to read others for what is mounted from them.
    pub(crate) fn push(repository: &str, others: &[String]) -> Self {
        let mut scopes = vec![format!("repository:{repository}:pull,push")];
        scopes.extend(others.iter().map(|o| format!("repository:{o}:pull")));
        Self(scopes)
    }

    /// None: to say who one is.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }
}

/// What a server asks for, by preference a token.
pub(crate) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(challenges) = value.to_str().map(parse_challenges) else {
            continue;
        };
        for challenge in challenges.into_iter().flatten() {
            let param = |name: &str| {
                let mut params = challenge.params.iter();
                let found = params.find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = param("realm").and_then(|r| Url::parse(&r).ok())
            {
                let service = param("service").unwrap_or_default();
                return Some(Challenge::Bearer { realm, service });
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

/// Tokens that are still good.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: Mutex<HashMap<TokenKey, Token>>,
}

/// What a token is for, and who has it.
pub(crate) type TokenKey = (Url, String, Scope, Credentials);

pub(crate) fn key(realm: &Url, service: &str, scope: &Scope, who: &Credentials) -> TokenKey {
    (
        realm.clone(),
        service.to_owned(),
        scope.clone(),
        who.clone(),
    )
}

#[derive(Clone)]
struct Token {
    text: String,
    good_until: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What a token server answers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    token: String,
    access_token: String,
    refresh_token: String,
    expires_in: Option<u64>,
}

/// What one gets for credentials.
pub(crate) struct Granted {
    pub(crate) token: String,
    /// What may be kept in place of the password.
    pub(crate) identity: Option<String>,
}

impl Tokens {
    /// The value of `Authorization` that answers `challenge`; `None` where there is nothing to say.
    pub(crate) async fn authorization(
        &self,
        http: &Http,
        challenge: &Challenge,
        scope: &Scope,
        credentials: &Credentials,
    ) -> Result<Option<String>, Failure> {
        if let Credentials::Token(token) = credentials {
            return Ok(Some(format!("Bearer {token}")));
        }
        match challenge {
            Challenge::Basic => Ok(basic(credentials)),
            Challenge::Bearer { realm, service } => {
                let key = key(realm, service, scope, credentials);
                if let Some(token) = self.get(&key) {
                    return Ok(Some(format!("Bearer {token}")));
                }
                let granted = self.fetch(http, key, false).await?;
                Ok(Some(format!("Bearer {}", granted.token)))
            }
        }
    }

    /// Forgets what a server took for no good any more.
    pub(crate) fn forget(&self, challenge: &Challenge, scope: &Scope, credentials: &Credentials) {
        if let Challenge::Bearer { realm, service } = challenge {
            let key = key(realm, service, scope, credentials);
            self.known().remove(&key);
        }
    }

    /// Asks for one; with `keep` also for what stands for the password.
    pub(crate) async fn fetch(
        &self,
        http: &Http,
        key: TokenKey,
        keep: bool,
    ) -> Result<Granted, Failure> {
        let (realm, service, scope, credentials) = &key;
        if realm.scheme() != "https" && http.is_secure() {
            return Err(Failure::wrong(format!(
                "the registry wants credentials to be sent to {realm}, over an open line"
            )));
        }
        let answer = match credentials {
            Credentials::Identity(refresh) => {
                self.by_identity(http, realm, service, scope, refresh)
                    .await?
            }
            other => {
                self.by_password(http, realm, service, scope, other, keep)
                    .await?
            }
        };
        let text = match answer.token.is_empty() {
            true => answer.access_token,
            false => answer.token,
        };
        if text.is_empty() {
            return Err(Failure::wrong(
                "authorization server did not include a token in the response",
            ));
        }
        let life = answer.expires_in.map_or(TOKEN_LIFE, Duration::from_secs);
        let token = Token {
            text: text.clone(),
            good_until: Instant::now() + life.min(TOKEN_LIFE_MAX),
        };
        let mut known = self.known();
        if known.len() >= TOKENS_MAX {
            known.clear();
        }
        known.insert(key, token);
        Ok(Granted {
            token: text,
            identity: Some(answer.refresh_token).filter(|t| !t.is_empty()),
        })
    }

    async fn by_password(
        &self,
        http: &Http,
        realm: &Url,
        service: &str,
        scope: &Scope,
        credentials: &Credentials,
        keep: bool,
    ) -> Result<Answer, Failure> {
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if !service.is_empty() {
                query.append_pair("service", service);
            }
            for one in &scope.0 {
                query.append_pair("scope", one);
            }
            if let Credentials::Password { username, .. } = credentials {
                query.append_pair("account", username);
            }
            if keep {
                query.append_pair("offline_token", "true");
                query.append_pair("client_id", CLIENT_ID);
            }
        }
        let mut request = http.client().get(url.clone());
        if let Some(basic) = basic(credentials) {
            request = request.header("Authorization", basic);
        }
        answer(http, &Method::GET, &url, request).await
    }

    async fn by_identity(
        &self,
        http: &Http,
        realm: &Url,
        service: &str,
        scope: &Scope,
        refresh: &str,
    ) -> Result<Answer, Failure> {
        let mut form = realm.clone();
        form.query_pairs_mut().clear().extend_pairs([
            ("grant_type", "refresh_token"),
            ("service", service),
            ("client_id", CLIENT_ID),
            ("scope", &scope.0.join(" ")),
            ("refresh_token", refresh),
        ]);
        let request = http
            .client()
            .post(realm.clone())
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned());
        answer(http, &Method::POST, realm, request).await
    }

    fn get(&self, key: &TokenKey) -> Option<String> {
        let known = self.known();
        let token = known.get(key)?;
        let good = token.good_until > Instant::now() + TOKEN_MARGIN;
        good.then(|| token.text.clone())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<TokenKey, Token>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    http: &Http,
    method: &Method,
    url: &Url,
    request: reqwest::RequestBuilder,
) -> Result<Answer, Failure> {
    let response = http.send(method, url, request).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = http
        .read_bounded(method, url, response, TOKEN_BYTES_MAX)
        .await?;
    if !status.is_success() {
        return Err(Failure::refused(status, &headers, &body));
    }
    serde_json::from_slice(&body).map_err(|e| {
        Failure::with(
            method,
            url,
            &format!("the answer of the token server is not one: {e}"),
        )
    })
}

fn basic(credentials: &Credentials) -> Option<String> {
    let Credentials::Password { username, password } = credentials else {
        return None;
    };
    let both = BASE64.encode(format!("{username}:{password}").as_bytes());
    Some(format!("Basic {both}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        challenge(&headers)
    }

    #[test]
    fn a_token_is_preferred_and_rubbish_passed_over() {
        let bearer = r#"Bearer realm="https://auth.test/token",service="a \"b\"",scope="x""#;
        let Some(Challenge::Bearer { realm, service }) = of(&["Basic realm=\"x\"", bearer]) else {
            panic!("a token is wanted");
        };
        assert_eq!(realm.as_str(), "https://auth.test/token");
        assert_eq!(service, "a \"b\"");
        assert_eq!(of(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        for rubbish in [
            "",
            "Bearer",
            "Bearer realm=\"no url\"",
            "=,=",
            "Digest realm=\"x\"",
        ] {
            assert_eq!(of(&[rubbish]), None, "{rubbish}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Credentials::Password {
            username: "u".into(),
            password: "hunter2".into(),
        };
        assert_eq!(format!("{secret:?}"), "Password");
    }
}
