//! From Ingress objects to the table. The oldest Ingress wins where two want the same path.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressRule, IngressSpec,
};
use skiff_network::ServiceKey;

use super::annotations::{self, Read};
use super::{Backend, IngressRef, Note, PathKind, PortRef, Route, Table, is_ours};

/// Makes the table of all Ingresses that are this gateway's, and says what is wrong with them.
#[must_use]
pub fn build(ingresses: &[Ingress], classes: &[IngressClass]) -> (Table, BTreeSet<Note>) {
    let mut builder = Builder::default();
    let ours = in_order(ingresses, classes);
    for (ingress, whose) in &ours {
        builder.rules(ingress, whose);
    }
    // What no rule names comes after every rule, whoever wrote it.
    for (ingress, whose) in &ours {
        builder.defaults(ingress, whose);
    }
    (builder.table, builder.notes)
}

/// The Secrets that the TLS sections of this gateway's Ingresses name, with the hosts they are for;
/// no host means every host that has no Secret of its own.
#[must_use]
pub fn tls_secrets(
    ingresses: &[Ingress],
    classes: &[IngressClass],
) -> Vec<(IngressRef, Arc<str>, Vec<String>)> {
    let mut found = Vec::new();
    for (ingress, whose) in in_order(ingresses, classes) {
        let sections = ingress
            .spec
            .iter()
            .flat_map(|spec| spec.tls.iter().flatten());
        for section in sections {
            if let Some(secret) = section
                .secret_name
                .as_deref()
                .filter(|name| !name.is_empty())
            {
                let hosts = section.hosts.iter().flatten();
                let hosts = hosts.map(|host| host.to_ascii_lowercase()).collect();
                found.push((whose.clone(), Arc::from(secret), hosts));
            }
        }
    }
    found
}

/// This gateway's Ingresses, the oldest first, and by name where two are of the same second.
fn in_order<'a>(
    ingresses: &'a [Ingress],
    classes: &[IngressClass],
) -> Vec<(&'a Ingress, IngressRef)> {
    let mut ours: Vec<_> = ingresses
        .iter()
        .filter(|ingress| is_ours(ingress, classes))
        .map(|ingress| (ingress, reference(ingress)))
        .collect();
    ours.sort_by(|(a, a_name), (b, b_name)| {
        let age = |ingress: &Ingress| ingress.metadata.creation_timestamp.as_ref().map(|at| at.0);
        age(a).cmp(&age(b)).then_with(|| a_name.cmp(b_name))
    });
    ours
}

fn reference(ingress: &Ingress) -> IngressRef {
    let text = |text: &Option<String>| Arc::from(text.as_deref().unwrap_or_default());
    IngressRef {
        namespace: text(&ingress.metadata.namespace),
        name: text(&ingress.metadata.name),
        uid: text(&ingress.metadata.uid),
    }
}

#[derive(Default)]
struct Builder {
    table: Table,
    notes: BTreeSet<Note>,
    read: BTreeMap<IngressRef, Arc<Read>>,
}

impl Builder {
    fn note(&mut self, whose: &IngressRef, reason: &'static str, message: String) {
        self.notes.insert(Note {
            ingress: whose.clone(),
            reason,
            message,
        });
    }

    fn rules(&mut self, ingress: &Ingress, whose: &IngressRef) {
        let services = services(ingress);
        let read = annotations::read(ingress, whose, &services);
        self.notes.extend(read.notes.iter().cloned());
        let read = Arc::new(read);
        self.read.insert(whose.clone(), Arc::clone(&read));
        let rules = ingress
            .spec
            .iter()
            .flat_map(|spec| spec.rules.iter().flatten());
        for rule in rules {
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                self.path(whose, &read, host(rule), path);
            }
        }
    }

    fn path(
        &mut self,
        whose: &IngressRef,
        read: &Read,
        host: Option<Arc<str>>,
        at: &HTTPIngressPath,
    ) {
        let kind = match at.path_type.as_str() {
            "Exact" => PathKind::Exact,
            // What is specific to this implementation is: the same as Prefix.
            _ => PathKind::Prefix,
        };
        let path = at
            .path
            .as_deref()
            .filter(|path| !path.is_empty())
            .unwrap_or("/");
        self.route(whose, read, (host, path, kind), &at.backend);
    }

    fn route(
        &mut self,
        whose: &IngressRef,
        read: &Read,
        (host, path, kind): (Option<Arc<str>>, &str, PathKind),
        wire: &IngressBackend,
    ) {
        let backend = backend(&whose.namespace, wire);
        if let Err(why) = &backend {
            self.note(whose, "BackendRefused", why.to_string());
        }
        let canary = backend
            .as_ref()
            .ok()
            .and_then(|backend| read.canary_of(backend));
        let route = Route {
            ingress: whose.clone(),
            host,
            path: path.into(),
            kind,
            backend,
            canary,
            settings: Arc::clone(&read.settings),
        };
        let words = words(&route);
        if let Err(known) = self.table.add(route)
            && let Some(known) = self.table.routes.get(known)
            && kind != PathKind::Default
        {
            let message = format!("{words} is served by the older Ingress {}", known.ingress);
            self.note(whose, "DuplicateRoute", message);
        }
    }

    /// An Ingress' default backend serves what none of its rules names at its hosts; one without
    /// rules, or with rules for every host, serves what nobody names.
    fn defaults(&mut self, ingress: &Ingress, whose: &IngressRef) {
        let (Some(spec), Some(read)) = (ingress.spec.as_ref(), self.read.get(whose).cloned())
        else {
            return;
        };
        let Some(wire) = &spec.default_backend else {
            return;
        };
        for host in default_hosts(spec) {
            self.route(whose, &read, (host, "/", PathKind::Default), wire);
        }
    }
}

fn default_hosts(spec: &IngressSpec) -> BTreeSet<Option<Arc<str>>> {
    let hosts: BTreeSet<_> = spec.rules.iter().flatten().map(host).collect();
    if hosts.is_empty() {
        return BTreeSet::from([None]);
    }
    hosts
}

fn host(rule: &IngressRule) -> Option<Arc<str>> {
    let host = rule.host.as_deref().filter(|host| !host.is_empty())?;
    Some(host.to_ascii_lowercase().into())
}

fn words(route: &Route) -> String {
    format!("{}{}", route.host.as_deref().unwrap_or("*"), route.path)
}

/// The services that an Ingress' paths lead to.
fn services(ingress: &Ingress) -> BTreeSet<Backend> {
    let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
    let Some(spec) = &ingress.spec else {
        return BTreeSet::new();
    };
    let rules = spec.rules.iter().flatten();
    let paths = rules.flat_map(|rule| rule.http.iter().flat_map(|http| &http.paths));
    paths
        .map(|path| &path.backend)
        .chain(&spec.default_backend)
        .filter_map(|wire| backend(namespace, wire).ok())
        .collect()
}

fn backend(namespace: &str, wire: &IngressBackend) -> Result<Backend, Arc<str>> {
    let Some(service) = &wire.service else {
        return Err("a resource as a backend is not supported; name a service".into());
    };
    let no_port = || {
        Arc::from(format!(
            "service {} has no port in the backend",
            service.name
        ))
    };
    let port = service.port.as_ref().ok_or_else(no_port)?;
    let port = match (&port.name, port.number) {
        (Some(name), _) if !name.is_empty() => PortRef::Name(name.as_str().into()),
        (_, Some(number)) => PortRef::Number(u16::try_from(number).map_err(|_| no_port())?),
        _ => return Err(no_port()),
    };
    Ok(Backend {
        service: ServiceKey::new(namespace, &service.name),
        port,
    })
}
