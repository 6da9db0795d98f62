//! The node agent: pods on containers, probes, statuses, and the connection to the servers.
//!
//! | module | what |
//! |---|---|
//! | [`agent`] | puts everything together: [`run`] |
//! | [`config`], [`token`], [`identity`], [`join`] | how an agent is set up and who it is |
//! | [`desired`], [`pod`] | the pods bound to this node |
//! | [`runtime`], [`sight`] | what exists, sorted by pod |
//! | [`network`] | the bridge that pods are on, and the way to other nodes' pods |
//! | [`memory`] | failed starts, verdicts of probes: about pace and words only |
//! | [`plan`] | pure: desired × observed × now → actions |
//! | [`reconcile`], [`work`] | the loop, and the one place where actions are done |
//! | [`support`], [`blueprint`], [`env`], [`fields`], [`refs`], [`volumes`], [`images`] | from a pod's spec to what the runtime is asked for |
//! | [`handler`], [`probe`] | probes and hooks |
//! | [`report`], [`statuses`], [`events`], [`node`] | what the servers are told |
//! | [`directory`], [`servers`], [`tunnel`] | which servers there are, and the doors to them |
//!
//! Deciding (`plan`, `report`, the tallies of probes) never waits and reads no clock. Doing never
//! decides. What exists is never remembered: it is listed.

pub mod agent;
pub mod blueprint;
mod chain;
pub mod config;
pub mod desired;
pub mod directory;
pub mod env;
pub mod events;
#[cfg(test)]
mod fake;
pub mod fields;
pub mod handler;
mod https;
pub mod identity;
pub mod images;
pub mod join;
pub mod memory;
pub mod network;
pub mod node;
pub mod plan;
pub mod pod;
pub mod probe;
pub mod reconcile;
pub mod refs;
pub mod report;
pub mod resolv_conf;
pub mod resolver;
pub mod runtime;
pub mod servers;
pub mod sight;
pub mod statuses;
pub mod support;
pub mod token;
pub mod tunnel;
pub mod volumes;
pub mod work;

pub use agent::{AgentError, instance, run};
pub use config::AgentConfig;
