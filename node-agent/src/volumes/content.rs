//! What the files of a volume hold: from ConfigMaps, Secrets and the downward API. Pure.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use skiff_api::k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, ProjectedVolumeSource, Volume,
};

use crate::fields::{self, FieldError, Place};
use crate::pod::DesiredPod;
use crate::refs::{Ref, RefKind, Refs, Wanted};

/// Kubernetes' own default.
const MODE_DEFAULT: i32 = 0o644;

/// The files of a volume by their path in it.
pub type Content = BTreeMap<String, File>;

/// A file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its permissions.
    pub mode: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Why a volume cannot be filled (`FailedMount`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The object is not there.
    #[error("{} \"{name}\" not found", kind.word())]
    Missing {
        /// Which kind of object.
        kind: RefKind,
        /// Its name.
        name: String,
    },
    /// The object has no such key.
    #[error("{} \"{name}\" references non-existent config key: {key}", kind.word())]
    NoKey {
        /// Which kind of object.
        kind: RefKind,
        /// Its name.
        name: String,
        /// The key looked for.
        key: String,
    },
    /// A path that leads out of the volume.
    #[error("path {path:?} must be relative and must not contain '..'")]
    Path {
        /// As written.
        path: String,
    },
    /// The downward API has no such thing.
    #[error("file {path:?}")]
    Field {
        /// The file.
        path: String,
        /// What was asked for.
        #[source]
        source: FieldError,
    },
    /// A part of a projected volume of a kind that is not supported.
    #[error("projected source {kind} is not supported by this node")]
    Unsupported {
        /// Which kind.
        kind: &'static str,
    },
}

/// One object as a source of files.
struct Source<'a> {
    kind: RefKind,
    name: &'a str,
    items: Option<&'a Vec<KeyToPath>>,
    optional: bool,
    mode: i32,
}

/// The objects that a pod's volumes need.
#[must_use]
pub fn wanted(pod: &DesiredPod) -> Wanted {
    let spec = pod.spec();
    let mut wanted = Wanted::new();
    for volume in spec.volumes.iter().flatten() {
        for source in sources(volume) {
            wanted.insert(Ref {
                kind: source.kind,
                name: source.name.to_owned(),
            });
        }
    }
    wanted
}

/// What a volume should hold; none if it is not of a kind that holds files of ours.
pub(super) fn of(
    volume: &Volume,
    pod: &DesiredPod,
    refs: &Refs,
    place: &Place,
) -> Result<Option<Content>, ContentError> {
    let known = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some();
    if !known {
        return Ok(None);
    }
    let mut content = Content::new();
    for source in sources(volume) {
        add_object(&mut content, &source, refs)?;
    }
    if let Some(downward) = &volume.downward_api {
        let mode = downward.default_mode.unwrap_or(MODE_DEFAULT);
        add_fields(
            &mut content,
            downward.items.iter().flatten(),
            mode,
            (pod, place),
        )?;
    }
    if let Some(projected) = &volume.projected {
        let mode = projected.default_mode.unwrap_or(MODE_DEFAULT);
        for source in projected.sources.iter().flatten() {
            if source.service_account_token.is_some() {
                return Err(ContentError::Unsupported {
                    kind: "serviceAccountToken",
                });
            }
            if source.cluster_trust_bundle.is_some() {
                return Err(ContentError::Unsupported {
                    kind: "clusterTrustBundle",
                });
            }
            if let Some(downward) = &source.downward_api {
                add_fields(
                    &mut content,
                    downward.items.iter().flatten(),
                    mode,
                    (pod, place),
                )?;
            }
        }
    }
    Ok(Some(content))
}

/// The objects in a volume, in their order.
fn sources(volume: &Volume) -> Vec<Source<'_>> {
    if let Some(map) = &volume.config_map {
        return vec![Source {
            kind: RefKind::ConfigMap,
            name: &map.name,
            items: map.items.as_ref(),
            optional: map.optional.unwrap_or(false),
            mode: map.default_mode.unwrap_or(MODE_DEFAULT),
        }];
    }
    if let Some(secret) = &volume.secret {
        return vec![Source {
            kind: RefKind::Secret,
            name: secret.secret_name.as_deref().unwrap_or(""),
            items: secret.items.as_ref(),
            optional: secret.optional.unwrap_or(false),
            mode: secret.default_mode.unwrap_or(MODE_DEFAULT),
        }];
    }
    volume
        .projected
        .as_ref()
        .map(projections)
        .unwrap_or_default()
}

fn projections(projected: &ProjectedVolumeSource) -> Vec<Source<'_>> {
    let mode = projected.default_mode.unwrap_or(MODE_DEFAULT);
    let all = projected.sources.iter().flatten();
    all.filter_map(|source| match (&source.config_map, &source.secret) {
        (Some(map), _) => Some(Source {
            kind: RefKind::ConfigMap,
            name: &map.name,
            items: map.items.as_ref(),
            optional: map.optional.unwrap_or(false),
            mode,
        }),
        (None, Some(secret)) => Some(Source {
            kind: RefKind::Secret,
            name: &secret.name,
            items: secret.items.as_ref(),
            optional: secret.optional.unwrap_or(false),
            mode,
        }),
        (None, None) => None,
    })
    .collect()
}

fn add_object(content: &mut Content, source: &Source<'_>, refs: &Refs) -> Result<(), ContentError> {
    let Some(data) = refs.get(source.kind, source.name) else {
        if source.optional {
            return Ok(());
        }
        return Err(ContentError::Missing {
            kind: source.kind,
            name: source.name.to_owned(),
        });
    };
    let Some(items) = source.items else {
        for (key, bytes) in data {
            add(content, key, source.mode, bytes.clone())?;
        }
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => {
                add(
                    content,
                    &item.path,
                    item.mode.unwrap_or(source.mode),
                    bytes.clone(),
                )?;
            }
            None if source.optional => {}
            None => {
                return Err(ContentError::NoKey {
                    kind: source.kind,
                    name: source.name.to_owned(),
                    key: item.key.clone(),
                });
            }
        }
    }
    Ok(())
}

fn add_fields<'a>(
    content: &mut Content,
    files: impl Iterator<Item = &'a DownwardAPIVolumeFile>,
    mode: i32,
    (pod, place): (&DesiredPod, &Place),
) -> Result<(), ContentError> {
    for file in files {
        let wrong = |source| ContentError::Field {
            path: file.path.clone(),
            source,
        };
        let value = match (&file.field_ref, &file.resource_field_ref) {
            (Some(field), _) => fields::field(&field.field_path, pod, place).map_err(wrong)?,
            (None, Some(resource)) => {
                fields::resource(resource, None, pod, place).map_err(wrong)?
            }
            (None, None) => String::new(),
        };
        add(
            content,
            &file.path,
            file.mode.unwrap_or(mode),
            value.into_bytes(),
        )?;
    }
    Ok(())
}

fn add(content: &mut Content, path: &str, mode: i32, bytes: Vec<u8>) -> Result<(), ContentError> {
    let mut parts = Path::new(path).components();
    let plain = parts.all(|part| matches!(part, Component::Normal(_)));
    // Names that begin with two dots belong to the versions of the volume.
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(ContentError::Path {
            path: path.to_owned(),
        });
    }
    let mode = u32::try_from(mode).unwrap_or(0o644) & 0o777;
    content.insert(path.to_owned(), File { mode, bytes });
    Ok(())
}
