//! TLS, HTTP/2, gRPC and WebSocket through a gateway, with real sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::rig::{Rig, SOON, Upstream, full, get_request, ingress};
use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

/// A certificate of its own, and its key.
fn certificate(host: &str) -> (rustls::pki_types::CertificateDer<'static>, String, String) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    (made.cert.der().clone(), made.cert.pem(), key)
}

fn with_tls(mut ingress: Value, host: &str, secret: &str) -> Value {
    ingress["spec"]["tls"] = json!([{"hosts": [host], "secretName": secret}]);
    ingress
}

/// Connects by TLS as somebody who trusts this certificate only.
async fn connect(
    to: SocketAddr,
    host: &str,
    trusted: &rustls::pki_types::CertificateDer<'static>,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = TcpStream::connect(to).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

pub(crate) async fn http2<S>(stream: S) -> hyper::client::conn::http2::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn a_host_has_its_certificate_and_a_bad_secret_changes_nothing() {
    let web = Upstream::saying("web").await;
    let mut rig = Rig::start().await;
    let route = with_tls(ingress("a", "web", json!({})), "shop.example", "cert");
    let (first, chain, key) = certificate("shop.example");
    rig.objects(
        std::slice::from_ref(&route),
        &[("cert", chain.clone(), key.clone())],
    );
    rig.services(&[("web", None, &[web.address])]).await;
    let stream = connect(rig.https, "shop.example", &first, &[b"h2"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let request = Request::get("https://shop.example/")
        .body(Full::default())
        .unwrap();
    let answer = http2(stream).await.send_request(request).await.unwrap();
    assert_eq!(crate::rig::answer(answer).await.text, "web");
    let unknown = connect(rig.https, "other.example", &first, &[]).await;
    assert!(unknown.is_err(), "no certificate, no handshake");

    // The key of another certificate.
    let (second, other_chain, other_key) = certificate("shop.example");
    rig.objects(
        std::slice::from_ref(&route),
        &[("cert", other_chain.clone(), key)],
    );
    let note = tokio::time::timeout(SOON, rig.notes.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(note.reason, "BadTlsSecret", "{note:?}");
    connect(rig.https, "shop.example", &first, &[])
        .await
        .unwrap();

    rig.objects(&[route], &[("cert", other_chain, other_key)]);
    let changed = async {
        while connect(rig.https, "shop.example", &second, &[])
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, changed).await.unwrap();
    rig.end().await;
}

#[tokio::test]
async fn http2_without_tls_is_known_by_its_first_bytes() {
    let web = Upstream::saying("web").await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[web.address])]).await;
    let mut sender = http2(TcpStream::connect(rig.http).await.unwrap()).await;
    for _ in 0..3 {
        let request = Request::get("http://h/").body(Full::default()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.version(), http::Version::HTTP_2);
        assert_eq!(crate::rig::answer(answer).await.text, "web");
    }
    rig.end().await;
}

#[tokio::test]
async fn grpc_goes_all_the_way_by_http2_and_its_trailers_come_back() {
    let grpc = Upstream::start(|request| async move {
        assert_eq!(request.version(), http::Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        let message = request.into_body().collect().await.unwrap().to_bytes();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut response = Response::new(body.boxed_unsync());
        let kind = "application/grpc".parse().unwrap();
        response.headers_mut().insert("content-type", kind);
        response
    });
    let grpc = grpc.await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "grpc", json!({}))], &[]);
    rig.services(&[("grpc", Some("kubernetes.io/h2c"), &[grpc.address])])
        .await;
    let mut sender = http2(TcpStream::connect(rig.http).await.unwrap()).await;
    let request = Request::post("http://h/health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from("\0\0\0\0\0"))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "\0\0\0\0\0");
    rig.end().await;
}

/// Switches to a protocol of its own, says `hello`, and then back whatever it hears: to one client
/// after the other.
pub(crate) async fn echo() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await;
            assert!(
                head.to_ascii_lowercase().contains("upgrade: websocket"),
                "{head}"
            );
            let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                upgrade: websocket\r\nsec-websocket-accept: yes\r\n\r\nhello";
            stream.write_all(switch.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok();
        }
    });
    (address, task)
}

pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(
            tokio::time::timeout(SOON, stream.read_u8())
                .await
                .unwrap()
                .unwrap(),
        );
    }
    String::from_utf8(text).unwrap()
}

/// Asks for a WebSocket, without the means to have one.
pub(crate) fn upgrade_request(path: &str) -> Request<Full<Bytes>> {
    let mut request = get_request("h", path);
    let headers = request.headers_mut();
    headers.insert("connection", "upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    request
}

/// A client's wish for a WebSocket at `/chat`.
pub(crate) const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nhost: h\r\n\
    connection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: a\r\n\
    sec-websocket-version: 13\r\n\r\n";

#[tokio::test]
async fn a_websocket_becomes_a_tunnel() {
    let (address, task) = echo().await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "chat", json!({}))], &[]);
    rig.services(&[("chat", None, &[address])]).await;
    let mut client = TcpStream::connect(rig.http).await.unwrap();
    client.write_all(WEBSOCKET.as_bytes()).await.unwrap();
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: yes"), "{answer}");
    let mut buffer = [0; 5];
    for word in ["hello", "first", "other"] {
        if word != "hello" {
            client.write_all(word.as_bytes()).await.unwrap();
        }
        tokio::time::timeout(SOON, client.read_exact(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&buffer, word.as_bytes());
    }
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut buffer).await.unwrap(), 0);
    task.abort();
    rig.end().await;
}

#[tokio::test]
async fn a_path_that_wants_tls_sends_there() {
    let web = Upstream::start(|_| async { Response::new(full("web")) }).await;
    let mut rig = Rig::start().await;
    let wants = json!({"gateway.skiff.io/redirect-https": "true"});
    rig.objects(&[ingress("a", "web", wants)], &[]);
    rig.services(&[("web", None, &[web.address])]).await;
    let answer = crate::rig::get(rig.http, "shop.example:8080", "/a?b=c").await;
    assert_eq!(answer.code, 308);
    assert_eq!(answer.headers["location"], "https://shop.example/a?b=c");
    rig.end().await;
}
