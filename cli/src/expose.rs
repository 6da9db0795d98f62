//! `skiff expose`: makes a service in front of the pods of something that is there already.

#![expect(
    clippy::indexing_slicing,
    reason = "of JSON that is made here: a field that is missing is made"
)]

use serde_json::{Map, Value, json};
use skiff_api::{Key, Kind};
use skiff_client::WriteOptions;

use crate::args::{DryRun, ExposeArgs};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::{json, print, resource};

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &ExposeArgs) -> Result<(), CliError> {
    let targets = resource::parse_named(&args.resources)?;
    let named: usize = targets.iter().map(|target| target.names.len()).sum();
    if named > 1 && args.name.is_some() {
        let message = "--name goes with one resource only";
        return Err(CliError::Usage(message.into()));
    }
    for target in targets {
        for name in &target.names {
            let key = Key::new(target.kind, &cluster.namespace, name);
            let exposed: Value = cluster.client.get(&key).await?;
            let service = service(target.kind, &exposed, args)?;
            create(cluster, &service, args.dry_run).await?;
        }
    }
    Ok(())
}

async fn create(cluster: &Cluster, service: &Value, dry_run: DryRun) -> Result<(), CliError> {
    if dry_run != DryRun::Client {
        let options = WriteOptions {
            field_manager: Some("kubectl-expose"),
            dry_run: dry_run == DryRun::Server,
            field_validation: Some("Strict"),
        };
        let namespace = Some(cluster.namespace.as_str());
        let client = &cluster.client;
        let _: Value = client
            .create(Kind::Service, namespace, service, &options)
            .await?;
    }
    let name = resource::display(Kind::Service, json::name(service));
    print::line(&format!("{name} exposed{}", dry_run.suffix()))
}

/// The service in front of an object's pods.
fn service(kind: Kind, exposed: &Value, args: &ExposeArgs) -> Result<Value, CliError> {
    let selector = selector(kind, exposed)?;
    let ports = match args.port {
        Some(port) => vec![json!({"port": port, "protocol": args.protocol})],
        None => container_ports(kind, exposed),
    };
    if ports.is_empty() {
        let message = "couldn't find port via --port flag or introspection";
        return Err(CliError::Usage(message.into()));
    }
    let many = ports.len() > 1;
    let ports = ports.into_iter().enumerate().map(|(index, mut port)| {
        if let Some(target) = &args.target_port {
            port["targetPort"] = match target.parse::<u16>() {
                Ok(number) => number.into(),
                Err(_) => target.as_str().into(),
            };
        }
        if many {
            port["name"] = format!("port-{}", index + 1).into();
        }
        port
    });
    let name = args.name.as_deref().unwrap_or(json::name(exposed));
    let mut spec = json!({"selector": selector, "ports": ports.collect::<Vec<_>>()});
    if let Some(of) = &args.service_type {
        spec["type"] = of.as_str().into();
    }
    if let Some(address) = &args.cluster_ip {
        spec["clusterIP"] = address.as_str().into();
    }
    let labels = exposed.pointer("/metadata/labels").cloned();
    Ok(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "labels": labels.unwrap_or_else(|| json!({}))},
        "spec": spec,
    }))
}

/// The labels by which the object's pods are found.
fn selector(kind: Kind, exposed: &Value) -> Result<Map<String, Value>, CliError> {
    let refuse = |message: &str| Err(CliError::Usage(message.to_owned()));
    let pointer = if kind == Kind::Pod {
        "/metadata/labels"
    } else if kind == Kind::Service {
        "/spec/selector"
    } else if matches!(kind, Kind::Deployment | Kind::ReplicaSet) {
        if !json::items(exposed, "/spec/selector/matchExpressions").is_empty() {
            return refuse("couldn't convert expressions: a service selects by labels alone");
        }
        "/spec/selector/matchLabels"
    } else {
        return refuse(&format!("cannot expose a {}", kind.info().name));
    };
    match exposed.pointer(pointer).and_then(Value::as_object) {
        Some(labels) if !labels.is_empty() => Ok(labels.clone()),
        Some(_) | None if kind == Kind::Pod => {
            refuse("the pod has no labels and cannot be exposed")
        }
        Some(_) | None => refuse("it selects no pods and cannot be exposed"),
    }
}

/// The ports that the object's containers name, or a service's own.
fn container_ports(kind: Kind, exposed: &Value) -> Vec<Value> {
    if kind == Kind::Service {
        let ports = json::items(exposed, "/spec/ports").iter();
        let plain = |port: &Value| json!({"port": port["port"], "protocol": port["protocol"]});
        return ports.map(plain).collect();
    }
    let containers = if kind == Kind::Pod {
        "/spec/containers"
    } else {
        "/spec/template/spec/containers"
    };
    let containers = json::items(exposed, containers).iter();
    let ports = containers.flat_map(|container| json::items(container, "/ports"));
    ports
        .map(|port| json!({"port": port["containerPort"], "protocol": port["protocol"]}))
        .collect()
}
