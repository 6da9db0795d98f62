//! `skiff label` and `skiff annotate`.

use serde_json::{Map, Value, json};
use skiff_api::Kind;
use skiff_client::{Patch, WriteOptions};

use crate::args::ChangeArgs;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::resource::{self, Filter};
use crate::{json, print};

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// `metadata.labels`.
    Labels,
    /// `metadata.annotations`.
    Annotations,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }

    fn manager(self) -> &'static str {
        match self {
            Self::Labels => "kubectl-label",
            Self::Annotations => "kubectl-annotate",
        }
    }
}

/// A key, and its new value or that it goes.
type Change<'a> = (&'a str, Option<&'a str>);

/// Runs the verb.
pub(crate) async fn run(
    cluster: &Cluster,
    args: &ChangeArgs,
    field: Field,
) -> Result<(), CliError> {
    let (resources, changes) = split(&args.items, field)?;
    let targets = resource::parse(&resources)?;
    let whole = targets.iter().any(|target| target.names.is_empty());
    if whole && args.selector.is_none() && !args.all {
        return Err(CliError::Usage(
            "name the objects, or use --selector or --all".into(),
        ));
    }
    let filter = Filter {
        labels: args.selector.as_deref(),
        ..Filter::default()
    };
    let found = resource::fetch(cluster, &targets, &filter).await?;
    if found.is_empty() {
        print::note(&resource::nothing_found(cluster, &targets, false));
    }
    for (kind, object) in found {
        let outcome = change(cluster, kind, &object, field, (&changes, args.overwrite)).await?;
        print::line(&format!(
            "{} {outcome}",
            resource::display_object(kind, &object)
        ))?;
    }
    Ok(())
}

/// Tells the changes from the objects: the first word that changes something ends the objects.
fn split(items: &[String], field: Field) -> Result<(Vec<String>, Vec<Change<'_>>), CliError> {
    let is_change = |item: &&String| item.contains('=') || item.ends_with('-');
    let at = items
        .iter()
        .position(|item| is_change(&item))
        .unwrap_or(items.len());
    let (resources, changes) = items.split_at(at);
    let changes = changes
        .iter()
        .map(
            |item| match (item.split_once('='), item.strip_suffix('-')) {
                (Some((key, value)), _) if !key.is_empty() => Ok((key, Some(value))),
                (None, Some(key)) if !key.is_empty() => Ok((key, None)),
                _ => Err(CliError::Usage(format!(
                    "{item:?} is not KEY=VALUE or KEY-"
                ))),
            },
        )
        .collect::<Result<Vec<_>, _>>()?;
    if resources.is_empty() || changes.is_empty() {
        let name = field.name();
        return Err(CliError::Usage(format!(
            "name objects and {name}: TYPE/NAME KEY=VALUE, or KEY- to remove"
        )));
    }
    Ok((resources.to_vec(), changes))
}

async fn change(
    cluster: &Cluster,
    kind: Kind,
    object: &Value,
    field: Field,
    (changes, overwrite): (&[Change<'_>], bool),
) -> Result<&'static str, CliError> {
    let before = object
        .pointer("/metadata")
        .and_then(|meta| meta.get(field.name()));
    let before = |key: &str| before.and_then(|map| map.get(key)).and_then(Value::as_str);
    let mut patch = Map::new();
    for (key, value) in changes {
        match (before(key), value) {
            (Some(old), Some(new)) if old != *new && !overwrite => {
                return Err(CliError::Usage(format!(
                    "{key:?} already has a value ({old}), and --overwrite is false"
                )));
            }
            (old, new) if old == *new => {}
            (_, new) => _ = patch.insert((*key).to_owned(), json!(new)),
        }
    }
    let removes_only = changes.iter().all(|(_, value)| value.is_none());
    let word = match (field, patch.is_empty(), removes_only) {
        (Field::Labels, true, _) => "not labeled",
        (Field::Labels, false, true) => "unlabeled",
        (Field::Labels, false, false) => "labeled",
        (Field::Annotations, ..) => "annotated",
    };
    if !patch.is_empty() {
        let mut meta = Map::new();
        meta.insert(field.name().to_owned(), Value::Object(patch));
        let patch = Patch::Merge(json!({ "metadata": meta }));
        let options = WriteOptions::by(field.manager());
        let key = json::key(kind, object);
        let _: Value = cluster.client.patch(&key, None, &patch, &options).await?;
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &str) -> String {
        let items: Vec<String> = words.split(' ').map(str::to_owned).collect();
        match split(&items, Field::Labels) {
            Ok((resources, changes)) => format!("{} | {changes:?}", resources.join(" ")),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn objects_and_changes_are_told_apart() {
        let help = "name objects and labels: TYPE/NAME KEY=VALUE, or KEY- to remove";
        let cases = [
            ("pod a x=y z-", r#"pod a | [("x", Some("y")), ("z", None)]"#),
            ("pod/a x=", r#"pod/a | [("x", Some(""))]"#),
            ("pod/a x=a-", r#"pod/a | [("x", Some("a-"))]"#),
            ("pod/a", help),
            ("x=y", help),
            ("pod/a x=y z", "\"z\" is not KEY=VALUE or KEY-"),
            ("pod/a =y", "\"=y\" is not KEY=VALUE or KEY-"),
        ];
        for (words, expected) in cases {
            assert_eq!(shown(words), expected, "{words}");
        }
    }
}
