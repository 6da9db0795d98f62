//! Whether one share of requests is larger than another by more than a margin, or only looks so.
//!
//! The difference of the two shares has a lower confidence bound: Newcombe's hybrid score interval
//! (R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics
//! in Medicine 17, 1998, method 10), which is made of Wilson's intervals of both shares. Unlike the
//! textbook's normal approximation it holds for few requests and for shares near nothing, which is
//! where canaries are: of 50 requests, one or two that fail prove nothing, and four do.

/// Standard deviations between an estimate and its bound; three are one chance in 740.
///
/// A step is looked at every second, and each look is another chance to be wrong: with the customary
/// 1.6, a canary that is only just within what is allowed would be rolled back in one case of four or
/// five; with this, in one or two of a hundred. A test counts it.
const Z: f64 = 3.0;

/// So many of so many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    hits: u64,
    of: u64,
}

/// What two shares say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It is not larger by more than the margin, as far as one can see.
    None,
    /// It is larger, but that may be chance.
    Unclear,
    /// It is larger.
    Sure,
}

impl Share {
    pub(super) fn new(hits: u64, of: u64) -> Self {
        // Counters are read one after the other: an error may be counted before its request.
        let hits = hits.min(of);
        Self { hits, of }
    }

    pub(super) fn is_of_nothing(self) -> bool {
        self.of == 0
    }

    /// The share, 0 of nothing.
    fn estimate(self) -> f64 {
        if self.is_of_nothing() {
            return 0.0;
        }
        // Beyond 2^53 requests, one more or less makes no difference.
        self.hits as f64 / self.of as f64
    }

    /// In words, `whose` being the requests' owner: `7.0 % of its 57`.
    pub(super) fn in_words(self, whose: &str) -> String {
        format!("{:.1} % of {whose} {}", self.estimate() * 100.0, self.of)
    }

    /// Wilson's score interval (E. B. Wilson 1927).
    fn bounds(self) -> (f64, f64) {
        let (share, of) = (self.estimate(), self.of as f64);
        let square = Z * Z;
        let middle = share + square / (2.0 * of);
        let half = Z * (share * (1.0 - share) / of + square / (4.0 * of * of)).sqrt();
        let scale = 1.0 + square / of;
        ((middle - half) / scale, (middle + half) / scale)
    }
}

/// Compares the canary's share with the stable version's. Without requests to that, its share
/// counts as 0: then the canary's own share is held against the margin.
pub(super) fn weigh(canary: Share, stable: Share, margin: f64) -> Evidence {
    if canary.is_of_nothing() {
        return Evidence::None;
    }
    let difference = canary.estimate() - stable.estimate();
    if difference <= margin {
        return Evidence::None;
    }
    let below = canary.estimate() - canary.bounds().0;
    let above = if stable.is_of_nothing() {
        0.0
    } else {
        stable.bounds().1 - stable.estimate()
    };
    if difference - below.hypot(above) > margin {
        Evidence::Sure
    } else {
        Evidence::Unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_requests_prove_little() {
        use Evidence::{None, Sure, Unclear};
        let cases = [
            ("nothing failed", (0, 50), (0, 500), None),
            ("one of 50", (1, 50), (0, 500), Unclear),
            ("three of 50", (3, 50), (0, 500), Unclear),
            ("four of 50", (4, 50), (0, 500), Sure),
            ("all of 50, and few to compare with", (50, 50), (0, 5), Sure),
            (
                "a fifth, and few to compare with",
                (10, 50),
                (0, 5),
                Unclear,
            ),
            ("one of 100 is within the margin", (1, 100), (0, 900), None),
            ("3 % of many", (300, 10_000), (0, 90_000), Sure),
            ("1.1 % of many", (110, 10_000), (0, 90_000), Unclear),
            (
                "1.1 % of very many",
                (11_000, 1_000_000),
                (0, 9_000_000),
                Sure,
            ),
            ("both fail", (300, 1000), (2_700, 9000), None),
            ("the canary is better", (1, 1000), (4_500, 9000), None),
            ("alone and good", (0, 50), (0, 0), None),
            ("alone and bad", (10, 50), (0, 0), Sure),
            ("alone, and who knows", (1, 50), (0, 0), Unclear),
            ("nothing at all", (0, 0), (5, 50), None),
        ];
        for (name, canary, stable, expected) in cases {
            let (canary, stable) = (
                Share::new(canary.0, canary.1),
                Share::new(stable.0, stable.1),
            );
            assert_eq!(weigh(canary, stable, 0.01), expected, "{name}");
        }
    }

    #[test]
    fn bounds_are_wilsons() {
        // The example of Newcombe's paper on single shares, at three deviations.
        let (low, high) = Share::new(81, 263).bounds();
        assert!((low - 0.2301).abs() < 0.001, "{low}");
        assert!((high - 0.3986).abs() < 0.001, "{high}");
    }
}
