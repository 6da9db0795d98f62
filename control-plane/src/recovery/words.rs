//! A verdict in words, for whoever has to decide. Pure.

use super::{Survivor, Verdict};

/// What is there, what would be done, what may be lost; one line each.
#[must_use]
pub fn explain(survivors: &[Survivor], verdict: &Verdict) -> Vec<String> {
    let mut lines: Vec<String> = survivors.iter().map(describe).collect();
    let (Some(chosen), Some(best)) = (survivors.get(verdict.chosen), survivors.get(verdict.best))
    else {
        return lines;
    };
    if verdict.done {
        lines.push(format!(
            "{} is the only member of its group already: there is nothing to do but to start it",
            name(chosen, chosen.id)
        ));
        return lines;
    }
    lines.push(group(best, &verdict.missing));
    lines.extend(obstacles(survivors, verdict));
    lines.extend(losses(chosen, verdict));
    lines
}

fn describe(survivor: &Survivor) -> String {
    let Survivor {
        id,
        term,
        last_index,
        last_term,
        commit,
        checkpoint,
        revision,
        ..
    } = survivor;
    format!(
        "{}: last entry {last_index} of term {last_term}, {commit} known to be committed, \
         checkpoint at {checkpoint}, term {term}, revision {revision}",
        name(survivor, *id)
    )
}

/// A member as this survivor calls it.
fn name(survivor: &Survivor, id: u64) -> String {
    match survivor.names.get(&id) {
        Some(name) if !name.is_empty() => format!("server {name:?} (member {id})"),
        _ => format!("member {id}"),
    }
}

fn names(survivor: &Survivor, ids: &[u64]) -> String {
    let names: Vec<String> = ids.iter().map(|id| name(survivor, *id)).collect();
    names.join(", ")
}

fn group(best: &Survivor, missing: &[u64]) -> String {
    let quorum = best.voters.len() / 2 + 1;
    let mut text = format!(
        "The group at entry {}: {}; it takes {quorum} of them to go on",
        best.last_index,
        names(best, &best.voters)
    );
    if !best.outgoing.is_empty() {
        text += &format!(
            ", and, since a change of members is under way, a majority of {}",
            names(best, &best.outgoing)
        );
    }
    if !best.learners.is_empty() {
        text += &format!("; without a vote: {}", names(best, &best.learners));
    }
    if missing.is_empty() {
        return text;
    }
    text += &format!(
        "\nNothing is known of {}: if a data directory of theirs can still be read, name it too, \
         with --data-dir or --survivor",
        names(best, missing)
    );
    text
}

/// Why something better than this can be done.
fn obstacles(survivors: &[Survivor], verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    let (Some(chosen), Some(best)) = (survivors.get(verdict.chosen), survivors.get(verdict.best))
    else {
        return lines;
    };
    let this = name(chosen, chosen.id);
    if let Some(other) = verdict.recovered.and_then(|at| survivors.get(at)) {
        lines.push(format!(
            "STOP: {} was made the only member of a group already; let the others join it",
            name(other, other.id)
        ));
    }
    if verdict.quorum_survives {
        lines.push(
            "STOP: these are enough to go on. Start their servers instead: nothing is lost, and \
             nothing needs to be recovered"
                .into(),
        );
    }
    if verdict.chosen != verdict.best {
        lines.push(format!(
            "STOP: {} has more: up to entry {} of term {}, and {this} only up to entry {} of term \
             {}. Recover that one",
            name(best, best.id),
            best.last_index,
            best.last_term,
            chosen.last_index,
            chosen.last_term
        ));
    }
    if let Some(committed) = verdict.forfeits_committed {
        lines.push(format!(
            "STOP: entries {} to {committed} were acknowledged, {this} does not have them, and \
             they would be lost",
            chosen.last_index + 1
        ));
    }
    if !verdict.member {
        lines.push(format!(
            "STOP: {this} was no member any more at entry {}",
            best.last_index
        ));
    }
    lines
}

fn losses(chosen: &Survivor, verdict: &Verdict) -> Vec<String> {
    let (commit, last) = (chosen.commit, chosen.last_index);
    let mut lines = vec![format!(
        "Everything up to entry {last} would be kept, as {} has it",
        name(chosen, chosen.id)
    )];
    if commit < last {
        lines.push(format!(
            "Entries {} to {last} may have been acknowledged or not; they would be kept, too",
            commit + 1
        ));
    }
    let unknown = verdict.may_have_lost;
    if unknown {
        lines.push(format!(
            "Writes behind entry {last} that only the missing members acknowledged would be lost, \
             and nobody can tell whether there were any"
        ));
    } else if verdict.chosen == verdict.best && verdict.forfeits_committed.is_none() {
        lines.push("Nothing that was acknowledged would be lost".into());
    }
    lines
}

#[cfg(test)]
mod tests;
