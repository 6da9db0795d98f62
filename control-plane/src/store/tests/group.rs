//! Several members: they agree, survive the loss of their leader, catch up by snapshots, and change
//! who they are.

use raft::eraftpb::{Message, MessageType};

use super::*;

/// Delivers messages between stores in one process.
#[derive(Clone, Default)]
struct Wire {
    stores: Arc<Mutex<BTreeMap<u64, Store>>>,
    snapshots: Arc<AtomicUsize>,
}

impl Outbound for Wire {
    fn send(&self, messages: Vec<Message>) {
        let stores = self.stores.lock().unwrap().clone();
        for message in messages {
            let (from, to) = (stores.get(&message.from), stores.get(&message.to));
            if message.get_msg_type() == MessageType::MsgSnapshot {
                if let (Some(from), Some(to)) = (from, to) {
                    self.snapshots.fetch_add(1, Ordering::SeqCst);
                    std::thread::spawn({
                        let (from, to) = (from.clone(), to.clone());
                        move || carry(&from, &to, message)
                    });
                }
            } else if let (Some(_), Some(to)) = (from, to) {
                to.receive(message);
            }
        }
    }
}

fn carry(from: &Store, to: &Store, message: Message) {
    let (member, index) = (message.to, message.get_snapshot().get_metadata().index);
    let snapshot = from.snapshot_at(index).unwrap();
    let mut assembly = crate::snapshot::Assembly::default();
    snapshot
        .frames()
        .for_each(|frame| assembly.push(&frame).unwrap());
    let installed = run(to.install(message, assembly.finish().unwrap()));
    from.report_snapshot(member, installed.is_ok());
}

impl Wire {
    fn open(&self, member: u64) -> Store {
        self.open_in(&World::new(member), member, &[1, 2, 3])
    }

    fn open_in(&self, world: &World, member: u64, founders: &[u64]) -> Store {
        let config = StoreConfig {
            member,
            founders: founders.to_vec(),
            outbound: Arc::new(self.clone()),
            checkpoint_bytes: 20_000,
            ..world.config()
        };
        let store = Store::open(config, ignore()).unwrap();
        self.stores.lock().unwrap().insert(member, store.clone());
        store
    }
}

async fn leader(stores: &[Store]) -> usize {
    let waits = stores.iter().enumerate().map(|(at, store)| {
        let mut leads = store.leadership();
        Box::pin(async move {
            // A store that was shut down never leads again, and its channel may be closed.
            while leads.wait_for(|leads| *leads).await.is_err() {
                std::future::pending::<()>().await;
            }
            at
        })
    });
    futures_util::future::select_all(waits).await.0
}

#[test]
fn three_members_agree_and_survive_the_loss_of_their_leader() {
    run(async {
        let wire = Wire::default();
        let mut stores: Vec<_> = (1..=3).map(|member| wire.open(member)).collect();
        let first = leader(&stores).await;
        for n in 0..100 {
            stores[first]
                .propose(create(&format!("c{n}"), 100))
                .await
                .unwrap();
        }
        let follower = &stores[(first + 1) % 3];
        let refused = follower.propose(create("elsewhere", 1)).await;
        let leader_id = u64::try_from(first).unwrap() + 1;
        assert_eq!(
            refused,
            Err(ProposeError::NotLeader {
                leader: Some(leader_id)
            })
        );
        assert_eq!(
            follower.read().await.unwrap().len(),
            100,
            "a follower's read is up to date"
        );

        let lost = stores.remove(first);
        wire.stores.lock().unwrap().remove(&leader_id);
        let second = leader(&stores).await;
        let write = Write::Delete {
            expect: Expect::At(skiff_api::Revision(1)),
            key: key("c0"),
        };
        stores[second].propose(vec![write]).await.unwrap();
        assert_eq!(stores[second].read().await.unwrap().len(), 99);
        assert_eq!(
            lost.read().await.err(),
            Some(ReadError::NoLeader),
            "a cut-off leader is silent"
        );
        assert!(!lost.is_leader());
        wire.stores.lock().unwrap().clear();
    });
}

#[test]
fn a_leader_whose_disk_does_not_write_hands_over() {
    run(async {
        let wire = Wire::default();
        let worlds: Vec<_> = (1..=3).map(World::new).collect();
        let open = |(member, world)| wire.open_in(world, member, &[1, 2, 3]);
        let mut stores: Vec<_> = (1..).zip(&worlds).map(open).collect();
        let first = leader(&stores).await;
        stores[first].propose(create("before", 1)).await.unwrap();
        worlds[first].disk.hold_syncs();
        let stuck = stores.remove(first);
        let writes: Vec<_> = (0..20)
            .map(|n| {
                let stuck = stuck.clone();
                tokio::spawn(async move { stuck.propose(create(&format!("c{n}"), 1)).await })
            })
            .collect();
        let second = leader(&stores).await;
        stores[second].propose(create("after", 1)).await.unwrap();
        for write in writes {
            // None of them waits for the disk: another server can say what became of it.
            assert!(write.await.unwrap().is_err());
        }
        assert!(stuck.read().await.is_err(), "it cannot know");
        worlds[first].disk.release_syncs();
        let all = stores[second].read().await.unwrap().len();
        assert_eq!(stuck.read().await.unwrap().len(), all);
        wire.stores.lock().unwrap().clear();
    });
}

#[test]
fn a_member_that_hears_of_no_leader_says_so_and_takes_it_back() {
    run(async {
        let wire = Wire::default();
        let mut stores: Vec<_> = (1..=3).map(|member| wire.open(member)).collect();
        let first = leader(&stores).await;
        let id = u64::try_from((first + 1) % 3).unwrap() + 1;
        let cut_off = stores.remove((first + 1) % 3);
        let mut said = cut_off.cut_off();
        assert!(!*said.borrow());
        wire.stores.lock().unwrap().remove(&id);
        said.wait_for(|cut_off| *cut_off).await.unwrap();
        wire.stores.lock().unwrap().insert(id, cut_off.clone());
        said.wait_for(|cut_off| !*cut_off).await.unwrap();
        wire.stores.lock().unwrap().clear();
    });
}

/// Waits until what a store says of itself is so.
async fn until(store: &Store, so: impl Fn(&Store) -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let seen = async {
        while !so(store) {
            looks.tick().await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
    assert!(seen.is_ok(), "{:?}", store.status());
}

#[test]
fn a_member_that_is_too_far_behind_gets_a_snapshot_and_keeps_it() {
    run(async {
        let wire = Wire::default();
        let third = World::new(3);
        let stores: Vec<_> = (1..=2).map(|member| wire.open(member)).collect();
        let lagging = wire.open_in(&third, 3, &[1, 2, 3]);
        let mut all = stores.clone();
        all.push(lagging.clone());
        let first = leader(&all).await;
        lagging.shutdown().await;
        drop((lagging, all));
        wire.stores.lock().unwrap().remove(&3);
        let first = if first == 2 {
            leader(&stores).await
        } else {
            first
        };
        for n in 0..200 {
            let name = format!("c{n}");
            stores[first].propose(create(&name, 1000)).await.unwrap();
        }
        third.disk.crash();
        let back = wire.open_in(&third, 3, &[1, 2, 3]);
        until(&back, |store| store.state().len() == 200).await;
        assert!(wire.snapshots.load(Ordering::SeqCst) > 0, "its log is cut");
        stores[first].propose(create("more", 10)).await.unwrap();
        until(&back, |store| store.state().len() == 201).await;
        back.shutdown().await;
        wire.stores.lock().unwrap().remove(&3);
        third.disk.crash();
        let again = wire.open_in(&third, 3, &[1, 2, 3]);
        assert!(again.state().len() >= 200, "it is on its own disk");
        wire.stores.lock().unwrap().clear();
    });
}

#[test]
fn a_founder_that_comes_back_knows_from_its_log_that_it_is_no_longer_alone() {
    run(async {
        let wire = Wire::default();
        let world = World::new(1);
        let first = wire.open_in(&world, 1, &[1]);
        let second = wire.open_in(&World::new(2), 2, &[1]);
        for change in [MemberChange::AddLearner(2), MemberChange::Promote(2)] {
            first.change_members(change).await.unwrap();
        }
        wire.stores.lock().unwrap().remove(&1);
        first.shutdown().await;
        // Only a checkpoint says who the members are, and there is none: a member that believed to
        // be alone would wait here for its own election, without a word to the other.
        let again = wire.open_in(&world, 1, &[1]);
        let stores = [again, second];
        let at = leader(&stores).await;
        stores[at].propose(create("after", 10)).await.unwrap();
        until(&stores[0], |store| store.state().len() == 1).await;
        wire.stores.lock().unwrap().clear();
    });
}

#[test]
fn a_group_of_one_grows_to_three_hands_over_and_shrinks() {
    run(async {
        let wire = Wire::default();
        let first = wire.open_in(&World::new(1), 1, &[1]);
        for n in 0..100 {
            first.propose(create(&format!("c{n}"), 1000)).await.unwrap();
        }
        let mut others = Vec::new();
        for member in 2..=3 {
            let other = wire.open_in(&World::new(member), member, &[1]);
            let learner = MemberChange::AddLearner(member);
            first.change_members(learner).await.unwrap();
            let again = first.change_members(learner).await;
            assert!(matches!(again, Err(ChangeError::Refused(_))), "{again:?}");
            until(&other, |store| store.state().len() == 100).await;
            first
                .change_members(MemberChange::Promote(member))
                .await
                .unwrap();
            others.push(other);
        }
        assert_eq!(first.status().voters, [1, 2, 3]);
        assert_eq!(first.status().followers.len(), 2);
        let own = first.change_members(MemberChange::Remove(1)).await;
        assert!(matches!(own, Err(ChangeError::Refused(_))), "{own:?}");
        assert_eq!(first.transfer_leadership(Some(3)).await, Ok(3));
        until(&others[1], Store::is_leader).await;
        let refused = first.change_members(MemberChange::Remove(2)).await;
        assert_eq!(refused, Err(ChangeError::NotLeader { leader: Some(3) }));
        let write = create("after", 10);
        others[1].propose(write).await.unwrap();
        assert_eq!(first.read().await.unwrap().len(), 101);
        others[1]
            .change_members(MemberChange::Remove(1))
            .await
            .unwrap();
        wire.stores.lock().unwrap().remove(&1);
        others[1].propose(create("without", 10)).await.unwrap();
        assert_eq!(others[0].read().await.unwrap().len(), 102);
        wire.stores.lock().unwrap().clear();
    });
}
