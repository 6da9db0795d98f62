//! The cluster's own certificate authority: who the server is, and who its clients are.
//!
//! Secure with no step for the user: the first start makes a CA, the server's certificate and the
//! administrator's kubeconfig; nodes get theirs by joining. Private keys are files of mode 0600
//! and never leave this directory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

mod files;
mod kubeconfig;

pub use files::write_secret;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The CA has no successor yet, so it lives long.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The server's and the administrator's; renewed at a start in their last third.
const SERVER_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// A node's; agents renew at two thirds.
const NODE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why the PKI cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file or directory of it cannot be read or written.
    #[error("{action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        #[source]
        /// Why it failed.
        source: std::io::Error,
    },
    /// A key or certificate is damaged or cannot be made.
    #[error("{action}")]
    Certificate {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: rcgen::Error,
    },
    /// A PEM file holds no certificate.
    #[error("{path} holds no certificate; remove the pki directory to make a new one")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
}

/// The keys and certificates of one server.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    ca_der: CertificateDer<'static>,
    /// The server's certificate in PEM, the CA's not included.
    pub server_cert: String,
    /// The server's private key in PEM.
    pub server_key: String,
}

/// What the server's certificate must be valid for.
#[derive(Clone, Debug, Default)]
pub struct ServerNames {
    /// Host names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
}

impl Pki {
    /// Opens the PKI in `dir/pki`, making what is missing, out of date or for other names.
    ///
    /// # Errors
    /// [`PkiError`] by the step that failed. Nothing that was usable is overwritten.
    pub fn open(dir: &Path, names: &ServerNames) -> Result<Self, PkiError> {
        let dir = dir.join("pki");
        files::make_private_dir(&dir)?;
        let (ca_pem, ca_key) = files::load_or_make(&dir, "ca", |_| true, make_ca)?;
        let ca_der = first_certificate(&ca_pem, &dir.join("ca.crt"))?;
        let key = KeyPair::from_pem(&ca_key).map_err(certificate("read the CA's key"))?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(certificate("read the CA"))?;
        let usable = |pem: &str| is_fresh(pem, SystemTime::now()) && covers(pem, names);
        let (server_cert, server_key) = files::load_or_make(&dir, "server", usable, || {
            issue(&issuer, server_params(names)?)
        })?;
        Ok(Self {
            issuer,
            ca_pem,
            ca_der,
            server_cert,
            server_key,
        })
    }

    /// The CA's certificate in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The CA's private key in PEM: whoever has it can be anybody.
    #[must_use]
    pub fn ca_key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The SHA-256 of the CA's certificate, in hex: join tokens carry it.
    #[must_use]
    pub fn ca_hash(&self) -> String {
        sha256_hex(&self.ca_der)
    }

    /// Issues a certificate to the key of a request. Of the request only the key is believed; the
    /// name is the caller's to vouch for.
    ///
    /// # Errors
    /// If the request is not a well-formed, self-signed PKCS #10 request.
    pub fn sign_node(&self, csr_pem: &str, node: &str) -> Result<String, PkiError> {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(certificate("read the certificate request"))?;
        request.params = client_params(&format!("system:node:{node}"), "system:nodes", NODE_LIFE)?;
        let signed = request.signed_by(&self.issuer);
        Ok(signed
            .map_err(certificate("sign the node's certificate"))?
            .pem())
    }

    /// Writes `admin.kubeconfig` with a client certificate of the group `system:masters`; an
    /// existing one of this CA is kept while it is fresh and names the same server.
    ///
    /// # Errors
    /// [`PkiError`] by the step that failed.
    pub fn write_admin_kubeconfig(&self, dir: &Path, server: &str) -> Result<PathBuf, PkiError> {
        let pki = dir.join("pki");
        let ours = |pem: &str| is_fresh(pem, SystemTime::now());
        let (cert, key) = files::load_or_make(&pki, "admin", ours, || {
            issue(
                &self.issuer,
                client_params("skiff-admin", "system:masters", SERVER_LIFE)?,
            )
        })?;
        let path = dir.join("admin.kubeconfig");
        let text = kubeconfig::render(server, &self.ca_pem, &cert, &key);
        write_secret(&path, text.as_bytes())?;
        Ok(path)
    }
}

fn make_ca() -> Result<(String, String), PkiError> {
    let key = KeyPair::generate().map_err(certificate("make the CA's key"))?;
    let mut params = base_params("skiff-ca", CA_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = params
        .self_signed(&key)
        .map_err(certificate("sign the CA's certificate"))?;
    Ok((cert.pem(), key.serialize_pem()))
}

fn issue(
    issuer: &Issuer<'static, KeyPair>,
    params: CertificateParams,
) -> Result<(String, String), PkiError> {
    let key = KeyPair::generate().map_err(certificate("make a key"))?;
    let cert = params
        .signed_by(&key, issuer)
        .map_err(certificate("sign a certificate"))?;
    Ok((cert.pem(), key.serialize_pem()))
}

fn base_params(common_name: &str, life: Duration) -> Result<CertificateParams, PkiError> {
    let mut params =
        CertificateParams::new(Vec::<String>::new()).map_err(certificate("name a certificate"))?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    // A machine whose clock is behind must be able to join all the same.
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + life).into();
    Ok(params)
}

fn server_params(names: &ServerNames) -> Result<CertificateParams, PkiError> {
    let texts = names
        .dns
        .iter()
        .cloned()
        .chain(names.ips.iter().map(ToString::to_string));
    let mut params = base_params("skiff-server", SERVER_LIFE)?;
    let named = CertificateParams::new(texts.collect::<Vec<_>>())
        .map_err(certificate("name the server's certificate"))?;
    params.subject_alt_names = named.subject_alt_names;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:servers");
    Ok(params)
}

fn client_params(user: &str, group: &str, life: Duration) -> Result<CertificateParams, PkiError> {
    let mut params = base_params(user, life)?;
    params
        .distinguished_name
        .push(DnType::OrganizationName, group);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn certificate(action: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Certificate { action, source }
}

fn first_certificate(pem: &str, path: &Path) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| PkiError::NoCertificate {
        path: path.to_owned(),
    })
}

/// Whether a certificate has more than a third of its life before it.
fn is_fresh(pem: &str, now: SystemTime) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
        return false;
    };
    let Ok((_, cert)) = x509_parser::parse_x509_certificate(&der) else {
        return false;
    };
    let validity = cert.validity();
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let (start, end) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    start <= now && end - now > (end - start) / 3
}

fn covers(pem: &str, names: &ServerNames) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
        return false;
    };
    let Ok((_, cert)) = x509_parser::parse_x509_certificate(&der) else {
        return false;
    };
    let Ok(Some(listed)) = cert.subject_alternative_name() else {
        return false;
    };
    let has_dns = |wanted: &String| {
        listed.value.general_names.iter().any(|name| {
            matches!(name, x509_parser::extensions::GeneralName::DNSName(dns) if dns == wanted)
        })
    };
    let has_ip = |wanted: &IpAddr| {
        let octets = match wanted {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        listed.value.general_names.iter().any(|name| {
            matches!(name, x509_parser::extensions::GeneralName::IPAddress(ip) if *ip == octets)
        })
    };
    names.dns.iter().all(has_dns) && names.ips.iter().all(has_ip)
}

/// The SHA-256 of some bytes, in hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dns: &str) -> ServerNames {
        ServerNames {
            dns: vec![dns.into()],
            ips: vec!["127.0.0.1".parse().unwrap()],
        }
    }

    #[test]
    fn a_second_start_keeps_everything_and_new_names_renew_only_the_server() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::open(dir.path(), &names("one")).unwrap();
        let second = Pki::open(dir.path(), &names("one")).unwrap();
        assert_eq!(first.server_cert, second.server_cert);
        let third = Pki::open(dir.path(), &names("two")).unwrap();
        assert_ne!(first.server_cert, third.server_cert);
        assert_eq!(first.ca_hash(), third.ca_hash());
    }

    #[test]
    fn a_node_gets_the_name_that_the_server_vouches_for_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &names("one")).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut wish = CertificateParams::new(vec!["evil".to_owned()]).unwrap();
        wish.distinguished_name
            .push(DnType::CommonName, "skiff-admin");
        wish.distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        let csr = wish.serialize_request(&key).unwrap().pem().unwrap();
        let pem = pki.sign_node(&csr, "n1").unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let identity = crate::auth::Identity::of_certificate(&der).unwrap();
        assert_eq!(identity.user, "system:node:n1");
        assert_eq!(identity.groups, ["system:nodes"]);
        assert!(pki.sign_node("nonsense", "n1").is_err());
    }

    #[test]
    fn a_certificate_in_its_last_third_is_not_fresh() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &names("one")).unwrap();
        let now = SystemTime::now();
        assert!(is_fresh(&pki.server_cert, now));
        assert!(!is_fresh(&pki.server_cert, now + SERVER_LIFE * 3 / 4));
        assert!(!is_fresh("nonsense", now));
    }

    #[test]
    fn secrets_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &names("one")).unwrap();
        let path = pki
            .write_admin_kubeconfig(dir.path(), "https://127.0.0.1:6443")
            .unwrap();
        for path in [
            path,
            dir.path().join("pki/ca.key"),
            dir.path().join("pki/server.key"),
        ] {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }
}
