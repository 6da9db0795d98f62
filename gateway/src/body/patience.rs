//! How long a body may stand still.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// How long a pause may be. Costs a timer only once there is a pause.
#[derive(Debug)]
pub(super) struct Patience {
    pause_max: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    moved: bool,
}

impl Patience {
    pub(super) fn new(pause_max: Duration) -> Self {
        Self {
            pause_max,
            timer: None,
            moved: false,
        }
    }

    pub(super) fn moved(&mut self) {
        self.moved = true;
    }

    /// Ready when nothing has moved for long enough: at most for twice the longest pause.
    pub(super) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let pause_max = self.pause_max;
        let timer = self.timer.get_or_insert_with(|| {
            self.moved = false;
            Box::pin(sleep(pause_max))
        });
        while timer.as_mut().poll(context).is_ready() {
            if !std::mem::take(&mut self.moved) {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + pause_max);
        }
        Poll::Pending
    }
}
