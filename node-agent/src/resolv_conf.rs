//! A pod's `/etc/resolv.conf`, by its `dnsPolicy` and `dnsConfig`. Pure.

use std::net::IpAddr;

use skiff_api::k8s_openapi::api::core::v1::PodSpec;
use skiff_network::dns::resolv_conf::ResolvConf;

use crate::resolver::ClusterDns;

/// Name servers that resolvers know; Kubernetes' bound.
const SERVERS_MAX: usize = 3;

/// Search domains of a pod; Kubernetes' bound.
const SEARCHES_MAX: usize = 32;

/// Fewer dots than this, and the search list is tried first: `cart.shop.svc` has two, names of
/// ports have four. Kubernetes'.
const NDOTS: &str = "ndots:5";

/// The pod asks the node's resolver, and nobody knows yet where that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node's resolver has no address yet")]
pub struct NoResolver;

/// Makes the file for a pod of a namespace, on a machine with this file.
///
/// # Errors
/// [`NoResolver`] if the pod needs it.
pub fn of_pod(
    spec: &PodSpec,
    namespace: &str,
    host: &ResolvConf,
    cluster: Option<&ClusterDns>,
) -> Result<ResolvConf, NoResolver> {
    let host_network = spec.host_network.unwrap_or(false);
    let mut file = match spec.dns_policy.as_deref() {
        Some("None") => ResolvConf::default(),
        Some("Default") => of_host(host, host_network, cluster)?,
        Some("ClusterFirstWithHostNet") => of_cluster(namespace, host, cluster)?,
        // On the machine's own network names are the machine's, unless asked otherwise.
        _ if host_network => of_host(host, host_network, cluster)?,
        _ => of_cluster(namespace, host, cluster)?,
    };
    let config = spec.dns_config.clone().unwrap_or_default();
    let servers = config.nameservers.unwrap_or_default();
    for server in servers.iter().filter_map(|server| server.parse().ok()) {
        push_new(&mut file.servers, server);
    }
    for search in config.searches.unwrap_or_default() {
        push_new(&mut file.searches, search);
    }
    for option in config.options.unwrap_or_default() {
        let name = option.name.unwrap_or_default();
        let value = option.value.filter(|value| !value.is_empty());
        file.set_option(&value.map_or(name.clone(), |value| format!("{name}:{value}")));
    }
    file.servers.truncate(SERVERS_MAX);
    file.searches.truncate(SEARCHES_MAX);
    Ok(file)
}

fn of_cluster(
    namespace: &str,
    host: &ResolvConf,
    cluster: Option<&ClusterDns>,
) -> Result<ResolvConf, NoResolver> {
    let ClusterDns { address, domain } = cluster.ok_or(NoResolver)?;
    let mut searches = vec![
        format!("{namespace}.svc.{domain}"),
        format!("svc.{domain}"),
        domain.clone(),
    ];
    for search in &host.searches {
        push_new(&mut searches, search.clone());
    }
    Ok(ResolvConf {
        servers: vec![*address],
        searches,
        options: vec![NDOTS.to_owned()],
    })
}

/// The machine's own file. A server on the machine's loopback cannot be reached from inside a pod:
/// there the node's resolver, which can ask it, is named instead.
fn of_host(
    host: &ResolvConf,
    host_network: bool,
    cluster: Option<&ClusterDns>,
) -> Result<ResolvConf, NoResolver> {
    let mut file = host.clone();
    if !host_network && file.servers.iter().any(IpAddr::is_loopback) {
        let resolver = cluster.ok_or(NoResolver)?.address;
        file.servers.retain(|server| !server.is_loopback());
        file.servers.insert(0, resolver);
    }
    Ok(file)
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

#[cfg(test)]
mod tests;
