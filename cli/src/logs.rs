//! `skiff logs`: what containers print, of one pod or of several at once.

use serde_json::Value;
use skiff_api::{Key, Kind, LabelSelector, Subresource};
use skiff_client::request::object_path;
use skiff_client::{ClientError, ListOptions, Request};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::args::LogsArgs;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::{json, print, resource};

/// Lines per container if pods are chosen by label and nothing is said, as in kubectl.
const SELECTED_TAIL: i64 = 10;

/// Logs that are followed at once; more would read as noise.
const FOLLOWED_MAX: usize = 50;

/// Lines on their way to the terminal; a slow terminal holds the streams back.
const QUEUE: usize = 256;

/// One container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    pod: Key,
    container: String,
}

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &LogsArgs) -> Result<(), CliError> {
    let (pods, container) = pods(cluster, args).await?;
    let mut sources = Vec::new();
    for pod in &pods {
        let names = containers(pod, container.as_deref(), args.all_containers)?;
        let key = json::key(Kind::Pod, pod);
        sources.extend(names.into_iter().map(|container| Source {
            pod: key.clone(),
            container,
        }));
    }
    if let ([source], false) = (sources.as_slice(), args.prefix) {
        return stream(cluster, args, source).await;
    }
    if !args.follow {
        let mut outcome = Ok(());
        for source in &sources {
            if let Err(error) = lines(cluster, args, source).await {
                tell(error, source, &mut outcome)?;
            }
        }
        return outcome;
    }
    if sources.len() > FOLLOWED_MAX {
        return Err(CliError::Usage(format!(
            "{} logs cannot be followed at once, only {FOLLOWED_MAX}; choose fewer pods",
            sources.len()
        )));
    }
    follow_all(cluster, args, sources).await
}

/// Goes on with the other containers where one has no log; ends where the output is gone.
fn tell(
    error: CliError,
    source: &Source,
    outcome: &mut Result<(), CliError>,
) -> Result<(), CliError> {
    if error.is_silent() {
        return Err(error);
    }
    print::note(&format!("{}: {}", source.prefix().trim_end(), error.line()));
    *outcome = Err(CliError::Reported);
    Ok(())
}

/// The pods meant, and the container if one was named.
async fn pods(
    cluster: &Cluster,
    args: &LogsArgs,
) -> Result<(Vec<Value>, Option<String>), CliError> {
    let client = &cluster.client;
    let namespace = Some(cluster.namespace.as_str());
    if let Some(selector) = &args.selector {
        let options = ListOptions::labels(selector.clone());
        let pods = client
            .list::<Value>(Kind::Pod, namespace, &options)
            .await?
            .items;
        if pods.is_empty() {
            print::note(&format!(
                "No resources found in {} namespace.",
                cluster.namespace
            ));
        }
        return Ok((pods, args.container.clone()));
    }
    let Some((what, rest)) = args.target.split_first() else {
        return Err(CliError::Usage(
            "name a pod: POD, pod/NAME or deploy/NAME".into(),
        ));
    };
    let container = args.container.clone().or_else(|| rest.first().cloned());
    let (kind, name) = if what.contains('/') {
        let target = resource::parse_slashed(what)?;
        (target.kind, target.names.concat())
    } else {
        (Kind::Pod, what.clone())
    };
    let object: Value = client
        .get(&Key::new(kind, &cluster.namespace, &name))
        .await?;
    if kind == Kind::Pod {
        return Ok((vec![object], container));
    }
    Ok((vec![pod_of(cluster, kind, &object).await?], container))
}

/// One of the pods that a workload selects, as kubectl chooses: the first by name.
async fn pod_of(cluster: &Cluster, kind: Kind, object: &Value) -> Result<Value, CliError> {
    let selector = object
        .pointer("/spec/selector")
        .filter(|selector| selector.is_object());
    let Some(selector) = selector else {
        let plural = kind.info().plural;
        return Err(CliError::Usage(format!(
            "{plural} have no logs; name a pod or a workload"
        )));
    };
    let selector = LabelSelector::from_json(selector)
        .map_err(|error| CliError::Usage(format!("the selector cannot be used: {error}")))?;
    let options = ListOptions::labels(selector.to_string());
    let namespace = Some(json::namespace(object));
    let mut pods = cluster
        .client
        .list::<Value>(Kind::Pod, namespace, &options)
        .await?
        .items;
    pods.sort_by(|a, b| json::name(a).cmp(json::name(b)));
    let count = pods.len();
    let Some(pod) = pods.into_iter().next() else {
        let name = resource::display_object(kind, object);
        return Err(CliError::Usage(format!("{name} has no pods yet")));
    };
    if count > 1 {
        print::note(&format!(
            "Found {count} pods, using pod/{}",
            json::name(&pod)
        ));
    }
    Ok(pod)
}

/// The containers whose logs are meant.
fn containers(pod: &Value, named: Option<&str>, all: bool) -> Result<Vec<String>, CliError> {
    let of = |field: &str| {
        let items = json::items(pod, &format!("/spec/{field}")).iter();
        items
            .map(|container| json::text(container, "/name").to_owned())
            .collect::<Vec<_>>()
    };
    let (init, main) = (of("initContainers"), of("containers"));
    let every: Vec<String> = init.into_iter().chain(main.iter().cloned()).collect();
    let pod_name = json::name(pod);
    if let Some(name) = named {
        if every.iter().any(|container| container == name) {
            return Ok(vec![name.to_owned()]);
        }
        return Err(CliError::Usage(format!(
            "container {name} is not valid for pod {pod_name}; choose one of: {}",
            every.join(", ")
        )));
    }
    if all {
        return Ok(every);
    }
    let default = json::annotation(pod, "kubectl.kubernetes.io/default-container");
    let chosen = main
        .iter()
        .find(|name| *name == default)
        .or(main.first())
        .cloned();
    let chosen =
        chosen.ok_or_else(|| CliError::Usage(format!("pod {pod_name} has no container")))?;
    if every.len() > 1 && default.is_empty() {
        print::note(&format!(
            "Defaulted container {chosen:?} out of: {}",
            every.join(", ")
        ));
    }
    Ok(vec![chosen])
}

fn request(args: &LogsArgs, source: &Source) -> Request {
    let selected = args.selector.is_some().then_some(SELECTED_TAIL);
    let tail = args.tail.or(selected).filter(|lines| *lines >= 0);
    Request::get(object_path(&source.pod, Some(Subresource::Log)))
        .accept("*/*")
        .query("container", source.container.clone())
        .query_opt("follow", args.follow.then_some("true"))
        .query_opt("previous", args.previous.then_some("true"))
        .query_opt("timestamps", args.timestamps.then_some("true"))
        .query_opt("tailLines", tail.map(|lines| lines.to_string()))
        .query_opt(
            "sinceSeconds",
            args.since.map(|since| since.as_secs().max(1).to_string()),
        )
}

/// Copies a log as it is: it need not be text.
async fn stream(cluster: &Cluster, args: &LogsArgs, source: &Source) -> Result<(), CliError> {
    let mut stream = cluster.client.stream(request(args, source)).await?;
    while let Some(data) = stream.next().await? {
        print::bytes(&data)?;
    }
    Ok(())
}

/// Copies a log line by line.
async fn lines(cluster: &Cluster, args: &LogsArgs, source: &Source) -> Result<(), CliError> {
    let prefix = if args.prefix {
        source.prefix()
    } else {
        String::new()
    };
    let mut lines = cluster.client.stream(request(args, source)).await?.lines();
    while let Some(line) = lines.next().await? {
        print::line(&format!("{prefix}{}", String::from_utf8_lossy(&line)))?;
    }
    Ok(())
}

impl Source {
    fn prefix(&self) -> String {
        format!("[pod/{}/{}] ", self.pod.name, self.container)
    }
}

/// Follows several logs; their lines come as they come, but whole.
async fn follow_all(
    cluster: &Cluster,
    args: &LogsArgs,
    sources: Vec<Source>,
) -> Result<(), CliError> {
    let (sender, mut received) = mpsc::channel::<String>(QUEUE);
    let mut tasks: JoinSet<(Source, Result<(), ClientError>)> = JoinSet::new();
    for source in sources {
        let prefix = if args.prefix {
            source.prefix()
        } else {
            String::new()
        };
        let (client, sender) = (cluster.client.clone(), sender.clone());
        let request = request(args, &source);
        tasks.spawn(async move {
            let copy = async {
                let mut lines = client.stream(request).await?.lines();
                while let Some(line) = lines.next().await? {
                    let line = format!("{prefix}{}", String::from_utf8_lossy(&line));
                    if sender.send(line).await.is_err() {
                        break;
                    }
                }
                Ok(())
            };
            let ended = copy.await;
            (source, ended)
        });
    }
    drop(sender);
    while let Some(line) = received.recv().await {
        print::line(&line)?;
    }
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if let Ok((source, Err(error))) = ended {
            tell(error.into(), &source, &mut outcome)?;
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_chosen_as_kubectl_does() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]}});
        let mut annotated = pod.clone();
        annotated["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/default-container": "b"});
        let cases = [
            ("the first", &pod, None, false, "a"),
            ("the annotated one", &annotated, None, false, "b"),
            ("a named one", &annotated, Some("i"), false, "i"),
            ("all", &pod, None, true, "i a b"),
            (
                "a wrong name",
                &pod,
                Some("x"),
                false,
                "container x is not valid for pod p; choose one of: i, a, b",
            ),
        ];
        for (name, pod, named, all, expected) in cases {
            let found = match containers(pod, named, all) {
                Ok(names) => names.join(" "),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{name}");
        }
    }
}
