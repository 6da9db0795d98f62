//! `skiff apply`: the three-way merge of each object, then perhaps waiting for the workloads.

mod wait;

use serde_json::Value;
use skiff_client::{ClientError, Patch, WriteOptions};

use crate::args::{ApplyArgs, DryRun};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::input::{self, Manifest};
use crate::{json, merge, print, resource};

/// kubectl's name for itself in `managedFields`: both tools are one manager.
const MANAGER: &str = "kubectl-client-side-apply";

/// How often a change is computed anew because the object changed under it.
const CONFLICTS_MAX: usize = 5;

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &ApplyArgs) -> Result<(), CliError> {
    let manifests = input::read(cluster, &args.files.files)?;
    manifests.iter().try_for_each(Manifest::named)?;
    let mut outcome = Ok(());
    let mut applied = Vec::new();
    for manifest in &manifests {
        match apply(cluster, manifest, args.dry_run).await {
            Ok(change) => {
                let name = resource::display(manifest.key.kind, &manifest.key.name);
                print::line(&format!(
                    "{name} {}{}",
                    change.word(),
                    args.dry_run.suffix()
                ))?;
                applied.push(manifest.key.clone());
            }
            // As kubectl: one bad object does not keep the others back.
            Err(error @ (CliError::At { .. } | CliError::Document { .. })) => {
                print::error(&error);
                outcome = Err(CliError::Reported);
            }
            Err(error) => return Err(error),
        }
    }
    outcome?;
    if args.wait && args.dry_run == DryRun::None {
        wait::until_ready(cluster, &applied, args.timeout).await?;
    }
    Ok(())
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Created,
    Configured,
    Unchanged,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

fn options(dry_run: DryRun) -> WriteOptions {
    WriteOptions {
        field_manager: Some(MANAGER),
        dry_run: dry_run == DryRun::Server,
        field_validation: Some("Strict"),
    }
}

async fn apply(
    cluster: &Cluster,
    manifest: &Manifest,
    dry_run: DryRun,
) -> Result<Change, CliError> {
    let desired = merge::with_memory(&manifest.value);
    for attempt in 1.. {
        match attempt_apply(cluster, manifest, &desired, dry_run).await {
            Err(error) if attempt < CONFLICTS_MAX && is_race(&error) => {}
            result => return result.map_err(|error| manifest.failed(error)),
        }
    }
    Ok(Change::Unchanged)
}

/// Whether the object changed, came or went between our look and our write.
fn is_race(error: &ClientError) -> bool {
    use skiff_api::Reason::{AlreadyExists, Conflict};
    error.is(Conflict) || error.is(AlreadyExists)
}

async fn attempt_apply(
    cluster: &Cluster,
    manifest: &Manifest,
    desired: &Value,
    dry_run: DryRun,
) -> Result<Change, ClientError> {
    let client = &cluster.client;
    let key = &manifest.key;
    let Some(current) = client.get_opt::<Value>(key).await? else {
        if dry_run != DryRun::Client {
            let namespace = Some(&*key.namespace);
            let _: Value = client
                .create(key.kind, namespace, desired, &options(dry_run))
                .await?;
        }
        return Ok(Change::Created);
    };
    let last = json::annotation(&current, merge::LAST_APPLIED);
    if last.is_empty() {
        print::warning(&format!(
            "resource {} is missing the {} annotation which apply needs; apply sets it",
            resource::display(key.kind, &key.name),
            merge::LAST_APPLIED,
        ));
    }
    let original: Option<Value> = serde_json::from_str(last).ok();
    let mut patch = merge::patch(original.as_ref(), desired, &current);
    if patch.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(Change::Unchanged);
    }
    if dry_run == DryRun::Client {
        return Ok(Change::Configured);
    }
    // The patch was computed for this revision: lists in it are whole.
    let revision = json::text(&current, "/metadata/resourceVersion");
    if let Some(meta) = json::map_at(&mut patch, "metadata") {
        meta.insert("resourceVersion".into(), revision.into());
    }
    let after: Value = client
        .patch(key, None, &Patch::Merge(patch), &options(dry_run))
        .await?;
    let same = json::text(&after, "/metadata/resourceVersion") == revision;
    Ok(if same && dry_run == DryRun::None {
        Change::Unchanged
    } else {
        Change::Configured
    })
}
