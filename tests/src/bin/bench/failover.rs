//! For how long nobody can write after a leader was killed, and whether anything acknowledged is
//! lost by it: three servers, and etcd's three members under the same clients beside them.

mod etcd;
mod group;
mod skiff;
mod stream;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use group::Group;
use skiff_tests::wait;
use stream::Stream;

use crate::report::Row;

/// A group that takes longer to elect a leader has failed.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Writes flow undisturbed for this long before each kill.
const UNDISTURBED_MS: u64 = 500;
/// Kills strike within this time after that, so that they fall at any moment between two heartbeats.
const STRIKE_WITHIN_MS: u64 = 250;

/// What a row of kills came to.
struct Found {
    /// From each kill until the first client's write succeeded, in ms.
    first: Vec<f64>,
    /// From each kill until every client's write had succeeded, in ms.
    all: Vec<f64>,
    acknowledged: usize,
    /// Acknowledged writes that at least one server does not have at the end.
    lost: usize,
}

/// All figures of this benchmark.
pub(crate) fn rows(kills: u32) -> Vec<Row> {
    let ours = strike(skiff::Servers::start(), kills);
    let mut rows = figures("skiff", &ours, true);
    let Some(etcd) = etcd::Members::start() else {
        rows.push(Row::absent("etcd, three members", "not installed"));
        return rows;
    };
    let theirs = strike(etcd, kills);
    rows.extend(figures("etcd", &theirs, false));
    for (name, share) in [("p50", 50), ("p99", 99)] {
        let ratio = quantile(&ours.first, share) / quantile(&theirs.first, share);
        rows.push(Row::new(
            &format!("leader killed to first write, {name}: of etcd's"),
            "×",
            &[ratio],
        ));
    }
    rows
}

fn figures(who: &str, found: &Found, judged: bool) -> Vec<Row> {
    let name = |what: &str| format!("{who}: {what}");
    let at = |times: &[f64], share| [quantile(times, share)];
    let kills = u32::try_from(found.first.len()).map_or(f64::NAN, f64::from);
    let count = |number: usize| [u32::try_from(number).map_or(f64::NAN, f64::from)];
    let first = "leader killed to first write";
    let p99 = Row::new(&name(&format!("{first}, p99")), "ms", &at(&found.first, 99));
    let lost = Row::new(&name("acknowledged writes lost"), "", &count(found.lost));
    let (p99, lost) = if judged {
        (p99.at_most(1000.0), lost.at_most(0.0))
    } else {
        (p99, lost)
    };
    vec![
        Row::new(&name("leaders killed"), "", &[kills]),
        Row::new(&name(&format!("{first}, p50")), "ms", &found.first),
        p99,
        Row::new(
            &name(&format!("{first}, longest")),
            "ms",
            &at(&found.first, 100),
        ),
        Row::new(
            &name("leader killed to every client's write, p50"),
            "ms",
            &found.all,
        ),
        Row::new(
            &name("leader killed to every client's write, p99"),
            "ms",
            &at(&found.all, 99),
        ),
        Row::new(&name("writes acknowledged"), "", &count(found.acknowledged)),
        lost,
    ]
}

/// Kills one leader after the other under a stream of writes; each is back and has caught up before
/// the next is killed.
fn strike(mut group: impl Group, kills: u32) -> Found {
    let stream = Stream::start(group.endpoints());
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for kill in 0..kills {
        wait_for_all(&stream, Instant::now());
        wait::pause(Duration::from_millis(
            UNDISTURBED_MS + u64::from(kill) * 37 % STRIKE_WITHIN_MS,
        ));
        let leader = group.leader();
        let killed = Instant::now();
        group.kill(leader);
        // What was sent before this moment may have been answered by the leader that is gone.
        let gone = Instant::now();
        let times = wait_for_all(&stream, gone);
        let since: Vec<f64> = times
            .iter()
            .map(|taken| taken.duration_since(killed).as_secs_f64() * 1000.0)
            .collect();
        first.push(since.iter().copied().fold(f64::INFINITY, f64::min));
        all.push(since.iter().copied().fold(0.0, f64::max));
        group.bring_back(leader);
    }
    let acknowledged = stream.stop();
    let lost: BTreeSet<String> = (0..group.endpoints().len())
        .flat_map(|server| {
            let stored = group.stored(server);
            let missing = acknowledged.difference(&stored).cloned();
            missing.collect::<Vec<_>>()
        })
        .collect();
    Found {
        first,
        all,
        acknowledged: acknowledged.len(),
        lost: lost.len(),
    }
}

/// Waits until a write that was sent after `since` has succeeded for every client; returns when.
fn wait_for_all(stream: &Stream, since: Instant) -> Vec<Instant> {
    wait::until("every client can write", GIVE_UP, || {
        let times = stream.first_taken(since);
        let stuck = times.iter().filter(|time| time.is_none()).count();
        times
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("{stuck} can't; {}", stream.last_failure()))
    })
}

/// The smallest of the times that `share` per cent of them do not exceed.
fn quantile(times: &[f64], share: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * share).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let times: Vec<f64> = (1..=30).rev().map(f64::from).collect();
        for (share, expected) in [(50, 15.0), (99, 30.0), (100, 30.0), (1, 1.0)] {
            let found = quantile(&times, share);
            assert!((found - expected).abs() < 1e-9, "p{share} is {found}");
        }
        assert!(quantile(&[], 50).is_nan());
    }
}
