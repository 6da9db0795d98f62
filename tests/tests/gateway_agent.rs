//! The gateway of an agent: certificates that come and change, what is wrong with Ingresses, and all
//! that clients speak through it. Its backends are in this process, behind endpoints by hand.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use skiff_tests::api::{Api, Call};
use skiff_tests::backend::{
    Backend, HEALTH_PATH, HEALTH_REQUEST, HEALTH_SERVING, WEBSOCKET_ACCEPT, WEBSOCKET_KEY, masked,
};
use skiff_tests::cluster::{Cluster, free_address, items, text};
use skiff_tests::kubectl::Kubectl;
use skiff_tests::skiff::{Said, run};
use skiff_tests::wait;
use tokio_rustls::TlsConnector;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
const CLASSES: &str = "/apis/networking.k8s.io/v1/ingressclasses";

const HOST: &str = "shop.example";
const OTHER_HOST: &str = "blog.example";
const UNKNOWN_HOST: &str = "nobody.example";

/// Until the gateway has heard of a change; of Secrets it hears every ten seconds, and the leader
/// tells of gateways some seconds after it began to lead.
const HEARD_MAX: Duration = Duration::from_secs(30);

/// Until what was sent has come through.
const THROUGH_MAX: Duration = Duration::from_secs(10);

/// How long `curl` waits, in seconds.
const ANSWER_MAX: &str = "5";

/// The code with which `curl` ends where there is no certificate for the name.
const NO_HANDSHAKE: i32 = 35;

/// A cluster of one agent with a gateway, and a backend behind the services `shop` and `blog`.
struct Town {
    cluster: Cluster,
    api: Api,
    agent: String,
    http: String,
    https: String,
    shop: Backend,
    // It answers for as long as it is here.
    _blog: Backend,
}

impl Town {
    fn start() -> Self {
        let mut cluster = Cluster::server();
        let agent = format!("{}-1", cluster.prefix);
        let (http, https) = (free_address(), free_address());
        cluster.add_agent_with(&agent, &[&format!("--gateway={http},{https}")]);
        cluster.wait_for_nodes(1);
        let api = cluster.api();
        let (shop, blog) = (Backend::start("shop"), Backend::start("blog"));
        for (name, protocol, backend) in [
            ("shop", None, &shop),
            ("blog", None, &blog),
            ("health", Some("kubernetes.io/h2c"), &shop),
        ] {
            let port = json!({"port": 80, "appProtocol": protocol});
            let service = json!({"metadata": {"name": name}, "spec": {"ports": [port]}});
            api.create(SERVICES, &service);
            let (ip, port) = (backend.address.ip(), backend.address.port());
            let slice = json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"name": "", "port": port, "protocol": "TCP", "appProtocol": protocol}],
                "endpoints": [{"addresses": [ip.to_string()], "conditions": {"ready": true}}],
            });
            api.create(SLICES, &slice);
        }
        Self {
            cluster,
            api,
            agent,
            http,
            https,
            shop,
            _blog: blog,
        }
    }

    fn kubectl(&self, line: &str) -> String {
        let kubectl = Kubectl::all(&self.cluster.kubeconfig()).pop();
        kubectl.expect("there is one").run(line).ok()
    }

    /// `curl` by HTTPS of a host's `/`, as somebody who trusts one certificate.
    fn curl(&self, host: &str, trusted: &Certificate, more: &[&str]) -> Said {
        let file = self.cluster.file("trusted.pem", &trusted.chain);
        let port = self.https.rsplit_once(':').map(|(_, port)| port);
        let port = port.expect("an address with a port");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", ANSWER_MAX]);
        curl.args([
            "--cacert",
            &file,
            "--resolve",
            &format!("{host}:{port}:127.0.0.1"),
        ]);
        run(curl.args(more).arg(format!("https://{host}:{port}/")))
    }

    fn until_says(&self, host: &str, trusted: &Certificate, expected: &str) {
        wait::until(&format!("{host} says {expected}"), HEARD_MAX, || {
            let said = self.curl(host, trusted, &["--fail"]).result()?;
            if said == expected { Ok(()) } else { Err(said) }
        });
    }

    /// `curl` without TLS.
    fn until_plain(&self, host: &str, path: &str, expected: &str) {
        wait::until(&format!("{host}{path} says {expected}"), HEARD_MAX, || {
            let mut curl = Command::new("curl");
            curl.args([
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                ANSWER_MAX,
            ]);
            curl.args(["--header", &format!("Host: {host}")]);
            let said = run(curl.arg(format!("http://{}{path}", self.http))).result()?;
            if said == expected { Ok(()) } else { Err(said) }
        });
    }

    /// Waits for an Event of that reason about an Ingress, and returns what it says.
    fn event(&self, ingress: &str, reason: &str) -> String {
        wait::until(&format!("{reason} of {ingress}"), HEARD_MAX, || {
            let events = self.api.get("/api/v1/namespaces/default/events");
            let mut about = items(&events).filter(|event| {
                event["involvedObject"]["name"] == ingress && event["reason"] == reason
            });
            let found = about.next().map(|event| text(&event["message"]));
            found.ok_or_else(|| events.to_string())
        })
    }

    fn put_secret(&self, name: &str, chain: &str, key: &str) {
        let data = json!({"tls.crt": STANDARD.encode(chain), "tls.key": STANDARD.encode(key)});
        let secret = json!({"metadata": {"name": name}, "type": "kubernetes.io/tls", "data": data});
        let path = format!("{SECRETS}/{name}");
        let known = self.api.send(&Call::get(&path)).status == 200;
        let call = match known {
            true => Call::put(&path, &secret),
            false => Call::post(SECRETS, &secret),
        };
        let answer = self.api.send(&call);
        assert!(answer.status < 300, "{}", answer.text());
    }
}

/// A certificate that vouches for itself, and its key.
struct Certificate {
    chain: String,
    key: String,
}

impl Certificate {
    fn of(host: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]);
        let made = made.expect("a host's name");
        Self {
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }
}

/// An Ingress of one host, with TLS if a Secret is named.
fn ingress(name: &str, host: &str, paths: &[(&str, &str)], secret: Option<&str>) -> Value {
    let path = |(path, service): &(&str, &str)| {
        json!({"path": path, "pathType": "Prefix",
            "backend": {"service": {"name": service, "port": {"number": 80}}}})
    };
    let paths: Vec<Value> = paths.iter().map(path).collect();
    let mut ingress = json!({"metadata": {"name": name},
        "spec": {"rules": [{"host": host, "http": {"paths": paths}}]}});
    if let Some(secret) = secret {
        ingress["spec"]["tls"] = json!([{"hosts": [host], "secretName": secret}]);
    }
    ingress
}

#[test]
fn each_host_has_its_certificate_and_a_new_one_is_taken_while_a_bad_one_is_not() {
    let mut town = Town::start();
    let (shop, blog) = (Certificate::of(HOST), Certificate::of(OTHER_HOST));
    town.put_secret("shop", &shop.chain, &shop.key);
    town.put_secret("blog", &blog.chain, &blog.key);
    for (name, host) in [("shop", HOST), ("blog", OTHER_HOST)] {
        let ingress = ingress(name, host, &[("/", name)], Some(name));
        town.api.create(INGRESSES, &ingress);
    }
    town.until_says(HOST, &shop, "shop");
    town.until_says(OTHER_HOST, &blog, "blog");
    let unknown = town.curl(UNKNOWN_HOST, &shop, &[]);
    assert_eq!(unknown.code, NO_HANDSHAKE, "{}", unknown.err);
    let version = [
        "--fail",
        "--http2",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_version}",
    ];
    assert_eq!(town.curl(HOST, &shop, &version).ok(), "2");

    let next = Certificate::of(HOST);
    town.put_secret("shop", &next.chain, &next.key);
    town.until_says(HOST, &next, "shop");
    assert_ne!(town.curl(HOST, &shop, &[]).code, 0, "the old one is gone");

    // The key of another certificate.
    town.put_secret("shop", &Certificate::of(HOST).chain, &next.key);
    let told = town.event("shop", "BadTlsSecret");
    assert!(told.contains("stays in use"), "{told}");
    town.until_says(HOST, &next, "shop");
    town.until_says(OTHER_HOST, &blog, "blog");

    // What it knows it goes on serving.
    town.cluster.server.kill();
    town.until_says(HOST, &next, "shop");
    town.until_says(OTHER_HOST, &blog, "blog");
}

#[test]
fn clients_speak_through_it_whatever_they_like() {
    let town = Town::start();
    let certificate = Certificate::of(HOST);
    town.put_secret("shop", &certificate.chain, &certificate.key);
    let paths = [("/", "shop"), ("/grpc.health.v1.Health", "health")];
    let ingress = ingress("shop", HOST, &paths, Some("shop"));
    town.api.create(INGRESSES, &ingress);
    town.until_plain(HOST, "/", "shop");
    town.until_says(HOST, &certificate, "shop");
    chats(&town);
    hears_events_one_by_one(&town);
    checks_health(&town, &certificate);
}

/// A WebSocket: what is said comes back, more than once.
fn chats(town: &Town) {
    let mut stream = TcpStream::connect(&town.http).expect("the gateway listens");
    stream
        .set_read_timeout(Some(THROUGH_MAX))
        .expect("a time that is not zero");
    let ask = format!(
        "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {WEBSOCKET_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).expect("ask");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the head of an answer");
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_string();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains(WEBSOCKET_ACCEPT), "{head}");
    for word in ["first", "second"] {
        stream.write_all(&masked(word.as_bytes())).expect("speak");
        let mut frame = [0; 2];
        stream.read_exact(&mut frame).expect("a frame");
        let mut heard = vec![0; frame[1].into()];
        stream.read_exact(&mut heard).expect("its text");
        assert_eq!(String::from_utf8_lossy(&heard), word);
    }
}

/// Server-sent events: each has come before the next one is sent.
fn hears_events_one_by_one(town: &Town) {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--no-buffer",
        "--header",
        &format!("Host: {HOST}"),
    ]);
    let url = format!("http://{}/events", town.http);
    let mut child = curl
        .arg(url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl starts");
    let mut out = child.stdout.take().expect("its output is piped");
    let (tell, told) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok(count @ 1..) = out.read(&mut bytes) {
            if tell.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    for text in ["one", "two", "three"] {
        town.shop.send_event(text);
        let heard = told.recv_timeout(THROUGH_MAX);
        let heard = heard.unwrap_or_else(|_| panic!("{text} has not come"));
        assert_eq!(String::from_utf8_lossy(&heard), format!("data: {text}\n\n"));
    }
    child.kill().expect("end curl");
    child.wait().expect("wait for curl");
    reading.join().expect("the reader ends");
}

/// gRPC's health check by TLS and HTTP/2, with its trailers.
fn checks_health(town: &Town, trusted: &Certificate) {
    let mut roots = rustls::RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(trusted.chain.as_bytes());
    roots.add(der.expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let asked = async {
        let tcp = tokio::net::TcpStream::connect(&town.https).await;
        let name = ServerName::try_from(HOST).expect("a host's name");
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, tcp.expect("the gateway listens"))
            .await;
        let stream = TokioIo::new(tls.expect("a handshake"));
        let handshake = http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = handshake.expect("HTTP/2");
        // Its errors come back through the sender.
        tokio::spawn(connection);
        let request = Request::post(format!("https://{HOST}{HEALTH_PATH}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from_static(HEALTH_REQUEST)))
            .expect("a well-formed request");
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("its body");
        let trailers = body.trailers().cloned().unwrap_or_default();
        (status, trailers, body.to_bytes())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let limited = runtime.block_on(async { tokio::time::timeout(THROUGH_MAX, asked).await });
    let (status, trailers, body) = limited.expect("an answer in time");
    assert_eq!(status, 200);
    assert_eq!(body, HEALTH_SERVING);
    let code = trailers.get("grpc-status").map(|code| code.as_bytes());
    assert_eq!(code, Some(&b"0"[..]), "{trailers:?}");
}

#[test]
fn people_see_what_it_serves_and_what_is_wrong() {
    let town = Town::start();
    let elder = ingress("a-elder", HOST, &[("/", "shop")], None);
    town.api.create(INGRESSES, &elder);
    town.until_plain(HOST, "/", "shop");
    let younger = ingress("b-younger", HOST, &[("/", "blog"), ("/blog", "blog")], None);
    town.api.create(INGRESSES, &younger);
    town.until_plain(HOST, "/blog", "blog");
    town.until_plain(HOST, "/", "shop");
    let told = town.event("b-younger", "DuplicateRoute");
    assert!(told.contains(HOST), "{told}");

    let routes = town.cluster.skiff("gateway routes");
    assert!(routes.err.contains("DuplicateRoute"), "{}", routes.err);
    let routes = routes.ok();
    for words in [
        ["/", "default/shop:80", "default/a-elder"],
        ["/blog", "default/blog:80", "default/b-younger"],
    ] {
        let has = |line: &str| {
            let line: Vec<&str> = line.split_whitespace().collect();
            line.first() == Some(&HOST) && words.iter().all(|word| line.contains(word))
        };
        assert!(routes.lines().any(has), "{words:?}: {routes}");
    }
    let status = wait::until("the gateway has told its counts", HEARD_MAX, || {
        let status = town.cluster.skiff("gateway status").result()?;
        let name = format!("node/{}", town.agent);
        let line = status.lines().find(|line| line.starts_with(&name));
        let line: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        let requests = line
            .get(5)
            .and_then(|requests| requests.parse::<u64>().ok());
        if requests.is_some_and(|requests| requests >= 3) {
            Ok(line.join(" "))
        } else {
            Err(status)
        }
    });
    for word in [&*town.http, &town.https, "Ready"] {
        assert!(status.contains(word), "{word}: {status}");
    }
    wait::until("the Ingress says where it is reached", HEARD_MAX, || {
        let table = town.kubectl("get ingress a-elder");
        let line = table.lines().last().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        // NAME CLASS HOSTS ADDRESS PORTS AGE
        match words.get(3) {
            Some(&"127.0.0.1") => Ok(()),
            _ => Err(table),
        }
    });

    let class = json!({"metadata": {"name": "usual",
        "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "skiff.io/gateway"}});
    town.api.create(CLASSES, &class);
    let late = ingress("late", OTHER_HOST, &[("/", "blog")], None);
    let late = town.api.create(INGRESSES, &late);
    assert_eq!(late["spec"]["ingressClassName"], "usual");
    town.until_plain(OTHER_HOST, "/", "blog");
}
