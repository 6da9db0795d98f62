//! The environment of a container: services, literals, references, the downward API, `$(NAME)`
//! expansion.
//! Pure: what it refers to has been fetched before.

mod services;

use std::collections::BTreeMap;

use skiff_api::k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource};

pub use services::services;

use crate::fields::{self, FieldError, Place};
use crate::pod::DesiredPod;
use crate::refs::{Ref, RefKind, Refs, Wanted};

/// Why a container's environment cannot be made (`CreateContainerConfigError`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// The object is not there.
    #[error("{} \"{name}\" not found", kind.word())]
    Missing {
        /// Which kind of object.
        kind: RefKind,
        /// Its name.
        name: String,
    },
    /// The object has no such key.
    #[error("couldn't find key {key} in {} {namespace}/{name}", title(*kind))]
    NoKey {
        /// Which kind of object.
        kind: RefKind,
        /// The pod's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key looked for.
        key: String,
    },
    /// A value that is no text.
    #[error("key {key} in {} {name} is not UTF-8 text", kind.word())]
    NotText {
        /// Which kind of object.
        kind: RefKind,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// The downward API has no such thing.
    #[error("environment variable {variable}")]
    Field {
        /// The variable.
        variable: String,
        /// What was asked for.
        #[source]
        source: FieldError,
    },
    /// A source of a kind that is not known.
    #[error("environment variable {variable}: its valueFrom names no source")]
    NoSource {
        /// The variable.
        variable: String,
    },
}

const fn title(kind: RefKind) -> &'static str {
    match kind {
        RefKind::ConfigMap => "ConfigMap",
        RefKind::Secret => "Secret",
    }
}

/// The objects that a container's environment refers to.
#[must_use]
pub fn wanted(container: &Container) -> Wanted {
    let mut wanted = Wanted::new();
    let mut want = |kind, name: &str| {
        wanted.insert(Ref {
            kind,
            name: name.to_owned(),
        });
    };
    for source in container.env_from.iter().flatten() {
        if let Some(map) = &source.config_map_ref {
            want(RefKind::ConfigMap, &map.name);
        }
        if let Some(secret) = &source.secret_ref {
            want(RefKind::Secret, &secret.name);
        }
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|var| var.value_from.as_ref())
    {
        if let Some(map) = &source.config_map_key_ref {
            want(RefKind::ConfigMap, &map.name);
        }
        if let Some(secret) = &source.secret_key_ref {
            want(RefKind::Secret, &secret.name);
        }
    }
    wanted
}

/// The environment of a container: the variables of services, then its own in the order in which
/// they were written. A variable of its own takes the place of a service's.
///
/// # Errors
/// [`EnvError`] for the first reference that leads nowhere and is not optional.
pub fn build(
    container: &Container,
    pod: &DesiredPod,
    refs: &Refs,
    place: &Place,
    services: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, EnvError> {
    let mut builder = Builder {
        container,
        pod,
        refs,
        place,
        env: Env::default(),
    };
    for (name, value) in services {
        builder.env.set(&name, value);
    }
    builder.add_objects()?;
    for var in container.env.iter().flatten() {
        let value = builder.value(var)?;
        if let Some(value) = value {
            builder.env.set(&var.name, value);
        }
    }
    Ok(builder.env.list)
}

/// Replaces `$(NAME)` by the value of a variable; `$$(NAME)` stays `$(NAME)`, and so does the name
/// of a variable that is not defined.
#[must_use]
pub fn expand(text: &str, env: &[(String, String)]) -> String {
    let values: BTreeMap<&str, &str> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    expand_with(text, &|name| {
        values.get(name).map(|value| (*value).to_owned())
    })
}

fn expand_with(text: &str, find: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            rest = escaped;
        } else if let Some((name, behind)) = after
            .strip_prefix('(')
            .and_then(|open| open.split_once(')'))
        {
            match find(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = behind;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Variables in their order; a later one of the same name takes the place of the earlier.
#[derive(Default)]
struct Env {
    list: Vec<(String, String)>,
    at: BTreeMap<String, usize>,
}

impl Env {
    fn set(&mut self, name: &str, value: String) {
        match self.at.get(name).and_then(|at| self.list.get_mut(*at)) {
            Some(entry) => entry.1 = value,
            None => {
                self.at.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.at
            .get(name)
            .and_then(|at| self.list.get(*at))
            .map(|(_, value)| value.clone())
    }
}

struct Builder<'a> {
    container: &'a Container,
    pod: &'a DesiredPod,
    refs: &'a Refs,
    place: &'a Place,
    env: Env,
}

impl Builder<'_> {
    fn add_objects(&mut self) -> Result<(), EnvError> {
        for source in self.container.env_from.iter().flatten() {
            let (kind, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
                (Some(map), _) => (RefKind::ConfigMap, &map.name, map.optional),
                (None, Some(secret)) => (RefKind::Secret, &secret.name, secret.optional),
                (None, None) => continue,
            };
            let Some(data) = self.refs.get(kind, name) else {
                if optional.unwrap_or(false) {
                    continue;
                }
                return Err(EnvError::Missing {
                    kind,
                    name: name.clone(),
                });
            };
            let prefix = source.prefix.as_deref().unwrap_or("");
            for (key, value) in data {
                let value = text(kind, name, key, value)?;
                self.env.set(&format!("{prefix}{key}"), value);
            }
        }
        Ok(())
    }

    fn value(&self, var: &EnvVar) -> Result<Option<String>, EnvError> {
        match &var.value_from {
            Some(source) => self.resolve(&var.name, source),
            None => {
                let value = var.value.as_deref().unwrap_or("");
                Ok(Some(expand_with(value, &|name| self.env.get(name))))
            }
        }
    }

    fn resolve(&self, variable: &str, source: &EnvVarSource) -> Result<Option<String>, EnvError> {
        let wrong = |source| EnvError::Field {
            variable: variable.to_owned(),
            source,
        };
        if let Some(field) = &source.field_ref {
            return fields::field(&field.field_path, self.pod, self.place)
                .map(Some)
                .map_err(wrong);
        }
        if let Some(resource) = &source.resource_field_ref {
            return fields::resource(resource, Some(self.container), self.pod, self.place)
                .map(Some)
                .map_err(wrong);
        }
        if let Some(map) = &source.config_map_key_ref {
            return self.key(RefKind::ConfigMap, &map.name, &map.key, map.optional);
        }
        if let Some(secret) = &source.secret_key_ref {
            return self.key(RefKind::Secret, &secret.name, &secret.key, secret.optional);
        }
        Err(EnvError::NoSource {
            variable: variable.to_owned(),
        })
    }

    fn key(
        &self,
        kind: RefKind,
        name: &str,
        key: &str,
        optional: Option<bool>,
    ) -> Result<Option<String>, EnvError> {
        let data = self.refs.get(kind, name);
        match data.and_then(|data| data.get(key)) {
            Some(value) => text(kind, name, key, value).map(Some),
            None if optional.unwrap_or(false) => Ok(None),
            None if data.is_none() => Err(EnvError::Missing {
                kind,
                name: name.to_owned(),
            }),
            None => Err(EnvError::NoKey {
                kind,
                namespace: self.pod.pod.namespace.to_string(),
                name: name.to_owned(),
                key: key.to_owned(),
            }),
        }
    }
}

fn text(kind: RefKind, name: &str, key: &str, value: &[u8]) -> Result<String, EnvError> {
    String::from_utf8(value.to_vec()).map_err(|_| EnvError::NotText {
        kind,
        name: name.to_owned(),
        key: key.to_owned(),
    })
}

#[cfg(test)]
mod tests;
