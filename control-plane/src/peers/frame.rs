//! Frames on a stream of bytes: `length u32, little-endian | bytes`, one after the other.

use bytes::{Bytes, BytesMut};

const LEN_BYTES: usize = 4;

/// A frame that is longer than its kind allows.
#[derive(Debug, thiserror::Error)]
#[error("a frame of {bytes} bytes is longer than {most}")]
pub(super) struct TooLong {
    pub(super) bytes: usize,
    pub(super) most: usize,
}

/// Appends what `write` appends as one frame; on failure nothing is appended.
///
/// # Errors
/// That of `write`, or [`TooLong`] if there is more than `most` bytes of it.
pub(super) fn append<E: From<TooLong>>(
    out: &mut Vec<u8>,
    most: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let begun = out.len();
    out.extend_from_slice(&[0; LEN_BYTES]);
    let written = write(out).and_then(|()| {
        let bytes = out.len() - begun - LEN_BYTES;
        let len = u32::try_from(bytes).ok().filter(|_| bytes <= most);
        len.ok_or_else(|| TooLong { bytes, most }.into())
    });
    match (written, out.get_mut(begun..begun + LEN_BYTES)) {
        (Ok(len), Some(place)) => place.copy_from_slice(&len.to_le_bytes()),
        (written, _) => {
            out.truncate(begun);
            written?;
        }
    }
    Ok(())
}

/// Takes bytes however they were cut, and gives frames.
#[derive(Debug)]
pub(super) struct Frames {
    unread: BytesMut,
    most: usize,
}

impl Frames {
    /// Of at most so many bytes each.
    pub(super) fn new(most: usize) -> Self {
        Self {
            unread: BytesMut::new(),
            most,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there. A length that no frame has is refused before any of
    /// its bytes are kept.
    ///
    /// # Errors
    /// [`TooLong`]; the stream cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some((len, rest)) = self.unread.split_first_chunk::<LEN_BYTES>() else {
            return Ok(None);
        };
        let bytes = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
        let most = self.most;
        if bytes > most {
            return Err(TooLong { bytes, most });
        }
        if rest.len() < bytes {
            return Ok(None);
        }
        bytes::Buf::advance(&mut self.unread, LEN_BYTES);
        Ok(Some(self.unread.split_to(bytes).freeze()))
    }

    /// What came after the last frame that was taken.
    pub(super) fn into_rest(self) -> BytesMut {
        self.unread
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 3000;

    fn append_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        append(out, MOST, |out| {
            out.extend_from_slice(bytes);
            Ok(())
        })
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_were_cut(
            lens in prop::collection::vec(0..=MOST, 0..8),
            cut in 1..2000_usize,
        ) {
            let sent: Vec<Vec<u8>> = lens.iter().map(|len| vec![7; *len]).collect();
            let mut bytes = Vec::new();
            for one in &sent {
                append_bytes(one, &mut bytes).unwrap();
            }
            let (mut frames, mut found) = (Frames::new(MOST), Vec::new());
            for piece in bytes.chunks(cut) {
                frames.push(piece);
                while let Some(frame) = frames.next().unwrap() {
                    found.push(frame.to_vec());
                }
            }
            prop_assert_eq!(found, sent);
            prop_assert!(frames.into_rest().is_empty());
        }

        #[test]
        fn any_bytes_are_cut_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut frames = Frames::new(MOST);
            frames.push(&bytes);
            while let Ok(Some(_)) = frames.next() {}
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_by_its_length() {
        let mut bytes = Vec::new();
        append_bytes(&[7; MOST], &mut bytes).unwrap();
        let written = bytes.len();
        append_bytes(&[7; MOST + 1], &mut bytes).unwrap_err();
        assert_eq!(bytes.len(), written, "nothing of it was appended");
        let mut frames = Frames::new(MOST);
        frames.push(&u32::MAX.to_le_bytes());
        assert_eq!(frames.next().unwrap_err().bytes, u32::MAX as usize);
    }
}
