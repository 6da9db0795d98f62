//! `skiff gateway routes`: the table that every gateway makes of the same objects, and what each
//! route leads to.

use serde_json::{Value, json};
use skiff_api::{Kind, WireType};
use skiff_client::{Event, ListOptions};
use skiff_gateway::route::{self, Canary, PathKind, Route};
use skiff_network::Catalog;

use crate::args::{GatewayShowArgs, VersionFormat};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::get::pretty_json;
use crate::print;
use crate::table::Table;

/// What routes lead to.
const CATALOG: [Kind; 2] = [Kind::Service, Kind::EndpointSlice];

/// All that can be read; what cannot is not served either.
fn typed<T: WireType>(values: &[Value]) -> Vec<T> {
    let read = |value| skiff_api::typed(value).ok();
    values.iter().filter_map(read).collect()
}

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &GatewayShowArgs) -> Result<(), CliError> {
    let (client, all) = (&cluster.client, ListOptions::default());
    let ingresses = client.list::<Value>(Kind::Ingress, None, &all).await?;
    let classes = client.list::<Value>(Kind::IngressClass, None, &all).await?;
    let mut catalog = Catalog::default();
    for kind in CATALOG {
        let list = client.list::<Value>(kind, None, &all).await?;
        catalog.apply(kind, Event::Restarted(list.items));
    }
    let (table, notes) = route::build(&typed(&ingresses.items), &typed(&classes.items));
    let routes: Vec<Value> = table
        .routes
        .iter()
        .map(|route| shown(route, &catalog))
        .collect();
    match args.output {
        Some(VersionFormat::Json) => print::text(&pretty_json(&json!({ "routes": routes })))?,
        Some(VersionFormat::Yaml) => {
            print::text(&skiff_api::manifest::to_yaml(&json!({ "routes": routes })))?;
        }
        None if routes.is_empty() => print::note("No Ingress is served by the gateway"),
        None => print::text(&text(&routes))?,
    }
    for note in notes {
        print::warning(&format!(
            "{}: {}: {}",
            note.ingress, note.reason, note.message
        ));
    }
    Ok(())
}

fn shown(route: &Route, catalog: &Catalog) -> Value {
    let (service, endpoints, why) = match &route.backend {
        Err(why) => (String::new(), 0, Some(why.to_string())),
        Ok(backend) => match skiff_gateway::resolve(catalog, backend) {
            Ok(found) => (backend.to_string(), found.addresses.len(), None),
            Err(trouble) => (backend.to_string(), 0, Some(trouble.to_string())),
        },
    };
    let canary = route.canary.as_ref();
    json!({
        "ingress": route.ingress.to_string(),
        "host": route.host.as_deref().unwrap_or("*"),
        "path": &*route.path,
        "match": match route.kind {
            PathKind::Exact => "Exact",
            PathKind::Prefix => "Prefix",
            PathKind::Default => "Default",
        },
        "service": service,
        "endpoints": endpoints,
        "trouble": why,
        "canary": canary.map(of_canary),
        "canaryStatus": canary.and_then(|canary| {
            let status = canary.auto.as_ref()?.status.as_ref()?;
            Some(status.to_string())
        }),
    })
}

/// `shop/cart-2:80 10%`, and how far it is if it judges itself.
fn of_canary(canary: &Canary) -> String {
    let weighed = format!("{} {}%", canary.backend, canary.weight_percent);
    match canary.auto.as_deref() {
        None => weighed,
        Some(auto) => {
            let phase = auto.status.as_ref().map(|status| status.phase.words());
            format!("{weighed} {}", phase.unwrap_or("waiting"))
        }
    }
}

fn text(routes: &[Value]) -> String {
    let mut table = Table::new(&[
        "HOST",
        "PATH",
        "MATCH",
        "SERVICE",
        "ENDPOINTS",
        "CANARY",
        "INGRESS",
        "TROUBLE",
    ]);
    for route in routes {
        let word = |field: &str| match route.get(field) {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => "<none>".to_owned(),
        };
        let fields = [
            "host",
            "path",
            "match",
            "service",
            "endpoints",
            "canary",
            "ingress",
            "trouble",
        ];
        table.row(fields.map(word).to_vec());
    }
    table.text(true)
}

#[cfg(test)]
mod tests {
    use snapbox::{assert_data_eq, str};

    use super::*;

    #[test]
    fn the_table_says_who_serves_what_and_what_is_wrong() {
        let ingress = json!({"metadata": {"name": "front", "namespace": "shop"}, "spec": {"rules": [
            {"host": "shop.example", "http": {"paths": [{"path": "/cart", "pathType": "Prefix",
                "backend": {"service": {"name": "cart", "port": {"number": 80}}}}]}}]}});
        let ingress = serde_json::from_value(ingress).unwrap();
        let (table, notes) = route::build(&[ingress], &[]);
        assert!(notes.is_empty());
        let routes: Vec<_> = table
            .routes
            .iter()
            .map(|route| shown(route, &Catalog::default()))
            .collect();
        assert_data_eq!(
            text(&routes),
            str![[r#"
HOST           PATH    MATCH    SERVICE        ENDPOINTS   CANARY   INGRESS      TROUBLE
shop.example   /cart   Prefix   shop/cart:80   0           <none>   shop/front   there is no such service

"#]]
        );
    }

    #[test]
    fn a_canary_is_shown_with_its_weight_and_how_far_it_is() {
        let cases = [
            (json!({"canary-weight": "5"}), "shop/cart-2:80 5%"),
            (json!({"canary-auto": "true"}), "shop/cart-2:80 0% waiting"),
            (
                json!({"canary-auto": "true", "canary-weight": "20",
                    "canary-status": "progressing: cart-2 since noon"}),
                "shop/cart-2:80 20% progressing",
            ),
            (
                json!({"canary-auto": "true", "canary-weight": "0",
                    "canary-status": "rolled back: cart-2 at noon: 9.0 % of its requests failed"}),
                "shop/cart-2:80 0% rolled back",
            ),
        ];
        for (annotations, expected) in cases {
            let mut all = json!({"gateway.skiff.io/canary-service": "cart-2"});
            for (name, value) in annotations.as_object().unwrap() {
                all[format!("gateway.skiff.io/{name}")] = value.clone();
            }
            let ingress = json!({"metadata": {"name": "front", "namespace": "shop",
                "annotations": all}, "spec": {"rules": [{"http": {"paths": [{"path": "/",
                    "pathType": "Prefix",
                    "backend": {"service": {"name": "cart", "port": {"number": 80}}}}]}}]}});
            let (table, _) = route::build(&[serde_json::from_value(ingress).unwrap()], &[]);
            let found = shown(&table.routes[0], &Catalog::default());
            assert_eq!(found["canary"], expected);
        }
    }
}
