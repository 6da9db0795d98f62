//! kubeconfig files, merged as kubectl merges them: the first file that names something wins.
//!
//! kubectl knows one server per cluster. Further ones stand in an extension of the cluster, which
//! kubectl keeps and passes over: `{name: skiff.io/servers, extension: {servers: [https://…]}}`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{ClientConfig, Server, Token};
use crate::error::ConfigError;
use crate::tls::{Identity, Trust};

/// The name of the extension of a cluster that lists further servers of it.
pub const SERVERS_EXTENSION: &str = "skiff.io/servers";

/// One or more kubeconfig files, merged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Kubeconfig {
    current_context: String,
    clusters: Vec<Named<ClusterEntry>>,
    users: Vec<Named<UserEntry>>,
    contexts: Vec<Named<ContextEntry>>,
}

/// An entry of one of the three lists. The key beside `name` differs from list to list.
#[derive(Clone, Debug, Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "cluster", alias = "user", alias = "context")]
    entry: T,
    /// The folder of the file, for relative paths in it.
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct ClusterEntry {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
    extensions: Vec<Extension>,
}

/// What a program keeps in a file for itself.
#[derive(Clone, Debug, Deserialize)]
struct Extension {
    name: String,
    #[serde(default)]
    extension: serde_yaml::Value,
}

#[derive(Deserialize)]
struct FurtherServers {
    servers: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct UserEntry {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    exec: Option<serde_yaml::Value>,
    auth_provider: Option<serde_yaml::Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContextEntry {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

impl Kubeconfig {
    /// Reads and merges files; of each name, and of `current-context`, the first one counts.
    ///
    /// # Errors
    /// [`ConfigError::Read`] or [`ConfigError::Parse`], naming the file.
    pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Self, ConfigError> {
        let mut merged = Self::default();
        for path in paths {
            let path = path.as_ref();
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: path.to_owned(),
                source,
            })?;
            merged.merge(Self::parse(&text, path)?);
        }
        Ok(merged)
    }

    /// Reads the text of one file; `path` is for messages and for relative paths in it.
    ///
    /// # Errors
    /// [`ConfigError::Parse`], naming the file.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut parsed: Self = serde_yaml::from_str(text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source,
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        parsed
            .clusters
            .iter_mut()
            .for_each(|named| named.folder = folder.to_owned());
        parsed
            .users
            .iter_mut()
            .for_each(|named| named.folder = folder.to_owned());
        Ok(parsed)
    }

    fn merge(&mut self, later: Self) {
        if self.current_context.is_empty() {
            self.current_context = later.current_context;
        }
        add_new(&mut self.clusters, later.clusters);
        add_new(&mut self.users, later.users);
        add_new(&mut self.contexts, later.contexts);
    }

    /// The configuration of a context: the named one, or the current one.
    ///
    /// # Errors
    /// [`ConfigError`] if something is missing, unreadable or not supported.
    pub fn client_config(&self, context: Option<&str>) -> Result<ClientConfig, ConfigError> {
        let name = context.unwrap_or(&self.current_context);
        if name.is_empty() {
            return Err(ConfigError::NoContext);
        }
        let context = &find("context", &self.contexts, name)?.entry;
        let cluster = find("cluster", &self.clusters, &context.cluster)?;
        let mut config = ClientConfig::new(cluster.servers()?, cluster.trust()?);
        if let Some(namespace) = context.namespace.as_ref().filter(|name| !name.is_empty()) {
            config.namespace.clone_from(namespace);
        }
        if !context.user.is_empty() {
            let user = find("user", &self.users, &context.user)?;
            config.identity = user.identity()?;
            config.token = user.token()?;
        }
        Ok(config)
    }
}

impl Named<ClusterEntry> {
    /// The cluster's server, then the further ones.
    fn servers(&self) -> Result<Vec<Server>, ConfigError> {
        let mut addresses = vec![self.entry.server.clone()];
        let ours = |extension: &&Extension| extension.name == SERVERS_EXTENSION;
        for extension in self.entry.extensions.iter().filter(ours) {
            let further: FurtherServers = serde_yaml::from_value(extension.extension.clone())
                .map_err(|source| ConfigError::Extension {
                    cluster: self.name.clone(),
                    source,
                })?;
            addresses.extend(further.servers);
        }
        let mut servers: Vec<Server> = Vec::new();
        for address in addresses {
            let server: Server = address.parse()?;
            let server = server.with_tls_name(self.entry.tls_server_name.clone());
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        Ok(servers)
    }

    fn trust(&self) -> Result<Trust, ConfigError> {
        if self.entry.proxy_url.is_some() {
            let name = self.name.clone();
            return Err(ConfigError::Unsupported {
                name,
                what: "a proxy-url",
            });
        }
        if self.entry.insecure_skip_tls_verify {
            return Ok(Trust::Anything);
        }
        let inline = &self.entry.certificate_authority_data;
        let file = &self.entry.certificate_authority;
        match self.pem(
            "certificate-authority-data",
            inline.as_deref(),
            file.as_deref(),
        )? {
            Some(pem) => Ok(Trust::from_pem(&pem)?),
            None => Ok(Trust::System),
        }
    }
}

impl Named<UserEntry> {
    fn identity(&self) -> Result<Option<Identity>, ConfigError> {
        let user = &self.entry;
        let ways = [
            (user.exec.is_some(), "an exec plugin"),
            (user.auth_provider.is_some(), "an auth-provider"),
            (user.username.is_some(), "a user name and password"),
        ];
        if let Some((_, what)) = ways.into_iter().find(|(used, _)| *used) {
            return Err(ConfigError::Unsupported {
                name: self.name.clone(),
                what,
            });
        }
        let chain = self.pem(
            "client-certificate-data",
            user.client_certificate_data.as_deref(),
            user.client_certificate.as_deref(),
        )?;
        let key = self.pem(
            "client-key-data",
            user.client_key_data.as_deref(),
            user.client_key.as_deref(),
        )?;
        match (chain, key) {
            (Some(chain), Some(key)) => Ok(Some(Identity::from_pem(&chain, &key)?)),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(ConfigError::HalfIdentity(self.name.clone())),
        }
    }

    fn token(&self) -> Result<Option<Token>, ConfigError> {
        if let Some(token) = self.entry.token.as_ref().filter(|token| !token.is_empty()) {
            return Ok(Some(Token::new(token)));
        }
        let Some(file) = &self.entry.token_file else {
            return Ok(None);
        };
        let path = self.folder.join(file);
        let text =
            std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path, source })?;
        Ok(Some(Token::new(&text)))
    }
}

impl<T> Named<T> {
    /// The PEM text that stands in the file or beside it; what stands in it wins.
    fn pem(
        &self,
        field: &'static str,
        inline: Option<&str>,
        file: Option<&Path>,
    ) -> Result<Option<Vec<u8>>, ConfigError> {
        if let Some(data) = inline.filter(|data| !data.is_empty()) {
            let decoded = STANDARD
                .decode(data.trim())
                .map_err(|source| ConfigError::Base64 {
                    field,
                    name: self.name.clone(),
                    source,
                })?;
            return Ok(Some(decoded));
        }
        let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else {
            return Ok(None);
        };
        let path = self.folder.join(file);
        let pem = std::fs::read(&path).map_err(|source| ConfigError::Read { path, source })?;
        Ok(Some(pem))
    }
}

fn add_new<T>(entries: &mut Vec<Named<T>>, later: Vec<Named<T>>) {
    for entry in later {
        if !entries.iter().any(|earlier| earlier.name == entry.name) {
            entries.push(entry);
        }
    }
}

fn find<'a, T>(
    what: &'static str,
    entries: &'a [Named<T>],
    name: &str,
) -> Result<&'a Named<T>, ConfigError> {
    entries
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| ConfigError::Missing {
            what,
            name: name.to_owned(),
            found: entries.iter().map(|entry| entry.name.clone()).collect(),
        })
}

#[cfg(test)]
mod tests;
