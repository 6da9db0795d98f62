//! Visitors of the shop: a steady load through the gateway, and an honest account of it. Nothing is
//! tried again, so whatever a visitor would have seen is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::request;
use crate::shell::{self, Done, Failure, say};

/// What the visitors ask for, and how many pods stand behind it: one pod that is lost is missed.
const PATHS: [(&str, &str); 3] = [
    ("/", "front, several pods"),
    ("/users", "user, several pods"),
    ("/cart/ann", "cart, one pod with its state in memory"),
];
/// Between two requests of one visitor.
const PACE: Duration = Duration::from_millis(20);

/// The load at work.
pub(super) struct Load {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    accounts: Arc<Mutex<BTreeMap<&'static str, Account>>>,
}

/// What came of the requests to one path.
#[derive(Clone, Debug, Default)]
struct Account {
    sent: u64,
    failed: u64,
    slowest: Duration,
    /// Why the last one failed.
    why: String,
}

impl Load {
    /// Starts to ask the gateway at a port of this machine.
    pub(super) fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let accounts = Arc::new(Mutex::new(BTreeMap::new()));
        let threads = PATHS.map(|(path, _)| {
            let (stop, accounts) = (Arc::clone(&stop), Arc::clone(&accounts));
            std::thread::spawn(move || visit(port, path, &stop, &accounts))
        });
        Self {
            threads: threads.into(),
            stop,
            accounts,
        }
    }

    /// Says what came of the load since the last time, and begins a new account.
    pub(super) fn tell(&self, during: &str) {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *accounts);
        drop(accounts);
        say(&format!("the load while {during}:"));
        for (path, what) in PATHS {
            let account = taken.get(path).cloned().unwrap_or_default();
            say(&format!("  {path:<10} {}  ({what})", account.told()));
        }
    }

    /// Ends the load.
    ///
    /// # Errors
    /// A visitor broke off, so that the account is not to be trusted.
    pub(super) fn stop(self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let broken = |_| Failure::Broken("a visitor of the load broke off".to_owned());
            thread.join().map_err(broken)?;
        }
        Ok(())
    }
}

impl Account {
    fn enter(&mut self, took: Duration, outcome: Result<(), String>) {
        self.sent += 1;
        self.slowest = self.slowest.max(took);
        if let Err(why) = outcome {
            self.failed += 1;
            self.why = why;
        }
    }

    fn told(&self) -> String {
        let Self {
            sent, failed, why, ..
        } = self;
        // In hundredths of a percent, so that no rounding makes a failure disappear.
        let share = (failed * 10_000).div_ceil((*sent).max(1));
        let slowest = self.slowest.as_millis();
        let last = if *failed > 0 {
            format!("; the last one: {why}")
        } else {
            String::new()
        };
        format!(
            "{sent} requests, {failed} failed ({}.{:02} %), the slowest took {slowest} ms{last}",
            share / 100,
            share % 100
        )
    }
}

fn visit(
    port: u16,
    path: &'static str,
    stop: &AtomicBool,
    accounts: &Mutex<BTreeMap<&'static str, Account>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let outcome = request::get(port, path).map_err(|failure| failure.to_string());
        let took = began.elapsed();
        let mut accounts = accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry(path).or_default();
        account.enter(took, outcome.map(drop));
        drop(accounts);
        shell::pause(PACE.saturating_sub(took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_is_rounded_away() {
        let mut account = Account::default();
        for _ in 0..99_999 {
            account.enter(Duration::from_millis(3), Ok(()));
        }
        let all_well = "99999 requests, 0 failed (0.00 %), the slowest took 3 ms";
        assert_eq!(account.told(), all_well);
        account.enter(Duration::from_millis(7), Err("503".to_owned()));
        let one = "100000 requests, 1 failed (0.01 %), the slowest took 7 ms; the last one: 503";
        assert_eq!(account.told(), one);
    }
}
