//! The actions that a pod lists for the agent to do on its containers: a command, an HTTP request,
//! a connection, a pause. Probes and lifecycle hooks are made of them.

mod exec;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rustls::pki_types::ServerName;
use skiff_api::k8s_openapi::api::core::v1::{
    Container, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use skiff_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_client::{Trust, tls};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::chain::Chain;
use crate::https;
use crate::runtime::{ContainerId, Runtime};

/// The part of an answer that is read; it ends up in an event.
const ANSWER_MAX: usize = 1024;

/// Something to do on a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// Run a command in it.
    Exec(Vec<String>),
    /// Send it a GET.
    Http {
        /// Use TLS, with whatever certificate it shows.
        tls: bool,
        /// Another host than the pod's address.
        host: Option<String>,
        /// Its port.
        port: u16,
        /// Path and query.
        path: String,
        /// More headers.
        headers: Vec<(String, String)>,
    },
    /// Open a connection.
    Tcp {
        /// Another host than the pod's address.
        host: Option<String>,
        /// Its port.
        port: u16,
    },
    /// Do nothing for a while.
    Sleep(Duration),
    /// What cannot be done, and why; each try fails in these words.
    Impossible(String),
}

/// Why a handler did not succeed, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// The container failed.
    #[error("{0}")]
    Failed(String),
    /// The runtime could not do it, which says nothing about the container.
    #[error("{0}")]
    Unknown(String),
}

/// Where a handler acts.
#[derive(Clone)]
pub struct Target {
    /// The runtime that the container is in.
    pub runtime: Arc<dyn Runtime>,
    /// The container.
    pub id: ContainerId,
    /// The address at which its ports are reached.
    pub ip: Option<IpAddr>,
}

impl Handler {
    /// The handler of a probe.
    #[must_use]
    pub fn of_probe(probe: &Probe, container: &Container) -> Self {
        if let Some(exec) = &probe.exec {
            return Self::Exec(exec.command.clone().unwrap_or_default());
        }
        if let Some(http) = &probe.http_get {
            return Self::http(http, container);
        }
        match &probe.tcp_socket {
            Some(tcp) => Self::tcp(tcp, container),
            None => Self::Impossible("the probe names no handler that this node knows".into()),
        }
    }

    /// The handler of a lifecycle hook.
    #[must_use]
    pub fn of_hook(hook: &LifecycleHandler, container: &Container) -> Self {
        if let Some(exec) = &hook.exec {
            return Self::Exec(exec.command.clone().unwrap_or_default());
        }
        if let Some(http) = &hook.http_get {
            return Self::http(http, container);
        }
        if let Some(sleep) = &hook.sleep {
            return Self::Sleep(Duration::from_secs(
                u64::try_from(sleep.seconds).unwrap_or(0),
            ));
        }
        match &hook.tcp_socket {
            Some(tcp) => Self::tcp(tcp, container),
            None => Self::Impossible("the hook names no handler".into()),
        }
    }

    fn http(action: &HTTPGetAction, container: &Container) -> Self {
        let path = action.path.as_deref().unwrap_or("/");
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let headers = action.http_headers.iter().flatten();
        match port(&action.port, container) {
            Ok(port) => Self::Http {
                tls: action.scheme.as_deref() == Some("HTTPS"),
                host: action.host.clone().filter(|host| !host.is_empty()),
                port,
                path,
                headers: headers.map(|h| (h.name.clone(), h.value.clone())).collect(),
            },
            Err(why) => Self::Impossible(why),
        }
    }

    fn tcp(action: &TCPSocketAction, container: &Container) -> Self {
        let host = action.host.clone().filter(|host| !host.is_empty());
        match port(&action.port, container) {
            Ok(port) => Self::Tcp { host, port },
            Err(why) => Self::Impossible(why),
        }
    }

    /// Does it, within a time.
    ///
    /// # Errors
    /// [`HandlerError::Failed`] if the container is to blame, [`HandlerError::Unknown`] if the
    /// runtime is.
    pub async fn run(&self, target: &Target, limit: Duration) -> Result<(), HandlerError> {
        let work = async {
            match self {
                Self::Exec(command) => return exec::run(target, command, limit).await,
                Self::Http { .. } => self.get(target).await,
                Self::Tcp { host, port } => dial(target, host.as_deref(), *port).await.map(drop),
                Self::Sleep(pause) => {
                    tokio::time::sleep(*pause).await;
                    Ok(())
                }
                Self::Impossible(why) => Err(why.clone()),
            }
            .map_err(HandlerError::Failed)
        };
        let (bound, late): (_, fn(String) -> HandlerError) = match self {
            Self::Exec(_) => (limit.saturating_add(exec::SLACK), HandlerError::Unknown),
            Self::Http { .. } | Self::Tcp { .. } | Self::Sleep(_) | Self::Impossible(_) => {
                (limit, HandlerError::Failed)
            }
        };
        let words = || format!("no answer within {}s", limit.as_secs());
        tokio::time::timeout(bound, work)
            .await
            .unwrap_or_else(|_| Err(late(words())))
    }

    async fn get(&self, target: &Target) -> Result<(), String> {
        let Self::Http {
            tls,
            host,
            port,
            path,
            headers,
        } = self
        else {
            return Ok(());
        };
        let stream = dial(target, host.as_deref(), *port).await?;
        let authority = match (host, target.ip) {
            (Some(host), _) => format!("{host}:{port}"),
            (None, Some(ip)) => SocketAddr::new(ip, *port).to_string(),
            (None, None) => format!("localhost:{port}"),
        };
        let request = request(path, &authority, headers)?;
        let shown = format!(
            "{}://{authority}{path}",
            if *tls { "https" } else { "http" }
        );
        let broken = |why: String| format!("Get {shown:?}: {why}");
        let answer = if *tls {
            let config = tls::client_config(&Trust::Anything, None, &[])
                .map_err(|err| broken(Chain(&err).to_string()))?;
            let name = host.clone().or_else(|| target.ip.map(|ip| ip.to_string()));
            let name = ServerName::try_from(name.unwrap_or_default())
                .map_err(|err| broken(err.to_string()))?;
            let stream = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
                .map_err(|err| broken(err.to_string()))?;
            https::exchange(stream, request, ANSWER_MAX).await
        } else {
            https::exchange(stream, request, ANSWER_MAX).await
        };
        let status = answer
            .map_err(|err| broken(Chain(&err).to_string()))?
            .status();
        if status.is_success() || status.is_redirection() {
            Ok(())
        } else {
            Err(format!(
                "HTTP probe failed with statuscode: {}",
                status.as_u16()
            ))
        }
    }
}

fn request(
    path: &str,
    authority: &str,
    headers: &[(String, String)],
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::get(path).header("user-agent", "kube-probe/1.33");
    let named = |name: &str| {
        headers
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    };
    if !named("host") {
        request = request.header("host", authority);
    }
    if !named("accept") {
        request = request.header("accept", "*/*");
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::default()).map_err(|err| err.to_string())
}

async fn dial(target: &Target, host: Option<&str>, port: u16) -> Result<TcpStream, String> {
    let connected = match (host, target.ip) {
        (Some(host), _) => TcpStream::connect((host, port)).await,
        (None, Some(ip)) => TcpStream::connect((ip, port)).await,
        (None, None) => return Err("the pod has no address".into()),
    };
    let shown = host.map_or_else(
        || {
            target
                .ip
                .map(|ip| SocketAddr::new(ip, port).to_string())
                .unwrap_or_default()
        },
        |host| format!("{host}:{port}"),
    );
    connected.map_err(|err| format!("dial tcp {shown}: {err}"))
}

/// A port by number or by the name that the container gives it.
fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.filter(|port| port.name.as_deref() == Some(name));
            match (
                named.map(|port| port.container_port).next(),
                name.parse::<i32>(),
            ) {
                (Some(number), _) | (None, Ok(number)) => number,
                (None, Err(_)) => return Err(format!("no port is named {name:?}")),
            }
        }
    };
    u16::try_from(number)
        .ok()
        .filter(|number| *number != 0)
        .ok_or_else(|| format!("port {number} is not a port"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_found_by_number_and_name() {
        let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]});
        let container: Container = serde_json::from_value(container).expect("a container");
        let cases = [
            ("a number", IntOrString::Int(80), Some(80)),
            ("a name", IntOrString::String("web".into()), Some(8080)),
            (
                "a number as text",
                IntOrString::String("81".into()),
                Some(81),
            ),
            ("an unknown name", IntOrString::String("db".into()), None),
            ("zero", IntOrString::Int(0), None),
            ("too large", IntOrString::Int(70_000), None),
        ];
        for (name, wanted, expected) in cases {
            assert_eq!(port(&wanted, &container).ok(), expected, "{name}");
        }
    }
}
