//! The net has no holes: each mistake that servers, agents or clients could make is noticed within
//! two hundred seeds, by a sentence that it violates.

use skiff_sim::{Mutation, Options, simulate};

/// Seeds that a mistake may hide in.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=200;

/// Makes a mistake in one seed after the other until it is noticed.
fn is_noticed(mutation: Mutation, by: &[&str]) {
    for seed in SEEDS {
        let options = Options {
            mutation: Some(mutation),
            ..Options::short(seed)
        };
        let report = simulate(&options);
        if let Some(violation) = report.violation {
            let known = by.contains(&violation.sentence);
            assert!(
                known,
                "seed {seed}: noticed for another reason: {violation:?}"
            );
            return;
        }
    }
    panic!("{mutation} was not noticed in {SEEDS:?}");
}

#[test]
fn what_is_not_synced_is_lost_by_a_crash() {
    is_noticed(Mutation::AcknowledgeBeforeSync, &[]);
}

#[test]
fn a_vote_that_is_forgotten_is_given_twice() {
    is_noticed(Mutation::ForgetVote, &[]);
}

#[test]
fn an_empty_disk_must_not_come_back_under_an_old_id() {
    is_noticed(Mutation::ForgetDisk, &[]);
}

#[test]
fn a_write_that_was_only_proposed_is_no_write() {
    is_noticed(Mutation::AcknowledgeBeforeCommit, &[]);
}

#[test]
fn a_write_that_may_have_happened_has_not_failed() {
    is_noticed(Mutation::CallUnknownFailed, &[]);
}

#[test]
fn every_entry_counts() {
    is_noticed(Mutation::SkipEntry, &[]);
}

#[test]
fn ones_own_state_is_not_the_latest() {
    is_noticed(Mutation::StaleRead, &[]);
}

#[test]
fn a_watch_without_a_change_has_a_gap() {
    is_noticed(Mutation::DropWatchEvent, &[]);
}

#[test]
fn a_watch_goes_on_where_it_was() {
    is_noticed(Mutation::ResumeFromNow, &[]);
}

#[test]
fn a_binding_needs_its_guard() {
    is_noticed(Mutation::BindUnguarded, &[]);
}

#[test]
fn a_loop_at_work_hears_wake_ups() {
    is_noticed(Mutation::ForgetWakeUp, &[]);
}
