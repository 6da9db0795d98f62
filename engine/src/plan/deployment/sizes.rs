//! The arithmetic of rolling and scaling: numbers in, numbers out.
//!
//! Sets are given as their sizes; every change of a size is also kept as a step, to be told.

use std::cmp::Reverse;

use skiff_api::Millis;

use super::bounds::Bounds;

/// One ReplicaSet as the arithmetic sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// The set's name: the last tie-breaker.
    pub(super) name: String,
    /// When the set was made.
    pub(super) created: Millis,
    /// `spec.replicas`.
    pub(super) replicas: i64,
    /// `status.availableReplicas`; may be of a moment when the set was larger.
    pub(super) available: i64,
    /// The Deployment's `replicas` when the set was last sized, if that was noted.
    pub(super) desired: Option<i64>,
    /// The Deployment's most pods when the set was last sized, if that was noted.
    pub(super) most: Option<i64>,
    /// The changes of `replicas` so far: from, to.
    pub(super) steps: Vec<(i64, i64)>,
}

impl Size {
    /// Changes the size, noting what it was sized for.
    pub(super) fn scale(&mut self, replicas: i64, bounds: &Bounds) {
        let replicas = replicas.max(0);
        if replicas != self.replicas {
            self.steps.push((self.replicas, replicas));
            self.replicas = replicas;
        }
        self.desired = Some(bounds.replicas);
        self.most = Some(bounds.most());
    }

    /// The available pods that will still be there at this size.
    fn available(&self) -> i64 {
        self.available.min(self.replicas)
    }

    /// Whether the set is all that its Deployment wants.
    fn is_saturated(&self, bounds: &Bounds) -> bool {
        self.replicas == bounds.replicas
            && self.desired == Some(bounds.replicas)
            && self.available == bounds.replicas
    }
}

fn total(new: &Size, old: &[&mut Size]) -> i64 {
    new.replicas + old.iter().map(|size| size.replicas).sum::<i64>()
}

/// How large the new set may be made at once.
pub(super) fn grown(bounds: &Bounds, new: &Size, old: &[&mut Size]) -> i64 {
    let room = bounds.most() - total(new, old);
    if room <= 0 {
        return new.replicas;
    }
    new.replicas + room.min(bounds.replicas - new.replicas)
}

/// Rolls from the old sets to the new one as far as the bounds allow now.
pub(super) fn roll(bounds: &Bounds, new: &mut Size, old: &mut [&mut Size]) {
    old.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    // A scale-down makes room for the next scale-up; each round moves pods from old to new.
    loop {
        let before = (new.replicas, total(new, old));
        let wanted = if new.replicas > bounds.replicas {
            bounds.replicas
        } else {
            grown(bounds, new, old)
        };
        if wanted != new.replicas {
            new.scale(wanted, bounds);
        }
        shrink(bounds, new, old);
        if before == (new.replicas, total(new, old)) {
            return;
        }
    }
}

/// Takes from the old sets what the new one's available pods allow: the unhealthy first.
fn shrink(bounds: &Bounds, new: &Size, old: &mut [&mut Size]) {
    let unavailable_new = new.replicas - new.available();
    let spare = total(new, old) - bounds.fewest() - unavailable_new;
    if spare <= 0 {
        return;
    }
    let mut left = spare;
    for size in old.iter_mut() {
        let unhealthy = size.replicas - size.available();
        left -= take(size, unhealthy.min(left), bounds);
    }
    let available = new.available() + old.iter().map(|size| size.available()).sum::<i64>();
    let mut left = available - bounds.fewest();
    for size in old.iter_mut() {
        left -= take(size, size.replicas.min(left), bounds);
    }
}

fn take(size: &mut Size, count: i64, bounds: &Bounds) -> i64 {
    if count <= 0 {
        return 0;
    }
    size.scale(size.replicas - count, bounds);
    count
}

/// Whether the Deployment was scaled since its sets were sized.
pub(super) fn is_rescaled<'a>(bounds: &Bounds, sets: impl IntoIterator<Item = &'a Size>) -> bool {
    let mut active = sets.into_iter().filter(|size| size.replicas > 0);
    active.any(|size| {
        size.desired
            .is_some_and(|desired| desired != bounds.replicas)
    })
}

/// Carries a change of the Deployment's `replicas` over to its sets: in proportion, if it comes
/// in the middle of a rolling update.
pub(super) fn rescale(bounds: &Bounds, new: Option<&mut Size>, old: Vec<&mut Size>, rolling: bool) {
    let saturated = new.as_ref().is_some_and(|new| new.is_saturated(bounds));
    let fresh = new.as_ref().map(|new| new.name.clone());
    let mut all: Vec<&mut Size> = old.into_iter().chain(new).collect();
    if let Some(only) = only_active(&mut all, fresh.as_deref()) {
        only.scale(bounds.replicas, bounds);
        return;
    }
    all.retain(|size| size.replicas > 0);
    if saturated {
        for size in all
            .into_iter()
            .filter(|size| Some(&size.name) != fresh.as_ref())
        {
            size.scale(0, bounds);
        }
    } else if rolling {
        share_out(bounds, all);
    }
}

/// The only set with pods; or the newest of all, if none has any.
fn only_active<'a>(all: &'a mut [&mut Size], fresh: Option<&str>) -> Option<&'a mut Size> {
    let active = all.iter().filter(|size| size.replicas > 0).count();
    let chosen = match active {
        0 => all.iter_mut().max_by_key(|size| {
            (
                fresh == Some(&size.name),
                size.created,
                Reverse(size.name.clone()),
            )
        }),
        1 => all.iter_mut().find(|size| size.replicas > 0),
        _ => None,
    };
    chosen.map(|size| &mut **size)
}

/// Gives or takes pods in proportion to the sets' sizes; the largest gets what rounding leaves.
fn share_out(bounds: &Bounds, mut active: Vec<&mut Size>) {
    let allowed = if bounds.replicas > 0 {
        bounds.most()
    } else {
        0
    };
    let to_add = allowed - active.iter().map(|size| size.replicas).sum::<i64>();
    if to_add >= 0 {
        active.sort_by_key(|size| {
            (
                Reverse(size.replicas),
                Reverse(size.created),
                size.name.clone(),
            )
        });
    } else {
        active.sort_by_key(|size| (Reverse(size.replicas), size.created, size.name.clone()));
    }
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for size in &active {
        let share = proportion(bounds, size, allowed);
        let rest = to_add - added;
        let share = match rest.signum() {
            1 => share.min(rest),
            -1 => share.max(rest),
            _ => 0,
        };
        added += share;
        sizes.push(size.replicas + share);
    }
    if let Some(largest) = sizes.first_mut() {
        *largest += to_add - added;
    }
    for (size, replicas) in active.into_iter().zip(sizes) {
        size.scale(replicas, bounds);
    }
}

/// By how much a set changes if it keeps its part of the whole, rounded half away from zero.
fn proportion(bounds: &Bounds, size: &Size, allowed: i64) -> i64 {
    if bounds.replicas == 0 {
        return -size.replicas;
    }
    let whole = size.most.filter(|most| *most > 0).unwrap_or(allowed.max(1));
    (2 * size.replicas * bounds.most() + whole) / (2 * whole) - size.replicas
}

#[cfg(test)]
mod tests;
