//! Waiting for what others have seen already.

use skiff_api::Revision;
use skiff_engine::State;

use super::{ReadError, Store};

impl Store {
    /// This member's own state, once it has reached a revision. Asks nobody and waits without a
    /// bound: the caller sets one.
    ///
    /// # Errors
    /// [`ReadError::Stopped`].
    pub async fn reached(&self, revision: Revision) -> Result<State, ReadError> {
        let mut applied = self.inner.shared.watch_applied();
        loop {
            // Marked as seen first: what is applied from here on wakes the wait below.
            applied.borrow_and_update();
            let state = self.state();
            if state.revision() >= revision {
                return Ok(state);
            }
            applied.changed().await.map_err(|_| ReadError::Stopped)?;
        }
    }
}
