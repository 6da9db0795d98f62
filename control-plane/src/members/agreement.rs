//! Decides what keeps the list and the raft group in agreement, and when a learner gets its vote.
//! Pure: the leader's loop looks again and again, and time is an argument.
//!
//! An entry without a member of the group is what a crash left of a join that was never answered,
//! or of a removal: it goes. A silent learner without an entry is the same the other way round. A
//! voter without an entry announces itself; nobody loses a vote because an entry is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Members, Role, role};
use crate::raft::{FollowerStatus, RaftStatus};

/// A learner that lacks no more entries than this follows the leader: about what is under way at
/// any moment under load.
const LAG_MAX: u64 = 1000;
/// How long a learner has to keep up before it gets a vote.
const STEADY: Duration = Duration::from_secs(1);
/// How long list and group must disagree before something is cleaned up.
const STALE: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The learner has caught up.
    Promote(u64),
    /// Nobody in the group has this entry.
    DropEntry(u64),
    /// Nobody speaks for this learner.
    RemoveLearner(u64),
}

/// For how long something has been so. Forgotten with the leadership.
#[derive(Clone, Debug, Default)]
pub struct Sightings(BTreeMap<(Sight, u64), Duration>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sight {
    CaughtUp,
    EntryOnly,
    LearnerOnly,
}

/// How many entries of the log a member lacks.
#[must_use]
pub fn lag(status: &RaftStatus, follower: &FollowerStatus) -> u64 {
    status.last_index.saturating_sub(follower.matched)
}

/// Whether a member has everything but the latest.
#[must_use]
pub fn is_caught_up(status: &RaftStatus, follower: &FollowerStatus) -> bool {
    follower.active
        && !follower.in_snapshot
        && follower.matched > 0
        && lag(status, follower) <= LAG_MAX
}

/// The next thing to do at `now`, on any clock that only goes forward. One at a time: each changes
/// what the next look sees.
#[must_use]
pub fn plan(
    members: &Members,
    status: &RaftStatus,
    sightings: &mut Sightings,
    now: Duration,
) -> Option<Step> {
    let seen = look(members, status);
    sightings.0.retain(|sight, _| seen.contains(sight));
    let mut due = seen.into_iter().filter_map(|sight| {
        let since = *sightings.0.entry(sight).or_insert(now);
        let (wait, step) = match sight.0 {
            Sight::CaughtUp => (STEADY, Step::Promote(sight.1)),
            Sight::EntryOnly => (STALE, Step::DropEntry(sight.1)),
            Sight::LearnerOnly => (STALE, Step::RemoveLearner(sight.1)),
        };
        (now.saturating_sub(since) >= wait).then_some(step)
    });
    let first = due.next();
    // The rest is only looked at, so that its time begins now.
    due.for_each(drop);
    first
}

fn look(members: &Members, status: &RaftStatus) -> Vec<(Sight, u64)> {
    let mut seen = Vec::new();
    for follower in &status.followers {
        let id = follower.member;
        if role(status, id) != Some(Role::Learner) {
            continue;
        }
        if !members.contains_key(&id) {
            if !follower.active {
                seen.push((Sight::LearnerOnly, id));
            }
        } else if is_caught_up(status, follower) {
            seen.push((Sight::CaughtUp, id));
        }
    }
    let strays = members.keys().filter(|id| role(status, **id).is_none());
    seen.extend(strays.map(|id| (Sight::EntryOnly, *id)));
    seen
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, members};
    use super::*;

    /// What is planned when everything stays as it is for so long.
    fn after(wait: Duration, members: &Members, status: &RaftStatus) -> Option<Step> {
        let mut sightings = Sightings::default();
        let at = Duration::from_secs(100);
        assert_eq!(plan(members, status, &mut sightings, at), None);
        plan(members, status, &mut sightings, at + wait)
    }

    fn with(mut status: RaftStatus, id: u64, change: impl Fn(&mut FollowerStatus)) -> RaftStatus {
        let followers = status.followers.iter_mut();
        followers.filter(|one| one.member == id).for_each(change);
        status
    }

    #[test]
    fn a_learner_that_keeps_up_gets_its_vote() {
        let status = || group(&[1], &[2], &[]);
        let cases = [
            ("it follows", status(), Some(Step::Promote(2))),
            ("it is silent", group(&[1], &[2], &[2]), None),
            (
                "it receives a snapshot",
                with(status(), 2, |one| one.in_snapshot = true),
                None,
            ),
            (
                "it has nothing yet",
                with(status(), 2, |one| one.matched = 0),
                None,
            ),
            (
                "it lags",
                RaftStatus {
                    last_index: 100 + LAG_MAX + 1,
                    ..status()
                },
                None,
            ),
            (
                "it is nearly there",
                RaftStatus {
                    last_index: 100 + LAG_MAX,
                    ..status()
                },
                Some(Step::Promote(2)),
            ),
        ];
        for (name, status, expected) in cases {
            assert_eq!(after(STEADY, &members([1, 2]), &status), expected, "{name}");
            let early = after(STEADY / 2, &members([1, 2]), &status);
            assert_eq!(early, None, "{name}, too early");
        }
    }

    #[test]
    fn a_learner_that_falls_back_begins_anew() {
        let (all, good) = (members([1, 2]), group(&[1], &[2], &[]));
        let bad = group(&[1], &[2], &[2]);
        let mut sightings = Sightings::default();
        let times = [(0, &good), (600, &bad), (900, &good), (1500, &good)];
        for (at, status) in times {
            let step = plan(&all, status, &mut sightings, Duration::from_millis(at));
            assert_eq!(step, None, "after {at} ms");
        }
        let at = Duration::from_millis(1900);
        let step = plan(&all, &good, &mut sightings, at);
        assert_eq!(step, Some(Step::Promote(2)));
    }

    #[test]
    fn what_a_crash_left_behind_is_cleaned_up() {
        let cases = [
            (
                "an entry of nobody",
                members([1, 2]),
                group(&[1], &[], &[]),
                Some(Step::DropEntry(2)),
            ),
            (
                "a silent learner of nobody",
                members([1]),
                group(&[1], &[2], &[2]),
                Some(Step::RemoveLearner(2)),
            ),
            (
                "a learner that will announce itself",
                members([1]),
                group(&[1], &[2], &[]),
                None,
            ),
            (
                "a voter without an entry",
                members([1]),
                group(&[1, 2], &[], &[2]),
                None,
            ),
            (
                "all is well",
                members([1, 2]),
                group(&[1, 2], &[], &[2]),
                None,
            ),
        ];
        for (name, members, status, expected) in cases {
            assert_eq!(after(STALE, &members, &status), expected, "{name}");
            let early = after(STALE / 2, &members, &status);
            assert_eq!(early, None, "{name}, too early");
        }
    }
}
