//! Threads without which a server must not go on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Called when the store cannot go on safely: its disk failed or one of its threads panicked.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Ends the process at once: what the log holds is all that counts after the restart.
pub(crate) fn abort_on_fatal() -> OnFatal {
    Arc::new(|why: &str| {
        tracing::error!(why, "the store cannot go on; the server ends");
        std::process::abort();
    })
}

/// Starts a thread whose panic is fatal.
pub(crate) fn spawn_vital(
    name: &'static str,
    fatal: &OnFatal,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let fatal = fatal.clone();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            if catch_unwind(AssertUnwindSafe(body)).is_err() {
                fatal(&format!("the thread {name} panicked"));
            }
        })
}
