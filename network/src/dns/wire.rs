//! Packets: what a client's bytes ask, and how an answer becomes bytes that the client can take.
//! Pure. Bytes from outside never panic here; what cannot be read is answered `FORMERR`.

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinDecodable as _, BinEncodable as _, BinEncoder};

use super::answer::Answer;

/// What every client can take by UDP.
const PLAIN_MAX: u16 = 512;

/// What we send and take by UDP from whoever can: no path breaks that into fragments.
pub const UDP_MAX: u16 = 1232;

/// The bytes of a header: less than that cannot even be refused.
const HEADER: usize = 12;

/// The bit of a header's third byte that marks answers.
const IS_ANSWER: u8 = 0x80;

/// How a question came, which bounds the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As one datagram.
    Udp,
    /// On a connection.
    Tcp,
}

/// A question that was read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What was asked.
    pub query: Query,
    message: Message,
    transport: Transport,
}

/// What came instead of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing that may be answered: an answer, or less than a header.
    Ignore,
    /// Something that is answered with these bytes.
    Refuse(Vec<u8>),
}

/// Reads a packet.
///
/// # Errors
/// [`Unread`] for everything but one well-formed question.
pub fn read(bytes: &[u8], transport: Transport) -> Result<Asked, Unread> {
    let header = bytes.get(..HEADER).ok_or(Unread::Ignore)?;
    if header.get(2).is_none_or(|flags| flags & IS_ANSWER != 0) {
        return Err(Unread::Ignore);
    }
    let Ok(message) = Message::from_bytes(bytes) else {
        return Err(refuse(header, ResponseCode::FormErr));
    };
    if message.metadata.message_type != MessageType::Query {
        return Err(Unread::Ignore);
    }
    if message.metadata.op_code != OpCode::Query {
        return Err(refuse(header, ResponseCode::NotImp));
    }
    let [query] = message.queries.as_slice() else {
        return Err(refuse(header, ResponseCode::FormErr));
    };
    let query = query.clone();
    let asked = Asked {
        query,
        message,
        transport,
    };
    if asked.message.version() > 0 && asked.message.edns.is_some() {
        let version = asked.reply(Answer::code(ResponseCode::BADVERS), true);
        return Err(version.map_or(Unread::Ignore, Unread::Refuse));
    }
    Ok(asked)
}

/// A refusal of a packet of which only the header can be trusted.
fn refuse(header: &[u8], code: ResponseCode) -> Unread {
    let byte = |at: usize| header.get(at).copied().unwrap_or(0);
    let id = u16::from_be_bytes([byte(0), byte(1)]);
    let op_code = OpCode::from_u8((byte(2) >> 3) & 0x0f);
    let message = Message::error_msg(id, op_code, code);
    message.to_vec().map_or(Unread::Ignore, Unread::Refuse)
}

impl Asked {
    /// Whether the client can take signatures.
    #[must_use]
    pub fn dnssec(&self) -> bool {
        let edns = self.message.edns.as_ref();
        edns.is_some_and(|edns| edns.flags().dnssec_ok)
    }

    /// Whether the client checks signatures itself.
    #[must_use]
    pub const fn unchecked(&self) -> bool {
        self.message.metadata.checking_disabled
    }

    /// The bytes of an answer; `authoritative` if nobody knows better.
    ///
    /// # Errors
    /// The answer cannot be written, which only happens to records that were read from somewhere.
    pub fn reply(&self, answer: Answer, authoritative: bool) -> Result<Vec<u8>, ProtoError> {
        let mut message = Message::response(self.message.metadata.id, OpCode::Query);
        message.metadata.authoritative = authoritative;
        message.metadata.recursion_desired = self.message.metadata.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.message.metadata.checking_disabled;
        message.metadata.response_code = answer.code;
        message.metadata.truncation = answer.truncated;
        message.add_query(self.query.clone());
        message.answers = answer.answers;
        message.authorities = answer.authorities;
        message.additionals = answer.additionals;
        if self.message.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_MAX)
                .set_dnssec_ok(self.dnssec())
                .set_version(0);
            message.set_edns(edns);
        }
        fit(message, self.room())
    }

    fn room(&self) -> u16 {
        match (self.transport, &self.message.edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => PLAIN_MAX,
            (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_MAX, UDP_MAX),
        }
    }
}

/// Leaves out what does not fit: first what was not asked for, then the last of the answers, which
/// is then told. Clients that do not ask again by TCP still have the answers that fit.
fn fit(mut message: Message, room: u16) -> Result<Vec<u8>, ProtoError> {
    let room_bytes = usize::from(room);
    let bytes = encode(&message)?;
    if bytes.len() <= room_bytes {
        return Ok(bytes);
    }
    message.additionals.clear();
    let bytes = encode(&message)?;
    if bytes.len() <= room_bytes {
        return Ok(bytes);
    }
    message.authorities.clear();
    message.metadata.truncation = true;
    let all: Vec<Record> = std::mem::take(&mut message.answers);
    let (mut fits, mut too_many) = (0, all.len() + 1);
    let mut best = encode(&message)?;
    while too_many - fits > 1 {
        let half = fits.midpoint(too_many);
        message.answers = all.iter().take(half).cloned().collect();
        let bytes = encode(&message)?;
        if bytes.len() <= room_bytes {
            (fits, best) = (half, bytes);
        } else {
            too_many = half;
        }
    }
    Ok(best)
}

fn encode(message: &Message) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::with_capacity(usize::from(PLAIN_MAX));
    message.emit(&mut BinEncoder::new(&mut bytes))?;
    Ok(bytes)
}
