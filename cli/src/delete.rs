//! `skiff delete`: by name, by manifest, by label or all; then waiting until they are gone.

use std::time::Duration;

use serde_json::Value;
use skiff_api::Key;
use skiff_client::{ClientError, DeleteOptions, Propagation};
use tokio::time::{Instant, sleep};

use crate::args::{DeleteArgs, DryRun};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::resource::{self, Filter, Target};
use crate::{input, json, print};

/// How often a look is taken whether an object is gone.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &DeleteArgs) -> Result<(), CliError> {
    if args.force && args.grace_period.is_some_and(|seconds| seconds > 0) {
        return Err(CliError::Usage(
            "--force and --grace-period greater than 0 cannot be \
            specified together"
                .into(),
        ));
    }
    let mut outcome = Ok(());
    let keys = selected(cluster, args).await?;
    if args.force && args.dry_run == DryRun::None {
        print::warning(
            "Immediate deletion does not wait for confirmation that the running resource has \
             been terminated. The resource may continue to run on the cluster indefinitely.",
        );
    }
    let mut leaving = Vec::new();
    for key in keys {
        match delete(cluster, args, &key).await {
            Ok(uid) => {
                let word = if args.force {
                    "force deleted"
                } else {
                    "deleted"
                };
                let kind = resource::qualified(key.kind);
                print::line(&format!(
                    "{kind} {:?} {word}{}",
                    key.name,
                    args.dry_run.suffix()
                ))?;
                leaving.push((key, uid));
            }
            Err(error) if error.is_not_found() => {
                missing(args, error, &mut outcome);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if args.wait && args.dry_run == DryRun::None {
        let deadline = (!args.timeout.is_zero()).then(|| Instant::now() + args.timeout);
        for (key, uid) in leaving {
            until_gone(cluster, &key, &uid, deadline).await?;
        }
    }
    outcome
}

fn missing(args: &DeleteArgs, error: ClientError, outcome: &mut Result<(), CliError>) {
    if !args.ignore_not_found {
        print::error(&error.into());
        *outcome = Err(CliError::Reported);
    }
}

/// The objects meant.
async fn selected(cluster: &Cluster, args: &DeleteArgs) -> Result<Vec<Key>, CliError> {
    if !args.files.is_empty() {
        let manifests = input::read(cluster, &args.files)?;
        manifests.iter().try_for_each(input::Manifest::named)?;
        return Ok(manifests.into_iter().map(|manifest| manifest.key).collect());
    }
    let targets = resource::parse(&args.resources)?;
    let mut keys = Vec::new();
    for target in &targets {
        if !target.names.is_empty() {
            if args.selector.is_some() || args.all {
                let message = "names do not go together with --selector or --all";
                return Err(CliError::Usage(message.into()));
            }
            let key = |name: &String| Key::new(target.kind, &cluster.namespace, name);
            keys.extend(target.names.iter().map(key));
            continue;
        }
        if args.selector.is_none() && !args.all {
            return Err(CliError::Usage(
                "resource(s) were provided, but no name was specified; name them, or use \
                 --selector or --all"
                    .into(),
            ));
        }
        keys.extend(collection(cluster, args, target).await?);
    }
    if keys.is_empty() {
        print::note(&resource::nothing_found(
            cluster,
            &targets,
            args.all_namespaces,
        ));
    }
    Ok(keys)
}

async fn collection(
    cluster: &Cluster,
    args: &DeleteArgs,
    target: &Target,
) -> Result<Vec<Key>, CliError> {
    let filter = Filter {
        labels: args.selector.as_deref(),
        fields: None,
        all_namespaces: args.all_namespaces,
    };
    let found = resource::fetch(cluster, std::slice::from_ref(target), &filter).await?;
    Ok(found
        .iter()
        .map(|(kind, object)| json::key(*kind, object))
        .collect())
}

/// Deletes an object; returns the uid of the life that ends.
async fn delete(cluster: &Cluster, args: &DeleteArgs, key: &Key) -> Result<String, ClientError> {
    use crate::args::Cascade::{Background, Foreground, Orphan};
    if args.dry_run == DryRun::Client {
        let object: Value = cluster.client.get(key).await?;
        return Ok(json::text(&object, "/metadata/uid").to_owned());
    }
    let options = DeleteOptions {
        propagation: Some(match args.cascade {
            Background => Propagation::Background,
            Foreground => Propagation::Foreground,
            Orphan => Propagation::Orphan,
        }),
        grace_seconds: if args.force {
            Some(0)
        } else {
            args.grace_period
        },
        uid: None,
        dry_run: args.dry_run == DryRun::Server,
    };
    let answer = cluster.client.delete(key, &options).await?;
    let uid = ["/metadata/uid", "/details/uid"].map(|pointer| json::text(&answer, pointer));
    Ok(uid
        .into_iter()
        .find(|uid| !uid.is_empty())
        .unwrap_or_default()
        .to_owned())
}

/// Waits until an object, or this life of it, is gone.
pub(crate) async fn until_gone(
    cluster: &Cluster,
    key: &Key,
    uid: &str,
    deadline: Option<Instant>,
) -> Result<(), CliError> {
    loop {
        let Some(object) = cluster.client.get_opt::<Value>(key).await? else {
            return Ok(());
        };
        let now = json::text(&object, "/metadata/uid");
        if !uid.is_empty() && now != uid {
            return Ok(());
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let name = resource::display(key.kind, &key.name);
            let message = format!(
                "timed out waiting for {name} to be gone{}",
                held_by(&object)
            );
            return Err(CliError::Timeout { message, code: 1 });
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// What keeps an object from going, if it says so.
fn held_by(object: &Value) -> String {
    let finalizers: Vec<&str> = json::items(object, "/metadata/finalizers")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if finalizers.is_empty() {
        String::new()
    } else {
        format!("; it is held by the finalizers {}", finalizers.join(", "))
    }
}
