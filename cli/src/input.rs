//! Reading manifests: files, folders, standard input → documents with their kind and place.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use skiff_api::manifest::{self, Document, Place};
use skiff_api::{Key, Kind, Scope};

use crate::connect::Cluster;
use crate::error::CliError;

/// The largest manifest that is read; an object may have 3 MB, a file many of them.
const INPUT_MAX: u64 = 64 << 20;

/// What stands for standard input among the files.
const STDIN: &str = "-";

/// An object of a manifest that can be sent.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub key: Key,
    /// All of it, with its namespace.
    pub value: Value,
}

/// Reads all objects that can have a name from the given files, in order.
pub(crate) fn read(cluster: &Cluster, files: &[PathBuf]) -> Result<Vec<Manifest>, CliError> {
    let documents = read_documents(files)?;
    documents
        .into_iter()
        .map(|document| resolve(cluster, document))
        .collect()
}

fn read_documents(files: &[PathBuf]) -> Result<Vec<Document>, CliError> {
    let mut documents = Vec::new();
    for file in files {
        if file.as_os_str() == STDIN {
            let text = read_text(STDIN, Path::new("standard input"), std::io::stdin().lock())?;
            documents.extend(text);
            continue;
        }
        let shown = file.to_string_lossy();
        if shown.starts_with("http://") || shown.starts_with("https://") {
            let message = format!("skiff does not fetch {shown}; download it first");
            return Err(CliError::Usage(message));
        }
        for path in expand(file)? {
            let name = path.to_string_lossy().into_owned();
            let open = fs::File::open(&path);
            let open = open.map_err(|source| failed("read", &path, source))?;
            documents.extend(read_text(&name, &path, open)?);
        }
    }
    if documents.is_empty() {
        return Err(CliError::Usage(
            "no objects found in the given files".into(),
        ));
    }
    Ok(documents)
}

fn read_text(name: &str, path: &Path, from: impl Read) -> Result<Vec<Document>, CliError> {
    let mut text = String::new();
    let size = from
        .take(INPUT_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|source| failed("read", path, source))?;
    if u64::try_from(size).unwrap_or(u64::MAX) > INPUT_MAX {
        let message = format!(
            "{} is larger than {INPUT_MAX} bytes; split it",
            path.display()
        );
        return Err(CliError::Usage(message));
    }
    Ok(manifest::parse(name, &text)?)
}

/// A file itself, or the manifests in a folder by name.
fn expand(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|source| failed("read", path, source))? {
        let entry = entry.map_err(|source| failed("read", path, source))?.path();
        let ending = entry.extension().and_then(|ending| ending.to_str());
        if entry.is_file() && matches!(ending, Some("yaml" | "yml" | "json")) {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

fn resolve(cluster: &Cluster, document: Document) -> Result<Manifest, CliError> {
    let wrong = |message: String| CliError::Document {
        place: document.place.clone(),
        message,
    };
    let kind = document.known_kind().ok_or_else(|| {
        wrong(format!(
            "no matches for kind {:?} in version {:?}; skiff does not serve it",
            document.kind, document.api_version
        ))
    })?;
    let name = document.name().unwrap_or_default();
    let namespace = namespace(cluster, kind, &document).map_err(wrong)?;
    let key = Key::new(kind, &namespace, name);
    let mut value = document.value;
    if kind.info().scope == Scope::Namespaced
        && let Some(meta) = crate::json::map_at(&mut value, "metadata")
    {
        meta.insert("namespace".into(), namespace.into());
    }
    Ok(Manifest {
        place: document.place,
        key,
        value,
    })
}

fn namespace(cluster: &Cluster, kind: Kind, document: &Document) -> Result<String, String> {
    match document.namespace() {
        _ if kind.info().scope == Scope::Cluster => Ok(String::new()),
        None => Ok(cluster.namespace.clone()),
        Some(own) if cluster.namespace_named && own != cluster.namespace => Err(format!(
            "the namespace from the provided object {own:?} does not match the namespace {:?}; \
             you must pass '--namespace={own}' to perform this operation",
            cluster.namespace
        )),
        Some(own) => Ok(own.to_owned()),
    }
}

impl Manifest {
    /// The error of a request about this object.
    pub(crate) fn failed(&self, source: skiff_client::ClientError) -> CliError {
        CliError::At {
            place: self.place.clone(),
            source,
        }
    }

    /// Requires a name, which `generateName` is not.
    pub(crate) fn named(&self) -> Result<(), CliError> {
        if self.key.name.is_empty() {
            let message = "metadata.name is required; generateName works with `create` only".into();
            return Err(CliError::Document {
                place: self.place.clone(),
                message,
            });
        }
        Ok(())
    }
}

fn failed(doing: &'static str, path: &Path, source: std::io::Error) -> CliError {
    CliError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_manifests_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "c.json", "README.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("d.yaml")).unwrap();
        let found = expand(folder.path()).unwrap();
        let names: Vec<_> = found
            .iter()
            .filter_map(|p| p.file_name()?.to_str())
            .collect();
        assert_eq!(names, ["a.yml", "b.yaml", "c.json"]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_documents(&["nowhere/web.yaml".into()]).unwrap_err();
        assert_eq!(error.to_string(), "cannot read nowhere/web.yaml");
    }
}
