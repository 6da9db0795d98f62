//! Several commands in one raft entry: each behind its length.

use super::inbox::Proposal;

/// What a command costs in an entry beside its own bytes.
pub(crate) const PACK_OVERHEAD: usize = 4;

/// The bytes of an entry that carries these commands.
pub(super) fn pack(proposals: &[Proposal]) -> Vec<u8> {
    let len = proposals
        .iter()
        .map(|one| PACK_OVERHEAD + one.bytes.len())
        .sum();
    let mut data = Vec::with_capacity(len);
    for proposal in proposals {
        let len = u32::try_from(proposal.bytes.len()).unwrap_or(u32::MAX);
        data.extend_from_slice(&len.to_le_bytes());
        data.extend_from_slice(&proposal.bytes);
    }
    data
}

/// The commands in an entry; nothing if the bytes are not what [`pack`] makes.
pub(crate) fn unpack(mut data: &[u8]) -> Option<Vec<&[u8]>> {
    let mut commands = Vec::new();
    while !data.is_empty() {
        let (len, rest) = data.split_first_chunk::<PACK_OVERHEAD>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (command, rest) = rest.split_at_checked(len)?;
        commands.push(command);
        data = rest;
    }
    Some(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_packed_commands_are_refused() {
        let cases: [(&str, &[u8], Option<usize>); 4] = [
            ("a leader's first entry carries none", b"", Some(0)),
            ("two commands", b"\x01\0\0\0a\x02\0\0\0bc", Some(2)),
            ("a torn length", b"\x01\0", None),
            ("a length beyond the end", b"\x09\0\0\0abc", None),
        ];
        for (name, data, expected) in cases {
            assert_eq!(
                unpack(data).map(|commands| commands.len()),
                expected,
                "{name}"
            );
        }
    }
}
