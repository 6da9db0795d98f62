//! What people type for objects, `pods,deploy`, `pod/a`, `all`, → kinds and names; and fetching
//! them.

use serde_json::Value;
use skiff_api::{Key, Kind, Scope};
use skiff_client::ListOptions;

use crate::connect::Cluster;
use crate::error::CliError;
use crate::json;

/// One kind, and the names of the objects meant; all of them if there is no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The kind.
    pub kind: Kind,
    /// The names.
    pub names: Vec<String>,
}

/// Which objects of a collection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter<'a> {
    /// With these labels.
    pub labels: Option<&'a str>,
    /// With these field values.
    pub fields: Option<&'a str>,
    /// Of all namespaces.
    pub all_namespaces: bool,
}

impl Filter<'_> {
    /// The options of a list.
    pub(crate) fn options(&self) -> ListOptions {
        ListOptions {
            label_selector: self.labels.map(str::to_owned),
            field_selector: self.fields.map(str::to_owned),
            limit: None,
        }
    }
}

/// Reads `TYPE[,TYPE…] [NAME…]` or `TYPE/NAME…`.
pub(crate) fn parse(words: &[String]) -> Result<Vec<Target>, CliError> {
    if words.iter().any(|word| word.contains('/')) {
        return words
            .iter()
            .map(|word| parse_slashed(word))
            .collect::<Result<_, _>>()
            .map(join);
    }
    let Some((types, names)) = words.split_first() else {
        return Err(CliError::Usage(
            "name a resource: TYPE, TYPE NAME or TYPE/NAME".into(),
        ));
    };
    let mut targets = Vec::new();
    for word in types.split(',').filter(|word| !word.is_empty()) {
        let kinds: Vec<Kind> = if word == "all" {
            Kind::all()
                .filter(|kind| kind.info().categories.contains(&"all"))
                .collect()
        } else {
            vec![kind(word)?]
        };
        if word == "all" && !names.is_empty() {
            return Err(CliError::Usage("`all` and names do not go together".into()));
        }
        targets.extend(kinds.into_iter().map(|kind| Target {
            kind,
            names: names.to_vec(),
        }));
    }
    Ok(targets)
}

/// Reads what must name objects, not whole collections.
pub(crate) fn parse_named(words: &[String]) -> Result<Vec<Target>, CliError> {
    let targets = parse(words)?;
    match targets.iter().find(|target| target.names.is_empty()) {
        Some(target) => {
            let singular = target.kind.info().singular;
            Err(CliError::Usage(format!(
                "name the {singular}: {singular}/NAME"
            )))
        }
        None => Ok(targets),
    }
}

/// The kind that a word stands for.
pub(crate) fn kind(word: &str) -> Result<Kind, CliError> {
    Kind::by_alias(word).ok_or_else(|| {
        CliError::Usage(format!(
            "the server doesn't have a resource type \"{word}\""
        ))
    })
}

/// Reads `TYPE/NAME`.
pub(crate) fn parse_slashed(word: &str) -> Result<Target, CliError> {
    match word.split_once('/') {
        Some((alias, name)) if !alias.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(Target {
                kind: kind(alias)?,
                names: vec![name.to_owned()],
            })
        }
        _ => Err(CliError::Usage(format!(
            "{word:?} is not TYPE/NAME; all words need a slash if one has it"
        ))),
    }
}

/// Neighbours of one kind become one target.
fn join(targets: Vec<Target>) -> Vec<Target> {
    let mut joined: Vec<Target> = Vec::new();
    for target in targets {
        match joined.last_mut().filter(|last| last.kind == target.kind) {
            Some(last) => last.names.extend(target.names),
            None => joined.push(target),
        }
    }
    joined
}

/// Fetches the objects meant. A name that does not exist is an error.
pub(crate) async fn fetch(
    cluster: &Cluster,
    targets: &[Target],
    filter: &Filter<'_>,
) -> Result<Vec<(Kind, Value)>, CliError> {
    let mut found = Vec::new();
    for target in targets {
        if target.names.is_empty() {
            let scope = cluster.scope(filter.all_namespaces);
            let list = cluster
                .client
                .list(target.kind, scope, &filter.options())
                .await?;
            found.extend(list.items.into_iter().map(|item| (target.kind, item)));
            continue;
        }
        if filter.labels.is_some() || filter.fields.is_some() {
            return Err(CliError::Usage(
                "a selector and names do not go together".into(),
            ));
        }
        for name in &target.names {
            let key = Key::new(target.kind, &cluster.namespace, name);
            found.push((target.kind, cluster.client.get(&key).await?));
        }
    }
    for (kind, object) in &mut found {
        stamp(*kind, object);
    }
    Ok(found)
}

/// Items of lists come without apiVersion and kind.
pub(crate) fn stamp(kind: Kind, object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields
            .entry("apiVersion")
            .or_insert_with(|| kind.info().api_version().into());
        fields
            .entry("kind")
            .or_insert_with(|| kind.info().name.into());
    }
}

/// `pod/front`, `deployment.apps/front`: how verbs name an object.
pub(crate) fn display(kind: Kind, name: &str) -> String {
    format!("{}/{name}", qualified(kind))
}

/// `pod`, `deployment.apps`.
pub(crate) fn qualified(kind: Kind) -> String {
    let info = kind.info();
    if info.group.is_empty() {
        info.singular.to_owned()
    } else {
        format!("{}.{}", info.singular, info.group)
    }
}

/// As [`display`], for an object.
pub(crate) fn display_object(kind: Kind, object: &Value) -> String {
    display(kind, json::name(object))
}

/// Says that nothing was found, as kubectl does.
pub(crate) fn nothing_found(cluster: &Cluster, targets: &[Target], all_namespaces: bool) -> String {
    let namespaced = targets
        .iter()
        .any(|t| t.kind.info().scope == Scope::Namespaced);
    if namespaced && !all_namespaces {
        format!("No resources found in {} namespace.", cluster.namespace)
    } else {
        "No resources found".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &str) -> String {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        match parse(&words) {
            Ok(targets) => {
                let show = |t: &Target| format!("{}[{}]", t.kind, t.names.join(" "));
                targets.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn words_name_objects() {
        let cases = [
            ("pods", "Pod[]"),
            ("po,deploy", "Pod[] Deployment[]"),
            ("pod a b", "Pod[a b]"),
            ("pod/a pod/b deploy/c", "Pod[a b] Deployment[c]"),
            ("all", "Pod[] Service[] Deployment[] ReplicaSet[]"),
            (
                "widgets",
                "the server doesn't have a resource type \"widgets\"",
            ),
            (
                "pod/a b",
                "\"b\" is not TYPE/NAME; all words need a slash if one has it",
            ),
            (
                "pod/",
                "\"pod/\" is not TYPE/NAME; all words need a slash if one has it",
            ),
            ("all a", "`all` and names do not go together"),
        ];
        for (words, expected) in cases {
            assert_eq!(shown(words), expected, "{words}");
        }
    }
}
