use std::time::Duration;

use skiff_api::canary::bucket;

use super::*;

/// `FAILED/REQUESTS`, and then how long answers took: `99x20ms`; without, all of them a millisecond.
fn counts(text: &str) -> Counts {
    let mut words = text.split(' ');
    let (errors, requests) = words.next().unwrap().split_once('/').unwrap();
    let mut counts = Counts {
        errors: errors.parse().unwrap(),
        ..Counts::default()
    };
    let mut left: u64 = requests.parse().unwrap();
    for word in words {
        let (count, millis) = word.split_once('x').unwrap();
        let millis: u64 = millis.trim_end_matches("ms").parse().unwrap();
        let count: u64 = count.parse().unwrap();
        *counts.latency.entry(bucket(millis * 1000)).or_default() += count;
        left -= count;
    }
    if left > 0 {
        *counts.latency.entry(bucket(1000)).or_default() += left;
    }
    counts
}

/// The verdict in words.
fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Wait(pending) => format!("wait: {pending}"),
        Verdict::Advance(weight) => format!("{weight} %"),
        Verdict::Promote => "promote".to_owned(),
        Verdict::RollBack(fault) => format!("roll back: {fault}"),
    }
}

/// Judges a step so many seconds after it began.
fn judged(settings: &Settings, weight_percent: u8, age: u64, stable: &str, canary: &str) -> String {
    let (stable, canary) = (counts(stable), counts(canary));
    let seen = Seen {
        weight_percent,
        age: Duration::from_secs(age),
        stable: &stable,
        canary: &canary,
    };
    said(judge(settings, &seen))
}

#[test]
fn a_step_goes_on_until_it_can_be_judged() {
    let few = "wait: it has got too few requests to be judged";
    let young = "wait: its time is not over";
    let cases = [
        // name, weight, age, failed/all of stable, of the canary
        ("good", 10, 60, "0/900", "0/100", "20 %"),
        ("a short last step", 95, 60, "0/5", "0/100", "100 %"),
        ("good with all", 100, 60, "0/0", "0/100", "promote"),
        ("a second short", 10, 59, "0/900", "0/100", young),
        ("no requests", 10, 1, "0/0", "0/0", young),
        ("one too few", 10, 600, "0/900", "49/49", few),
        (
            "stopped by hand",
            0,
            600,
            "0/900",
            "100/100",
            "wait: its weight was set to 0",
        ),
    ];
    for (name, weight, age, stable, canary, expected) in cases {
        let found = judged(&Settings::default(), weight, age, stable, canary);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_step_is_judged_by_errors() {
    let cases = [
        (
            "one error may be chance",
            ("0/900", "1/50"),
            "wait: 2.0 % of its 50 requests failed, 0.0 % of the stable version's 900, which may be chance",
        ),
        (
            "and is within what is allowed later",
            ("0/900", "1/100"),
            "20 %",
        ),
        (
            "bad",
            ("1/900", "9/100"),
            "roll back: 9.0 % of its 100 requests failed, 0.1 % of the stable version's 900",
        ),
        ("both are bad", ("270/900", "30/100"), "20 %"),
        ("it is the better one", ("900/900", "0/100"), "20 %"),
        (
            "bad, and nothing beside it",
            ("0/0", "9/100"),
            "roll back: 9.0 % of its 100 requests failed, and there were none to the stable version",
        ),
        (
            "errors are counted before their requests",
            ("0/900", "900/100"),
            "roll back: 100.0 % of its 100 requests failed, 0.0 % of the stable version's 900",
        ),
    ];
    for (name, (stable, canary), expected) in cases {
        let found = judged(&Settings::default(), 10, 60, stable, canary);
        assert_eq!(found, expected, "{name}");
    }
    // What is bad does not wait for the end of its step.
    let early = judged(&Settings::default(), 10, 1, "1/900", "9/100");
    assert!(early.starts_with("roll back"), "{early}");
}

#[test]
fn a_step_is_judged_by_latency() {
    let cases = [
        ("as fast", "0/900 900x20ms", "0/100 100x20ms", "20 %"),
        (
            "a third slower",
            "0/900 900x100ms",
            "0/100 100x130ms",
            "20 %",
        ),
        (
            "twice as slow",
            "0/900 900x100ms",
            "0/100 100x200ms",
            "roll back: p99 of its answers is 229 ms, of the stable version's 114 ms",
        ),
        (
            "a slow tail",
            "0/900 900x100ms",
            "0/100 8x900ms 92x90ms",
            "roll back: p99 of its answers is 917 ms, of the stable version's 114 ms",
        ),
        (
            "the same slow tail",
            "0/900 72x900ms 828x90ms",
            "0/100 8x900ms 92x90ms",
            "20 %",
        ),
        (
            "one slow answer proves nothing",
            "0/900 900x100ms",
            "0/50 1x900ms 49x90ms",
            "wait: p99 of its answers is 917 ms, of the stable version's 114 ms, which may be chance",
        ),
        (
            "one of a hundred is what p99 leaves out",
            "0/900 900x100ms",
            "0/100 1x900ms 99x90ms",
            "20 %",
        ),
        (
            "five times as slow, and nobody will notice",
            "0/900 900x1ms",
            "0/100 100x5ms",
            "20 %",
        ),
        ("nothing to compare with", "0/0", "0/100 100x900ms", "20 %"),
        (
            "too little to compare with",
            "0/3 3x100ms",
            "0/100 20x200ms 80x90ms",
            "wait: p99 of its answers is 229 ms, of the stable version's 114 ms, which may be chance",
        ),
    ];
    for (name, stable, canary, expected) in cases {
        let found = judged(&Settings::default(), 10, 60, stable, canary);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn settings_decide_what_is_allowed() {
    let with = |pairs: &[(&str, &str)]| {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings.set(name, value).unwrap();
        }
        settings
    };
    let bad = "9/100 100x200ms";
    let cases = [
        (
            "more errors and latency",
            vec![("errors", "10"), ("latency", "200")],
            "20 %",
        ),
        (
            "a larger step",
            vec![("errors", "10"), ("latency", "200"), ("step", "50")],
            "60 %",
        ),
        (
            "a longer one",
            vec![("errors", "10"), ("latency", "200"), ("interval", "2m")],
            "wait: its time is not over",
        ),
        (
            "more requests",
            vec![("requests", "101")],
            "wait: it has got too few requests to be judged",
        ),
    ];
    for (name, pairs, expected) in cases {
        let found = judged(&with(&pairs), 10, 60, "0/900 900x100ms", bad);
        assert_eq!(found, expected, "{name}");
    }
}

/// SplitMix64, for draws that are the same on every machine.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// A version of a service: how many of a thousand requests fail, and how long the slow ones may take,
/// in milliseconds; three of a hundred take anything up to that, the others a millisecond.
type Behaviour = (u64, u64);

fn request(counts: &mut Counts, (fail_per_mille, slow_millis): Behaviour, draws: &mut Draws) {
    counts.errors += u64::from(draws.below(1000) < fail_per_mille);
    let is_slow = draws.below(100) < 3;
    let millis = if is_slow { draws.below(slow_millis) } else { 1 };
    *counts.latency.entry(bucket(millis * 1000)).or_default() += 1;
}

/// How many of three hundred canaries are rolled back within one step that is looked at a hundred times,
/// after every ten of its requests.
fn rolled_back(stable: Behaviour, canary: Behaviour) -> usize {
    let mut draws = Draws(7);
    let is_rolled_back = |draws: &mut Draws| {
        let (mut of_stable, mut of_canary) = (Counts::default(), Counts::default());
        (0..100).any(|_| {
            for _ in 0..10 {
                request(&mut of_canary, canary, draws);
                for _ in 0..3 {
                    request(&mut of_stable, stable, draws);
                }
            }
            let seen = Seen {
                weight_percent: 25,
                age: Duration::ZERO,
                stable: &of_stable,
                canary: &of_canary,
            };
            matches!(judge(&Settings::default(), &seen), Verdict::RollBack(_))
        })
    };
    (0..300).filter(|_| is_rolled_back(&mut draws)).count()
}

#[test]
fn a_hundred_looks_condemn_hardly_a_good_canary_and_spare_no_bad_one() {
    let cases = [
        // stable, canary, how many of three hundred canaries at least and at most
        ("as good", (1, 100), (1, 100), (0, 2)),
        ("both fail often", (50, 100), (50, 100), (0, 2)),
        ("just within what is allowed", (10, 100), (20, 100), (0, 9)),
        ("both slow", (1, 1000), (1, 1000), (0, 2)),
        ("slower, as allowed", (1, 1000), (1, 1500), (0, 9)),
        ("a tenth fails", (1, 100), (100, 100), (300, 300)),
        ("one in twenty fails", (1, 100), (50, 100), (297, 300)),
        ("ten times as slow", (1, 100), (1, 1000), (270, 300)),
    ];
    for (name, stable, canary, (least, most)) in cases {
        let found = rolled_back(stable, canary);
        assert!((least..=most).contains(&found), "{name}: {found} of 300");
    }
}
