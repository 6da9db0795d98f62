//! Says in the status of Ingresses where clients reach the gateways that serve them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use skiff_api::gateway::is_ours;
use skiff_api::{Kind, Object};

use crate::command::Write;
use crate::draft::Draft;
use crate::ingress_class;
use crate::state::State;

/// The writes that are lacking so that each of Skiff's Ingresses names these addresses, and no
/// others. What belongs to another controller is left alone.
#[must_use]
pub fn ingress_statuses(state: &State, addresses: &BTreeSet<String>) -> Vec<Write> {
    let wanted: Vec<Value> = addresses.iter().map(|address| entry(address)).collect();
    let listed = ingress_class::list(state);
    let classes = ingress_class::read(&listed);
    let write = |ingress: &Object| {
        let mut draft = Draft::of(ingress);
        if !is_ours(ingress_class::named(&draft.value), &classes) {
            return None;
        }
        let known = &draft.value["status"]["loadBalancer"]["ingress"];
        if known.as_array().map_or(&[][..], Vec::as_slice) == wanted {
            return None;
        }
        draft.value["status"]["loadBalancer"] = if wanted.is_empty() {
            json!({})
        } else {
            json!({ "ingress": wanted })
        };
        draft.write()
    };
    state.list(Kind::Ingress, None).filter_map(write).collect()
}

fn entry(address: &str) -> Value {
    match address.parse::<IpAddr>() {
        Ok(ip) => json!({"ip": ip.to_string()}),
        Err(_) => json!({"hostname": address}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::world::World;

    fn ingress(name: &str, class: Option<&str>) -> Value {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": "d"},
            "spec": {"ingressClassName": class}})
    }

    fn statuses(world: &World) -> Vec<String> {
        let spell = |object: &Object| {
            let value = object.to_value();
            let all = value["status"]["loadBalancer"]["ingress"].as_array();
            let all = all.into_iter().flatten().map(|one| {
                let place = one["ip"].as_str().or_else(|| one["hostname"].as_str());
                place.unwrap().to_owned()
            });
            let all: Vec<String> = all.collect();
            format!("{}={}", object.key().name, all.join(","))
        };
        world.list(Kind::Ingress).iter().map(spell).collect()
    }

    #[test]
    fn our_ingresses_name_the_gateways() {
        let mut world = World::new(1);
        world.put(ingress("a", Some("skiff")));
        world.put(ingress("b", Some("nginx")));
        world.put(ingress("c", None));
        let steps: [(&[&str], [&str; 3]); 4] = [
            (&[], ["a=", "b=", "c="]),
            (
                &["10.0.0.2", "10.0.0.1"],
                ["a=10.0.0.1,10.0.0.2", "b=", "c=10.0.0.1,10.0.0.2"],
            ),
            (
                &["edge.example"],
                ["a=edge.example", "b=", "c=edge.example"],
            ),
            (&[], ["a=", "b=", "c="]),
        ];
        for (addresses, expected) in steps {
            let addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
            let writes = ingress_statuses(&world.state, &addresses);
            world.apply(writes);
            assert_eq!(statuses(&world), expected);
            assert_eq!(ingress_statuses(&world.state, &addresses), [], "at rest");
        }
    }
}
