//! Decisions about endpoints, as tables and laws.

use std::time::Duration;

use http::Method;
use proptest::prelude::*;

use super::eject::{self, Ending, FAILURES_MAX, History};
use super::pick::{self, Load};
use super::retry::{self, Asked, Budget, Failure};
use super::{Tick, limit};
use crate::route::Rate;

/// Numbers that look like chance and are the same at each run.
fn chance(seed: u32) -> impl FnMut() -> u32 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    }
}

fn load(open: u32) -> Load {
    Load {
        open,
        since: 0,
        ejected_until: 0,
    }
}

#[test]
fn the_less_loaded_of_two_is_chosen() {
    let mut chance = chance(7);
    let at = |index: usize| load(if index == 0 { 9 } else { 0 });
    let chosen = (0..100).map(|_| pick::choose(2, at, (1, 0), None, &mut chance));
    let busy = chosen.filter(|chosen| *chosen == Some(0)).count();
    assert!(busy <= 2, "the busy one was chosen {busy} times");
}

#[test]
fn whoever_is_left_out_or_has_just_failed_is_not_chosen_while_there_is_another() {
    let mut chance = chance(3);
    let out = |index: usize| Load {
        ejected_until: if index == 1 { 100 } else { 0 },
        ..load(0)
    };
    for _ in 0..200 {
        assert_eq!(pick::choose(3, out, (50, 0), Some(0), &mut chance), Some(2));
    }
    assert_eq!(pick::choose(1, out, (50, 0), Some(0), &mut chance), Some(0));
    assert_eq!(pick::choose(0, out, (50, 0), None, &mut chance), None);
}

#[test]
fn a_new_endpoint_gets_more_from_moment_to_moment() {
    let share = |now: Tick| {
        let mut chance = chance(11);
        let at = |index: usize| Load {
            since: if index == 0 { 10_000 } else { 0 },
            ..load(0)
        };
        let chosen = (0..4000).map(|_| pick::choose(2, at, (now, 10_000), None, &mut chance));
        chosen.filter(|chosen| *chosen == Some(0)).count()
    };
    let (cold, half, warm) = (share(10_001), share(15_000), share(20_000));
    assert!((200..600).contains(&cold), "{cold}");
    assert!((1000..1700).contains(&half), "{half}");
    assert!((1700..=2300).contains(&warm), "{warm}");
}

#[test]
fn failures_in_a_row_leave_an_endpoint_out_for_longer_each_time() {
    let mut history = History::default();
    for _ in 1..FAILURES_MAX {
        history = eject::after(history, Ending::Bad, 100, (0, 4));
        assert_eq!(history.until, 0);
    }
    let once = eject::after(history, Ending::Good, 100, (0, 4));
    assert_eq!(once.in_a_row, 0, "a success forgives");
    let first = eject::after(history, Ending::Bad, 100, (0, 4));
    let second = eject::after(first, Ending::Bad, first.until + 1, (0, 4));
    assert!(
        second.until - first.until > first.until - 100,
        "{first:?} {second:?}"
    );
    let none = eject::after(history, Ending::Bad, 100, (0, 1));
    assert_eq!(none.until, 0, "the only one stays");
}

proptest! {
    #[test]
    fn never_more_than_half_are_left_out(count in 1_usize..20, endings in prop::collection::vec(0_usize..20, 0..400)) {
        let mut all = vec![History::default(); count];
        for (now, index) in endings.into_iter().enumerate() {
            let (now, index) = (now as Tick, index % count);
            let others = all.iter().enumerate().filter(|(i, one)| *i != index && one.until > now).count();
            all[index] = eject::after(all[index], Ending::Bad, now, (others, count));
            let out = all.iter().filter(|one| one.until > now).count();
            prop_assert!(out * 2 <= count, "{out} of {count}");
        }
    }

    #[test]
    fn retries_are_few_beside_requests(requests in 0_u32..5000) {
        let mut budget = Budget::default();
        let mut retries = 0;
        for _ in 0..requests {
            budget = budget.earn();
            while let Some(less) = budget.spend() {
                budget = less;
                retries += 1;
            }
        }
        prop_assert!(retries <= 10 + requests / 5, "{retries} for {requests}");
    }
}

#[test]
fn only_what_does_no_harm_twice_is_tried_again() {
    let cases = [
        (
            "nothing was sent",
            Failure::Connect,
            Method::POST,
            false,
            true,
        ),
        (
            "a kept connection was closed",
            Failure::Stale,
            Method::GET,
            false,
            true,
        ),
        (
            "the same, but it may have been done",
            Failure::Stale,
            Method::POST,
            false,
            false,
        ),
        ("it broke", Failure::Broken, Method::PUT, false, true),
        (
            "it broke with a body",
            Failure::Broken,
            Method::PUT,
            true,
            false,
        ),
        ("it is slow", Failure::Late, Method::GET, false, false),
    ];
    for (name, failure, method, body_used, expected) in cases {
        let mut asked = Asked {
            method: &method,
            body_used,
            tries: 1,
            retries_max: 1,
        };
        assert_eq!(retry::may(failure, &asked), expected, "{name}");
        asked.tries = 2;
        assert!(!retry::may(failure, &asked), "{name}: once is enough");
    }
}

#[test]
fn a_client_has_its_burst_and_then_its_rate() {
    let rate = Rate {
        interval: Duration::from_nanos(100),
        burst: 3,
    };
    let mut full_at = 0;
    for _ in 0..3 {
        full_at = limit::pass(full_at, 1000, rate).unwrap();
    }
    assert_eq!(
        limit::pass(full_at, 1000, rate),
        Err(Duration::from_nanos(100))
    );
    assert_eq!(limit::pass(full_at, 1100, rate), Ok(1400));
    assert!(!limit::is_full(1400, 1399) && limit::is_full(1400, 1400));
}
