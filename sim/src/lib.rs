//! The whole cluster in one thread, in virtual time, from one seed: servers with the real raft, log,
//! state, watches and loops; agents with the real plans over the simulated runtime; clients; and
//! everything that can go wrong between them. The same seed does the same on every machine.
//!
//! | module | what |
//! |---|---|
//! | [`options`], [`faults`], [`mutation`] | what is simulated, what goes wrong, what is done wrong on purpose |
//! | [`world`], [`event`], [`context`], [`time`], [`rng`] | what happens when |
//! | [`network`], [`message`] | what goes from whom to whom |
//! | [`server`], [`agent`], [`client`], [`follow`], [`workload`], [`operator`] | who takes part |
//! | [`invariants`], [`history`], [`linear`] | what must hold |
//! | [`trace`], [`seeds`] | what people read, and seeds that found something |
//!
//! What it leaves out: TLS and HTTP, identities, probes, volumes, and the threads themselves.

pub mod agent;
pub mod client;
pub mod context;
pub mod event;
pub mod faults;
pub mod follow;
pub mod history;
pub mod invariants;
pub mod linear;
pub mod message;
pub mod mutation;
pub mod network;
pub mod operator;
pub mod options;
pub mod rng;
pub mod seeds;
pub mod server;
pub mod time;
pub mod trace;
pub mod workload;
pub mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

pub use invariants::Violation;
pub use mutation::Mutation;
pub use options::{Fault, Options};

use invariants::alive;
use world::World;

/// What a simulation came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was simulated.
    pub options: Options,
    /// The same for every run of the same options.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// How many changes of the state.
    pub changes: u64,
    /// How many operations of clients were judged.
    pub operations: usize,
    /// How long healing took, if it came to that.
    pub healed_after: Option<Duration>,
    /// The sentence that was violated.
    pub violation: Option<Violation>,
    /// The last lines of the trace.
    pub last: Vec<String>,
    /// All of them, if that was asked for.
    pub trace: Option<String>,
}

/// Simulates.
#[must_use]
pub fn simulate(options: &Options) -> Report {
    let mut world = World::new(options);
    let run = catch_unwind(AssertUnwindSafe(|| world.run()));
    let panicked = run.err().map(|panic| Violation {
        sentence: alive::SENTENCE,
        details: format!("something panicked: {}", words(&*panic)),
    });
    let context = &world.context;
    Report {
        options: options.clone(),
        hash: context.trace.hash(),
        events: world.events,
        changes: context.witness.log.latest().0,
        operations: context.witness.history.len(),
        healed_after: world.healed_after(),
        violation: panicked.or_else(|| context.witness.violation().cloned()),
        last: context.trace.last().map(str::to_owned).collect(),
        trace: context.trace.whole().map(str::to_owned),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a word")
}

/// For people: one line if all is well, else everything that helps to find out why not.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            options,
            hash,
            events,
            changes,
            operations,
            ..
        } = self;
        let Some(Violation { sentence, details }) = &self.violation else {
            let healed = self.healed_after.unwrap_or_default().as_secs_f64();
            let seed = options.seed;
            return write!(
                f,
                "seed {seed}: {events} events, {changes} changes, {operations} operations, healed \
                 after {healed:.1} s, trace {hash:016x}"
            );
        };
        for line in &self.last {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\nviolated: {sentence}")?;
        writeln!(f, "  {details}")?;
        write!(f, "replay: skiff sim {options}")?;
        if let Some(mutation) = options.mutation {
            write!(f, " (with the mistake {mutation})")?;
        }
        Ok(())
    }
}
