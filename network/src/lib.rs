//! The network of a node: what is known of services and where they run, and what follows from it —
//! packet rules, routes, names. The gateway reads the same catalog.
//!
//! | module | what |
//! |---|---|
//! | [`catalog`] | pure: services, their endpoints, nodes, as of one revision |
//! | [`dns`] | names: the resolver of each node, and the process that it is |
//! | [`follow`] | keeps a catalog by watching the servers |
//! | [`routes`] | routes to other nodes' pods: pure plan and diff, and a doer by netlink |
//! | [`rules`] | the packet rules of a node: what they should be, and keeping the kernel at it |
//!
//! Deciding is pure: catalog in, rules, routes or answers out. Losing the servers changes nothing:
//! what was known last goes on being served.

pub mod catalog;
pub mod dns;
pub mod follow;
pub mod routes;
pub mod rules;

pub use catalog::{Catalog, ServiceKey};
