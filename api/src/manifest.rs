//! Manifests: YAML or JSON texts → documents, each with its place in the file.
//!
//! Reads texts only, never files. Refuses what YAML leaves open and people get wrong: a key twice
//! in one mapping, tags, numbers that JSON cannot hold. Alias bombs and endless nesting end in an
//! error of the parser. Scalars mean what YAML 1.2 says: `yes` and `on` are texts.

mod emit;
mod read;
mod strict;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub use emit::to_yaml;
pub use read::parse;

use crate::kind::Kind;

/// One object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it stands.
    pub place: Place,
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// All of it.
    pub value: Value,
}

impl Document {
    /// The kind, if it is one that Skiff serves.
    #[must_use]
    pub fn known_kind(&self) -> Option<Kind> {
        Kind::find(&self.api_version, &self.kind)
    }

    /// `metadata.name`, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.meta("name")
    }

    /// `metadata.namespace`, if there is one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.meta("namespace")
    }

    fn meta(&self, field: &str) -> Option<&str> {
        let text = self.value.get("metadata")?.get(field)?.as_str()?;
        Some(text).filter(|text| !text.is_empty())
    }
}

/// A place in a manifest, `web.yaml:12` or `web.yaml:12:5`. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// The line.
    pub line: usize,
    /// The column, where it is known.
    pub column: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        self.column.map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}

/// Why a text is not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is neither YAML nor JSON, or a kind of YAML that is refused.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A document is no Kubernetes object.
    #[error("{place}: {what}; every object needs apiVersion and kind")]
    NoObject {
        /// Where the document begins.
        place: Place,
        /// What is wrong.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests;
