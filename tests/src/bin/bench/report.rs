//! What a benchmark found, as a table for people and as JSON for machines.

use std::fmt;

use serde::Serialize;

use crate::machine;

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// The median over the rounds.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What it should be; none for figures that only explain others.
    pub(crate) target: Option<Target>,
    /// Lowest and highest of the rounds.
    pub(crate) spread: [f64; 2],
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) absent: Option<&'static str>,
}

/// A bound that a figure should keep.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    /// The median of some rounds, with their spread.
    pub(crate) fn new(name: &str, unit: &'static str, rounds: &[f64]) -> Self {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let spread = [at(0), at(sorted.len().saturating_sub(1))];
        let name = name.to_owned();
        Self {
            name,
            value: at(sorted.len() / 2),
            unit,
            target: None,
            spread,
            absent: None,
        }
    }

    /// A figure that could not be taken here; `why` stands in its place.
    pub(crate) fn absent(name: &str, why: &'static str) -> Self {
        Self {
            absent: Some(why),
            ..Self::new(name, "", &[])
        }
    }

    /// Says what it should be at most.
    pub(crate) fn at_most(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtMost(bound));
        self
    }

    /// Says what it should be at least.
    pub(crate) fn at_least(mut self, bound: f64) -> Self {
        self.target = Some(Target::AtLeast(bound));
        self
    }
}

/// One benchmark's rows, and where they come from.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: String,
    commit: String,
    machine: String,
    rows: Vec<Row>,
}

impl Report {
    /// Signs rows with commit and machine.
    pub(crate) fn new(bench: &str, rows: Vec<Row>) -> Self {
        let bench = bench.to_owned();
        Self {
            bench,
            commit: machine::commit(),
            machine: machine::describe(),
            rows,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {} ({})\n{}", self.bench, self.commit, self.machine)?;
        writeln!(f, "| what | median | unit | target | lowest .. highest |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for Row {
            name,
            value,
            unit,
            target,
            spread: [low, high],
            absent,
        } in &self.rows
        {
            if let Some(why) = absent {
                writeln!(f, "| {name} | {why} | | | |")?;
                continue;
            }
            let target = match target {
                Some(Target::AtMost(bound)) => {
                    format!("≤ {bound}{}", if value <= bound { "" } else { " (missed)" })
                }
                Some(Target::AtLeast(bound)) => {
                    format!("≥ {bound}{}", if value >= bound { "" } else { " (missed)" })
                }
                None => String::new(),
            };
            let [value, low, high] = [*value, *low, *high].map(short);
            writeln!(
                f,
                "| {name} | {value} | {unit} | {target} | {low} .. {high} |"
            )?;
        }
        Ok(())
    }
}

/// Three digits that matter; counts whole.
fn short(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits_and_counts_all_of_theirs() {
        let cases = [
            (0.0, "0"),
            (30.0, "30"),
            (48_123.0, "48123"),
            (0.1234, "0.123"),
            (1.2345, "1.23"),
            (12.345, "12.3"),
            (1234.5, "1234"),
            (-7.5, "-7.50"),
        ];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn a_missed_target_says_so_and_an_absent_figure_says_why() {
        let rows = vec![
            Row::new("kept", "ms", &[3.0, 1.0, 2.0]).at_most(2.0),
            Row::new("missed", "", &[1.0]).at_most(0.0),
            Row::absent("etcd", "not installed"),
        ];
        let report = Report {
            bench: "b".to_owned(),
            commit: "c".to_owned(),
            machine: "m".to_owned(),
            rows,
        };
        let expected = "\
            ## b (c)\nm\n\
            | what | median | unit | target | lowest .. highest |\n\
            |---|---|---|---|---|\n\
            | kept | 2 | ms | ≤ 2 | 1 .. 3 |\n\
            | missed | 1 |  | ≤ 0 (missed) | 1 .. 1 |\n\
            | etcd | not installed | | | |\n";
        assert_eq!(report.to_string(), expected);
    }
}
