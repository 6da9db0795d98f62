//! Measures how fast pods start: sandbox and container through the runtime, against the same two
//! creates and starts as bare requests to the Engine. The two take turns in one run, because a
//! shared machine changes its speed from minute to minute.
//!
//! `cargo run -p skiff-node-agent --example start_rate -- IMAGE [PODS] [ROUNDS]`; the image must
//! have `/bin/sleep`. The pause image must be there: run any pod before, or let this do it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use skiff_node_agent::runtime::docker::{DockerConfig, DockerRuntime};
use skiff_node_agent::runtime::{
    Container, ContainerSpec, NetworkSpec, PodRef, Runtime, SandboxSpec,
};

type Failure = Box<dyn std::error::Error>;

const INSTANCE: &str = "skiff-start-rate";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a measurement for a person to read")]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let image = args
        .next()
        .ok_or("usage: start_rate IMAGE [PODS] [ROUNDS]")?;
    let pods = args.next().map_or(Ok(24), |text| text.parse())?;
    let rounds: u32 = args.next().map_or(Ok(3), |text| text.parse())?;
    let in_flight = 2 * std::thread::available_parallelism()?.get();

    let config = DockerConfig {
        instance: INSTANCE.to_owned(),
        ..DockerConfig::new("bench")
    };
    let runtime = DockerRuntime::connect(config)?;
    let network = runtime.prepare(&network_spec()?).await?.name;
    let docker = Docker::connect_with_unix_defaults()?;
    let result = async {
        println!("{pods} pods, {in_flight} starts in flight; pods per second");
        println!("round    raw  skiff  ratio");
        for round in 1..=rounds {
            let raw = raw(&docker, &image, &network, pods, in_flight).await?;
            clean(&docker).await?;
            let skiff = skiff(&runtime, &image, pods, in_flight).await?;
            clean(&docker).await?;
            let rate = |took: Duration| f64::from(pods) / took.as_secs_f64();
            let (raw, skiff) = (rate(raw), rate(skiff));
            println!("{round:>5} {raw:>6.2} {skiff:>6.2} {:>6.2}", skiff / raw);
        }
        Ok::<_, Failure>(())
    }
    .await;
    clean(&docker).await?;
    docker.remove_network(&network).await?;
    result
}

fn network_spec() -> Result<NetworkSpec, Failure> {
    Ok(NetworkSpec {
        subnet: "10.250.0.0/22".parse()?,
        mtu: 1500,
    })
}

/// Pods through the runtime.
async fn skiff(
    runtime: &DockerRuntime,
    image: &str,
    pods: u32,
    in_flight: usize,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    stream::iter(0..pods)
        .map(|n| async move {
            let uid = format!("{n:08}-uid");
            let pod = PodRef {
                namespace: "b".into(),
                name: format!("p{n}").into(),
                uid: uid.into(),
            };
            let sandbox = runtime.run_sandbox(&SandboxSpec::new(pod.clone())).await?;
            let container = Container {
                pod,
                name: "c".into(),
                attempt: 0,
            };
            let mut spec = ContainerSpec::new(container, sandbox, image);
            spec.entrypoint = Some(vec!["/bin/sleep".into(), "1000".into()]);
            let id = runtime.create_container(&spec).await?;
            runtime.start_container(&id).await
        })
        .buffer_unordered(in_flight)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(begun.elapsed())
}

/// The same two containers with nothing said about them but what they cannot do without.
async fn raw(
    docker: &Docker,
    image: &str,
    network: &str,
    pods: u32,
    in_flight: usize,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    stream::iter(0..pods)
        .map(|n| async move {
            let sandbox = start(
                docker,
                format!("{INSTANCE}-s{n}"),
                "skiff/pause:1",
                None,
                network,
            );
            let sandbox = sandbox.await?;
            let command = Some(vec!["/bin/sleep".to_owned(), "1000".to_owned()]);
            let join = format!("container:{sandbox}");
            start(docker, format!("{INSTANCE}-c{n}"), image, command, &join)
                .await
                .map(drop)
        })
        .buffer_unordered(in_flight)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(begun.elapsed())
}

async fn start(
    docker: &Docker,
    name: String,
    image: &str,
    entrypoint: Option<Vec<String>>,
    network: &str,
) -> Result<String, bollard::errors::Error> {
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let host = HostConfig {
        network_mode: Some(network.to_owned()),
        ..HostConfig::default()
    };
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint,
        labels: Some(HashMap::from([(
            "io.skiff.instance".to_owned(),
            INSTANCE.to_owned(),
        )])),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    let created = docker.create_container(Some(options), body).await?.id;
    docker
        .start_container(&created, None::<StartContainerOptions>)
        .await?;
    Ok(created)
}

/// Removes every container of this measurement.
async fn clean(docker: &Docker) -> Result<(), Failure> {
    let filters = HashMap::from([("label", vec![format!("io.skiff.instance={INSTANCE}")])]);
    let all = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    for container in docker.list_containers(Some(all)).await? {
        let force = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        docker
            .remove_container(&container.id.unwrap_or_default(), Some(force))
            .await?;
    }
    Ok(())
}
