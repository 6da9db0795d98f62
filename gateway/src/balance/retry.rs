//! Whether a failed request is tried again: only if that cannot do twice what was asked once, and
//! only as long as retries are few beside the requests.

use http::Method;

/// Retries per request, in a thousand: more would turn a slow service into a dead one.
const SHARE_PERMILLE: u32 = 200;

/// Retries that are there at first and at least, in thousandths.
const SAVED_MIN: u32 = 10 * 1000;

/// Retries that can be saved up, in thousandths.
const SAVED_MAX: u32 = 100 * 1000;

/// What went wrong with one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection: nothing was sent.
    Connect,
    /// A kept connection was closed before a byte of the answer came.
    Stale,
    /// The connection broke before the answer's head was there.
    Broken,
    /// The head of the answer took too long.
    Late,
}

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// Whether any of its body may have been sent.
    pub body_used: bool,
    /// Tries so far.
    pub tries: u8,
    /// Retries allowed.
    pub retries_max: u8,
}

/// Whether to try again, the budget apart.
#[must_use]
pub fn may(failure: Failure, asked: &Asked<'_>) -> bool {
    if asked.tries > asked.retries_max || asked.body_used {
        return false;
    }
    match failure {
        Failure::Connect => true,
        Failure::Stale | Failure::Broken => is_idempotent(asked.method),
        // The endpoint works on it still; a second one would only double the load.
        Failure::Late => false,
    }
}

/// Doing it twice is doing it once (RFC 9110, 9.2.2).
#[must_use]
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Retries that a service has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(u32);

impl Default for Budget {
    fn default() -> Self {
        Self(SAVED_MIN)
    }
}

impl Budget {
    /// From and to what a counter holds.
    #[must_use]
    pub const fn from_saved(saved: u32) -> Self {
        Self(saved)
    }

    /// What a counter holds.
    #[must_use]
    pub const fn saved(self) -> u32 {
        self.0
    }

    /// A request came.
    #[must_use]
    pub fn earn(self) -> Self {
        Self(self.0.saturating_add(SHARE_PERMILLE).min(SAVED_MAX))
    }

    /// What is left after a retry; `None` if there is none.
    #[must_use]
    pub fn spend(self) -> Option<Self> {
        self.0.checked_sub(1000).map(Self)
    }
}
