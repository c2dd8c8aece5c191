//! Whose certificates are good: those that the host trusts, and those that the operator put into the
//! registry's directory.
//!
//! Docker's users make a registry's certificate with one command of openssl and give the very same to
//! the engine as its authority. Such a certificate says of itself that it is an authority, which
//! webpki does not take of a server. Here it is taken: when the server shows exactly what the operator
//! put there, and it has the server's name. When it ends is the operator's business then.

use std::sync::Arc;

use model::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::hosts::Tls;

/// The TLS of a registry that has certificates of its own.
///
/// # Errors
/// System: a file is not what it should be.
pub(crate) fn config(tls: &Tls, provider: Arc<CryptoProvider>) -> Result<ClientConfig> {
    let mut authorities = Vec::new();
    for pem in &tls.authorities {
        for found in CertificateDer::pem_slice_iter(pem) {
            authorities.push(found.map_err(|e| unusable("certificate", &e))?);
        }
    }
    let inner = Verifier::new_with_extra_roots(authorities.clone(), provider.clone())
        .map_err(|e| unusable("certificate", &e))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("TLS configuration", &e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trust { inner, authorities }));
    let Some(pem) = &tls.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|e| unusable("client certificate", &e))?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|e| unusable("client key", &e))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|e| unusable("client certificate", &e))
}

fn unusable(what: &str, e: &dyn std::fmt::Display) -> Error {
    Error::system(format!("its {what} cannot be used: {e}"))
}

#[derive(Debug)]
struct Trust {
    inner: Verifier,
    authorities: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if self.authorities.iter().any(|known| known == end_entity) {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            verify_server_name(&parsed, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
