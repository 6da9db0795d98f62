//! `HAProxy` under the gateway benchmark: one thread per core, no log, connections kept on both sides,
//! the same headers to the backends as Skiff sends.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use super::backends::Backends;
use super::proxy::{self, Program, Proxy};
use crate::machine;

/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/haproxy";

pub(super) fn start(backends: &Backends, connections: usize) -> Option<Proxy> {
    let address = proxy::address();
    let program = Program::start(PROGRAM, |folder| {
        let services: Vec<_> = backends.services().collect();
        let file = folder.join("haproxy.cfg");
        fs::write(&file, config((address, connections), &services)).expect("write haproxy.cfg");
        ["-db", "-f", &file.display().to_string()]
            .map(str::to_owned)
            .to_vec()
    })?;
    Some(Proxy::program(program, address))
}

fn config(
    (address, connections): (SocketAddr, usize),
    services: &[(&str, &[SocketAddr])],
) -> String {
    let threads = machine::cores();
    let (mut rules, mut backends) = (String::new(), String::new());
    for (name, servers) in services {
        let rule = format!("  use_backend {name} if {{ path_beg /{name}/ }}\n");
        rules.push_str(&rule);
        write!(backends, "backend {name}\n  balance leastconn\n").expect("a text takes all");
        for (number, server) in servers.iter().enumerate() {
            writeln!(backends, "  server s{number} {server}").expect("a text takes all");
        }
    }
    format!(
        "global
  nbthread {threads}
  maxconn {connections}
defaults
  mode http
  maxconn {connections}
  option http-keep-alive
  http-reuse always
  option forwardfor
  timeout connect 2s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
frontend gateway
  bind {address}
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
{rules}{backends}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_its_prefix_and_its_servers() {
        let servers = ["10.0.0.1:1", "10.0.0.1:2"].map(|text| text.parse().expect("an address"));
        let address = "127.0.0.1:80".parse().expect("an address");
        let text = config((address, 1), &[("cart", &servers)]);
        for expected in [
            "  use_backend cart if { path_beg /cart/ }\n",
            "backend cart\n  balance leastconn\n  server s0 10.0.0.1:1\n  server s1 10.0.0.1:2\n",
            "  bind 127.0.0.1:80\n",
        ] {
            assert!(text.contains(expected), "{expected}\nis not in\n{text}");
        }
    }
}
