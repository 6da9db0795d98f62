use super::*;
use proptest::prelude::*;

/// `3/2` is a set of 3 replicas of which 2 are available; `3/2@4` was sized for 4 at most.
fn size(name: String, age: i64, text: &str) -> Size {
    let (text, most) = text.split_once('@').unwrap_or((text, ""));
    let (replicas, available) = text.split_once('/').unwrap();
    let most: Option<i64> = most.parse().ok();
    Size {
        name,
        created: Millis(-age),
        replicas: replicas.parse().unwrap(),
        available: available.parse().unwrap(),
        desired: most,
        most,
        steps: Vec::new(),
    }
}

/// The new set first, then the old ones, the oldest last.
fn sizes(text: &str) -> Vec<Size> {
    let texts = text.split(' ').enumerate();
    texts
        .map(|(n, text)| size(format!("s{n}"), i64::try_from(n).unwrap(), text))
        .collect()
}

fn split(all: &mut [Size]) -> (&mut Size, Vec<&mut Size>) {
    let (new, old) = all.split_first_mut().unwrap();
    (new, old.iter_mut().collect())
}

fn shown(all: &[Size]) -> String {
    let shown = all.iter().map(|size| size.replicas.to_string());
    shown.collect::<Vec<_>>().join(" ")
}

/// Name, (replicas, surge, unavailable), the new set and the old ones, the sizes then.
type Roll = (&'static str, (i64, i64, i64), &'static str, &'static str);
const ROLLS: [Roll; 14] = [
    ("the first rollout", (3, 1, 1), "0/0", "3"),
    (
        "surge and absence are both used at once",
        (10, 3, 2),
        "0/0 10/10",
        "5 8",
    ),
    (
        "while nothing new is available nothing more moves",
        (10, 3, 2),
        "5/0 8/8",
        "5 8",
    ),
    (
        "each new available pod lets an old one go",
        (10, 3, 2),
        "5/1 8/8",
        "6 7",
    ),
    ("no surge: the old goes first", (3, 0, 1), "0/0 3/3", "1 2"),
    (
        "no absence: the new comes first",
        (3, 1, 0),
        "0/0 3/3",
        "1 3",
    ),
    (
        "no absence: the old goes when the new is there",
        (3, 1, 0),
        "1/1 3/3",
        "2 2",
    ),
    (
        "one replica is replaced before it goes",
        (1, 1, 0),
        "0/0 1/1",
        "1 1",
    ),
    (
        "unhealthy old pods go first, even of a younger set",
        (4, 1, 1),
        "0/0 2/0 2/2",
        "2 1 2",
    ),
    (
        "the oldest set goes first",
        (4, 1, 1),
        "2/2 2/2 1/1",
        "4 1 0",
    ),
    ("a new set that is too large shrinks", (2, 1, 0), "4/4", "2"),
    ("the last old pod goes", (3, 1, 0), "3/3 1/1", "3 0"),
    ("nothing is wanted", (0, 1, 0), "2/2 1/1", "0 0"),
    (
        "a count of a larger past does not deceive",
        (3, 1, 1),
        "1/1 2/3",
        "3 1",
    ),
];

#[test]
fn a_rolling_update_moves_as_far_as_its_bounds_allow() {
    for (name, (replicas, surge, unavailable), text, expected) in ROLLS {
        let bounds = Bounds {
            replicas,
            surge,
            unavailable,
        };
        let mut all = sizes(text);
        let (new, mut old) = split(&mut all);
        roll(&bounds, new, &mut old);
        assert_eq!(shown(&all), expected, "{name}");
    }
}

#[test]
fn a_new_count_is_shared_out() {
    let cases = [
        // name, (replicas, surge), new and old, the sizes then
        ("the only set takes it all", (5, 1), "3/3@4", "5"),
        (
            "the only active set takes it all",
            (5, 1),
            "0/0@4 3/3@4",
            "0 5",
        ),
        (
            "if none is active the new one does",
            (5, 1),
            "0/0@4 0/0@4",
            "5 0",
        ),
        ("growth is in proportion", (20, 5), "5/0@13 8/8@13", "10 15"),
        ("shrinking is in proportion", (5, 2), "5/0@13 8/8@13", "3 4"),
        (
            "the largest gets what rounding leaves",
            (6, 0),
            "1/1@3 1/1@3 1/1@3",
            "2 2 2",
        ),
        ("down to nothing", (0, 1), "2/2@4 2/2@4", "0 0"),
        (
            "a saturated new set ends the others",
            (3, 1),
            "3/3@3 1/1@3",
            "3 0",
        ),
    ];
    for (name, (replicas, surge), text, expected) in cases {
        let bounds = Bounds {
            replicas,
            surge,
            unavailable: 0,
        };
        let mut all = sizes(text);
        let (new, old) = split(&mut all);
        rescale(&bounds, Some(new), old, true);
        assert_eq!(shown(&all), expected, "{name}");
    }
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (0..12i64, 0..4i64, 0..4i64).prop_map(|(replicas, surge, unavailable)| {
        let unavailable = if surge == 0 {
            unavailable.max(1)
        } else {
            unavailable
        };
        Bounds {
            replicas,
            surge,
            unavailable: unavailable.min(replicas),
        }
    })
}

fn sets() -> impl Strategy<Value = Vec<Size>> {
    let one = (0..10i64, 0..10i64, 1..20i64);
    proptest::collection::vec(one, 1..5).prop_map(|sets| {
        let sets = sets.into_iter().enumerate();
        let text = |(n, (replicas, available, most)): (usize, (i64, i64, i64))| {
            let text = format!("{replicas}/{}@{most}", available.min(replicas));
            size(format!("s{n}"), i64::try_from(n).unwrap(), &text)
        };
        sets.map(text).collect()
    })
}

proptest! {
    #[test]
    fn rolling_never_leaves_its_bounds_by_its_own_doing(bounds in bounds(), mut all in sets()) {
        let sum = |all: &[Size]| all.iter().map(|size| size.replicas).sum::<i64>();
        let available = |all: &[Size]| all.iter().map(Size::available).sum::<i64>();
        let (before, had) = (sum(&all), available(&all));
        let (new, mut old) = split(&mut all);
        // More of the new set than is wanted is the user's doing: it shrinks whatever it holds.
        let excess = (new.replicas - bounds.replicas).max(0);
        roll(&bounds, new, &mut old);
        prop_assert!(sum(&all) <= before.max(bounds.most()), "no more than the surge");
        // Whoever goes may be available: at worst all that went were.
        prop_assert!(available(&all) >= (had - excess).min(bounds.fewest()), "enough stay available");
        prop_assert!(all[0].replicas <= bounds.replicas);
        let again = all.clone();
        let (new, mut old) = split(&mut all);
        roll(&bounds, new, &mut old);
        prop_assert_eq!(&all, &again, "a second pass does nothing");
    }

    #[test]
    fn sharing_out_comes_to_the_whole(bounds in bounds(), mut all in sets()) {
        all.retain(|size| size.replicas > 0);
        prop_assume!(all.len() > 1);
        let (new, old) = split(&mut all);
        let saturated = new.is_saturated(&bounds);
        rescale(&bounds, Some(new), old, true);
        let sum: i64 = all.iter().map(|size| size.replicas).sum();
        let whole = if bounds.replicas == 0 { 0 } else { bounds.most() };
        prop_assert!(all.iter().all(|size| size.replicas >= 0));
        prop_assert!(saturated || sum >= whole, "{:?}", all);
        prop_assert!(!is_rescaled(&bounds, &all));
    }
}
