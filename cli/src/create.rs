//! `skiff create -f` and `skiff replace -f`.

use serde_json::Value;
use skiff_client::WriteOptions;

use crate::args::{CreateArgs, DryRun};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::input::{self, Manifest};
use crate::{json, print, resource};

/// `skiff create`: objects that must not exist yet.
pub(crate) async fn create(cluster: &Cluster, args: &CreateArgs) -> Result<(), CliError> {
    let mut outcome = Ok(());
    for manifest in input::read(cluster, &args.files.files)? {
        let result = create_one(cluster, &manifest, args.dry_run).await;
        told(result, "created", args.dry_run, &mut outcome)?;
    }
    outcome
}

/// `skiff replace`: objects that must exist.
pub(crate) async fn replace(cluster: &Cluster, args: &CreateArgs) -> Result<(), CliError> {
    let manifests = input::read(cluster, &args.files.files)?;
    manifests.iter().try_for_each(Manifest::named)?;
    let mut outcome = Ok(());
    for manifest in manifests {
        let result = replace_one(cluster, manifest, args.dry_run).await;
        told(result, "replaced", args.dry_run, &mut outcome)?;
    }
    outcome
}

/// Prints what happened to one object; one that failed does not keep the others back.
fn told(
    result: Result<String, CliError>,
    word: &str,
    dry_run: DryRun,
    outcome: &mut Result<(), CliError>,
) -> Result<(), CliError> {
    match result {
        Ok(name) => print::line(&format!("{name} {word}{}", dry_run.suffix())),
        Err(error @ CliError::At { .. }) => {
            print::error(&error);
            *outcome = Err(CliError::Reported);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn options(manager: &'static str, dry_run: DryRun) -> WriteOptions {
    WriteOptions {
        field_manager: Some(manager),
        dry_run: dry_run == DryRun::Server,
        field_validation: Some("Strict"),
    }
}

async fn create_one(
    cluster: &Cluster,
    manifest: &Manifest,
    dry_run: DryRun,
) -> Result<String, CliError> {
    let key = &manifest.key;
    if dry_run == DryRun::Client {
        return Ok(resource::display(key.kind, &key.name));
    }
    let options = options("kubectl-create", dry_run);
    let namespace = Some(&*key.namespace);
    let made: Result<Value, _> = cluster
        .client
        .create(key.kind, namespace, &manifest.value, &options)
        .await;
    let made = made.map_err(|error| manifest.failed(error))?;
    Ok(resource::display_object(key.kind, &made))
}

async fn replace_one(
    cluster: &Cluster,
    mut manifest: Manifest,
    dry_run: DryRun,
) -> Result<String, CliError> {
    let key = manifest.key.clone();
    let current: Value = cluster
        .client
        .get(&key)
        .await
        .map_err(|error| manifest.failed(error))?;
    if dry_run != DryRun::Client {
        // As kubectl: a manifest that names no revision replaces whatever is there now.
        let revision = json::text(&current, "/metadata/resourceVersion");
        if let Some(meta) = json::map_at(&mut manifest.value, "metadata") {
            meta.entry("resourceVersion")
                .or_insert_with(|| revision.into());
        }
        let options = options("kubectl-replace", dry_run);
        let done: Result<Value, _> = cluster
            .client
            .replace(&key, None, &manifest.value, &options)
            .await;
        done.map_err(|error| manifest.failed(error))?;
    }
    Ok(resource::display(key.kind, &key.name))
}
