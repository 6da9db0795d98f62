//! Who this agent is: its id, key, certificate and the cluster's CA, kept in the data directory.
//! Files are readable by their owner only and replaced in one step, so that a crash leaves either
//! the old identity or the new one.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use skiff_api::Millis;
use skiff_client::{Server, tls};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const ID: &str = "agent-id";
/// Certificate and key in one file: they are of use only together.
const PAIR: &str = "agent.pem";
const CA: &str = "ca.crt";
/// The servers that the cluster named last: a JSON list of addresses.
const SERVERS: &str = "servers.json";

/// Why an identity could not be read, made or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The data directory cannot be made.
    #[error("create {path}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// No key, or no request for a certificate, could be made.
    #[error("make a key and a certificate request")]
    Make(#[source] rcgen::Error),
    /// The certificate cannot be read.
    #[error("read the node's certificate")]
    Certificate(#[source] skiff_client::TlsError),
    /// The certificate is no X.509.
    #[error("read the node's certificate: {0}")]
    X509(String),
    /// The directory belongs to another node.
    #[error("data directory {path} belongs to node {found:?}, not {expected:?}; use another one")]
    OtherNode {
        /// Which directory.
        path: PathBuf,
        /// The name in its certificate.
        found: String,
        /// The name asked for.
        expected: String,
    },
}

/// A key and the request for its certificate.
#[derive(Clone)]
pub struct KeyAndRequest {
    /// The private key, PEM.
    pub key: String,
    /// The certificate request, PEM.
    pub csr: String,
}

/// What makes a node known to the cluster; all PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate and its private key, one after the other.
    pub pair: String,
    /// The cluster's CA.
    pub ca: String,
}

/// When a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub from: Millis,
    /// Until.
    pub until: Millis,
}

impl Validity {
    /// How long to wait before asking for a new certificate: until two thirds of its life have
    /// passed. At once if the clock says that it does not hold, though the clock may be wrong.
    #[must_use]
    pub fn renew_in(self, now: Millis) -> Duration {
        let renew_at = self.from.after(self.until.since(self.from) * 2 / 3);
        if now < self.from {
            Duration::ZERO
        } else {
            renew_at.since(now)
        }
    }
}

/// The directory in which an agent keeps itself.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// Opens the directory, making it if need be.
    ///
    /// # Errors
    /// [`IdentityError::Directory`].
    pub fn open(dir: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::Directory {
            path: dir.to_owned(),
            source,
        };
        fs::create_dir_all(dir).map_err(failed)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The agent's id, made on first use. It tells this agent from another of the same name.
    ///
    /// # Errors
    /// Reading or writing the file.
    pub fn agent_id(&self) -> Result<String, IdentityError> {
        if let Some(id) = self.read(ID)? {
            return Ok(id.trim().to_owned());
        }
        let id = uuid(rand::random());
        self.write(ID, &id)?;
        Ok(id)
    }

    /// The identity of an earlier start, if there is one.
    ///
    /// # Errors
    /// Reading the files, or [`IdentityError::OtherNode`].
    pub fn identity(&self, node: &str) -> Result<Option<Identity>, IdentityError> {
        let (Some(pair), Some(ca)) = (self.read(PAIR)?, self.read(CA)?) else {
            return Ok(None);
        };
        let found = common_name(&pair)?;
        let expected = format!("system:node:{node}");
        if found != expected {
            let path = self.dir.clone();
            return Err(IdentityError::OtherNode {
                path,
                found,
                expected,
            });
        }
        Ok(Some(Identity { pair, ca }))
    }

    /// Keeps an identity.
    ///
    /// # Errors
    /// [`IdentityError::Write`].
    pub fn keep(&self, identity: &Identity) -> Result<(), IdentityError> {
        self.write(CA, &identity.ca)?;
        self.write(PAIR, &identity.pair)
    }

    /// The servers that were kept last; none if there are none, or if the file cannot be one.
    ///
    /// # Errors
    /// [`IdentityError::Read`].
    pub fn servers(&self) -> Result<Vec<Server>, IdentityError> {
        let text = self.read(SERVERS)?.unwrap_or_default();
        let addresses: Vec<String> = serde_json::from_str(&text).unwrap_or_default();
        let parsed = addresses.iter().map(|address| address.parse());
        Ok(parsed.filter_map(Result::ok).collect())
    }

    /// Keeps the servers for the next start.
    ///
    /// # Errors
    /// [`IdentityError::Write`].
    pub fn keep_servers(&self, servers: &[Server]) -> Result<(), IdentityError> {
        let addresses: Vec<String> = servers.iter().map(ToString::to_string).collect();
        self.write(SERVERS, &serde_json::json!(addresses).to_string())
    }

    fn read(&self, name: &str) -> Result<Option<String>, IdentityError> {
        let path = self.dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(IdentityError::Read { path, source }),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), IdentityError> {
        let path = self.dir.join(name);
        let draft = self.dir.join(format!(".{name}.new"));
        let work = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        work().map_err(|source| IdentityError::Write {
            path: path.clone(),
            source,
        })
    }
}

/// Makes a key and a certificate request for a node.
///
/// # Errors
/// [`IdentityError::Make`].
pub fn request(node: &str) -> Result<KeyAndRequest, IdentityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Make)?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "system:nodes");
    name.push(DnType::CommonName, format!("system:node:{node}"));
    params.distinguished_name = name;
    let csr = params
        .serialize_request(&key)
        .map_err(IdentityError::Make)?;
    let csr = csr.pem().map_err(IdentityError::Make)?;
    Ok(KeyAndRequest {
        key: key.serialize_pem(),
        csr,
    })
}

/// When a certificate (PEM) holds.
///
/// # Errors
/// It cannot be read.
pub fn validity(certificate: &str) -> Result<Validity, IdentityError> {
    with_x509(certificate, |x509| {
        let millis = |seconds: i64| Millis(seconds.saturating_mul(1000));
        Validity {
            from: millis(x509.validity().not_before.timestamp()),
            until: millis(x509.validity().not_after.timestamp()),
        }
    })
}

fn common_name(certificate: &str) -> Result<String, IdentityError> {
    with_x509(certificate, |x509| {
        let mut names = x509.subject().iter_common_name();
        names
            .next()
            .and_then(|name| name.as_str().ok())
            .unwrap_or_default()
            .to_owned()
    })
}

fn with_x509<T>(
    certificate: &str,
    read: impl Fn(&X509Certificate<'_>) -> T,
) -> Result<T, IdentityError> {
    let chain = tls::certificates("the node's certificate", certificate.as_bytes())
        .map_err(IdentityError::Certificate)?;
    let der = chain.first().map(|der| der.as_ref()).unwrap_or_default();
    let (_, x509) =
        X509Certificate::from_der(der).map_err(|err| IdentityError::X509(err.to_string()))?;
    Ok(read(&x509))
}

/// A version 4 UUID of random bits.
fn uuid(random: u128) -> String {
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
    [
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-")
}

/// The machine's clock.
#[must_use]
pub fn wall_clock() -> Millis {
    Timestamp::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn self_signed(node: &str) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("system:node:{node}"));
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Identity {
            pair: format!("{pem}{}", key.serialize_pem()),
            ca: pem,
        }
    }

    #[test]
    fn an_identity_is_kept_for_its_node_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::open(&dir.path().join("agent")).expect("a home");
        assert!(home.identity("n1").expect("readable").is_none());
        let identity = self_signed("n1");
        home.keep(&identity).expect("kept");
        let found = home.identity("n1").expect("readable").expect("there");
        assert_eq!(found.pair, identity.pair);
        assert!(matches!(
            home.identity("n2"),
            Err(IdentityError::OtherNode { .. })
        ));
        let mode = fs::metadata(dir.path().join("agent").join(PAIR))
            .expect("a file")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn an_agent_keeps_its_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let home = Home::open(dir.path()).expect("a home");
        let id = home.agent_id().expect("an id");
        assert_eq!(home.agent_id().expect("an id"), id);
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
    }

    #[test]
    fn certificates_are_renewed_at_two_thirds_of_their_life() {
        let validity = Validity {
            from: Millis(0),
            until: Millis(90_000),
        };
        let cases = [
            ("fresh", 0, 60),
            ("half way", 30_000, 30),
            ("due", 60_000, 0),
            ("expired", 100_000, 0),
            ("the clock stands before its life", -1, 0),
        ];
        for (name, now, seconds) in cases {
            assert_eq!(
                validity.renew_in(Millis(now)),
                Duration::from_secs(seconds),
                "{name}"
            );
        }
    }

    #[test]
    fn requests_name_the_node() {
        let made = request("n1").expect("a request");
        assert!(made.csr.contains("BEGIN CERTIFICATE REQUEST"));
        assert!(made.key.contains("BEGIN PRIVATE KEY"));
    }
}
