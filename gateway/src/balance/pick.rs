//! The better of two endpoints drawn at random: nearly as even as asking all, at a constant price.

use super::Tick;

/// What of an endpoint counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests under way.
    pub open: u32,
    /// Since when it is an endpoint.
    pub since: Tick,
    /// Until when it is left out.
    pub ejected_until: Tick,
}

/// The least share of its turns that a new endpoint gets, in a thousand: without requests it would
/// never become warm.
const SHARE_MIN_PERMILLE: u64 = 100;

/// Draws before whatever was drawn last is taken.
const DRAWS_MAX: u32 = 8;

/// Chooses one of `count` endpoints; `None` only if there is none. `chance` gives any number at
/// each call; `avoid` is what failed just now.
pub fn choose(
    count: usize,
    load: impl Fn(usize) -> Load,
    (now, slow_start): (Tick, Tick),
    avoid: Option<usize>,
    mut chance: impl FnMut() -> u32,
) -> Option<usize> {
    if count <= 1 {
        return (count == 1).then_some(0);
    }
    let mut best: Option<(usize, Load)> = None;
    // Drawn last, and drawn last of those that only their youth speaks against.
    let (mut last, mut fit) = (0, None);
    for _ in 0..DRAWS_MAX {
        let index = draw(count, chance());
        let found = load(index);
        last = index;
        if found.ejected_until > now || avoid == Some(index) {
            continue;
        }
        fit = Some(index);
        if !warm(found.since, now, slow_start, chance()) {
            continue;
        }
        match best {
            None => best = Some((index, found)),
            Some((same, _)) if same == index => {}
            Some((before, least)) => {
                let better = if found.open < least.open {
                    index
                } else {
                    before
                };
                return Some(better);
            }
        }
    }
    let best = best.map(|(index, _)| index).or(fit);
    best.or_else(|| next_fit(count, last, &load, now, avoid))
        .or(Some(last))
}

/// Where luck found nobody: the next that is not left out. From where luck ended, so that no place
/// in the order is better than another.
fn next_fit(
    count: usize,
    last: usize,
    load: impl Fn(usize) -> Load,
    now: Tick,
    avoid: Option<usize>,
) -> Option<usize> {
    let mut all = (last..count).chain(0..last);
    all.find(|index| avoid != Some(*index) && load(*index).ejected_until <= now)
}

/// How long a new endpoint is spared beside others of which the oldest is there since `oldest`:
/// only for as long as they are ahead of it. Where all are new, none is.
#[must_use]
pub fn slow_start(longest: Tick, now: Tick, oldest: Tick) -> Tick {
    longest.min(now.saturating_sub(oldest))
}

/// A place below `count`, each as likely as the others.
fn draw(count: usize, chance: u32) -> usize {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let index = (u64::from(chance).wrapping_mul(count)) >> 32;
    usize::try_from(index).unwrap_or(0)
}

/// Whether an endpoint takes its turn: a new one takes more of them from moment to moment.
fn warm(since: Tick, now: Tick, slow_start: Tick, chance: u32) -> bool {
    let age = now.saturating_sub(since);
    if age >= slow_start {
        return true;
    }
    let share = (age * 1000 / slow_start).max(SHARE_MIN_PERMILLE);
    (u64::from(chance) * 1000) >> 32 < share
}
