//! `skiff rollout history` and `undo`: the revisions that a Deployment's ReplicaSets keep.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use skiff_api::{Key, Kind, LabelSelector};
use skiff_client::{ListOptions, Patch, WriteOptions};

use super::{MANAGER, deployments};
use crate::args::UndoArgs;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::table::Table;
use crate::{json, print, resource};

/// The annotation with a ReplicaSet's revision.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";

/// The annotation with the reason that someone gave for a revision.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// What a Deployment keeps of its annotations when it goes back: they are no revision's.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
];

/// The label that tells the pods of one ReplicaSet from those of another.
const TEMPLATE_HASH: &str = "pod-template-hash";

pub(super) async fn show(cluster: &Cluster, args: &UndoArgs) -> Result<(), CliError> {
    for key in deployments(cluster, &args.target.resources)? {
        let deployment: Value = cluster.client.get(&key).await?;
        let revisions = revisions(cluster, &deployment).await?;
        let name = resource::display(key.kind, &key.name);
        if let Some(number) = args.to_revision {
            let set = find(&revisions, number)?;
            print::line(&format!("{name} with revision #{number}"))?;
            print::line("Pod Template:")?;
            print::text(&skiff_api::manifest::to_yaml(&template(set)))?;
            continue;
        }
        let mut table = Table::new(&["REVISION", "CHANGE-CAUSE"]);
        for (number, set) in &revisions {
            let cause = json::annotation(set, CHANGE_CAUSE);
            let cause = if cause.is_empty() { "<none>" } else { cause };
            table.row(vec![number.to_string(), cause.to_owned()]);
        }
        print::line(&name)?;
        print::text(&table.text(true))?;
        print::line("")?;
    }
    Ok(())
}

pub(super) async fn undo(cluster: &Cluster, args: &UndoArgs) -> Result<(), CliError> {
    for key in deployments(cluster, &args.target.resources)? {
        undo_one(
            cluster,
            &key,
            args.to_revision.filter(|number| *number != 0),
        )
        .await?;
    }
    Ok(())
}

async fn undo_one(cluster: &Cluster, key: &Key, to: Option<u64>) -> Result<(), CliError> {
    let deployment: Value = cluster.client.get(key).await?;
    let name = resource::display(key.kind, &key.name);
    if json::flag(&deployment, "/spec/paused") {
        return Err(CliError::Usage(format!(
            "you cannot rollback a paused deployment; resume it first with \
             'skiff rollout resume {name}' and try again"
        )));
    }
    let revisions = revisions(cluster, &deployment).await?;
    let set = match to {
        Some(number) => find(&revisions, number)?,
        None => revisions.values().rev().nth(1).ok_or_else(|| {
            CliError::Usage(format!(
                "no rollout history found for deployment {:?}",
                key.name
            ))
        })?,
    };
    let template = template(set);
    if deployment.pointer("/spec/template") == Some(&template) {
        let current = json::annotation(set, REVISION);
        return print::line(&format!(
            "{name} skipped rollback (current template already matches revision {current})"
        ));
    }
    // Both are replaced as a whole: a merge would keep what the revision did not have.
    let patch = json!([
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": "/metadata/annotations", "value": annotations(&deployment, set)},
    ]);
    let options = WriteOptions::by(MANAGER);
    let _: Value = cluster
        .client
        .patch(key, None, &Patch::Json(patch), &options)
        .await?;
    print::line(&format!("{name} rolled back"))
}

/// The ReplicaSets of a Deployment by revision.
async fn revisions(
    cluster: &Cluster,
    deployment: &Value,
) -> Result<BTreeMap<u64, Value>, CliError> {
    let selector = deployment.pointer("/spec/selector").unwrap_or(&Value::Null);
    let selector = LabelSelector::from_json(selector)
        .map_err(|error| CliError::Usage(format!("the deployment's selector: {error}")))?;
    let options = ListOptions::labels(selector.to_string());
    let namespace = Some(json::namespace(deployment));
    let sets = cluster
        .client
        .list::<Value>(Kind::ReplicaSet, namespace, &options)
        .await?;
    let owned = sets
        .items
        .into_iter()
        .filter(|set| json::controls(deployment, set));
    Ok(owned
        .filter_map(|set| Some((json::annotation(&set, REVISION).parse().ok()?, set)))
        .collect())
}

fn find(revisions: &BTreeMap<u64, Value>, number: u64) -> Result<&Value, CliError> {
    revisions.get(&number).ok_or_else(|| {
        let known: Vec<String> = revisions.keys().map(u64::to_string).collect();
        CliError::Usage(format!(
            "unable to find revision {number}; there are: {}",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        ))
    })
}

/// The annotations of a Deployment that goes back to a ReplicaSet: why it was made is told again.
fn annotations(deployment: &Value, set: &Value) -> Map<String, Value> {
    const ANNOTATIONS: &str = "/metadata/annotations";
    let own = json::entries(deployment, ANNOTATIONS).filter(|(key, _)| OWN.contains(key));
    let inherited = json::entries(set, ANNOTATIONS).filter(|(key, _)| !OWN.contains(key));
    own.chain(inherited)
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
}

/// A ReplicaSet's pod template as the Deployment had it.
fn template(set: &Value) -> Value {
    let mut template = set.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(TEMPLATE_HASH);
    }
    template
}
