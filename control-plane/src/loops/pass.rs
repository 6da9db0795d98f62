//! One pass of one controller over some keys: what to propose, and what to look at again.
//! Pure: the loop here and the simulator make the same passes.

use std::time::Duration;

use skiff_api::Key;
use skiff_engine::plan::Controller;
use skiff_engine::{Outcome, Stamper, State, Write};

/// What a pass came to.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// To be proposed together; the next pass over their keys comes after their outcome.
    pub writes: Vec<Write>,
    /// Keys to look at again, each after so long.
    pub again: Vec<(Key, Duration)>,
    /// Which key each write is for.
    planned: Vec<Key>,
}

impl Pass {
    /// Plans keys on one snapshot.
    #[must_use]
    pub fn plan(
        controller: &Controller,
        state: &State,
        keys: Vec<Key>,
        stamper: &mut Stamper,
    ) -> Self {
        let mut pass = Self::default();
        for key in keys {
            let plan = (controller.plan)(state, &key, stamper);
            if let Some(at) = plan.again_at {
                pass.again.push((key.clone(), at.since(stamper.at())));
            }
            pass.planned
                .extend(std::iter::repeat_n(key, plan.writes.len()));
            pass.writes.extend(plan.writes);
        }
        pass
    }

    /// The keys of writes that were refused or whose outcome is unknown: to be planned again.
    #[must_use]
    pub fn refused(self, outcomes: &[Outcome]) -> Vec<Key> {
        let refused =
            |(index, _): &(usize, Key)| !matches!(outcomes.get(*index), Some(Outcome::Done(_)));
        let keys = self.planned.into_iter().enumerate().filter(refused);
        keys.map(|(_, key)| key).collect()
    }
}
