//! The server: replicated store, HTTPS API, leader loops, identity.
//!
//! | module | what |
//! |---|---|
//! | [`server`] | builds all parts, connects them, takes them down in order |
//! | [`store`], [`raft`], [`log`], [`checkpoint`], [`disk`] | the one door for writes, and what makes them durable |
//! | [`watch`] | the one door for facts |
//! | [`http`], [`listener`] | the Kubernetes API on one TLS port |
//! | [`peers`], [`forward`] | the way between servers; writes on servers that do not lead |
//! | [`loops`] | the leader's controllers and scheduler |
//! | [`nodes`] | the agents' reverse connections and heartbeats |
//! | [`auth`], [`pki`], [`token`], [`join`] | who may do what, certificates, joining |
//! | [`members`], [`cluster`], [`joining`] | the servers of a cluster: coming, going, having a vote |
//! | [`network`] | what nodes need to know of the network beside the objects |
//! | [`backup`], [`recovery`] | the way back after a disaster |
//! | [`bootstrap`] | what a new cluster starts with |

pub(crate) mod ask;
pub mod auth;
pub mod backup;
pub mod bootstrap;
pub mod checkpoint;
pub mod cluster;
pub mod disk;
pub mod forward;
pub mod http;
pub mod join;
pub mod joining;
pub mod listener;
pub mod log;
pub mod loops;
pub mod members;
pub mod network;
pub mod nodes;
pub mod peers;
pub mod pki;
pub mod raft;
pub mod recovery;
pub mod server;
pub mod snapshot;
pub mod store;
pub mod token;
pub(crate) mod upkeep;
pub mod watch;
