//! `skiff sim`: which clusters are simulated.

use clap::Args;
use skiff_sim::{Fault, Mutation};

/// `skiff sim`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SimArgs {
    /// The seed: all that happens is drawn from it
    #[arg(long, value_name = "N", required_unless_present = "seeds")]
    pub seed: Option<u64>,
    /// Many seeds, FROM..TO, the last one not included; over all processors
    #[arg(long, value_name = "FROM..TO", conflicts_with = "seed", value_parser = parse_seeds)]
    pub seeds: Option<std::ops::Range<u64>>,
    /// How many servers
    #[arg(long, default_value_t = 3, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=9))]
    pub servers: usize,
    /// How many nodes
    #[arg(long, default_value_t = 20, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(0..=250))]
    pub nodes: usize,
    /// How long faults happen and clients work, in minutes
    #[arg(long, default_value_t = 60, value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub minutes: u64,
    /// The same in seconds
    #[arg(long, value_name = "N", conflicts_with = "minutes",
        value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub seconds: Option<u64>,
    /// The faults that may happen: crash, partition, loss, reorder, slow-disk, torn-write, disk-full, clock, pause, transfer, replace
    #[arg(long, value_name = "FAULT", value_delimiter = ',', default_values_t = Fault::ALL)]
    pub faults: Vec<Fault>,
    /// Show all that happens, not only what led to a failure; needs --seed
    #[arg(long, conflicts_with = "seeds")]
    pub trace: bool,
    /// Make a mistake on purpose, to see that it is noticed
    #[arg(long, value_name = "MISTAKE", hide = true)]
    pub mistake: Option<Mutation>,
}

/// Reads `1..1000`.
fn parse_seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let wrong = || format!("{text:?} are no seeds; write 1..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.parse().map_err(|_| wrong());
    let (from, to): (u64, u64) = (number(from)?, number(to)?);
    if from < to {
        Ok(from..to)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_with_something_in_it() {
        assert_eq!(parse_seeds("1..4"), Ok(1..4));
        for text in ["", "1", "1..", "4..4", "9..1", "a..b", "1..2..3"] {
            assert!(parse_seeds(text).is_err(), "{text}");
        }
    }
}
