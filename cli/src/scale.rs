//! `skiff scale`: sets how many replicas a workload has, through the scale subresource.

use serde_json::{Value, json};
use skiff_api::{Key, Subresource};
use skiff_client::request::object_path;
use skiff_client::{Patch, Request, WriteOptions};

use crate::args::ScaleArgs;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::{json, print, resource};

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &ScaleArgs) -> Result<(), CliError> {
    for target in resource::parse_named(&args.resources)? {
        if !target.kind.info().has(Subresource::Scale) {
            let plural = target.kind.info().plural;
            return Err(CliError::Usage(format!("{plural} cannot be scaled")));
        }
        for name in &target.names {
            let key = Key::new(target.kind, &cluster.namespace, name);
            scale(cluster, &key, args).await?;
            print::line(&format!("{} scaled", resource::display(key.kind, name)))?;
        }
    }
    Ok(())
}

async fn scale(cluster: &Cluster, key: &Key, args: &ScaleArgs) -> Result<(), CliError> {
    let client = &cluster.client;
    let options = WriteOptions::by("kubectl");
    let scale = Some(Subresource::Scale);
    let Some(expected) = args.current_replicas else {
        let patch = Patch::Merge(json!({"spec": {"replicas": args.replicas}}));
        let _: Value = client.patch(key, scale, &patch, &options).await?;
        return Ok(());
    };
    let mut current: Value = client.json(Request::get(object_path(key, scale))).await?;
    let found = json::int(&current, "/spec/replicas");
    if found != i64::from(expected) {
        return Err(CliError::Usage(format!(
            "Expected replicas to be {expected}, was {found}; nothing was changed"
        )));
    }
    // The revision that was read guards the write.
    if let Some(spec) = json::map_at(&mut current, "spec") {
        spec.insert("replicas".into(), args.replicas.into());
    }
    let _: Value = client.replace(key, scale, &current, &options).await?;
    Ok(())
}
