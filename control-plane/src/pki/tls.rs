//! The server's certificate as TLS uses it: replaced while connections are served, and shown to
//! other servers when this one dials them.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::{Pki, sha256_hex};

/// The certificate and key that new connections use.
#[derive(Debug)]
pub struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    pub(super) fn new(key: CertifiedKey) -> Self {
        Self(RwLock::new(Arc::new(key)))
    }

    pub(super) fn replace(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }

    pub(super) fn get(&self) -> Arc<CertifiedKey> {
        let key = self.0.read().unwrap_or_else(PoisonError::into_inner);
        key.clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A certificate and its key, with the CA's certificate behind it: joining servers look for that.
pub(super) fn certified_key(
    cert_pem: &str,
    key_pem: &str,
    ca: &CertificateDer<'static>,
) -> Result<CertifiedKey, Error> {
    let unreadable = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
    let cert = CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(unreadable)?;
    CertifiedKey::from_der(vec![cert, ca.clone()], key, &ring::default_provider())
}

impl Pki {
    /// How this server dials others: it trusts only the cluster's CA, and shows its certificate.
    /// Names no protocol.
    ///
    /// # Errors
    /// If the CA's certificate cannot be a root.
    pub fn client_tls(&self) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca_der.clone())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        Ok(builder.with_client_cert_resolver(self.current()))
    }
}

/// How a server that has no certificate yet dials one that it wants to join: it trusts only the CA
/// of which the token has the hash.
///
/// # Errors
/// If TLS cannot be set up.
pub(crate) fn joining_tls(ca_hash: &str) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let pinned = PinnedCa {
        hash: ca_hash.to_owned(),
        provider: provider.clone(),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned));
    Ok(builder.with_no_client_auth())
}

/// Trusts the one CA that has this hash, if the server shows it, and whom that CA vouches for.
#[derive(Debug)]
struct PinnedCa {
    hash: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let mut shown = intermediates.iter();
        let ca = shown.find(|cert| sha256_hex(cert) == self.hash);
        let mut roots = RootCertStore::empty();
        roots.add(ca.ok_or_else(unknown)?.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|_| unknown())?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
