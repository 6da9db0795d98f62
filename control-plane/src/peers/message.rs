//! Raft messages as frames of protobuf.

use bytes::BytesMut;
use protobuf::Message as _;
use raft::eraftpb::Message;

use super::frame::{self, Frames, TooLong};
use crate::log::ENTRY_BYTES_MAX;

/// Messages carry about 1 MiB of entries, or one entry that may be larger; the rest is their head.
const BYTES_MAX: usize = ENTRY_BYTES_MAX + (2 << 20);

/// Why bytes are not messages, or a message cannot become bytes.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    /// Longer than any message may be.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// Not a message.
    #[error("a message cannot be read")]
    Malformed(#[from] protobuf::ProtobufError),
}

/// Appends a message; on failure nothing is appended.
///
/// # Errors
/// [`MessageError`] if no receiver would take it.
pub(super) fn append(message: &Message, out: &mut Vec<u8>) -> Result<(), MessageError> {
    frame::append(out, BYTES_MAX, |out| Ok(message.write_to_vec(out)?))
}

/// Takes bytes however they were cut, and gives messages.
#[derive(Debug)]
pub(super) struct Decoder(Frames);

impl Default for Decoder {
    fn default() -> Self {
        Self(Frames::new(BYTES_MAX))
    }
}

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// The next message, if all of it is there.
    ///
    /// # Errors
    /// [`MessageError`]; the stream cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<Message>, MessageError> {
        let Some(frame) = self.0.next()? else {
            return Ok(None);
        };
        Ok(Some(Message::parse_from_bytes(&frame)?))
    }

    /// What came after the last message that was taken.
    pub(super) fn into_rest(self) -> BytesMut {
        self.0.into_rest()
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn messages_come_out_as_they_went_in() {
        let sent = [message(1, 0), message(2, 3000), message(3, ENTRY_BYTES_MAX)];
        let mut bytes = Vec::new();
        for one in &sent {
            append(one, &mut bytes).unwrap();
        }
        bytes.push(9);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        for one in sent {
            assert_eq!(decoder.next().unwrap(), Some(one));
        }
        assert_eq!(decoder.next().unwrap(), None);
        assert_eq!(decoder.into_rest(), [9][..]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let mut bytes = Vec::new();
        let refused = append(&message(1, BYTES_MAX), &mut bytes);
        assert!(matches!(refused, Err(MessageError::TooLong(_))));
        assert!(bytes.is_empty());
        let mut decoder = Decoder::default();
        decoder.push(&[2, 0, 0, 0, 255, 255]);
        assert!(matches!(decoder.next(), Err(MessageError::Malformed(_))));
    }
}
