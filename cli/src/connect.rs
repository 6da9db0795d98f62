//! Finding the cluster: flags, then $KUBECONFIG, then ~/.kube/config, then a running `skiff dev`.

use std::env;
use std::path::{Path, PathBuf};

use skiff_client::{Client, ClientConfig, Kubeconfig, Server, Trust};

use crate::args::Connection;
use crate::error::CliError;

/// The cluster that a verb works on.
pub(crate) struct Cluster {
    /// The client.
    pub client: Client,
    /// The namespace that is meant if none is named.
    pub namespace: String,
    /// Whether the namespace was named on the command line.
    pub namespace_named: bool,
}

/// The file in a data directory that `skiff dev` and `skiff server` write.
const ADMIN: &str = "admin.kubeconfig";

/// A client for the cluster that the flags, or else the files, name.
pub(crate) fn connect(connection: &Connection) -> Result<Cluster, CliError> {
    let files = kubeconfig_files(connection.kubeconfig.as_deref());
    let mut config = if !files.is_empty() {
        Kubeconfig::read(&files)?.client_config(connection.context.as_deref())?
    } else if !connection.server.is_empty() {
        ClientConfig::new(Vec::new(), Trust::System)
    } else {
        return Err(CliError::Usage(
            "no cluster is configured; start one with `skiff dev`, or name a kubeconfig with \
             --kubeconfig"
                .into(),
        ));
    };
    if !connection.server.is_empty() {
        name_servers(&mut config, &connection.server);
    }
    if let Some(namespace) = &connection.namespace {
        config.namespace.clone_from(namespace);
    }
    let namespace = config.namespace.clone();
    let namespace_named = connection.namespace.is_some();
    Ok(Cluster {
        client: Client::new(config)?,
        namespace,
        namespace_named,
    })
}

/// Puts the servers of the command line in place of the kubeconfig's; the name that it expects in
/// their certificates stays, as with kubectl.
fn name_servers(config: &mut ClientConfig, servers: &[Server]) {
    let expected = config.servers.first();
    let expected = expected.filter(|server| server.tls_name() != server.host());
    let name = expected.map(|server| server.tls_name().to_owned());
    let named = servers.iter().cloned();
    config.servers = named.map(|s| s.with_tls_name(name.clone())).collect();
}

/// The kubeconfig files to read; none if there are none.
fn kubeconfig_files(named: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = named {
        return vec![path.to_owned()];
    }
    if let Some(list) = env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        // As kubectl: files of the list that do not exist are passed over.
        let found: Vec<_> = env::split_paths(&list)
            .filter(|path| path.is_file())
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    let home = env::home_dir().map(|home| home.join(".kube").join("config"));
    let dev = data_dirs().into_iter().map(|dir| dir.join(ADMIN));
    home.into_iter()
        .chain(dev)
        .find(|path| path.is_file())
        .into_iter()
        .collect()
}

/// Where `skiff dev` keeps its state: the folder that was named, else ./.skiff if it exists, else
/// ~/.skiff.
pub(crate) fn data_dir(named: Option<&Path>) -> PathBuf {
    let local = PathBuf::from(".skiff");
    match (named, env::home_dir()) {
        (Some(dir), _) => dir.to_owned(),
        (None, Some(home)) if !local.is_dir() => home.join(".skiff"),
        (None, _) => local,
    }
}

/// The folders where a running `skiff dev` may keep its state.
fn data_dirs() -> Vec<PathBuf> {
    let named = env::var_os("SKIFF_DATA_DIR")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from);
    let home = env::home_dir().map(|home| home.join(".skiff"));
    named
        .into_iter()
        .chain([PathBuf::from(".skiff")])
        .chain(home)
        .collect()
}

impl Cluster {
    /// The namespaces that a list is about: one, or `None` for all.
    pub(crate) fn scope(&self, all_namespaces: bool) -> Option<&str> {
        (!all_namespaces).then_some(self.namespace.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_the_command_line_replace_those_of_the_file() {
        let given: Vec<Server> = ["https://a:1", "https://b:2"]
            .map(|s| s.parse().unwrap())
            .into();
        let cases = [(None, ["a", "b"]), (Some("skiff"), ["skiff", "skiff"])];
        for (expected, names) in cases {
            let file = Server::at("old", 6443).with_tls_name(expected.map(str::to_owned));
            let mut config = ClientConfig::new(vec![file], Trust::System);
            name_servers(&mut config, &given);
            let hosts: Vec<_> = config.servers.iter().map(Server::host).collect();
            assert_eq!(hosts, ["a", "b"]);
            let found: Vec<_> = config.servers.iter().map(Server::tls_name).collect();
            assert_eq!(found, names, "{expected:?}");
        }
    }
}
