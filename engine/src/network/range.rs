//! A range of IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The addresses that share their leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    first: u32,
    prefix: u8,
}

/// Why a text is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no range of IPv4 addresses: {why}")]
pub struct NotRange {
    text: String,
    why: &'static str,
}

impl Range {
    /// The range of this prefix (at most 32) that an address is in.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self {
            first: address.to_bits() & mask(prefix),
            prefix,
        }
    }

    /// How many leading bits all its addresses share.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// How many addresses it has.
    #[must_use]
    pub fn len(self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    /// Never: the smallest range is one address.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Its address number `n`, counted from 0; the last one for larger numbers.
    #[must_use]
    pub fn nth(self, n: u64) -> Ipv4Addr {
        let offset = n.min(self.len() - 1);
        Ipv4Addr::from_bits(self.first + u32::try_from(offset).unwrap_or(0))
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.first
    }

    /// Whether an address is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.nth(0)) || other.contains(self.nth(0))
    }

    /// The ranges of a longer prefix that it is made of, in order.
    pub fn split(self, prefix: u8) -> impl Iterator<Item = Self> {
        let prefix = prefix.clamp(self.prefix, 32);
        let count = 1_u64 << (prefix - self.prefix);
        let size = 1_u64 << (32 - u32::from(prefix));
        (0..count).map(move |n| Self::new(self.nth(n * size), prefix))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Range {
    type Err = NotRange;

    fn from_str(text: &str) -> Result<Self, NotRange> {
        let no = |why| NotRange {
            text: text.to_owned(),
            why,
        };
        let (address, prefix) = text
            .split_once('/')
            .ok_or_else(|| no("it has no prefix, as in 10.42.0.0/16"))?;
        let address: Ipv4Addr = address
            .parse()
            .map_err(|_| no("it does not begin with an IPv4 address"))?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32);
        let prefix = prefix.ok_or_else(|| no("its prefix must be between 0 and 32"))?;
        let range = Self::new(address, prefix);
        if range.nth(0) != address {
            return Err(no("it must begin with the range's first address"));
        }
        Ok(range)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.nth(0), self.prefix)
    }
}
