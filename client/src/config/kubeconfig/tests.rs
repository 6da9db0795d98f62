//! kubeconfig files as people have them, and as they get them wrong.

use super::*;

const ONE: &str = "
apiVersion: v1
kind: Config
current-context: dev
clusters:
- name: dev
  cluster: {server: 'https://10.0.0.1:6443', insecure-skip-tls-verify: true}
- name: path
  cluster: {server: 'https://10.0.0.2:6443', certificate-authority: nowhere/ca.crt}
users:
- name: me
  user: {token: \" secret\\n\"}
- name: plugin
  user: {exec: {command: login}}
- name: half
  user: {client-certificate-data: YQ==}
contexts:
- name: dev
  context: {cluster: dev, user: me, namespace: shop}
- name: plugin
  context: {cluster: dev, user: plugin}
- name: half
  context: {cluster: dev, user: half}
- name: path
  context: {cluster: path, user: me}
- name: lost
  context: {cluster: gone, user: me}
";

const TWO: &str = "
current-context: other
clusters:
- name: dev
  cluster: {server: 'https://10.9.9.9:6443'}
contexts:
- name: other
  context: {cluster: dev}
";

fn one() -> Kubeconfig {
    Kubeconfig::parse(ONE, Path::new("/etc/skiff/config")).unwrap()
}

#[test]
fn the_current_context_says_where_and_who() {
    let config = one().client_config(None).unwrap();
    assert_eq!(config.servers, ["https://10.0.0.1:6443".parse().unwrap()]);
    assert_eq!(config.namespace, "shop");
    assert!(matches!(config.trust, Trust::Anything));
    assert_eq!(config.token.unwrap().header().unwrap(), "Bearer secret");
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        (
            "nosuch",
            "the kubeconfig has no context \"nosuch\"; it has: dev, plugin, half, path, lost",
        ),
        (
            "lost",
            "the kubeconfig has no cluster \"gone\"; it has: dev, path",
        ),
        ("path", "cannot read /etc/skiff/nowhere/ca.crt"),
        (
            "half",
            "user \"half\" in the kubeconfig has a client certificate or key without the other",
        ),
        (
            "plugin",
            "user \"plugin\" in the kubeconfig uses an exec plugin, which skiff does not support; \
             use a client certificate or a token",
        ),
    ];
    for (context, expected) in cases {
        let error = one().client_config(Some(context)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let none = Kubeconfig::default().client_config(None).unwrap_err();
    assert!(matches!(none, ConfigError::NoContext), "{none}");
}

#[test]
fn of_several_files_the_first_wins() {
    let mut merged = one();
    merged.merge(Kubeconfig::parse(TWO, Path::new("two")).unwrap());
    assert_eq!(merged.client_config(None).unwrap().namespace, "shop");
    let other = merged.client_config(Some("other")).unwrap();
    assert_eq!(other.servers, ["https://10.0.0.1:6443".parse().unwrap()]);
    assert_eq!(other.namespace, "default");
}

#[test]
fn a_token_is_never_shown() {
    let config = one().client_config(None).unwrap();
    assert!(!format!("{config:?}").contains("secret"));
}

/// A cluster with these extensions.
fn extended(extensions: &str) -> Result<ClientConfig, ConfigError> {
    let text = format!(
        "
current-context: dev
clusters:
- name: dev
  cluster:
    server: https://a:6443
    tls-server-name: skiff
    insecure-skip-tls-verify: true
    extensions: {extensions}
contexts:
- name: dev
  context: {{cluster: dev}}
"
    );
    Kubeconfig::parse(&text, Path::new("config"))?.client_config(None)
}

#[test]
fn further_servers_stand_in_an_extension() {
    let cases = [
        ("none", "[]", "https://a:6443"),
        (
            "two more, and the first once again",
            "[{name: skiff.io/servers, extension: {servers: ['https://b:6443', 'https://a:6443', 'c:1']}}]",
            "https://a:6443 https://b:6443 https://c:1",
        ),
        (
            "those of other programs are passed over",
            "[{name: minikube, extension: {provider: x}}, {name: empty}]",
            "https://a:6443",
        ),
    ];
    for (name, extensions, expected) in cases {
        let servers = extended(extensions).unwrap().servers;
        assert!(servers.iter().all(|s| s.tls_name() == "skiff"), "{name}");
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers.join(" "), expected, "{name}");
    }
    let bad = [
        (
            "[{name: skiff.io/servers, extension: {servers: b}}]",
            "extension skiff.io/servers of cluster \"dev\" in the kubeconfig cannot be read; \
             write extension: {servers: [https://HOST:PORT]}",
        ),
        (
            "[{name: skiff.io/servers, extension: {servers: ['ftp://b']}}]",
            "\"ftp://b\" is not a server address: the scheme must be https or http; write \
             https://HOST:PORT",
        ),
    ];
    for (extensions, expected) in bad {
        assert_eq!(extended(extensions).unwrap_err().to_string(), expected);
    }
}
