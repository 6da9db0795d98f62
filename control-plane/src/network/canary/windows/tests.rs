use skiff_api::Kind;

use super::*;

fn step(weight_percent: u8) -> Step {
    Step {
        service: "b".to_owned(),
        weight_percent,
    }
}

/// So many requests to the canary.
fn observed(weight_percent: u8, requests: u64) -> Observed {
    let counts = |requests| Counts {
        errors: 0,
        // The last bucket is none that there is.
        latency: [(40, requests), (200, 7)].into(),
    };
    Observed {
        namespace: "d".to_owned(),
        name: "web".to_owned(),
        uid: "u".to_owned(),
        step: step(weight_percent),
        stable: counts(0),
        canary: counts(requests),
    }
}

/// Plays a script of `SECOND GATEWAY/INSTANCE WEIGHT REQUESTS`, what a gateway says, and of
/// `SECOND WEIGHT`, what the Ingress says. Returns the requests that were counted of the step, and its
/// age.
fn played(script: &str) -> (u64, u64) {
    let (began, key) = (Instant::now(), Key::new(Kind::Ingress, "d", "web"));
    let (mut windows, mut now) = (Windows::default(), began);
    for line in script.split(", ") {
        let words: Vec<&str> = line.split(' ').collect();
        now = began + Duration::from_secs(words[0].parse().unwrap());
        if let [_, who, weight, requests] = words[..] {
            let observed = observed(weight.parse().unwrap(), requests.parse().unwrap());
            windows.take(who.split_once('/').unwrap(), &key, observed, now);
            continue;
        }
        windows.retain(|_, window| {
            window.enter(&step(words[1].parse().unwrap()), now);
            true
        });
    }
    let memory = windows.0["u"].memory(now);
    (memory.canary.requests(), memory.age.as_secs())
}

#[test]
fn what_gateways_count_of_a_step_is_added_up() {
    let cases = [
        (
            "counting begins with the first report",
            "0 n1/i 10 500",
            (0, 0),
        ),
        ("growth counts", "0 n1/i 10 500, 2 n1/i 10 510", (10, 2)),
        (
            "of all gateways",
            "0 n1/i 10 500, 0 n2/j 10 9, 2 n1/i 10 510, 2 n2/j 10 12",
            (13, 2),
        ),
        (
            "a gateway that starts anew counts on from there",
            "0 n1/i 10 500, 2 n1/k 10 600, 4 n1/k 10 605",
            (5, 4),
        ),
        (
            "so does one that counts from zero",
            "0 n1/i 10 500, 2 n1/i 10 3, 4 n1/i 10 5",
            (2, 4),
        ),
        (
            "a new step begins with nothing",
            "0 n1/i 10 500, 2 n1/i 10 510, 2 20, 4 n1/i 10 515",
            (0, 2),
        ),
        (
            "and with the first report of it",
            "0 n1/i 10 500, 2 20, 4 n1/i 20 515, 6 n1/i 20 518",
            (3, 4),
        ),
        (
            "a gateway that is ahead is not counted",
            "0 n1/i 10 500, 2 n1/i 20 510, 4 n1/i 20 520",
            (0, 4),
        ),
    ];
    for (name, script, expected) in cases {
        assert_eq!(played(script), expected, "{name}");
    }
}

#[test]
fn who_is_silent_is_forgotten() {
    let (began, key) = (Instant::now(), Key::new(Kind::Ingress, "d", "web"));
    let mut windows = Windows::default();
    windows.take(("n1", "i"), &key, observed(10, 1), began);
    windows.take(("n2", "j"), &key, observed(10, 1), began + SILENT / 2);
    windows.drop_silent(began + SILENT);
    assert_eq!(windows.0["u"].last.keys().collect::<Vec<_>>(), ["n2"]);
    windows.drop_silent(began + SILENT * 2);
    assert!(windows.0.is_empty());
}
