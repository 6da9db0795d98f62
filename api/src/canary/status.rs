//! How far a canary is, as its Ingress' annotation has it: `PHASE: SERVICE and more`. For people;
//! machines read the phase and the service, by which a verdict is known to be about this canary.

use std::fmt;

/// How far a canary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is being judged.
    Progressing,
    /// It gets everything.
    Promoted,
    /// It gets nothing.
    RolledBack,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Progressing, Self::Promoted, Self::RolledBack];

    /// As people read it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled back",
        }
    }
}

/// A phase, of which canary, and what else there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How far it is.
    pub phase: Phase,
    /// As `canary-service` has it, without blanks.
    pub service: String,
    /// The rest of the sentence.
    pub detail: String,
}

impl Status {
    /// Reads an annotation; `None` if somebody else wrote it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (words, rest) = text.trim().split_once(": ")?;
        let phase = Phase::ALL
            .into_iter()
            .find(|phase| phase.words() == words)?;
        let (service, detail) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Self {
            phase,
            service: service.to_owned(),
            detail: detail.to_owned(),
        })
    }
}

/// As the annotation has it.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}: {} {}", self.phase.words(), self.service, self.detail);
        f.write_str(text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_ours_is_not() {
        for phase in Phase::ALL {
            let status = Status {
                phase,
                service: "web=web-2:80,cart=cart-2".to_owned(),
                detail: "at 2026-01-01T00:00:00Z: 4.2 % of its requests failed".to_owned(),
            };
            assert_eq!(Status::parse(&status.to_string()), Some(status));
        }
        for text in ["", "promoted", "paused: web-2", "promoted:web-2"] {
            assert_eq!(Status::parse(text), None, "{text:?}");
        }
    }
}
