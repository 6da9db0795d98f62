//! A steady HTTP load with an honest account: how many requests were sent, which failed, when and
//! why. Nothing is tried again but what was certainly not sent. Runs as a process of its own (the
//! program `steady`), so that it can stand on any host.

mod account;
mod client;
mod process;

pub use account::{Account, Failure};
pub use client::Stream;
pub use process::{Steady, run};
