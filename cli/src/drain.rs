//! `skiff cordon|uncordon|drain`: takes a node out of use and puts it back.
//! Drain decides about all pods before it evicts the first one, and leaves none out in silence.

use std::time::Duration;

use serde_json::{Value, json};
use skiff_api::{Key, Kind, Reason, Subresource};
use skiff_client::{ListOptions, Patch, WriteOptions};
use tokio::time::{Instant, sleep};

use crate::args::{CordonArgs, DrainArgs, DryRun};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::{delete, json, print};

/// How long to wait before an eviction that a disruption budget refused is tried again.
const REFUSED_WAIT: Duration = Duration::from_secs(2);

/// Whether new pods may come to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// They may not.
    Cordon,
    /// They may.
    Uncordon,
}

/// `skiff cordon` and `skiff uncordon`.
pub(crate) async fn cordon(
    cluster: &Cluster,
    args: &CordonArgs,
    mark: Mark,
) -> Result<(), CliError> {
    for name in node_names(&args.nodes) {
        let text = set_mark(cluster, name, mark, DryRun::None).await?;
        print::line(&format!("node/{name} {text}"))?;
    }
    Ok(())
}

/// `n1` as well as `node/n1`.
fn node_names(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().map(|word| match word.split_once('/') {
        Some((alias, name)) if Kind::by_alias(alias) == Some(Kind::Node) => name,
        _ => word.as_str(),
    })
}

async fn set_mark(
    cluster: &Cluster,
    name: &str,
    mark: Mark,
    dry_run: DryRun,
) -> Result<&'static str, CliError> {
    let key = Key::cluster(Kind::Node, name);
    let node: Value = cluster.client.get(&key).await?;
    let marked = json::flag(&node, "/spec/unschedulable");
    let (done, already, value) = match mark {
        Mark::Cordon => ("cordoned", "already cordoned", json!(true)),
        Mark::Uncordon => ("uncordoned", "already uncordoned", Value::Null),
    };
    if marked == (mark == Mark::Cordon) {
        return Ok(already);
    }
    if dry_run != DryRun::Client {
        let patch = Patch::Strategic(json!({"spec": {"unschedulable": value}}));
        let manager = if mark == Mark::Cordon {
            "kubectl-cordon"
        } else {
            "kubectl-uncordon"
        };
        let dry_run = dry_run == DryRun::Server;
        let options = WriteOptions {
            dry_run,
            ..WriteOptions::by(manager)
        };
        let _: Value = cluster.client.patch(&key, None, &patch, &options).await?;
    }
    Ok(done)
}

/// `skiff drain`.
pub(crate) async fn drain(cluster: &Cluster, args: &DrainArgs) -> Result<(), CliError> {
    let deadline = (!args.timeout.is_zero()).then(|| Instant::now() + args.timeout);
    for name in node_names(&args.nodes) {
        let text = set_mark(cluster, name, Mark::Cordon, args.dry_run).await?;
        print::line(&format!("node/{name} {text}{}", args.dry_run.suffix()))?;
        drain_node(cluster, args, name, deadline).await?;
        print::line(&format!("node/{name} drained{}", args.dry_run.suffix()))?;
    }
    Ok(())
}

async fn drain_node(
    cluster: &Cluster,
    args: &DrainArgs,
    node: &str,
    deadline: Option<Instant>,
) -> Result<(), CliError> {
    let options = ListOptions::field(format!("spec.nodeName={node}"));
    let pods = cluster
        .client
        .list::<Value>(Kind::Pod, None, &options)
        .await?
        .items;
    let plan = plan(&pods, args);
    if !plan.refused.is_empty() {
        return Err(CliError::Usage(format!(
            "unable to drain node {node:?}, nothing was evicted: {}",
            plan.refused.join("; ")
        )));
    }
    plan.notes.iter().for_each(|note| print::warning(note));
    for pod in &plan.evict {
        let shown = format!("{}/{}", json::namespace(pod), json::name(pod));
        print::line(&format!("evicting pod {shown}{}", args.dry_run.suffix()))?;
        if args.dry_run != DryRun::Client {
            evict(cluster, args, pod, deadline).await?;
        }
    }
    if args.dry_run != DryRun::None {
        return Ok(());
    }
    for pod in &plan.evict {
        let key = json::key(Kind::Pod, pod);
        delete::until_gone(cluster, &key, json::text(pod, "/metadata/uid"), deadline).await?;
        print::line(&format!("pod/{} evicted", key.name))?;
    }
    Ok(())
}

/// What is to be done with the pods of a node.
#[derive(Debug, Default)]
struct Plan<'a> {
    evict: Vec<&'a Value>,
    notes: Vec<String>,
    refused: Vec<String>,
}

fn plan<'a>(pods: &'a [Value], args: &DrainArgs) -> Plan<'a> {
    let mut plan = Plan::default();
    for pod in pods {
        let shown = format!("{}/{}", json::namespace(pod), json::name(pod));
        let over = matches!(json::text(pod, "/status/phase"), "Succeeded" | "Failed");
        let controller = json::controller(pod).map(|(kind, _)| kind);
        let mirror = !json::annotation(pod, "kubernetes.io/config.mirror").is_empty();
        let has_data = json::items(pod, "/spec/volumes")
            .iter()
            .any(|volume| volume.get("emptyDir").is_some());
        if mirror {
            plan.notes.push(format!(
                "leaving the static pod {shown}; its node would restart it"
            ));
        } else if controller == Some("DaemonSet") && !over {
            if args.ignore_daemonsets {
                plan.notes
                    .push(format!("leaving pod {shown} of a DaemonSet"));
            } else {
                plan.refused.push(format!(
                    "pod {shown} belongs to a DaemonSet (use --ignore-daemonsets to leave it)"
                ));
            }
        } else if has_data && !over && !args.delete_emptydir_data {
            plan.refused.push(format!(
                "pod {shown} has local data (use --delete-emptydir-data to lose it)"
            ));
        } else if controller.is_none() && !over && !args.force {
            plan.refused.push(format!(
                "pod {shown} has no controller (use --force to lose it)"
            ));
        } else {
            if controller.is_none() && !over {
                plan.notes.push(format!(
                    "pod {shown} has no controller; nothing replaces it"
                ));
            }
            plan.evict.push(pod);
        }
    }
    plan
}

/// Evicts a pod; waits where a disruption budget asks for it.
async fn evict(
    cluster: &Cluster,
    args: &DrainArgs,
    pod: &Value,
    deadline: Option<Instant>,
) -> Result<(), CliError> {
    let key = json::key(Kind::Pod, pod);
    let mut options = json!({"preconditions": {"uid": json::text(pod, "/metadata/uid")}});
    if let (Some(seconds), Some(fields)) = (args.grace_period, options.as_object_mut()) {
        fields.insert("gracePeriodSeconds".into(), seconds.into());
    }
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": &*key.name, "namespace": &*key.namespace}, "deleteOptions": options,
    });
    let dry_run = args.dry_run == DryRun::Server;
    let write = WriteOptions {
        dry_run,
        ..WriteOptions::default()
    };
    loop {
        let sent: Result<Value, _> = cluster
            .client
            .create_subresource(&key, Subresource::Eviction, &eviction, &write)
            .await;
        match sent {
            Ok(_) => return Ok(()),
            // Gone, or another life of the same name that is not ours to end.
            Err(error) if error.is_not_found() || error.is(Reason::Conflict) => return Ok(()),
            Err(error) if error.is(Reason::TooManyRequests) => {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    let message = format!("timed out evicting pod {:?}: {error}", key.name);
                    return Err(CliError::Timeout { message, code: 1 });
                }
                print::note(&format!(
                    "pod {:?} cannot be evicted yet: {error}",
                    key.name
                ));
                sleep(REFUSED_WAIT).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Ask, Cli, Command};
    use clap::Parser;

    fn args(flags: &str) -> DrainArgs {
        let words = ["skiff", "drain", "n1"]
            .into_iter()
            .chain(flags.split_whitespace());
        let Command::Ask(Ask::Drain(args)) = Cli::parse_from(words).command else {
            panic!("the words are those of drain");
        };
        args
    }

    fn pod(owner: Option<&str>, more: Value) -> Value {
        let owners: Vec<Value> = owner
            .iter()
            .map(|kind| json!({"controller": true, "kind": kind}))
            .collect();
        let mut pod =
            json!({"metadata": {"name": "p", "namespace": "d", "ownerReferences": owners}});
        if let (Some(pod), Some(more)) = (pod.as_object_mut(), more.as_object()) {
            pod.extend(more.clone());
        }
        pod
    }

    #[test]
    fn no_pod_is_left_or_lost_in_silence() {
        let data = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
        let over = json!({"status": {"phase": "Succeeded"}});
        // evicted, noted, refused
        let cases = [
            (
                "a replaceable pod goes",
                pod(Some("ReplicaSet"), json!({})),
                "",
                (1, 0, 0),
            ),
            ("a bare pod is refused", pod(None, json!({})), "", (0, 0, 1)),
            (
                "a bare pod goes with force, and it is said",
                pod(None, json!({})),
                "--force",
                (1, 1, 0),
            ),
            ("a finished bare pod goes", pod(None, over), "", (1, 0, 0)),
            (
                "data is refused",
                pod(Some("ReplicaSet"), data.clone()),
                "",
                (0, 0, 1),
            ),
            (
                "data goes when asked",
                pod(Some("ReplicaSet"), data),
                "--delete-emptydir-data",
                (1, 0, 0),
            ),
            (
                "a daemon is refused",
                pod(Some("DaemonSet"), json!({})),
                "--force",
                (0, 0, 1),
            ),
            (
                "a daemon stays when asked, and it is said",
                pod(Some("DaemonSet"), json!({})),
                "--ignore-daemonsets",
                (0, 1, 0),
            ),
        ];
        for (name, pod, flags, expected) in cases {
            let pods = [pod];
            let plan = plan(&pods, &args(flags));
            let found = (plan.evict.len(), plan.notes.len(), plan.refused.len());
            assert_eq!(found, expected, "{name}");
        }
    }
}
