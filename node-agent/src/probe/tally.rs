//! Counts results of a probe until they come to a verdict. Pure.

/// How many results in a row make a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes.
    pub success: u32,
    /// Failures.
    pub failure: u32,
}

/// Results in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    last: Option<bool>,
    in_a_row: u32,
}

impl Tally {
    /// Counts a result. Says what the results in a row come to, from the moment that they are
    /// enough.
    #[must_use]
    pub fn count(&mut self, success: bool, thresholds: Thresholds) -> Option<bool> {
        self.in_a_row = if self.last == Some(success) {
            self.in_a_row.saturating_add(1)
        } else {
            1
        };
        self.last = Some(success);
        let enough = if success {
            thresholds.success
        } else {
            thresholds.failure
        };
        (self.in_a_row >= enough).then_some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_in_a_row_come_to_a_verdict() {
        // Results and verdicts in time: + success, - failure, . none yet.
        let cases = [
            ("one success is enough", 1, 3, "+", "+"),
            ("two failures are not", 1, 3, "--", ".."),
            ("three are, and stay so", 1, 3, "----", "..--"),
            ("a success between begins anew", 1, 3, "--+--", "..+.."),
            ("successes may be counted too", 2, 1, "+-++", ".-.+"),
        ];
        for (name, success, failure, results, expected) in cases {
            let mut tally = Tally::default();
            let verdicts: String = results
                .chars()
                .map(
                    |result| match tally.count(result == '+', Thresholds { success, failure }) {
                        Some(true) => '+',
                        Some(false) => '-',
                        None => '.',
                    },
                )
                .collect();
            assert_eq!(verdicts, expected, "{name}");
        }
    }
}
