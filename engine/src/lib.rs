//! What decides: the replicated state, the one command that changes it, admission, patches,
//! controllers (`plan`), the scheduler, and the judge of canaries.
//!
//! The law of this crate: synchronous and deterministic. It never waits, never reads a clock, a
//! file or the environment, never draws randomness: time, uids and seeds are arguments.
//! `clippy.toml` beside this crate's manifest enforces it.

pub mod admit;
mod apply;
pub mod canary;
mod command;
mod draft;
pub mod event;
mod history;
mod ingress_class;
pub mod network;
pub mod patch;
pub mod plan;
pub mod schedule;
mod stamp;
mod state;

pub use apply::{Applied, Change, Outcome};
pub use command::{Command, CorruptCommand, Expect, FORMAT, Write};
pub use draft::Draft;
pub use history::{Expired, History};
pub use stamp::Stamper;
pub use state::State;
