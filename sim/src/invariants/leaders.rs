//! Who believed to lead in which term.

use std::collections::BTreeMap;

use super::Judgement;

/// The sentence.
pub const SENTENCE: &str = "there is one leader per term";

/// The leader of each term.
#[derive(Debug, Default)]
pub(super) struct Leaders(BTreeMap<u64, usize>);

impl Leaders {
    pub(super) fn leads(&mut self, server: usize, term: u64) -> Judgement {
        let known = *self.0.entry(term).or_insert(server);
        if known == server {
            return Ok(());
        }
        Err(format!(
            "s{} leads in term {term}, and so did s{}",
            server + 1,
            known + 1
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_belongs_to_one() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.leads(0, 1), Ok(()));
        assert_eq!(leaders.leads(0, 1), Ok(()));
        assert_eq!(leaders.leads(1, 2), Ok(()));
        assert!(leaders.leads(1, 1).is_err());
    }
}
