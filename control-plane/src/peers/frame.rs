//! Raft messages as bytes: `length u32, little-endian | protobuf`, one after the other.

use bytes::BytesMut;
use protobuf::Message as _;
use raft::eraftpb::Message;

use crate::log::ENTRY_BYTES_MAX;

/// Messages carry about 1 MiB of entries, or one entry that may be larger; the rest is their head.
pub(super) const FRAME_BYTES_MAX: usize = ENTRY_BYTES_MAX + (2 << 20);
const LEN_BYTES: usize = 4;

/// Why bytes are not messages, or a message cannot become bytes.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// Longer than any message may be.
    #[error("a message of {bytes} bytes is longer than {FRAME_BYTES_MAX}")]
    TooLong { bytes: usize },
    /// Not a message.
    #[error("a message cannot be read")]
    Malformed(#[source] protobuf::ProtobufError),
}

/// Appends a message; on failure nothing is appended.
///
/// # Errors
/// [`FrameError`] if no receiver would take it.
pub(super) fn append(message: &Message, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let begun = out.len();
    out.extend_from_slice(&[0; LEN_BYTES]);
    let written = message.write_to_vec(out);
    let bytes = out.len() - begun - LEN_BYTES;
    let len = u32::try_from(bytes)
        .ok()
        .filter(|_| bytes <= FRAME_BYTES_MAX);
    let place = out.get_mut(begun..begun + LEN_BYTES);
    match (written, len, place) {
        (Ok(()), Some(len), Some(place)) => {
            place.copy_from_slice(&len.to_le_bytes());
            Ok(())
        }
        (Err(err), ..) => {
            out.truncate(begun);
            Err(FrameError::Malformed(err))
        }
        (Ok(()), ..) => {
            out.truncate(begun);
            Err(FrameError::TooLong { bytes })
        }
    }
}

/// Takes bytes however they were cut, and gives messages.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    unread: BytesMut,
}

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next message, if all of it is there. A length that no message has is refused before any
    /// of its bytes are kept.
    ///
    /// # Errors
    /// [`FrameError`]; the stream cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<Message>, FrameError> {
        let Some((len, rest)) = self.unread.split_first_chunk::<LEN_BYTES>() else {
            return Ok(None);
        };
        let bytes = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
        if bytes > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { bytes });
        }
        let Some(frame) = rest.get(..bytes) else {
            return Ok(None);
        };
        let message = Message::parse_from_bytes(frame).map_err(FrameError::Malformed)?;
        bytes::Buf::advance(&mut self.unread, LEN_BYTES + bytes);
        Ok(Some(message))
    }

    /// What stands behind the last message.
    pub(super) fn into_rest(self) -> BytesMut {
        self.unread
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use raft::eraftpb::Entry;

    use super::*;

    fn message(index: u64, len: usize) -> Message {
        let entry = Entry {
            index,
            data: vec![7; len].into(),
            ..Entry::default()
        };
        Message {
            from: 1,
            to: 2,
            index,
            entries: vec![entry].into(),
            ..Message::default()
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_were_cut(
            lens in prop::collection::vec(0..3000_usize, 0..8),
            cut in 1..2000_usize,
        ) {
            let messages: Vec<_> = (0..).zip(lens).map(|(at, len)| message(at, len)).collect();
            let mut bytes = Vec::new();
            for message in &messages {
                append(message, &mut bytes).unwrap();
            }
            let (mut decoder, mut found) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.next().unwrap() {
                    found.push(message);
                }
            }
            prop_assert_eq!(found, messages);
            prop_assert!(decoder.into_rest().is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }

    #[test]
    fn the_largest_entry_fits_and_a_longer_message_is_refused_by_its_length() {
        let mut bytes = Vec::new();
        append(&message(1, ENTRY_BYTES_MAX), &mut bytes).unwrap();
        let written = bytes.len();
        let refused = append(&message(1, FRAME_BYTES_MAX), &mut bytes);
        assert!(matches!(refused, Err(FrameError::TooLong { .. })));
        assert_eq!(bytes.len(), written, "nothing of it was appended");
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.next(), Err(FrameError::TooLong { .. })));
    }
}
