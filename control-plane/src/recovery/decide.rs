//! Which survivor has the most, whether the group needs recovery at all, and what may be lost.
//! Pure: reports go in, a verdict comes out.

use std::collections::BTreeSet;

use super::Survivor;
use super::report::FORMAT;

/// What recovering one of the survivors would mean. Survivors are named by their places in the
/// list that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The one to be made the only member.
    pub chosen: usize,
    /// The one with the most: the highest term of a last entry, then the highest index. The chosen
    /// one if it has as much as any other.
    pub best: usize,
    /// The chosen one is the only member already.
    pub done: bool,
    /// Another one is the only member of a group of its own already.
    pub recovered: Option<usize>,
    /// The voting members without a report.
    pub missing: Vec<u64>,
    /// The survivors can go on by themselves.
    pub quorum_survives: bool,
    /// Missing members alone may have acknowledged writes.
    pub may_have_lost: bool,
    /// The chosen one is a member, as the one with the most sees the group.
    pub member: bool,
    /// The last entry known to be committed that the chosen one lacks.
    pub forfeits_committed: Option<u64>,
}

impl Verdict {
    /// Whether it takes more than a yes: something better can be done.
    #[must_use]
    pub const fn needs_force(&self) -> bool {
        self.quorum_survives
            || self.chosen != self.best
            || self.recovered.is_some()
            || !self.member
            || self.forfeits_committed.is_some()
    }
}

/// Why reports cannot be judged together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// There is no such survivor.
    #[error("no survivor was named")]
    Nobody,
    /// A report of a later version.
    #[error("the report of member {id} was made by another version of skiff")]
    Format {
        /// Whose.
        id: u64,
    },
    /// The survivors belong to different clusters.
    #[error("members {} and {} belong to different clusters", .ids.0, .ids.1)]
    Clusters {
        /// Two who do.
        ids: (u64, u64),
    },
    /// Two reports of one member.
    #[error("member {id} is named twice")]
    Twice {
        /// Which one.
        id: u64,
    },
}

/// Judges what it would mean to make the survivor at `chosen` the only member.
///
/// # Errors
/// [`JudgeError`] if the reports don't go together.
pub fn judge(survivors: &[Survivor], chosen: usize) -> Result<Verdict, JudgeError> {
    let one = survivors.get(chosen).ok_or(JudgeError::Nobody)?;
    check(survivors, one)?;
    let best = survivors
        .iter()
        .enumerate()
        .max_by_key(|(at, other)| (other.last_term, other.last_index, *at == chosen));
    let (best, most) = best.ok_or(JudgeError::Nobody)?;
    let present: BTreeSet<u64> = survivors.iter().map(|survivor| survivor.id).collect();
    let voters: BTreeSet<u64> = most.voters.iter().chain(&most.outgoing).copied().collect();
    let missing: BTreeSet<u64> = voters.difference(&present).copied().collect();
    let committed = survivors.iter().map(|survivor| survivor.commit).max();
    Ok(Verdict {
        chosen,
        best,
        done: is_alone(one),
        recovered: survivors
            .iter()
            .position(|other| other.id != one.id && is_alone(other)),
        quorum_survives: has_quorum(most, &present),
        may_have_lost: has_quorum(most, &missing),
        member: voters.contains(&one.id) || most.learners.contains(&one.id),
        forfeits_committed: committed.filter(|committed| *committed > one.last_index),
        missing: missing.into_iter().collect(),
    })
}

fn check(survivors: &[Survivor], one: &Survivor) -> Result<(), JudgeError> {
    let mut seen = BTreeSet::new();
    for Survivor {
        format,
        id,
        cluster,
        ..
    } in survivors
    {
        let id = *id;
        if *format != FORMAT {
            return Err(JudgeError::Format { id });
        }
        if *cluster != one.cluster {
            let ids = (one.id, id);
            return Err(JudgeError::Clusters { ids });
        }
        if !seen.insert(id) {
            return Err(JudgeError::Twice { id });
        }
    }
    Ok(())
}

fn is_alone(survivor: &Survivor) -> bool {
    survivor.voters == [survivor.id] && survivor.outgoing.is_empty() && survivor.learners.is_empty()
}

/// Whether these members can decide. While a change of members is under way it takes a majority of
/// both sides.
fn has_quorum(group: &Survivor, members: &BTreeSet<u64>) -> bool {
    let majority = |of: &[u64]| {
        let there = of.iter().filter(|id| members.contains(id)).count();
        there > of.len() / 2
    };
    majority(&group.voters) && (group.outgoing.is_empty() || majority(&group.outgoing))
}

#[cfg(test)]
pub(super) mod tests;
