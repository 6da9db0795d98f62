//! The dialling side of TLS between servers.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::listener::TlsError;
use crate::pki::Pki;

/// Trusts the cluster's CA and shows this server's certificate. Only servers' certificates may be
/// used by a server, so whoever answers is one, and has the name that was dialled.
///
/// # Errors
/// [`TlsError`] if the PKI's files do not fit together.
pub fn tls_config(pki: &Pki) -> Result<rustls::ClientConfig, TlsError> {
    let ca = CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).map_err(TlsError::Pem)?;
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).map_err(TlsError::Certificate)?;
    let cert = CertificateDer::from_pem_slice(pki.server_cert.as_bytes()).map_err(TlsError::Pem)?;
    let key = PrivateKeyDer::from_pem_slice(pki.server_key.as_bytes()).map_err(TlsError::Pem)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Certificate)?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert, ca], key)
        .map_err(TlsError::Certificate)
}
