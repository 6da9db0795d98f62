//! Formats of commands and snapshots: which one the cluster writes, so that servers of different
//! versions can run side by side while a cluster is upgraded. Pure.

use serde::{Deserialize, Serialize};

use super::Members;

/// The newest format that this version reads and writes.
pub const FORMAT: u16 = skiff_engine::FORMAT;
/// The oldest format that this version still reads and writes.
pub const FORMAT_OLDEST: u16 = 1;

/// The formats that a server reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Formats {
    /// From this one on.
    pub oldest: u16,
    /// Up to this one.
    pub newest: u16,
}

/// What this version reads and writes.
impl Default for Formats {
    fn default() -> Self {
        Self {
            oldest: FORMAT_OLDEST,
            newest: FORMAT,
        }
    }
}

/// The format that the cluster writes: the newest that all its servers understand. The store refuses
/// to propose what is newer.
#[must_use]
pub fn write_format(members: &Members) -> u16 {
    // A server that says nothing is of the first version.
    let newest = members.values().map(|member| member.format.max(1));
    newest.min().unwrap_or(FORMAT)
}

/// Whether a server with these formats can live in the cluster.
///
/// # Errors
/// What to do about it, in words.
pub fn check(members: &Members, formats: Formats) -> Result<(), String> {
    let written = write_format(members);
    let Formats { oldest, newest } = formats;
    if oldest > newest {
        return Err(format!(
            "formats {oldest} to {newest} are no range of formats"
        ));
    }
    if newest < written {
        return Err(format!(
            "this server understands formats up to {newest} and the cluster writes {written}; \
             upgrade it to the version of the other servers"
        ));
    }
    if oldest > written {
        return Err(format!(
            "this server understands formats from {oldest} on and the cluster writes {written}; \
             upgrade the other servers first"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::member;
    use super::*;

    fn cluster(formats: &[u16]) -> Members {
        let ids = 1_u64..;
        let members = ids.zip(formats).map(|(id, format)| {
            let mut member = member(id);
            member.format = *format;
            (id, member)
        });
        members.collect()
    }

    #[test]
    fn the_oldest_server_holds_the_format_down() {
        let cases: [(&str, &[u16], u16); 6] = [
            ("nobody is known yet", &[], FORMAT),
            ("all are old", &[1, 1, 1], 1),
            ("one is still old", &[2, 1, 2], 1),
            ("all are new", &[2, 2, 2], 2),
            ("one is newer than the rest", &[2, 3, 2], 2),
            ("one says nothing", &[0, 2], 1),
        ];
        for (name, formats, expected) in cases {
            assert_eq!(write_format(&cluster(formats)), expected, "{name}");
        }
    }

    /// Name, formats of the servers, formats of the new one, words of the refusal.
    type Case = (
        &'static str,
        &'static [u16],
        (u16, u16),
        Option<&'static str>,
    );

    #[test]
    fn a_server_joins_if_it_understands_what_is_written() {
        let cases: [Case; 6] = [
            ("the same version", &[1, 1], (1, 1), None),
            (
                "a newer one that still writes the old",
                &[1, 1],
                (1, 2),
                None,
            ),
            ("an old one while an old one is in", &[2, 1], (1, 1), None),
            (
                "an old one among new ones",
                &[2, 2],
                (1, 1),
                Some("upgrade it"),
            ),
            (
                "a new one that forgot the old",
                &[1],
                (2, 3),
                Some("upgrade the other servers first"),
            ),
            ("nonsense", &[1], (3, 2), Some("no range")),
        ];
        for (name, formats, (oldest, newest), expected) in cases {
            let refused = check(&cluster(formats), Formats { oldest, newest }).err();
            assert_eq!(refused.is_some(), expected.is_some(), "{name}");
            let words = refused.unwrap_or_default();
            assert!(words.contains(expected.unwrap_or("")), "{name}: {words}");
        }
    }
}
