//! The gateway: HTTP from outside to the services inside, by the Ingresses that ask for it.
//!
//! | module | what |
//! |---|---|
//! | [`route`] | pure: Ingresses → which path belongs to which service |
//! | [`balance`] | pure: which endpoint, what is tried again, who asks too often, who is promoted |
//! | `upstream` | a service's endpoints, and the connections to them |
//! | `live` | the table as it is used: routes with upstreams and counters |
//! | `trial` | what is counted of canaries that judge themselves |
//! | `proxy` | one request: there and back |
//! | `serve` | connections of clients, on threads of their own |
//! | `keep` | watches the servers and keeps table, endpoints and certificates |
//! | [`tls`] | certificates by name |
//! | `report` | what it tells the servers of itself, again and again |
//! | `admin`, `metrics`, `access_log` | what it tells people of itself |
//!
//! Requests go straight to pods; a service's own address is never used. Losing the servers changes
//! nothing: what was known last goes on being served.

mod access_log;
mod admin;
pub mod balance;
mod body;
mod clock;
pub mod config;
mod gateway;
mod keep;
mod limiter;
mod live;
mod metrics;
mod proxy;
mod report;
pub mod route;
mod serve;
pub mod tls;
mod trial;
mod upstream;

pub use config::{Config, Listen};
pub use gateway::{Gateway, GatewayError};
pub use keep::{Objects, Pair, Sources};
pub use upstream::{Protocol, Resolved, Trouble, resolve};
