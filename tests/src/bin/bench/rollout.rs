//! Whether rollouts and accidents are felt by those who ask: a service with four replicas on three
//! hosts, under a steady load through the gateway and through its cluster address, over kept and
//! over new connections.

mod town;

use std::time::{Duration, SystemTime};

use skiff_tests::steady::Account;
use skiff_tests::wait;
use town::Town;

use crate::report::Row;

/// Rolling updates under load.
const UPDATES: usize = 20;
/// Pods killed under load.
const KILLS: usize = 10;
/// Between two kills: the killed pod is back long before.
const CALM: Duration = Duration::from_secs(6);
/// How long the load goes on after a node is lost.
const AFTER_LOSS: Duration = Duration::from_secs(15);

/// All figures of this benchmark.
pub(crate) fn rows() -> Vec<Row> {
    let town = Town::start();
    let mut rows = updates(&town);
    rows.extend(kills(&town));
    rows.extend(lost_node(&town));
    rows
}

fn updates(town: &Town) -> Vec<Row> {
    let load = town.load();
    let mut seconds = Vec::new();
    for number in 0..UPDATES {
        let began = std::time::Instant::now();
        town.roll_out(number);
        seconds.push(began.elapsed().as_secs_f64());
    }
    let accounts = load.stop();
    let mut rows = vec![Row::new("a rolling update of 4 replicas", "s", &seconds)];
    for (name, account) in &accounts {
        tell(name, account);
        let what = format!("{UPDATES} rolling updates, {name}");
        rows.push(Row::new(
            &format!("{what}: requests"),
            "",
            &[count(account.sent)],
        ));
        let failed = Row::new(&format!("{what}: failed"), "", &[count(account.failed)]);
        rows.push(failed.at_most(0.0));
        rows.push(Row::new(&format!("{what}: p50"), "ms", &[account.p50_ms]));
        rows.push(Row::new(&format!("{what}: p99"), "ms", &[account.p99_ms]));
    }
    rows
}

fn kills(town: &Town) -> Vec<Row> {
    let load = town.load();
    for _ in 0..KILLS {
        town.kill_a_pod();
        wait::pause(CALM);
        town.wait_until_whole();
    }
    let accounts = load.stop();
    let rows = accounts.iter().map(|(name, account)| {
        tell(name, account);
        let share = count(account.failed) * 100.0 / count(account.sent);
        Row::new(
            &format!("{KILLS} killed pods, {name}: failed"),
            "%",
            &[share],
        )
        .at_most(0.1)
    });
    rows.collect()
}

fn lost_node(town: &Town) -> Vec<Row> {
    let load = town.load();
    wait::pause(Duration::from_secs(2));
    let lost = SystemTime::now();
    let _silence = town.lose_a_node();
    wait::pause(AFTER_LOSS);
    let accounts = load.stop();
    let lost_ms = lost
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    let rows = accounts.iter().map(|(name, account)| {
        tell(name, account);
        let until = account
            .failures_since(0)
            .map(|failure| (failure.sent_ms + failure.took_ms).saturating_sub(lost_ms))
            .max();
        let seconds = count(until.unwrap_or(0)) / 1000.0;
        Row::new(
            &format!("a lost node, {name}: until nothing fails"),
            "s",
            &[seconds],
        )
        .at_most(5.0)
    });
    rows.collect()
}

/// What failed, for people who read the log of a run.
fn tell(name: &str, account: &Account) {
    for failure in account.failures.iter().take(5) {
        eprintln!(
            "{name}: failed after {} ms: {}",
            failure.took_ms, failure.why
        );
    }
}

fn count(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}
