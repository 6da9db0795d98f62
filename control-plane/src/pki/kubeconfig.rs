//! The administrator's kubeconfig, for kubectl and for Skiff's own CLI.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The extension with the URLs of all servers: kubectl passes over it, Skiff's client goes to
/// another of them when one is lost.
const SERVERS: &str = "skiff.io/servers";

/// Renders the file; `servers` are all servers of the cluster.
pub(super) fn render(server: &str, servers: &[String], ca: &str, cert: &str, key: &str) -> String {
    let [ca, cert, key] = [ca, cert, key].map(|pem| STANDARD.encode(pem));
    let extension = extension(servers);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: skiff
  cluster:
    server: {server}
    certificate-authority-data: {ca}
{extension}users:
- name: skiff-admin
  user:
    client-certificate-data: {cert}
    client-key-data: {key}
contexts:
- name: skiff
  context:
    cluster: skiff
    user: skiff-admin
current-context: skiff
"
    )
}

fn extension(servers: &[String]) -> String {
    let mut text = String::new();
    if servers.is_empty() {
        return text;
    }
    text.push_str("    extensions:\n    - name: ");
    text.push_str(SERVERS);
    text.push_str("\n      extension:\n        servers:\n");
    for server in servers {
        // Writing to a String cannot fail. Quoted: an address may begin with a bracket.
        _ = writeln!(text, "        - \"{server}\"");
    }
    text
}
