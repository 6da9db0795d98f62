//! The one replicated command: a stamped, guarded batch of object writes (step 5 of the walk).
//! New features need no new command. Encoding is versioned; a decoder refuses what it can't read.

use skiff_api::{Key, Kind, Malformed, Millis, Object, Revision};

/// The newest format of commands and snapshots: of their encoding, and of the kinds that may be in
/// them. Servers of different versions share a log, so a leader writes nothing that one of the others
/// does not understand; see [`Write::format`].
pub const FORMAT: u16 = 2;
/// The kinds that came with format 2; a server that knows only format 1 cannot read them.
const SINCE_2: [Kind; 6] = [
    Kind::Service,
    Kind::Endpoints,
    Kind::EndpointSlice,
    Kind::Ingress,
    Kind::IngressClass,
    Kind::NetworkPolicy,
];

/// What the log replicates.
///
/// Whatever `apply` may not find out by itself was stamped by the proposer: the time, uids and
/// random suffixes inside the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The raft term in which it was proposed; for the record.
    pub term: u64,
    /// The proposer's clock.
    pub at: Millis,
    /// The writes; each succeeds or conflicts by itself, in order.
    pub writes: Vec<Write>,
}

/// One guarded write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces an object.
    Put {
        /// What must be there now.
        expect: Expect,
        /// The object; its key is the key written.
        object: Object,
    },
    /// Removes an object.
    Delete {
        /// What must be there now; [`Expect::Absent`] makes no sense and always conflicts.
        expect: Expect,
        /// The object's key.
        key: Key,
    },
}

/// The guard of a write: what the writer saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No object of this key.
    Absent,
    /// The object at exactly this revision.
    At(Revision),
}

impl Write {
    /// Creates an object that does not exist yet.
    #[must_use]
    pub const fn create(object: Object) -> Self {
        Self::Put {
            expect: Expect::Absent,
            object,
        }
    }

    /// Replaces `old` as it was read.
    #[must_use]
    pub fn replace(old: &Object, object: Object) -> Self {
        Self::Put {
            expect: Expect::At(old.revision()),
            object,
        }
    }

    /// Removes `old` as it was read.
    #[must_use]
    pub fn remove(old: &Object) -> Self {
        Self::Delete {
            expect: Expect::At(old.revision()),
            key: old.key().clone(),
        }
    }

    /// The oldest format that has it.
    #[must_use]
    pub fn format(&self) -> u16 {
        if SINCE_2.contains(&self.key().kind) {
            2
        } else {
            1
        }
    }

    /// The key written.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { object, .. } => object.key(),
            Self::Delete { key, .. } => key,
        }
    }
}

/// Bytes that are not a command of a version known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptCommand {
    /// The bytes end too early or carry a length or tag that cannot be.
    #[error("the command's bytes are damaged at offset {0}")]
    Damaged(usize),
    /// Written by a version that is newer than this binary.
    #[error("the command has encoding version {0}, this binary reads up to {VERSION}")]
    Version(u8),
    /// An object in it is not one.
    #[error("the command holds an object that cannot be read: {0}")]
    Object(#[source] Malformed),
    /// It names a kind that this binary does not know.
    #[error("the command names the unknown kind {0:?}")]
    Kind(String),
}

const VERSION: u8 = 1;
const PUT: u8 = 1;
const DELETE: u8 = 2;
const ABSENT: u8 = 0;
const AT: u8 = 1;

impl Command {
    /// The newest encoding: the one that is written, and the last that is read.
    pub const VERSION: u8 = VERSION;

    /// Appends the command's bytes: version, term, time, then the writes; integers little-endian,
    /// texts and bodies behind a 32-bit length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.at.0.to_le_bytes());
        put_len(out, self.writes.len());
        for write in &self.writes {
            match write {
                Write::Put { expect, object } => {
                    out.push(PUT);
                    put_expect(out, *expect);
                    put_bytes(out, object.body());
                }
                Write::Delete { expect, key } => {
                    out.push(DELETE);
                    put_expect(out, *expect);
                    put_bytes(out, key.kind.info().name.as_bytes());
                    put_bytes(out, key.namespace.as_bytes());
                    put_bytes(out, key.name.as_bytes());
                }
            }
        }
    }

    /// How many bytes [`Command::encode`] will write, roughly; for admission by size.
    #[must_use]
    pub fn size(&self) -> usize {
        let writes = self.writes.iter().map(|write| match write {
            Write::Put { object, .. } => 16 + object.body().len(),
            Write::Delete { key, .. } => 48 + key.namespace.len() + key.name.len(),
        });
        24 + writes.sum::<usize>()
    }

    /// Reads what [`Command::encode`] wrote.
    ///
    /// # Errors
    /// [`CorruptCommand`] if it is not that.
    pub fn decode(bytes: &[u8]) -> Result<Self, CorruptCommand> {
        let mut reader = Reader { bytes, at: 0 };
        let version = reader.byte()?;
        if version != VERSION {
            return Err(CorruptCommand::Version(version));
        }
        let term = reader.u64()?;
        let at = Millis(reader.u64()?.cast_signed());
        let count = reader.len()?;
        let mut writes = Vec::with_capacity(count.min(bytes.len() / 8));
        for _ in 0..count {
            writes.push(reader.write()?);
        }
        if reader.at != bytes.len() {
            return Err(reader.damaged());
        }
        Ok(Self { term, at, writes })
    }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    // Bodies are bounded far below 4 GiB at the door.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_expect(out: &mut Vec<u8>, expect: Expect) {
    match expect {
        Expect::Absent => out.push(ABSENT),
        Expect::At(revision) => {
            out.push(AT);
            out.extend_from_slice(&revision.0.to_le_bytes());
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn damaged(&self) -> CorruptCommand {
        CorruptCommand::Damaged(self.at)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CorruptCommand> {
        let end = self
            .at
            .checked_add(len)
            .ok_or(CorruptCommand::Damaged(self.at))?;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or(CorruptCommand::Damaged(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, CorruptCommand> {
        self.take(1)?
            .first()
            .copied()
            .ok_or(CorruptCommand::Damaged(self.at))
    }

    fn u64(&mut self) -> Result<u64, CorruptCommand> {
        let bytes = self
            .take(8)?
            .try_into()
            .map_err(|_| CorruptCommand::Damaged(self.at))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn len(&mut self) -> Result<usize, CorruptCommand> {
        let bytes = self
            .take(4)?
            .try_into()
            .map_err(|_| CorruptCommand::Damaged(self.at))?;
        usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| self.damaged())
    }

    fn slice(&mut self) -> Result<&'a [u8], CorruptCommand> {
        let len = self.len()?;
        self.take(len)
    }

    fn text(&mut self) -> Result<&'a str, CorruptCommand> {
        let at = self.at;
        std::str::from_utf8(self.slice()?).map_err(|_| CorruptCommand::Damaged(at))
    }

    fn expect(&mut self) -> Result<Expect, CorruptCommand> {
        match self.byte()? {
            ABSENT => Ok(Expect::Absent),
            AT => Ok(Expect::At(Revision(self.u64()?))),
            _ => Err(self.damaged()),
        }
    }

    fn write(&mut self) -> Result<Write, CorruptCommand> {
        let tag = self.byte()?;
        let expect = self.expect()?;
        match tag {
            PUT => {
                let object = Object::from_body(self.slice()?).map_err(CorruptCommand::Object)?;
                Ok(Write::Put { expect, object })
            }
            DELETE => {
                let name = self.text()?;
                let kind =
                    Kind::by_name(name).ok_or_else(|| CorruptCommand::Kind(name.to_owned()))?;
                let namespace = self.text()?;
                let name = self.text()?;
                Ok(Write::Delete {
                    expect,
                    key: Key::new(kind, namespace, name),
                })
            }
            _ => Err(self.damaged()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn command() -> Command {
        let object = Object::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "shop"}, "data": {"k": "v"}}))
        .unwrap();
        Command {
            term: 3,
            at: Millis(-5),
            writes: vec![
                Write::create(object.clone()),
                Write::replace(&object.clone().with_revision(Revision(9)), object),
                Write::Delete {
                    expect: Expect::At(Revision(4)),
                    key: Key::cluster(Kind::Node, "n1"),
                },
            ],
        }
    }

    fn bytes(command: &Command) -> Vec<u8> {
        let mut out = Vec::new();
        command.encode(&mut out);
        out
    }

    #[test]
    fn what_is_encoded_reads_back() {
        assert_eq!(Command::decode(&bytes(&command())), Ok(command()));
    }

    #[test]
    fn a_newer_version_is_refused_in_words() {
        let mut newer = bytes(&command());
        newer[0] = 2;
        let err = Command::decode(&newer).unwrap_err();
        assert_eq!(
            err.to_string(),
            "the command has encoding version 2, this binary reads up to 1"
        );
    }

    proptest! {
        #[test]
        fn no_prefix_of_a_command_is_a_command(cut in 0usize..200) {
            let whole = bytes(&command());
            prop_assume!(cut < whole.len());
            prop_assert!(Command::decode(&whole[..cut]).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _read_or_refused = Command::decode(&bytes).is_ok();
        }
    }
}
