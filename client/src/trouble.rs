//! What is remembered of a server that failed: for a while others are asked before it.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

/// A server that broke a connection or could not be reached is asked last for so long.
const TROUBLE: Duration = Duration::from_secs(5);

/// When a server last gave reason to ask another one.
#[derive(Debug, Default)]
pub(crate) struct Trouble(RwLock<Option<Instant>>);

impl Trouble {
    pub(crate) fn note(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(crate) fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn is_recent(&self) -> bool {
        let noted = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        noted.is_some_and(|at| at.elapsed() < TROUBLE)
    }
}
