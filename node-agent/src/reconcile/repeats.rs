//! Steps that are planned again as soon as they are done: they failed for a reason that nobody keeps,
//! or had no effect. They are not repeated faster and faster, but slower and slower.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::Action;

/// The wait before steps are done again for the first time; doubled each time…
const WAIT_MIN: Duration = Duration::from_millis(250);
/// …up to this: whatever it was that failed is tried soon after it works again.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What was done last, by pod.
#[derive(Default)]
pub(super) struct Repeats(BTreeMap<Arc<str>, Last>);

struct Last {
    actions: Vec<Action>,
    ended: Instant,
    /// How long to wait for the next time.
    wait: Duration,
}

impl Repeats {
    /// Until when steps have to wait; nothing if they may be done now.
    pub(super) fn due(&self, uid: &str, actions: &[Action], now: Instant) -> Option<Instant> {
        let last = self.0.get(uid).filter(|last| last.actions == actions)?;
        Some(last.ended + last.wait).filter(|due| *due > now)
    }

    /// Steps begin. That counts as their end too, until that is known.
    pub(super) fn begun(&mut self, uid: &Arc<str>, actions: &[Action], now: Instant) {
        let last = self.0.get(uid).filter(|last| last.actions == actions);
        let wait = last.map_or(WAIT_MIN, |last| (last.wait * 2).min(WAIT_MAX));
        let last = Last {
            actions: actions.to_vec(),
            ended: now,
            wait,
        };
        self.0.insert(Arc::clone(uid), last);
    }

    /// Steps have ended.
    pub(super) fn ended(&mut self, uid: &str, now: Instant) {
        if let Some(last) = self.0.get_mut(uid) {
            last.ended = now;
        }
    }

    /// Forgets pods that nothing is planned for.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|uid, _| keep(uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_steps_wait_longer_each_time_and_others_do_not() {
        let (uid, mut repeats): (Arc<str>, _) = ("u".into(), Repeats::default());
        let (remove, confirm) = ([Action::RemoveVolumes], [Action::ConfirmDeletion]);
        let mut now = Instant::now();
        for wait in [250, 500, 1000, 2000, 4000, 5000, 5000] {
            assert_eq!(repeats.due(&uid, &remove, now), None);
            repeats.begun(&uid, &remove, now);
            now += Duration::from_secs(3);
            repeats.ended(&uid, now);
            let due = now + Duration::from_millis(wait);
            assert_eq!(repeats.due(&uid, &remove, now), Some(due));
            assert_eq!(repeats.due(&uid, &confirm, now), None);
            assert_eq!(repeats.due("another", &remove, now), None);
            now = due;
        }
        repeats.begun(&uid, &confirm, now);
        repeats.begun(&uid, &remove, now);
        let due = repeats.due(&uid, &remove, now);
        assert_eq!(due, Some(now + WAIT_MIN), "it begins anew");
        repeats.retain(|_| false);
        assert_eq!(repeats.due(&uid, &remove, now), None);
    }
}
