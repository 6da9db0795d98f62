//! The thread that keeps spare segments ready, so that the log's writer never waits for zeros.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use super::LogView;
use super::is_no_space;

/// How long to wait after a failure: a full disk is not made emptier by asking more often.
const RETRY: Duration = Duration::from_millis(500);

/// Makes, recycles and removes segments in the background.
#[derive(Debug)]
pub struct Preparer {
    view: LogView,
    thread: JoinHandle<()>,
}

impl Preparer {
    /// Starts the thread. `changed` is called after each success and each failure for lack of
    /// space: whoever refuses or holds proposals looks at [`LogView::room`] again.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub fn start(view: &LogView, changed: impl Fn() + Send + 'static) -> io::Result<Self> {
        let work = view.clone();
        let body = move || run(&work, &changed);
        let thread = std::thread::Builder::new()
            .name("log-prepare".into())
            .spawn(body)?;
        Ok(Self {
            view: view.clone(),
            thread,
        })
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        self.view.pool().close();
        if self.thread.join().is_err() {
            tracing::error!("the thread that prepares log segments panicked");
        }
    }
}

/// Does one piece of a preparer's work, for who has no thread; whether there was any.
pub(crate) fn prepare(view: &LogView, changed: &impl Fn()) -> bool {
    let pool = view.pool();
    match pool.prepare() {
        Ok(worked) => {
            changed();
            worked
        }
        Err(err) => {
            if is_no_space(&err) {
                pool.set_no_space();
            }
            tracing::warn!(%err, "cannot prepare a segment of the raft log; will retry");
            changed();
            false
        }
    }
}

fn run(view: &LogView, changed: &impl Fn()) {
    let pool = view.pool();
    while pool.wait_for_work() {
        if !prepare(view, changed) && !pool.pause(RETRY) {
            return;
        }
    }
}
