//! Names and uids for the objects that a plan makes, drawn from a seed that the proposer gives:
//! the same seed draws the same names, so a replay of a plan agrees with itself.

use skiff_api::{Millis, Uid};

/// Time and chance, as arguments.
#[derive(Clone, Debug)]
pub struct Stamper {
    at: Millis,
    seed: u64,
}

/// The letters that Kubernetes uses in generated names: no vowels, no look-alikes.
const ALPHABET: [char; 27] = [
    'b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x',
    'z', '2', '4', '5', '6', '7', '8', '9',
];

impl Stamper {
    /// Stamps with this time, drawing from this seed.
    #[must_use]
    pub const fn new(at: Millis, seed: u64) -> Self {
        Self { at, seed }
    }

    /// The proposer's clock.
    #[must_use]
    pub const fn at(&self) -> Millis {
        self.at
    }

    /// A new uid in the form of a version 4 UUID.
    pub fn uid(&mut self) -> Uid {
        let (high, low) = (self.draw(), self.draw());
        let high = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        let text = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        );
        Uid::from(text.as_str())
    }

    /// Five letters for `generateName`.
    pub fn suffix(&mut self) -> String {
        letters(self.draw(), 5)
    }

    /// The next number of the SplitMix64 generator (Steele, Lea and Flood 2014).
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The FNV-1a hash of some texts: the same on every server and in every version.
pub(crate) fn digest<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for text in texts {
        // The end of each text counts too: "ab", "c" is not "a", "bc".
        for byte in text.iter().copied().map(u64::from).chain([0x100]) {
            hash = (hash ^ byte).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// A number as letters that are safe in names.
pub(crate) fn letters(mut number: u64, count: usize) -> String {
    let base = ALPHABET.len() as u64;
    (0..count)
        .map(|_| {
            let letter = usize::try_from(number % base)
                .ok()
                .and_then(|at| ALPHABET.get(at));
            number /= base;
            letter.copied().unwrap_or('b')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_names_again_and_never_the_same_twice() {
        let mut first = Stamper::new(Millis(0), 7);
        let mut second = first.clone();
        let uid = first.uid();
        assert_eq!(uid, second.uid());
        assert_ne!(uid, first.uid());
        assert_eq!(uid.as_str().len(), 36);
        assert_eq!(uid.as_str().as_bytes()[14], b'4');
        assert_eq!(first.suffix().len(), 5);
    }
}
