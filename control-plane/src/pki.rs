//! The cluster's own certificate authority: who the server is, and who its clients are.
//!
//! Secure with no step for the user: the first start makes a CA, the server's certificate and the
//! administrator's kubeconfig; nodes get theirs by joining. Private keys are files of mode 0600
//! and never leave this directory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

mod files;
mod kubeconfig;
mod tls;

pub use files::{sync_dir, write_secret};
pub use tls::Current;
pub(crate) use tls::joining_tls;

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
    /// Key and certificate do not fit together.
    #[error("use the server's key and certificate")]
    Pair(#[source] rustls::Error),
    /// The directory belongs to another cluster.
    #[error("{path} holds the keys of another cluster; join with an empty data directory")]
    OtherCluster {
        /// The directory.
        path: PathBuf,
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
    dir: PathBuf,
    /// All names that the server's certificate is to be good for.
    names: Mutex<ServerNames>,
    current: Arc<Current>,
    /// The server's certificate in PEM as it was at the start, the CA's not included.
    pub server_cert: String,
    /// The private key of that certificate in PEM.
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
        let pair = tls::certified_key(&server_cert, &server_key, &ca_der);
        let current = Arc::new(Current::new(pair.map_err(PkiError::Pair)?));
        Ok(Self {
            issuer,
            ca_pem,
            ca_der,
            dir,
            names: Mutex::new(names.clone()),
            current,
            server_cert,
            server_key,
        })
    }

    /// Takes over the CA of the cluster that this server joins; the same again changes nothing.
    ///
    /// # Errors
    /// [`PkiError::OtherCluster`] if the directory has another CA, or what file cannot be written.
    pub fn adopt_ca(dir: &Path, cert_pem: &str, key_pem: &str) -> Result<(), PkiError> {
        let dir = dir.join("pki");
        files::make_private_dir(&dir)?;
        let path = dir.join("ca.crt");
        let ours = std::fs::read_to_string(&path);
        if ours.is_ok_and(|ours| ours.trim() != cert_pem.trim()) {
            return Err(PkiError::OtherCluster { path: dir });
        }
        first_certificate(cert_pem, &path)?;
        write_secret(&dir.join("ca.key"), key_pem.as_bytes())?;
        write_secret(&path, cert_pem.as_bytes())?;
        sync_dir(&dir)
    }

    /// What TLS shows on connections: always the newest.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        self.current.clone()
    }

    /// Replaces the server's certificate if it is in the last third of its life; new connections
    /// get the new one. Returns whether it did.
    ///
    /// # Errors
    /// [`PkiError`] by the step that failed; the old certificate stays in use.
    pub fn renew_if_due(&self, now: SystemTime) -> Result<bool, PkiError> {
        let mut renewed = false;
        let names = self.names().clone();
        let usable = |pem: &str| is_fresh(pem, now) && covers(pem, &names);
        let (cert, key) = files::load_or_make(&self.dir, "server", usable, || {
            renewed = true;
            issue(&self.issuer, server_params(&names)?)
        })?;
        if renewed {
            let pair = tls::certified_key(&cert, &key, &self.ca_der);
            self.current.replace(pair.map_err(PkiError::Pair)?);
        }
        Ok(renewed)
    }

    /// Makes the server's certificate good for more names; whether it had to be replaced.
    ///
    /// # Errors
    /// As for [`Pki::renew_if_due`].
    pub fn cover(&self, dns: Vec<String>, ip: IpAddr) -> Result<bool, PkiError> {
        {
            let mut names = self.names();
            names.dns.extend(dns);
            names.dns.sort();
            names.dns.dedup();
            names.ips.push(ip);
            names.ips.sort();
            names.ips.dedup();
        }
        self.renew_if_due(SystemTime::now())
    }

    fn names(&self) -> MutexGuard<'_, ServerNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// existing one of this CA is kept while it is fresh. `server` is this server's URL, `servers`
    /// are those of all.
    ///
    /// # Errors
    /// [`PkiError`] by the step that failed.
    pub fn write_admin_kubeconfig(
        &self,
        dir: &Path,
        server: &str,
        servers: &[String],
    ) -> Result<PathBuf, PkiError> {
        let pki = dir.join("pki");
        let ours = |pem: &str| is_fresh(pem, SystemTime::now());
        let (cert, key) = files::load_or_make(&pki, "admin", ours, || {
            issue(
                &self.issuer,
                client_params("skiff-admin", "system:masters", SERVER_LIFE)?,
            )
        })?;
        let path = dir.join("admin.kubeconfig");
        let text = kubeconfig::render(server, servers, &self.ca_pem, &cert, &key);
        if std::fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(path);
        }
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
    fn a_certificate_is_renewed_while_it_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &names("one")).unwrap();
        let file = || std::fs::read_to_string(dir.path().join("pki/server.crt")).unwrap();
        let now = SystemTime::now();
        assert!(!pki.renew_if_due(now + SERVER_LIFE / 2).unwrap());
        assert_eq!(file(), pki.server_cert);
        let shown = pki.current().get();
        assert!(pki.renew_if_due(now + SERVER_LIFE * 3 / 4).unwrap());
        assert_ne!(file(), pki.server_cert);
        assert_ne!(pki.current().get().cert, shown.cert);
    }

    #[test]
    fn a_joining_server_takes_the_ca_and_no_second_one() {
        let [one, two, three] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let founder = Pki::open(one.path(), &names("one")).unwrap();
        let adopt = |pki: &Pki| Pki::adopt_ca(two.path(), pki.ca_pem(), &pki.ca_key_pem());
        adopt(&founder).unwrap();
        adopt(&founder).unwrap();
        let joined = Pki::open(two.path(), &names("two")).unwrap();
        assert_eq!(joined.ca_hash(), founder.ca_hash());
        let other = Pki::open(three.path(), &names("three")).unwrap();
        let refused = adopt(&other).unwrap_err().to_string();
        assert!(refused.contains("another cluster"), "{refused}");
    }

    #[test]
    fn the_kubeconfig_names_all_servers_in_an_extension() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &names("one")).unwrap();
        let all = ["https://10.0.0.1:6443", "https://[fd00::2]:6443"].map(str::to_owned);
        let path = pki
            .write_admin_kubeconfig(dir.path(), "https://127.0.0.1:6443", &all)
            .unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let read: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let cluster = &read["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://127.0.0.1:6443");
        let extension = &cluster["extensions"][0];
        assert_eq!(extension["name"], "skiff.io/servers");
        let urls: Vec<String> =
            serde_yaml::from_value(extension["extension"]["servers"].clone()).unwrap();
        assert_eq!(urls, all);
    }

    #[test]
    fn secrets_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(dir.path(), &names("one")).unwrap();
        let path = pki
            .write_admin_kubeconfig(dir.path(), "https://127.0.0.1:6443", &[])
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
