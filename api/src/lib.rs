//! The words of Skiff: kinds and their names, keys, objects in wire form, quantities, selectors,
//! times, `Status` errors, manifests, gateways and canaries. Knows nothing of the other crates and does no I/O.

pub mod canary;
pub mod duration;
pub mod gateway;
mod key;
mod kind;
mod labels;
pub mod manifest;
mod object;
pub mod quantity;
mod selector;
mod status;
mod taint;
mod time;
mod typed;
mod view;

pub use key::{Key, Revision, Uid};
pub use kind::{Kind, KindInfo, Scope, Subresource};
pub use labels::Labels;
pub use object::{Malformed, Object};
pub use selector::{FieldSelector, LabelSelector, SelectorError};
pub use status::{Cause, Details, Reason, Status};
pub use taint::{Effect, Taint, Toleration};
pub use time::Millis;
pub use typed::{WireType, WrongType, check, typed};
pub use view::{Deletion, Meta, NodeView, Owner, Phase, PodView, Requests, ServiceView, View};

/// Kubernetes' typed API, as the wire types of the kinds that Skiff serves.
pub use k8s_openapi;
