//! Why a try failed, and who is to blame: the endpoint, the client, or nobody.

use std::io;
use std::net::SocketAddr;

use http::Request;

use crate::balance::retry::Failure;
use crate::body::{Payload, Progress};
use crate::proxy::Refusal;
use crate::upstream::Unsent;

/// One try that failed.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// The request, if nothing of it was sent.
    pub(super) request: Option<Request<Payload>>,
    /// Whether the endpoint is to blame.
    pub(super) is_its_fault: bool,
}

pub(super) fn not_connected(
    address: SocketAddr,
    error: &std::io::Error,
    request: Request<Payload>,
) -> Failed {
    tracing::debug!(%address, %error, "cannot connect to an endpoint");
    Failed {
        failure: Failure::Connect,
        request: Some(request),
        is_its_fault: true,
    }
}

/// The endpoint ceased to be one while it was connected to.
pub(super) fn too_late(request: Request<Payload>) -> Failed {
    Failed {
        failure: Failure::Connect,
        request: Some(request),
        is_its_fault: false,
    }
}

pub(super) fn failed(unsent: Unsent, is_kept: bool, progress: Option<&Progress>) -> Failed {
    tracing::debug!(error = %unsent.error, "an endpoint did not answer");
    let request = unsent.request.map(|request| *request);
    let failure = match (&request, is_kept) {
        // Closed just now: nothing went out, so that any method may go another way.
        (Some(_), _) => Failure::Connect,
        (None, true) => Failure::Stale,
        (None, false) => Failure::Broken,
    };
    let by_client = progress.and_then(fault_of_client).is_some();
    // It may close a kept connection at any time; but it has to be there.
    let is_at_fault = !is_kept || is_silent(&unsent.error);
    Failed {
        failure,
        request,
        is_its_fault: is_at_fault && !by_client,
    }
}

/// Whether a host did not even acknowledge what was sent to it.
fn is_silent(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::TimedOut;
        }
        source = error.source();
    }
    false
}

/// What the client did wrong with the request's body.
pub(super) fn fault_of_client(progress: &Progress) -> Option<Refusal> {
    if progress.is_too_large() {
        return Some(Refusal::TooLarge);
    }
    progress.is_broken().then_some(Refusal::Body)
}
