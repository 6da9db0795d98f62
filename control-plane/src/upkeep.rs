//! What a server does for itself while it runs: tells the leader when its name or address changed,
//! keeps its files up to date (who it is, the kubeconfig, the tokens), renews its certificate, and
//! says how far it has come. Each pass looks at everything; a failure is tried again by the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use skiff_engine::State;
use skiff_engine::network::Settings;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bootstrap::{self, Tokens};
use crate::cluster::{ANNOUNCE, Announcement, Cluster, TOKENS};
use crate::members::record::Record;
use crate::members::roster::Roster;
use crate::members::{Formats, List, Member, Members, Role, role, urls};
use crate::pki::Pki;
use crate::raft::RaftStatus;

/// What changes is announced this soon, or a lost wake-up noticed.
const PACE: Duration = Duration::from_secs(1);
/// Certificates and tokens live for months.
const RENEWAL: Duration = Duration::from_secs(3600);

/// All that it takes care of.
pub(crate) struct Upkeep {
    pub cluster: Cluster,
    pub pki: Arc<Pki>,
    pub roster: Roster,
    /// The data directory.
    pub dir: PathBuf,
    /// This server's own URL, for the kubeconfig.
    pub url: String,
    /// This server as it wants to be known.
    pub me: Member,
    /// The network's settings as this server was told, for a cluster that has none yet.
    pub network: Settings,
    /// The voters with which the raft group began.
    pub founders: Vec<u64>,
}

/// What was said or written last, so that it is not said or written again.
#[derive(Default)]
struct Memory {
    /// What the files say.
    written: Option<(u64, Arc<Members>)>,
    trouble: Option<String>,
    stage: Option<Stage>,
    renewed: Option<Instant>,
    /// Whether the certificate is good for the names of the API service.
    named: bool,
    /// Whether the system's objects were looked at since this server leads.
    ensured: bool,
}

/// How far a server that joined has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Receiving,
    CaughtUp,
    Voter,
    Removed,
}

impl Upkeep {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.look()).await;
    }

    async fn look(self) {
        let mut members = self.roster.watch();
        let mut leadership = self.cluster.store().leadership();
        let mut memory = Memory::default();
        loop {
            if let Err(trouble) = self.pass(&mut memory).await {
                if memory.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(trouble, "will try again");
                }
                memory.trouble = Some(trouble);
            } else {
                memory.trouble = None;
            }
            // Whichever comes first; a watch whose sender is gone means that the server stops.
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                changed = members.changed() => if changed.is_err() { return },
                changed = leadership.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn pass(&self, memory: &mut Memory) -> Result<(), String> {
        let store = self.cluster.store();
        let (state, status) = (store.state(), store.status());
        self.roster.observe(&state);
        self.tell_stage(memory, &state, &status);
        self.write_files(memory)?;
        self.be_known(memory, &state).await?;
        self.keep_network(memory, &state).await?;
        if memory
            .renewed
            .is_none_or(|renewed| renewed.elapsed() >= RENEWAL)
        {
            memory.renewed = self.renew(&state).await?.then(Instant::now);
        }
        Ok(())
    }

    /// Writes down who the servers are, where a restart and the client find it.
    fn write_files(&self, memory: &mut Memory) -> Result<(), String> {
        let now = (self.roster.revision(), self.roster.members());
        if memory.written.as_ref() == Some(&now) {
            return Ok(());
        }
        let record = Record {
            id: self.me.id,
            name: self.me.name.clone(),
            founders: self.founders.clone(),
            revision: now.0,
            members: now.1.values().cloned().collect(),
        };
        record.save(&self.dir).map_err(|err| chain(&err))?;
        self.write_kubeconfig(&now.1)?;
        memory.written = Some(now);
        Ok(())
    }

    fn write_kubeconfig(&self, members: &Members) -> Result<(), String> {
        let written = self
            .pki
            .write_admin_kubeconfig(&self.dir, &self.url, &urls(members));
        written.map(drop).map_err(|err| chain(&err))
    }

    /// Sees to it that the list has this server as it is.
    async fn be_known(&self, memory: &mut Memory, state: &State) -> Result<(), String> {
        let leads = self.cluster.store().is_leader();
        if leads && !memory.ensured {
            self.ensure().await?;
        }
        memory.ensured = leads;
        let list = List::read(state);
        // What an old state says is no news.
        let outdated = !leads && list.revision().0 < self.roster.revision();
        if outdated || list.members.get(&self.me.id) == Some(&self.me) {
            return Ok(());
        }
        let announcement = Announcement {
            member: self.me.clone(),
            formats: Formats::default(),
        };
        if leads {
            let announced = self.cluster.announced(&announcement).await;
            return announced.map_err(|status| status.message);
        }
        self.announce(&announcement).await
    }

    /// Keeps the service that stands for the API servers, and answers to its names.
    async fn keep_network(&self, memory: &mut Memory, state: &State) -> Result<(), String> {
        let store = self.cluster.store();
        if store.is_leader() {
            let kept = bootstrap::keep_network(store, &self.network).await;
            kept.map_err(|err| chain(&err))?;
        }
        let Some(settings) = bootstrap::network::settings(state).filter(|_| !memory.named) else {
            return Ok(());
        };
        let (dns, ip) = bootstrap::network::names(&settings);
        let covered = self.pki.cover(dns, ip);
        if covered.map_err(|err| chain(&err))? {
            tracing::info!(%ip, "the server's certificate is good for the API service");
        }
        memory.named = true;
        Ok(())
    }

    /// Tells the leader, or else anybody who may know it: whoever moved is not found by its leader,
    /// so that it does not hear who leads.
    async fn announce(&self, announcement: &Announcement) -> Result<(), String> {
        let members = self.roster.members();
        let leader = self.cluster.store().status().leader;
        let others = members.values().filter(|one| one.id != self.me.id);
        let mut others: Vec<&Member> = others.collect();
        others.sort_by_key(|one| Some(one.id) != leader);
        let mut trouble = Ok(());
        for other in others {
            let ask = self.cluster.ask(&other.address, ANNOUNCE);
            match ask.post::<serde_json::Value>(announcement).await {
                Ok(_) => return Ok(()),
                Err(err) if err.is_passing() => trouble = Err(chain(&err)),
                Err(err) => return Err(chain(&err)),
            }
        }
        trouble
    }

    /// The leader, as the newest list knows it.
    fn leader(&self) -> Option<Member> {
        let leader = self.cluster.store().status().leader?;
        self.roster.members().get(&leader).cloned()
    }

    /// Replaces what is in the last third of its life; `false` if the state is not there yet.
    async fn renew(&self, state: &State) -> Result<bool, String> {
        let renewed = self.pki.renew_if_due(SystemTime::now());
        if renewed.map_err(|err| chain(&err))? {
            tracing::info!("the server's certificate was renewed");
        }
        self.write_kubeconfig(&self.roster.members())?;
        let store = self.cluster.store();
        // A state that is still on its way knows no tokens at all.
        if !store.is_leader() && !is_caught_up(&store.status()) {
            return Ok(false);
        }
        if bootstrap::has_tokens(&self.dir, state, jiff::Timestamp::now().into()) {
            return Ok(true);
        }
        if store.is_leader() {
            return self.ensure().await.map(|()| true);
        }
        let Some(leader) = self.leader() else {
            return Ok(false);
        };
        let ask = self.cluster.ask(&leader.address, TOKENS);
        let asked = ask.post::<Tokens>(&()).await;
        let tokens = asked.map_err(|err| chain(&err))?;
        tokens.save(&self.dir).map_err(|err| chain(&err))?;
        Ok(true)
    }

    /// What only the leader can write.
    async fn ensure(&self) -> Result<(), String> {
        let (store, hash) = (self.cluster.store(), self.pki.ca_hash());
        let ensured = bootstrap::ensure(store, &self.dir, &hash, &self.me, &self.network);
        ensured.await.map_err(|err| chain(&err))
    }

    /// Says how far this server has come, once for each step.
    fn tell_stage(&self, memory: &mut Memory, state: &State, status: &RaftStatus) {
        let listed = crate::members::of(state);
        let found = stage(&listed, status, self.me.id);
        if found == memory.stage {
            return;
        }
        let member = self.me.id;
        match found {
            Some(Stage::Receiving) => tracing::info!(member, "receiving the cluster's state"),
            Some(Stage::CaughtUp) => tracing::info!(member, "caught up; the leader gives the vote"),
            // That a founder has a vote is no news.
            Some(Stage::Voter) if memory.stage.is_some() => tracing::info!(member, "has a vote"),
            Some(Stage::Voter) | None => {}
            Some(Stage::Removed) => tracing::warn!(
                member,
                "this server was removed from the cluster: stop it, and move its data directory \
                 away before it joins again"
            ),
        }
        memory.stage = found;
    }
}

fn is_caught_up(status: &RaftStatus) -> bool {
    status.leader.is_some() && status.commit > 0 && status.applied >= status.commit
}

/// How far a server has come; `None` while that can't be told.
fn stage(listed: &Members, status: &RaftStatus, me: u64) -> Option<Stage> {
    match role(status, me) {
        Some(Role::Leader | Role::Voter) => Some(Stage::Voter),
        Some(Role::Learner) if is_caught_up(status) => Some(Stage::CaughtUp),
        Some(Role::Learner) => Some(Stage::Receiving),
        // Whoever has not heard of itself yet is on the way in, or was on the way out: the list
        // that is known by then tells.
        None if status.commit == 0 || listed.is_empty() => Some(Stage::Receiving),
        None if listed.contains_key(&me) => None,
        None => is_caught_up(status).then_some(Stage::Removed),
    }
}

/// An error and its causes in one line.
fn chain(err: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(err.source(), |cause| cause.source());
    causes.fold(err.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::{group, members};

    #[test]
    fn a_server_knows_how_far_it_has_come() {
        let at = |mut status: RaftStatus, applied| {
            (status.commit, status.applied) = (100, applied);
            status
        };
        let (all, two) = (members([1, 2]), members([1, 3]));
        let cases = [
            (
                "it leads",
                &all,
                at(group(&[1], &[], &[]), 100),
                1,
                Stage::Voter,
            ),
            (
                "it votes",
                &all,
                at(group(&[1, 2], &[], &[]), 9),
                2,
                Stage::Voter,
            ),
            (
                "it learns",
                &all,
                at(group(&[1], &[2], &[]), 9),
                2,
                Stage::Receiving,
            ),
            (
                "it has learned",
                &all,
                at(group(&[1], &[2], &[]), 100),
                2,
                Stage::CaughtUp,
            ),
            (
                "it has nothing",
                &all,
                group(&[1], &[], &[]),
                2,
                Stage::Receiving,
            ),
            (
                "it was removed",
                &two,
                at(group(&[1, 3], &[], &[]), 100),
                2,
                Stage::Removed,
            ),
        ];
        for (name, members, status, me, expected) in cases {
            assert_eq!(stage(members, &status, me), Some(expected), "{name}");
        }
        let unclear = at(group(&[1], &[], &[]), 100);
        assert_eq!(stage(&all, &unclear, 2), None);
        assert_eq!(stage(&two, &at(group(&[1, 3], &[], &[]), 9), 2), None);
    }
}
