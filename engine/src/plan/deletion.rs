//! How a plan deletes an object: as a user would, by the rules of `admit::delete`.
//!
//! So a pod that may be running goes gracefully, and finalizers are respected.

use skiff_api::Object;

use crate::admit::{self, DeleteOptions, Deletion, Propagation, Request, Stamp};
use crate::command::Write;
use crate::stamp::Stamper;
use crate::state::State;

/// Who deletes, in the words of the audit.
const USER: &str = "system:serviceaccount:kube-system:controller";

/// How soon an object has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// With its own grace.
    Graceful,
    /// At once: nobody is left who would stop it.
    AtOnce,
}

/// The write that deletes an object; `None` if its deletion is under way, or not allowed.
pub(crate) fn delete(
    state: &State,
    object: &Object,
    haste: Haste,
    propagation: Option<Propagation>,
    stamper: &mut Stamper,
) -> Option<Write> {
    let grace_seconds = match haste {
        Haste::Graceful => None,
        Haste::AtOnce => Some(0),
    };
    let options = DeleteOptions {
        grace_seconds,
        propagation,
        ..DeleteOptions::default()
    };
    let request = Request {
        state,
        stamp: Stamp::draw(stamper),
        user: USER,
    };
    match admit::delete(object, &options, &request) {
        Ok(Deletion::Now) => Some(Write::remove(object)),
        Ok(Deletion::Mark(marked)) => Some(Write::replace(object, marked)),
        Ok(Deletion::Unchanged(_)) | Err(_) => None,
    }
}

/// The write that deletes a pod with its own grace.
pub(crate) fn delete_pod(state: &State, pod: &Object, stamper: &mut Stamper) -> Option<Write> {
    delete(state, pod, Haste::Graceful, None, stamper)
}
