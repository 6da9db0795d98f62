//! Certificates by the name that a client asks for. A name without one gets no handshake: a
//! certificate that nobody trusts would only teach people to click it away.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Why a Secret is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BadSecret {
    /// There is none.
    #[error("there is no such Secret")]
    Missing,
    /// It has another form.
    #[error("the Secret has no {0}")]
    NoField(&'static str),
    /// A text is not what it should be.
    #[error("{0} is not valid PEM")]
    Pem(&'static str),
    /// The key belongs to another certificate, or is of an unknown sort.
    #[error("the key does not fit the certificate: {0}")]
    Key(rustls::Error),
}

/// The certificates of this moment.
#[derive(Debug, Default)]
pub struct Certificates {
    names: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the first label.
    wildcards: HashMap<String, Arc<CertifiedKey>>,
    any: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Adds a certificate for a host, unless an older Ingress has named one for it.
    pub fn add(&mut self, host: Option<&str>, key: &Arc<CertifiedKey>) {
        match host {
            None => {
                self.any.get_or_insert_with(|| Arc::clone(key));
            }
            Some(host) => {
                let (names, name) = match host.strip_prefix("*.") {
                    Some(rest) => (&mut self.wildcards, rest),
                    None => (&mut self.names, host),
                };
                names
                    .entry(name.to_owned())
                    .or_insert_with(|| Arc::clone(key));
            }
        }
    }

    /// The certificate for a name that a client asks for, or for one that asks for none.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = name else {
            return self.any.clone();
        };
        let name = name.to_ascii_lowercase();
        let wild = || self.wildcards.get(name.split_once('.')?.1);
        let found = self.names.get(&name).or_else(wild);
        found.cloned().or_else(|| self.any.clone())
    }
}

/// When a certificate is valid, in seconds since 1970; both ends count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The first moment.
    pub begin: i64,
    /// The last one.
    pub end: i64,
}

/// What a moment is to a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It is not valid yet.
    NotYet,
    /// It is valid.
    Now,
    /// It is not valid any more.
    Over,
}

impl Life {
    /// What a moment is to it.
    #[must_use]
    pub fn at(self, now: i64) -> Validity {
        if now < self.begin {
            Validity::NotYet
        } else if now <= self.end {
            Validity::Now
        } else {
            Validity::Over
        }
    }
}

/// Reads a TLS Secret's two texts, and when they are valid.
///
/// # Errors
/// Why they never are of any use.
pub fn read_pair(chain: &[u8], key: &[u8]) -> Result<(CertifiedKey, Life), BadSecret> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| BadSecret::Pem("tls.crt"))?;
    let first = chain.first().ok_or(BadSecret::Pem("tls.crt"))?;
    let (_, parsed) = X509Certificate::from_der(first).map_err(|_| BadSecret::Pem("tls.crt"))?;
    let life = parsed.validity();
    let life = Life {
        begin: life.not_before.timestamp(),
        end: life.not_after.timestamp(),
    };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BadSecret::Pem("tls.key"))?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider());
    Ok((key.map_err(BadSecret::Key)?, life))
}

/// Gives each handshake the certificates of its moment.
#[derive(Debug, Default)]
pub(crate) struct Resolver(RwLock<Arc<Certificates>>);

impl Resolver {
    pub(crate) fn set(&self, certificates: Arc<Certificates>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificates;
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.read().unwrap_or_else(PoisonError::into_inner);
        certificates.find(hello.server_name())
    }
}

/// TLS 1.2 and 1.3, HTTP/2 first.
pub(crate) fn acceptor(resolver: Arc<Resolver>) -> Result<TlsAcceptor, rustls::Error> {
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
