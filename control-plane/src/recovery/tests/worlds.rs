//! Three real members, of which one is left; backups that become clusters.

use std::collections::BTreeMap;

use raft::eraftpb::Message;
use skiff_engine::Outcome;

use super::*;
use crate::raft::Outbound;
use crate::snapshot::StateAt;

/// Delivers messages between stores in one process.
#[derive(Clone, Default)]
struct Wire {
    stores: Arc<Mutex<BTreeMap<u64, Store>>>,
}

impl Outbound for Wire {
    fn send(&self, messages: Vec<Message>) {
        let stores = self.stores.lock().unwrap().clone();
        for message in messages {
            if let Some(store) = stores.get(&message.to) {
                store.receive(message);
            }
        }
    }
}

async fn leader(stores: &[Store]) -> Store {
    let waits = stores.iter().map(|store| {
        let mut leads = store.leadership();
        let store = store.clone();
        Box::pin(async move {
            leads.wait_for(|leads| *leads).await.unwrap();
            store
        })
    });
    futures_util::future::select_all(waits).await.0
}

/// Three members that have written; what was acknowledged.
fn three_members(writes: u64) -> Vec<World> {
    let worlds: Vec<World> = (1..=3).map(|member| World::new(member, member)).collect();
    let wire = Wire::default();
    run(async {
        let open = |world: &World| {
            let config = StoreConfig {
                outbound: Arc::new(wire.clone()),
                ..world.config()
            };
            let store = Store::open(config, Box::new(|_, _| ())).unwrap();
            let mut stores = wire.stores.lock().unwrap();
            stores.insert(world.member, store.clone());
            store
        };
        let stores: Vec<Store> = worlds.iter().map(open).collect();
        let leader = leader(&stores).await;
        let list = server_list(&[1, 2, 3], 4);
        leader.propose(vec![list]).await.unwrap();
        for n in 0..writes {
            let write = config_map(&format!("c{n}"), 300);
            let outcomes = leader.propose(vec![write]).await.unwrap();
            assert!(matches!(outcomes[..], [Outcome::Done(_)]));
        }
        wire.stores.lock().unwrap().clear();
        for store in &stores {
            store.shutdown().await;
        }
    });
    worlds
}

#[test]
fn the_best_of_three_members_has_everything_that_was_acknowledged() {
    let worlds = three_members(60);
    let survivors: Vec<Survivor> = worlds.iter().map(World::survivor).collect();
    let all = judge(&survivors, 0).unwrap();
    assert!(all.quorum_survives && all.missing.is_empty());
    let best = &worlds[all.best];
    let alone = judge(&survivors[all.best..=all.best], 0).unwrap();
    assert!(alone.may_have_lost && !alone.needs_force(), "two are gone");

    best.recover().unwrap().unwrap();
    run(async {
        let store = best.open();
        let state = store.read().await.unwrap();
        assert!((0..60).all(|n| has(&state, &format!("c{n}"))));
        let listed: Vec<u64> = members::of(&state).into_keys().collect();
        assert_eq!(listed, [best.member]);
        store.propose(vec![config_map("later", 1)]).await.unwrap();
        store.shutdown().await;
    });
}

#[test]
fn every_member_keeps_what_it_had() {
    for world in three_members(20) {
        let had = world.survivor();
        let rebuilt = world.recover().unwrap().unwrap();
        assert_eq!(rebuilt.mark.index, had.last_index);
        assert_eq!(rebuilt.mark.revision, had.revision + MARGIN);
        run(async {
            let store = world.open();
            assert_eq!(store.state().len(), rebuilt.objects);
            store.propose(vec![config_map("later", 1)]).await.unwrap();
            store.shutdown().await;
        });
    }
}

fn sample() -> StateAt {
    let mut state = State::default();
    let writes = (0..30).map(|n| config_map(&format!("c{n}"), 100));
    let command = Command {
        term: 3,
        at: Millis(0),
        writes: writes.chain([server_list(&[1, 2, 5], 7)]).collect(),
    };
    state.apply(&command);
    let mark = Mark {
        index: 400,
        term: 3,
        conf_state: voters(&[1, 2, 5]),
        revision: state.revision().0,
    };
    StateAt { mark, state }
}

/// As a member of a store that is restored into.
fn fresh(member: u64) -> World {
    World::new(member, 9)
}

#[test]
fn a_restored_state_opens_has_everything_and_takes_writes() {
    let world = fresh(7);
    let before = sample();
    let restored = restore(&mut world.config(), before.clone(), MARGIN).unwrap();
    assert_eq!(restored.revision, before.mark.revision + MARGIN);
    for life in 0..2 {
        run(async {
            let store = world.open();
            assert!(store.is_leader());
            let state = store.read().await.unwrap();
            assert!((0..30).all(|n| has(&state, &format!("c{n}"))));
            assert!(
                members::of(&state).is_empty(),
                "the first start lists itself"
            );
            assert_eq!(next_id(&state), "8", "7 was given to the restored member");
            assert!(state.revision().0 >= restored.revision);
            let at = store.state_at();
            assert!(at.mark.index > 400 && at.mark.term > 3);
            let later = config_map(&format!("later{life}"), 1);
            let outcomes = store.propose(vec![later]).await.unwrap();
            let [Outcome::Done(object)] = &outcomes[..] else {
                panic!("{outcomes:?}")
            };
            assert!(object.revision().0 > restored.revision);
            store.shutdown().await;
        });
    }
    assert!(judge(&[world.survivor()], 0).unwrap().done);
}

#[test]
fn objects_keep_their_revisions_and_the_state_moves_beyond_all_that_were_seen() {
    let world = fresh(7);
    let before = sample();
    restore(&mut world.config(), before.clone(), MARGIN).unwrap();
    run(async {
        let state = world.open().state();
        for object in before
            .state
            .objects()
            .filter(|one| *one.key() != members::key())
        {
            assert_eq!(
                state.get(object.key()).unwrap().revision(),
                object.revision()
            );
        }
        let list = state.get(&members::key()).unwrap();
        assert_eq!(list.revision().0, before.mark.revision + MARGIN);
    });
}

#[test]
fn a_fresh_id_was_never_given_to_anybody() {
    let at = sample();
    let bare = |conf_state: ConfState, index| StateAt {
        mark: Mark {
            conf_state,
            index,
            ..Mark::default()
        },
        state: State::default(),
    };
    let learners = ConfState {
        learners: vec![9],
        ..voters(&[1])
    };
    let cases = [
        ("the counter is ahead", at, 7),
        ("no list, a group of one", bare(voters(&[1]), 5), 2),
        ("no list, a learner", bare(learners, 5), 10),
        ("nothing at all", bare(ConfState::default(), 0), 1),
    ];
    for (name, at, expected) in cases {
        assert_eq!(restore::member_for(&at), expected, "{name}");
        let world = fresh(expected);
        let restored = restore(&mut world.config(), at, MARGIN).unwrap();
        assert_eq!(restored.member, expected, "{name}");
        run(async {
            let store = world.open();
            store.propose(vec![config_map("a", 1)]).await.unwrap();
            store.shutdown().await;
        });
    }
}

#[test]
fn revisions_that_would_run_out_are_refused() {
    let err = restore(&mut fresh(7).config(), sample(), u64::MAX).unwrap_err();
    assert_eq!(
        err.to_string(),
        format!("revision 31 cannot be moved on by {}", u64::MAX)
    );
}

#[test]
fn a_restore_that_broke_off_opens_in_no_way_but_by_another_one() {
    let clean = fresh(7);
    restore(&mut clean.config(), sample(), MARGIN).unwrap();
    for operations in 0..clean.disk.operations() {
        let world = fresh(7);
        world.disk.fail_after(operations);
        assert!(restore(&mut world.config(), sample(), MARGIN).is_err());
        world.disk.crash();
        // Either all of it is there, or the store says that it is not.
        if let Ok(store) = Store::open(world.config(), Box::new(|_, _| ())) {
            assert_eq!(store.state().len(), 31, "after {operations}");
        }
    }
}
