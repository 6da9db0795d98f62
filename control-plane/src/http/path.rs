//! Request paths as routes (step 3 of the walk): which kind, namespace, name and subresource.
//! Pure: knows the kinds of `api::Kind` and nothing else, so a new kind needs no line here.

use std::borrow::Cow;

use skiff_api::{Key, Kind, Scope, Subresource};

use super::query::percent_decode;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/livez`, `/readyz`, `/healthz`.
    Health,
    /// `/version`.
    Version,
    /// `/api`: the versions of the core group.
    CoreVersions,
    /// `/apis`: the groups.
    Groups,
    /// `/apis/apps`.
    Group(String),
    /// `/api/v1`, `/apis/apps/v1`: the resources of a group version.
    Resources(GroupVersion),
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiV3,
    /// `/openapi/v3/apis/apps/v1`.
    OpenApiV3Of(GroupVersion),
    /// May I do this? `authorization.k8s.io/v1 SelfSubjectAccessReview`.
    AccessReview,
    /// Objects of a kind.
    Objects(Target),
}

/// A group and a version of it as paths name them; the core group is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupVersion {
    pub(crate) group: String,
    pub(crate) version: String,
}

/// The objects, object or part of one that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    /// `None` for cluster-scoped kinds, and for all namespaces at once.
    pub(crate) namespace: Option<String>,
    /// `None` for a collection.
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<Subresource>,
}

impl Target {
    /// The object's key, unless the path names a collection.
    pub(crate) fn key(&self) -> Option<Key> {
        let name = self.name.as_deref()?;
        Some(Key::new(
            self.kind,
            self.namespace.as_deref().unwrap_or(""),
            name,
        ))
    }
}

impl Route {
    /// Reads a path; `None` if it leads nowhere.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let parts: Option<Vec<Cow<'_, str>>> = path.split('/').map(percent_decode).collect();
        let parts = parts?;
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts.as_slice() {
            ["livez" | "readyz" | "healthz"] => Some(Self::Health),
            ["version"] => Some(Self::Version),
            ["api"] => Some(Self::CoreVersions),
            ["apis"] => Some(Self::Groups),
            ["apis", group] => Some(Self::Group((*group).to_owned())),
            ["openapi", "v2"] => Some(Self::OpenApiV2),
            ["openapi", "v3"] => Some(Self::OpenApiV3),
            ["openapi", "v3", "api", version] => {
                Some(Self::OpenApiV3Of(GroupVersion::new("", version)))
            }
            ["openapi", "v3", "apis", group, version] => {
                Some(Self::OpenApiV3Of(GroupVersion::new(group, version)))
            }
            [
                "apis",
                "authorization.k8s.io",
                "v1",
                "selfsubjectaccessreviews",
            ] => Some(Self::AccessReview),
            ["api", version, rest @ ..] => Self::resource("", version, rest),
            ["apis", group, version, rest @ ..] => Self::resource(group, version, rest),
            _ => None,
        }
    }

    fn resource(group: &str, version: &str, rest: &[&str]) -> Option<Self> {
        match rest {
            [] => Some(Self::Resources(GroupVersion::new(group, version))),
            // `namespaces/shop/status` is a part of a namespace, not a kind in it.
            ["namespaces", namespace, plural, rest @ ..]
                if !(rest.is_empty() && subresource(Kind::Namespace, plural).is_some()) =>
            {
                let kind = Kind::by_path(group, version, plural)?;
                (kind.info().scope == Scope::Namespaced && !namespace.is_empty()).then_some(())?;
                Target::of(kind, Some(namespace), rest).map(Self::Objects)
            }
            [plural, rest @ ..] => {
                let kind = Kind::by_path(group, version, plural)?;
                (kind.info().scope == Scope::Cluster || rest.is_empty()).then_some(())?;
                Target::of(kind, None, rest).map(Self::Objects)
            }
        }
    }
}

impl GroupVersion {
    fn new(group: &str, version: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
        }
    }

    /// `v1`, `apps/v1`.
    pub(crate) fn text(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

impl Target {
    fn of(kind: Kind, namespace: Option<&str>, rest: &[&str]) -> Option<Self> {
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some(*name), None),
            [name, part] => (Some(*name), Some(subresource(kind, part)?)),
            _ => return None,
        };
        (name != Some("")).then(|| Self {
            kind,
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            subresource,
        })
    }
}

fn subresource(kind: Kind, part: &str) -> Option<Subresource> {
    let parts = kind.info().subresources;
    parts.iter().copied().find(|sub| sub.path() == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Kind namespace name subresource`, with `-` for what the path doesn't name.
    fn spell(route: Option<Route>) -> String {
        match route {
            Some(Route::Objects(target)) => format!(
                "{} {} {} {}",
                target.kind,
                target.namespace.as_deref().unwrap_or("-"),
                target.name.as_deref().unwrap_or("-"),
                target.subresource.map_or("-", Subresource::path),
            ),
            Some(Route::Resources(version)) => format!("resources of {}", version.text()),
            Some(other) => format!("{other:?}"),
            None => "nowhere".to_owned(),
        }
    }

    #[test]
    fn paths_lead_to_what_they_name() {
        let cases = [
            ("/api/v1/pods", "Pod - - -"),
            ("/api/v1/namespaces/shop/pods", "Pod shop - -"),
            ("/api/v1/namespaces/shop/pods/front-1", "Pod shop front-1 -"),
            (
                "/api/v1/namespaces/shop/pods/front-1/log",
                "Pod shop front-1 log",
            ),
            ("/api/v1/namespaces/shop/pods/a%2Db/", "Pod shop a-b -"),
            ("/api/v1/namespaces", "Namespace - - -"),
            ("/api/v1/namespaces/shop", "Namespace - shop -"),
            ("/api/v1/namespaces/shop/status", "Namespace - shop status"),
            ("/api/v1/nodes/n1/status", "Node - n1 status"),
            (
                "/apis/apps/v1/namespaces/d/deployments/w/scale",
                "Deployment d w scale",
            ),
            ("/apis/apps/v1", "resources of apps/v1"),
            ("/api/v1", "resources of v1"),
            ("/apis/apps", "Group(\"apps\")"),
            ("/api", "CoreVersions"),
            ("/readyz", "Health"),
            ("/api/v1/pods/front", "nowhere"),
            ("/api/v1/namespaces/shop/nodes", "nowhere"),
            ("/api/v1/namespaces/shop/widgets", "nowhere"),
            ("/api/v1/namespaces/shop/configmaps/a/status", "nowhere"),
            ("/api/v1/namespaces//pods", "nowhere"),
            ("/api/v1/namespaces/shop/pods/a/log/b", "nowhere"),
            ("/apis/apps/v1/pods", "nowhere"),
            ("/api/v1/namespaces/%ff/pods", "nowhere"),
            ("/", "nowhere"),
            ("", "nowhere"),
        ];
        for (path, expected) in cases {
            assert_eq!(spell(Route::parse(path)), expected, "{path}");
        }
    }
}
