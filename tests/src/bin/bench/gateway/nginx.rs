//! nginx under the gateway benchmark: one worker per core, no access log, connections kept on both
//! sides, the same headers to the backends as Skiff sends.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::backends::Backends;
use super::proxy::{self, Program, Proxy};
use crate::machine;

/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/nginx";

pub(super) fn start(backends: &Backends, connections: usize) -> Option<Proxy> {
    let address = proxy::address();
    let program = Program::start(PROGRAM, |folder| {
        let services: Vec<_> = backends.services().collect();
        let file = folder.join("nginx.conf");
        fs::write(&file, config(folder, (address, connections), &services))
            .expect("write nginx.conf");
        let [file, folder] = [&file, folder].map(|path| path.display().to_string());
        ["-e", "stderr", "-p", &folder, "-c", &file]
            .map(str::to_owned)
            .to_vec()
    })?;
    Some(Proxy::program(program, address))
}

/// Its limits of connections and of requests per connection are out of the way, and `reuseport`
/// spreads connections evenly over the workers, as it does not by itself.
fn config(
    folder: &Path,
    (address, connections): (SocketAddr, usize),
    services: &[(&str, &[SocketAddr])],
) -> String {
    let (workers, folder) = (machine::cores(), folder.display());
    // Of each worker, as nobody spreads them evenly.
    let most = connections + 2048;
    let (mut upstreams, mut locations) = (String::new(), String::new());
    for (name, servers) in services {
        let servers: String = servers
            .iter()
            .map(|server| format!("    server {server};\n"))
            .collect();
        write!(
            upstreams,
            "  upstream {name} {{\n    least_conn;\n{servers}    keepalive 256;\n    \
             keepalive_requests 1000000000;\n  }}\n"
        )
        .expect("a text takes all");
        let location = format!("    location /{name}/ {{ proxy_pass http://{name}; }}\n");
        locations.push_str(&location);
    }
    format!(
        "daemon off;
user root;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr;
events {{
  worker_connections {most};
}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  proxy_http_version 1.1;
  proxy_set_header Connection \"\";
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Request-Id $request_id;
{upstreams}  server {{
    listen {address} reuseport;
{locations}  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_its_prefix_and_its_servers() {
        let servers = ["10.0.0.1:1", "10.0.0.1:2"].map(|text| text.parse().expect("an address"));
        let address = "127.0.0.1:80".parse().expect("an address");
        let text = config(Path::new("/t"), (address, 1), &[("cart", &servers)]);
        for expected in [
            "  upstream cart {\n    least_conn;\n    server 10.0.0.1:1;\n    server 10.0.0.1:2;\n",
            "    location /cart/ { proxy_pass http://cart; }\n",
            "    listen 127.0.0.1:80 reuseport;\n",
            "pid /t/nginx.pid;\n",
        ] {
            assert!(text.contains(expected), "{expected}\nis not in\n{text}");
        }
    }
}
