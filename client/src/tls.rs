//! Certificates, keys and trust: from PEM texts to rustls configurations.
//! Always names the ring provider, so that no process-wide default decides.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::config::Server;
use crate::error::{ClientError, TlsError};
use crate::transport;

/// Where Debian and most others keep the certificates that everybody trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whose word counts when a server says who it is.
#[derive(Clone, Debug)]
pub enum Trust {
    /// These certificate authorities, and nobody else.
    Roots(Vec<CertificateDer<'static>>),
    /// The certificate authorities of the operating system.
    System,
    /// Anybody's: the connection is private, but with whom nobody knows.
    Anything,
}

impl Trust {
    /// Trusts the certificates in a PEM text.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] if there is none in it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        Ok(Self::Roots(certificates("the certificate authority", pem)?))
    }
}

/// Who a client is: its certificate chain and private key.
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

struct Parts {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads a certificate chain and its private key from PEM texts.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] or [`TlsError::Key`] if a text does not hold what it should.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates("the client certificate", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        Ok(Self(Arc::new(Parts { chain, key })))
    }

    /// The certificates, the client's own first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }
}

/// Never shows the key.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} certificates)", self.0.chain.len())
    }
}

/// The certificates in a PEM text; at least one.
///
/// # Errors
/// [`TlsError::Certificate`], naming `what`, if there is none or a broken one.
pub fn certificates(
    what: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |source| TlsError::Certificate { what, source };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(bad)?;
    if found.is_empty() {
        return Err(bad(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// A store of trusted roots.
///
/// # Errors
/// [`TlsError::Root`] if a certificate cannot be a root.
pub fn root_store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(TlsError::Root)?;
    }
    Ok(store)
}

/// A client's TLS configuration; `alpn` lists the protocols offered, the dearest first.
///
/// # Errors
/// [`TlsError`] if the roots or the identity are of no use.
pub fn client_config(
    trust: &Trust,
    identity: Option<&Identity>,
    alpn: &[&[u8]],
) -> Result<rustls::ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let builder = match trust {
        Trust::Roots(roots) => builder.with_root_certificates(root_store(roots)?),
        Trust::System => builder.with_root_certificates(system_roots()?),
        Trust::Anything => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAnything { provider })),
    };
    let mut config = match identity {
        Some(Identity(parts)) => builder
            .with_client_auth_cert(parts.chain.clone(), parts.key.clone_key())
            .map_err(TlsError::Identity)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let path = Path::new(SYSTEM_ROOTS);
    let pem = std::fs::read(path).map_err(|source| TlsError::SystemRoots {
        path: path.to_owned(),
        source,
    })?;
    root_store(&certificates("the system's certificates", &pem)?)
}

/// The certificates that a server shows, its own first, believed by nobody yet.
///
/// For joining: the caller compares them with a hash that it got by a safe way, and only then
/// trusts them. Nothing is sent to the server but the handshake.
///
/// # Errors
/// [`ClientError::Unreachable`] or [`ClientError::Handshake`].
pub async fn fetch_peer_chain(
    server: &Server,
) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let config = client_config(&Trust::Anything, None, &[b"h2"])?;
    let stream = transport::dial_tls(server, &TlsConnector::from(Arc::new(config))).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(chain
        .iter()
        .map(|certificate| certificate.clone().into_owned())
        .collect())
}

/// Believes any certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct TrustAnything {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
