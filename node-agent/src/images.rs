//! Which images are fetched, with whose password, and what becomes of failures. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skiff_api::k8s_openapi::api::core::v1::Container;

use crate::refs::Data;
use crate::runtime::Credentials;

/// Where images come from whose name names no registry.
const DOCKER_HUB: &str = "docker.io";

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// The pull policy of a container: its own, or by its image's tag.
#[must_use]
pub fn policy(container: &Container) -> PullPolicy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        Some("Never") => PullPolicy::Never,
        _ if is_latest(container.image.as_deref().unwrap_or("")) => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

/// Whether an image's tag is `latest`, said or unsaid.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// The registry that an image comes from.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        Some(_) | None => DOCKER_HUB,
    }
}

/// The name and password for an image's registry, from secrets of type
/// `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg`; the first that fits.
#[must_use]
pub fn credentials<'a>(
    image: &str,
    secrets: impl Iterator<Item = &'a Data>,
) -> Option<Credentials> {
    let registry = registry(image);
    secrets.filter_map(registries).find_map(|all| {
        let all = all.as_object()?;
        let (server, entry) = all.iter().find(|(server, _)| host(server) == registry)?;
        let (username, password) = login(entry)?;
        Some(Credentials {
            username,
            password,
            server: server.clone(),
        })
    })
}

fn registries(secret: &Data) -> Option<Value> {
    if let Some(config) = secret.get(".dockerconfigjson") {
        let mut config: Value = serde_json::from_slice(config).ok()?;
        return config.get_mut("auths").map(Value::take);
    }
    serde_json::from_slice(secret.get(".dockercfg")?).ok()
}

/// The host of a registry as configurations write it; Docker's own has an old name.
fn host(server: &str) -> &str {
    let bare = server
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

fn login(entry: &Value) -> Option<(String, String)> {
    let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty());
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some((username.to_owned(), password.to_owned()));
    }
    let both = String::from_utf8(STANDARD.decode(text("auth")?).ok()?).ok()?;
    let (username, password) = both.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_policy_follows_the_tag() {
        use PullPolicy::{Always, IfNotPresent, Never};
        let cases = [
            ("no tag", "web", None, Always),
            ("latest", "web:latest", None, Always),
            ("a tag", "web:1", None, IfNotPresent),
            ("a port is no tag", "registry:5000/web", None, Always),
            ("a digest", "web@sha256:00", None, IfNotPresent),
            ("said so", "web:latest", Some("IfNotPresent"), IfNotPresent),
            ("never", "web", Some("Never"), Never),
        ];
        for (name, image, said, expected) in cases {
            let container = json!({"name": "c", "image": image, "imagePullPolicy": said});
            let container = serde_json::from_value(container).expect("a container");
            assert_eq!(policy(&container), expected, "{name}");
        }
    }

    #[test]
    fn passwords_go_to_their_registry_only() {
        let config = json!({"auths": {
            "https://index.docker.io/v1/": {"username": "hub", "password": "h"},
            "registry.local:5000": {"auth": STANDARD.encode("own:o:p")},
        }});
        let secret = Data::from([(".dockerconfigjson".into(), config.to_string().into_bytes())]);
        let cases = [
            ("Docker's own", "shop/web:1", Some("hub h")),
            (
                "an own registry",
                "registry.local:5000/web:1",
                Some("own o:p"),
            ),
            ("an unknown registry", "other.local/web:1", None),
        ];
        for (name, image, expected) in cases {
            let found = credentials(image, std::iter::once(&secret));
            let found = found.map(|found| format!("{} {}", found.username, found.password));
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }
}
