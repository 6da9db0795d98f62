//! `skiff wait`: until a condition holds, a field has a value, or objects are gone.

use serde_json::Value;
use skiff_api::{Key, Kind};
use tokio::time::{Instant, sleep};

use crate::args::WaitArgs;
use crate::connect::Cluster;
use crate::delete::LOOK_INTERVAL;
use crate::error::CliError;
use crate::jsonpath::{self, Path};
use crate::resource::{self, Filter};
use crate::{json, print};

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
enum Fact {
    /// The object is gone.
    Deleted,
    /// A condition has this status; compared without case.
    Condition { name: String, status: String },
    /// A field has this value, or exists.
    Field { path: Path, value: Option<String> },
}

impl Fact {
    fn parse(text: &str) -> Result<Self, CliError> {
        if text == "delete" {
            return Ok(Self::Deleted);
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, status) = condition.split_once('=').unwrap_or((condition, "True"));
            return Ok(Self::Condition {
                name: name.to_owned(),
                status: status.to_owned(),
            });
        }
        if let Some(path) = text.strip_prefix("jsonpath=") {
            // The value comes behind the closing brace; an equals sign may stand in a filter.
            let end = path
                .rfind('}')
                .map_or_else(|| path.find('=').unwrap_or(path.len()), |at| at + 1);
            let (path, value) = path.split_at(end);
            let value = value
                .strip_prefix('=')
                .map(|value| value.trim_matches('"').to_owned());
            return Ok(Self::Field {
                path: Path::parse(path.trim_matches('\''))?,
                value,
            });
        }
        Err(CliError::Usage(format!(
            "unrecognized condition {text:?}; use condition=NAME, delete or jsonpath=PATH=VALUE"
        )))
    }

    fn holds(&self, object: Option<&Value>) -> bool {
        match (self, object) {
            (Self::Deleted, object) => object.is_none(),
            (_, None) => false,
            (Self::Condition { name, status }, Some(object)) => {
                let conditions = json::items(object, "/status/conditions");
                conditions.iter().any(|condition| {
                    json::text(condition, "/type").eq_ignore_ascii_case(name)
                        && json::text(condition, "/status").eq_ignore_ascii_case(status)
                })
            }
            (Self::Field { path, value }, Some(object)) => {
                let found = path.find(object);
                match value {
                    Some(value) => found.iter().any(|found| jsonpath::shown(found) == *value),
                    None => !found.is_empty(),
                }
            }
        }
    }

    fn met(&self) -> &'static str {
        if *self == Self::Deleted {
            "deleted"
        } else {
            "condition met"
        }
    }
}

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &WaitArgs) -> Result<(), CliError> {
    let fact = Fact::parse(&args.fact)?;
    let deadline = Instant::now() + args.timeout;
    let keys = selected(cluster, args, &fact).await?;
    if keys.is_empty() && fact != Fact::Deleted {
        return Err(CliError::Usage("no matching resources found".into()));
    }
    for key in keys {
        let name = resource::display(key.kind, &key.name);
        loop {
            let object: Option<Value> = cluster.client.get_opt(&key).await?;
            if fact.holds(object.as_ref()) {
                print::line(&format!("{name} {}", fact.met()))?;
                break;
            }
            if object.is_none() {
                return Err(CliError::Usage(format!(
                    "{name} is gone, so the wait is in vain"
                )));
            }
            if Instant::now() >= deadline {
                let message = format!("timed out waiting for the condition on {name}");
                return Err(CliError::Timeout { message, code: 1 });
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
    Ok(())
}

async fn selected(cluster: &Cluster, args: &WaitArgs, fact: &Fact) -> Result<Vec<Key>, CliError> {
    let targets = resource::parse(&args.selection.resources)?;
    let mut keys = Vec::new();
    for target in &targets {
        if target.names.is_empty() {
            if args.selection.selector.is_none() && !args.all {
                let message = "name the objects, or use --selector or --all".into();
                return Err(CliError::Usage(message));
            }
            let labels = args.selection.selector.as_deref();
            let filter = Filter {
                labels,
                ..Filter::default()
            };
            let found = resource::fetch(cluster, std::slice::from_ref(target), &filter).await?;
            keys.extend(found.iter().map(|(kind, object)| json::key(*kind, object)));
            continue;
        }
        for name in &target.names {
            keys.push(existing(cluster, target.kind, name, fact).await?);
        }
    }
    Ok(keys)
}

/// A named object must exist, unless it is waited for that it does not.
async fn existing(cluster: &Cluster, kind: Kind, name: &str, fact: &Fact) -> Result<Key, CliError> {
    let key = Key::new(kind, &cluster.namespace, name);
    if *fact != Fact::Deleted {
        let _: Value = cluster.client.get(&key).await?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_read_and_checked() {
        let pod = json!({"status": {"phase": "Running", "replicas": 3,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "False"}]}});
        let cases = [
            ("condition=Ready", true),
            ("condition=ready=true", true),
            ("condition=Old", false),
            ("condition=Old=false", true),
            ("condition=Nosuch", false),
            ("delete", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath={.status.phase}=Failed", false),
            ("jsonpath={.status.replicas}=3", true),
            ("jsonpath=.status.phase=Running", true),
            ("jsonpath={.status.phase}", true),
            (
                "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True",
                true,
            ),
            ("jsonpath={.nosuch}", false),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Fact::parse(text).unwrap().holds(Some(&pod)),
                expected,
                "{text}"
            );
        }
        assert!(Fact::parse("delete").unwrap().holds(None));
        assert!(Fact::parse("ready").is_err());
    }
}
