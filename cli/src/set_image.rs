//! `skiff set image`: other images for the containers of workloads.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use skiff_api::{Key, Kind};
use skiff_client::{Patch, WriteOptions};

use crate::args::SetCommand;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::{json, print, resource};

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &SetCommand) -> Result<(), CliError> {
    let SetCommand::Image { items } = args;
    let (images, resources): (Vec<&String>, Vec<&String>) =
        items.iter().partition(|item| item.contains('='));
    let images = images
        .iter()
        .filter_map(|item| item.split_once('='))
        .map(|(container, image)| Image { container, image })
        .collect::<Vec<_>>();
    if images.is_empty()
        || images
            .iter()
            .any(|i| i.container.is_empty() || i.image.is_empty())
    {
        return Err(CliError::Usage("name the images: CONTAINER=IMAGE".into()));
    }
    let resources: Vec<String> = resources.into_iter().cloned().collect();
    for target in resource::parse_named(&resources)? {
        let pod_spec = pod_spec(target.kind)?;
        for name in &target.names {
            let key = Key::new(target.kind, &cluster.namespace, name);
            let object: Value = cluster.client.get(&key).await?;
            let Some(patch) = patch(&object, pod_spec, &images)? else {
                continue;
            };
            let options = WriteOptions::by("kubectl-set");
            let patch = Patch::Strategic(patch);
            let _: Value = cluster.client.patch(&key, None, &patch, &options).await?;
            print::line(&format!(
                "{} image updated",
                resource::display(key.kind, name)
            ))?;
        }
    }
    Ok(())
}

struct Image<'a> {
    container: &'a str,
    image: &'a str,
}

/// Where a kind keeps its pod spec.
fn pod_spec(kind: Kind) -> Result<&'static str, CliError> {
    match kind {
        Kind::Pod => Ok("/spec"),
        Kind::Deployment | Kind::ReplicaSet => Ok("/spec/template/spec"),
        Kind::Namespace
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => Err(CliError::Usage(format!(
            "{} have no images",
            kind.info().plural
        ))),
    }
}

/// The strategic merge patch; `None` if the object has these images already.
fn patch(object: &Value, pod_spec: &str, images: &[Image]) -> Result<Option<Value>, CliError> {
    let mut spec = json!({});
    let mut known = BTreeSet::new();
    let mut changed = false;
    for field in ["initContainers", "containers"] {
        let containers = json::items(object, &format!("{pod_spec}/{field}"));
        let mut updates = Vec::new();
        for container in containers {
            let name = json::text(container, "/name");
            known.insert(name);
            let wanted = images
                .iter()
                .rev()
                .find(|i| i.container == name || i.container == "*");
            if let Some(image) = wanted.filter(|i| i.image != json::text(container, "/image")) {
                updates.push(json!({"name": name, "image": image.image}));
            }
        }
        if let (false, Some(spec)) = (updates.is_empty(), spec.as_object_mut()) {
            spec.insert(field.to_owned(), updates.into());
            changed = true;
        }
    }
    if let Some(image) = images
        .iter()
        .find(|i| i.container != "*" && !known.contains(i.container))
    {
        let names: Vec<&str> = known.into_iter().collect();
        return Err(CliError::Usage(format!(
            "unable to find container named {:?}; there are: {}",
            image.container,
            names.join(", ")
        )));
    }
    let wrapped = pod_spec
        .rsplit('/')
        .filter(|part| !part.is_empty())
        .fold(spec, |inner, part| {
            let mut outer = serde_json::Map::new();
            outer.insert(part.to_owned(), inner);
            Value::Object(outer)
        });
    Ok(changed.then_some(wrapped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_set_by_container() {
        let object = json!({"spec": {"template": {"spec": {
            "initContainers": [{"name": "i", "image": "x:1"}],
            "containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}}});
        let wrap = |spec: Value| Some(json!({"spec": {"template": {"spec": spec}}}));
        let cases = [
            (
                "one",
                vec![("a", "a:2")],
                wrap(json!({"containers": [{"name": "a", "image": "a:2"}]})),
            ),
            ("no change", vec![("a", "a:1")], None),
            (
                "all",
                vec![("*", "x:1")],
                wrap(json!({"containers": [
                {"name": "a", "image": "x:1"}, {"name": "b", "image": "x:1"}]})),
            ),
        ];
        for (name, images, expected) in cases {
            let images: Vec<Image> = images
                .iter()
                .map(|(container, image)| Image { container, image })
                .collect();
            assert_eq!(
                patch(&object, "/spec/template/spec", &images).unwrap(),
                expected,
                "{name}"
            );
        }
        let unknown = [Image {
            container: "c",
            image: "x",
        }];
        let error = patch(&object, "/spec/template/spec", &unknown).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to find container named \"c\"; there are: a, b, i"
        );
    }
}
