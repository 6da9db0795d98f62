//! The dialling side of TLS between servers.

use crate::listener::TlsError;
use crate::pki::Pki;

/// Trusts the cluster's CA and shows this server's certificate. Only servers' certificates may be
/// used by a server, so whoever answers is one, and has the name that was dialled.
///
/// # Errors
/// [`TlsError`] if the PKI's files do not fit together.
pub fn tls_config(pki: &Pki) -> Result<rustls::ClientConfig, TlsError> {
    pki.client_tls().map_err(TlsError::Certificate)
}
