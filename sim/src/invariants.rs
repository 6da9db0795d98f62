//! What must hold, whatever happens: one file per sentence. They only watch; what they are shown
//! comes from outside of the servers' own books wherever that is possible.

pub mod acknowledged;
pub mod agreement;
pub mod alive;
pub mod healed;
pub mod leaders;
pub mod linearizable;
pub mod placement;
pub mod revisions;
pub mod watches;

use skiff_api::Revision;
use skiff_engine::{Change, State};

use crate::history::Operation;
use agreement::Agreement;
use leaders::Leaders;
use placement::Placement;
use revisions::Revisions;

/// A sentence that turned out to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The sentence.
    pub sentence: &'static str,
    /// What was seen instead.
    pub details: String,
}

/// What an invariant says to what it was shown; the text tells what is wrong.
type Judgement = Result<(), String>;

/// Every change that any server ever applied, by revision: the first is that of revision 1.
#[derive(Debug, Default)]
pub struct Log(Vec<Change>);

impl Log {
    /// The change of a revision.
    #[must_use]
    pub fn at(&self, revision: Revision) -> Option<&Change> {
        self.0
            .get(usize::try_from(revision.0.checked_sub(1)?).ok()?)
    }

    /// The changes behind one revision and up to another.
    pub fn between(&self, behind: Revision, to: Revision) -> impl Iterator<Item = &Change> {
        let index = |revision: Revision| usize::try_from(revision.0).unwrap_or(usize::MAX);
        let changes = self.0.iter().take(index(to));
        changes.skip(index(behind))
    }

    /// The latest revision.
    #[must_use]
    pub const fn latest(&self) -> Revision {
        Revision(self.0.len() as u64)
    }

    /// Adds a change if it is the next one; whether it is.
    fn add(&mut self, change: &Change) -> bool {
        let is_next = change.revision == self.latest().next();
        if is_next {
            self.0.push(change.clone());
        }
        is_next
    }
}

/// Everything that the invariants know.
#[derive(Debug)]
pub struct Witness {
    /// What happened.
    pub log: Log,
    /// What clients did.
    pub history: Vec<Operation>,
    violation: Option<Violation>,
    agreement: Agreement,
    leaders: Leaders,
    placement: Placement,
    revisions: Revisions,
}

impl Witness {
    /// Nothing was seen yet of so many servers.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self {
            log: Log::default(),
            history: Vec::new(),
            violation: None,
            agreement: Agreement::new(servers),
            leaders: Leaders::default(),
            placement: Placement::default(),
            revisions: Revisions::new(servers),
        }
    }

    /// The first sentence that was violated.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// A server has applied changes.
    pub fn applied(&mut self, server: usize, state: &State, changes: &[Change]) {
        for change in changes {
            let grown = self.revisions.applied(server, change);
            self.judge(revisions::SENTENCE, grown);
            let is_new = self.log.add(change);
            let agreed = self.agreement.applied(server, change);
            self.judge(agreement::SENTENCE, agreed);
            // Servers that lag tell old news.
            if is_new {
                let placed = self.placement.bound(change);
                self.judge(placement::SENTENCE, placed);
            }
        }
        let stands = self.revisions.stands(server, state.revision());
        self.judge(revisions::SENTENCE, stands);
    }

    /// A server has applied everything up to an index of the log.
    pub fn reached(&mut self, server: usize, index: u64, revision: Revision) {
        let agreed = self.agreement.reached(server, index, revision);
        self.judge(agreement::SENTENCE, agreed);
    }

    /// A server has a state that was not made by changes: from a checkpoint or a snapshot.
    pub fn recovered(&mut self, server: usize, state: &State) {
        self.revisions.recovered(server, state.revision());
        let agreed = self.agreement.recovered(server, state);
        self.judge(agreement::SENTENCE, agreed);
    }

    /// A server believes that it leads.
    pub fn leads(&mut self, server: usize, term: u64) {
        let alone = self.leaders.leads(server, term);
        self.judge(leaders::SENTENCE, alone);
    }

    /// A container of a pod runs on a node.
    pub fn runs(&mut self, node: &str, uid: &str) {
        let placed = self.placement.runs(node, uid);
        self.judge(placement::SENTENCE, placed);
    }

    /// A reader of a watch, who had seen everything up to `last`, was shown something.
    pub fn watched(&mut self, seen: &watches::Seen<'_>) {
        let whole = watches::check(&self.log, seen);
        self.judge(watches::SENTENCE, whole);
    }

    /// A server stopped by itself.
    pub fn died(&mut self, server: usize, why: &str) {
        self.judge(alive::SENTENCE, alive::died(server, why));
    }

    /// The cluster did not heal in time.
    pub fn not_healed(&mut self, why: String) {
        self.judge(healed::SENTENCE, Err(why));
    }

    /// Judges what can only be judged from the whole history.
    pub fn judge_history(&mut self) {
        let kept = acknowledged::check(&self.log, &self.history);
        self.judge(acknowledged::SENTENCE, kept);
        let linear = linearizable::check(&self.history);
        self.judge(linearizable::SENTENCE, linear);
    }

    fn judge(&mut self, sentence: &'static str, judgement: Judgement) {
        if let Err(details) = judgement
            && self.violation.is_none()
        {
            self.violation = Some(Violation { sentence, details });
        }
    }
}
