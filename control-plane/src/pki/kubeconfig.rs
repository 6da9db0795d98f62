//! The administrator's kubeconfig, for kubectl and for Skiff's own CLI.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) fn render(server: &str, ca: &str, cert: &str, key: &str) -> String {
    let [ca, cert, key] = [ca, cert, key].map(|pem| STANDARD.encode(pem));
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: skiff
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
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
