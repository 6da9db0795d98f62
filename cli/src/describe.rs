//! `skiff describe`: all about objects, for people.

mod ingress;
mod network;
mod node;
mod other;
mod pod;
mod policy;
mod sheet;
mod template;
mod workload;

use serde_json::Value;
use skiff_api::Kind;

use crate::args::DescribeArgs;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::resource::{self, Filter};
use crate::{age, events, json, print};
use sheet::Sheet;

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &DescribeArgs) -> Result<(), CliError> {
    let targets = resource::parse(&args.selection.resources)?;
    let labels = args.selection.selector.as_deref();
    let filter = Filter {
        labels,
        fields: None,
        all_namespaces: args.all_namespaces,
    };
    let found = resource::fetch(cluster, &targets, &filter).await?;
    if found.is_empty() {
        print::note(&resource::nothing_found(
            cluster,
            &targets,
            args.all_namespaces,
        ));
    }
    for (index, (kind, object)) in found.iter().enumerate() {
        if index > 0 {
            print::text("\n\n")?;
        }
        let text = describe(cluster, *kind, object).await?;
        print::text(&text)?;
    }
    Ok(())
}

async fn describe(cluster: &Cluster, kind: Kind, object: &Value) -> Result<String, CliError> {
    let mut sheet = Sheet::default();
    match kind {
        Kind::Pod => pod::describe(object, &mut sheet),
        Kind::Node => {
            let pods = node::pods(cluster, object).await?;
            node::describe(object, &pods, &mut sheet);
        }
        Kind::Deployment => {
            let sets = workload::replica_sets(cluster, object).await?;
            workload::deployment(object, &sets, &mut sheet);
        }
        Kind::ReplicaSet => {
            let pods = workload::pods(cluster, object).await?;
            workload::replica_set(object, &pods, &mut sheet);
        }
        Kind::Secret => other::secret(object, &mut sheet),
        Kind::Service => {
            let (namespace, name) = (json::namespace(object), json::name(object));
            let slices = network::slices(cluster, namespace, Some(name)).await?;
            network::service(object, &slices, &mut sheet);
        }
        Kind::Endpoints => network::endpoints(object, &mut sheet),
        Kind::EndpointSlice => network::slice(object, &mut sheet),
        Kind::Ingress => {
            let behind = ingress::behind(cluster, object).await?;
            ingress::ingress(object, &behind, &mut sheet);
        }
        Kind::IngressClass => ingress::class(object, &mut sheet),
        Kind::NetworkPolicy => policy::describe(object, &mut sheet),
        Kind::Namespace | Kind::ConfigMap | Kind::Event | Kind::ServiceAccount | Kind::Lease => {
            other::describe(object, &mut sheet)
        }
    }
    if kind != Kind::Event {
        let key = json::key(kind, object);
        let uid = json::text(object, "/metadata/uid");
        let events = events::about(cluster, &key, uid).await?;
        sheet.events(&events, age::now());
    }
    Ok(sheet.text())
}
