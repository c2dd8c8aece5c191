//! What registries do to those who ask them, and what becomes of it.

mod credentials;
mod fake;
mod lines;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use model::{Digest, Reference, Result};
use sha2::{Digest as _, Sha256};

use crate::client::{Clients, Pace};
use crate::{BlobEvent, BlobStream, Credentials, Registries, Settings, Source};
pub(crate) use fake::{Answer, Asked, Fake};

/// Registries of a test, which wait for nobody long.
fn registries(settings: Settings) -> Registries {
    paced(settings, Duration::from_millis(300))
}

fn paced(settings: Settings, answer: Duration) -> Registries {
    let pace = Pace {
        silence: Duration::from_millis(300),
        answer,
        first_pause: Duration::from_millis(1),
    };
    Registries {
        settings: Arc::new(Settings {
            certs_dirs: Vec::new(),
            ..settings
        }),
        clients: Arc::new(Clients::with_pace(pace)),
    }
}

fn named(fake: &Fake) -> Reference {
    format!("{}/a/b:1", fake.host).parse().unwrap()
}

async fn source(fake: &Fake, credentials: Credentials) -> Source {
    let registries = registries(Settings::default());
    registries.source(&named(fake), credentials).await.unwrap()
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

fn password() -> Credentials {
    Credentials::Password {
        username: "user".to_owned(),
        password: "secret".to_owned(),
    }
}

/// All that a blob brings, and how often the line dropped.
async fn all(mut stream: BlobStream) -> Result<(Vec<u8>, u32)> {
    let (mut bytes, mut pauses) = (Vec::new(), 0);
    while let Some(event) = stream.next().await? {
        match event {
            BlobEvent::Bytes(piece) => bytes.extend_from_slice(&piece),
            BlobEvent::Pause(_) => pauses += 1,
        }
    }
    Ok((bytes, pauses))
}

/// A blob of a fake registry from byte number `from` on.
async fn blob_from(fake: &Fake, content: &[u8], from: u64) -> Result<(Vec<u8>, u32)> {
    let source = source(fake, Credentials::Anonymous).await;
    all(source.blob(&digest_of(content), content.len() as u64, from)).await
}
