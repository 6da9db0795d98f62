//! The API over plain TLS and HTTP/1.1, with an identity from a kubeconfig. Knows nothing of Skiff's
//! own client, so that the two can't agree on the same mistake.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A request that takes longer has failed.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Who asks, and whom.
#[derive(Clone)]
pub struct Identity {
    /// `host:port` of the server.
    address: String,
    name: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
}

impl Identity {
    /// The identity and server that a kubeconfig names.
    ///
    /// # Panics
    /// If the file is not the admin kubeconfig of a server.
    #[must_use]
    pub fn of(kubeconfig: &Path) -> Self {
        Self::new(kubeconfig, true)
    }

    /// The server that a kubeconfig names, asked by nobody in particular.
    ///
    /// # Panics
    /// If the file is not the admin kubeconfig of a server.
    #[must_use]
    pub fn anonymous(kubeconfig: &Path) -> Self {
        Self::new(kubeconfig, false)
    }

    fn new(kubeconfig: &Path, known: bool) -> Self {
        let text = std::fs::read_to_string(kubeconfig).expect("read the kubeconfig");
        let config: Value = serde_yaml::from_str(&text).expect("a kubeconfig is YAML");
        let cluster = &config["clusters"][0]["cluster"];
        let user = &config["users"][0]["user"];
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates(&cluster["certificate-authority-data"]) {
            roots.add(certificate).expect("a usable CA certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_root_certificates(roots);
        let tls = if known {
            let key = PrivateKeyDer::from_pem_slice(&decoded(&user["client-key-data"]))
                .expect("a client key");
            tls.with_client_auth_cert(certificates(&user["client-certificate-data"]), key)
                .expect("a client certificate that fits its key")
        } else {
            tls.with_no_client_auth()
        };
        let server: Uri = cluster["server"]
            .as_str()
            .and_then(|url| url.parse().ok())
            .expect("a server's URL");
        let host = server
            .host()
            .expect("the server's URL has a host")
            .to_owned();
        Self {
            address: server
                .authority()
                .expect("the server's URL has an authority")
                .to_string(),
            name: ServerName::try_from(host).expect("a server's name"),
            tls: Arc::new(tls),
        }
    }

    /// `host:port` of the server.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens a connection that can carry many requests, one after the other.
    ///
    /// # Errors
    /// Why it can't be had.
    pub async fn connect(&self) -> Result<Connection, String> {
        let opened = tokio::time::timeout(ANSWER_MAX, self.open()).await;
        opened.map_err(|_| "connecting takes too long".to_owned())?
    }

    async fn open(&self) -> Result<Connection, String> {
        let tcp = dial(&self.address).await?;
        let tls = TlsConnector::from(Arc::clone(&self.tls))
            .connect(self.name.clone(), tcp)
            .await;
        Connection::over(tls.map_err(|err| format!("TLS: {err}"))?, &self.address).await
    }
}

async fn dial(address: &str) -> Result<TcpStream, String> {
    let tcp = TcpStream::connect(address)
        .await
        .map_err(|err| format!("connect: {err}"))?;
    tcp.set_nodelay(true)
        .map_err(|err| format!("set no delay: {err}"))?;
    Ok(tcp)
}

/// One open connection.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Opens one without TLS, to something that is measured beside Skiff.
    ///
    /// # Errors
    /// Why it can't be had.
    pub async fn plain(address: &str) -> Result<Self, String> {
        let opened = async { Self::over(dial(address).await?, address).await };
        let opened = tokio::time::timeout(ANSWER_MAX, opened).await;
        opened.map_err(|_| "connecting takes too long".to_owned())?
    }

    async fn over<S>(stream: S, host: &str) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|err| format!("HTTP: {err}"))?;
        // Its errors come back through the sender.
        tokio::spawn(connection);
        let host = host.to_owned();
        Ok(Self { sender, host })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The connection broke or stayed silent: the request may or may not have been carried out.
    pub async fn send(&mut self, call: &Call) -> Result<Answer, String> {
        let answer = tokio::time::timeout(ANSWER_MAX, self.exchange(call)).await;
        answer
            .map_err(|_| "the answer takes too long".to_owned())?
            .map_err(|err| err.to_string())
    }

    async fn exchange(&mut self, call: &Call) -> hyper::Result<Answer> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.path)
            .header("host", &self.host)
            .header("accept", "application/json");
        if !call.content_type.is_empty() {
            request = request.header("content-type", call.content_type);
        }
        let request = request
            .body(Full::new(call.body.clone()))
            .expect("a well-formed request");
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Empty: none is sent.
    pub content_type: &'static str,
    /// The body as sent.
    pub body: Bytes,
}

impl Call {
    /// A GET.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::bare(Method::GET, path)
    }

    /// A DELETE without options.
    #[must_use]
    pub fn delete(path: &str) -> Self {
        Self::bare(Method::DELETE, path)
    }

    /// A POST of a JSON object.
    #[must_use]
    pub fn post(path: &str, body: &Value) -> Self {
        Self::with(Method::POST, path, "application/json", body.to_string())
    }

    /// A PUT of a JSON object.
    #[must_use]
    pub fn put(path: &str, body: &Value) -> Self {
        Self::with(Method::PUT, path, "application/json", body.to_string())
    }

    /// A merge patch.
    #[must_use]
    pub fn merge(path: &str, patch: &Value) -> Self {
        Self::with(
            Method::PATCH,
            path,
            "application/merge-patch+json",
            patch.to_string(),
        )
    }

    /// Any request with a body.
    #[must_use]
    pub fn with(
        method: Method,
        path: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            method,
            path: path.to_owned(),
            content_type,
            body: body.into(),
        }
    }

    fn bare(method: Method, path: &str) -> Self {
        Self::with(method, path, "", "")
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The body as sent.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; what is not JSON comes back as a JSON string.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::String(self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `message` of a Status.
    #[must_use]
    pub fn message(&self) -> String {
        self.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// The API for tests that do one thing after the other: a connection for each request, so that a
/// server's restart in between goes unnoticed.
pub struct Api {
    identity: Identity,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    /// Asks as `identity`.
    ///
    /// # Panics
    /// If the machine has no resources for a runtime.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self { identity, runtime }
    }

    /// Sends one request.
    ///
    /// # Errors
    /// The server can't be reached or did not answer.
    pub fn try_send(&self, call: &Call) -> Result<Answer, String> {
        self.runtime
            .block_on(async { self.identity.connect().await?.send(call).await })
    }

    /// Sends one request to a server that must answer.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn send(&self, call: &Call) -> Answer {
        self.try_send(call)
            .unwrap_or_else(|why| panic!("{} {}: {why}", call.method, call.path))
    }

    /// An object or list that must be there.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.send(&Call::get(path));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// Creates an object and returns it as stored.
    ///
    /// # Panics
    /// If it is refused.
    pub fn create(&self, path: &str, object: &Value) -> Value {
        let answer = self.send(&Call::post(path, object));
        assert_eq!(answer.status, 201, "POST {path}: {}", answer.text());
        answer.json()
    }
}

fn certificates(data: &Value) -> Vec<CertificateDer<'static>> {
    let pem = decoded(data);
    CertificateDer::pem_slice_iter(&pem)
        .map(|der| der.expect("a certificate"))
        .collect()
}

fn decoded(data: &Value) -> Vec<u8> {
    STANDARD
        .decode(data.as_str().expect("base64 text in the kubeconfig"))
        .expect("base64")
}
