//! The kernel's messages (netlink): a socket, and how to read and write what goes over it. Nothing here believes a length that a message states without looking.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::Protocol;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use tokio::io::unix::AsyncFd;

/// What the kernel may keep for us while we are busy: a change of ten thousand endpoints is some
/// megabytes of messages.
const KEPT_BYTES: usize = 16 << 20;

/// The largest answer: the kernel sends dumps in pieces of at most 32 KB, and single messages about
/// changes may be somewhat larger.
const RECEIVED_BYTES_MAX: usize = 256 << 10;

/// What a message's header takes.
const HEADER: usize = 16;
/// Lengths are rounded up to this.
const ALIGN: usize = 4;
/// Messages of netlink itself: an answer, and the end of a list.
pub(super) const ANSWER: u16 = 2;
pub(super) const DONE: u16 = 3;
/// Flags: a request; for all there is; that is to be answered.
pub(super) const REQUEST: u16 = 1;
pub(super) const ALL: u16 = 0x300;
pub(super) const ACKNOWLEDGE: u16 = 4;
/// The type's bits of an attribute; the others are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// Says that an attribute is made of attributes.
const NESTED: u16 = 0x8000;

/// `AF_INET`, and the same number in packet filtering.
pub(super) const IPV4: u8 = 2;
/// What bodies about packet filtering begin with: the family, a version, and nothing.
pub(super) const FILTERING: [u8; 4] = [IPV4, 0, 0, 0];

/// A socket for the kernel's messages.
pub(super) struct Socket {
    fd: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one for messages of a kind that hears these groups, a bit for each.
    pub(super) fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            protocol,
        )?;
        if let Err(error) = sockopt::set_socket_recv_buffer_size_force(&fd, KEPT_BYTES) {
            tracing::debug!(%error, "the kernel keeps fewer messages than wanted");
        }
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd keeps what both ask for"
        )]
        let fd = AsyncFd::new(fd)?;
        Ok(Self {
            fd,
            buffer: vec![0; RECEIVED_BYTES_MAX],
        })
    }

    /// The next messages.
    pub(super) async fn receive(&mut self) -> io::Result<&[u8]> {
        let length = loop {
            let mut ready = self.fd.readable().await?;
            let buffer = &mut self.buffer;
            let read = ready.try_io(|fd| {
                let (length, _) = rustix::net::recv(fd, &mut *buffer, RecvFlags::empty())?;
                Ok(length)
            });
            if let Ok(read) = read {
                break read?;
            }
        };
        Ok(self.buffer.get(..length).unwrap_or_default())
    }

    /// Sends a message. The kernel takes it at once or not at all.
    pub(super) fn send(&self, message: &[u8]) -> io::Result<()> {
        rustix::net::send(self.fd.get_ref(), message, SendFlags::empty())?;
        Ok(())
    }
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// What it is: subsystem and message.
    pub(super) kind: u16,
    /// Everything after the header.
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Which family of addresses it is about.
    pub(super) fn family(&self) -> Option<u8> {
        self.body.first().copied()
    }

    /// Its attributes, which begin behind so many bytes.
    pub(super) fn attributes(&self, behind: usize) -> &'a [u8] {
        self.body.get(behind..).unwrap_or_default()
    }
}

/// The messages in what was received.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let kind = u16_at(rest, 4)?;
        let body = rest.get(HEADER..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(Message { kind, body })
    })
}

/// The attributes in the body of a message or of an attribute.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & ATTRIBUTE_TYPE;
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a type.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(of, value)| (of == kind).then_some(value))
}

/// A message to the kernel.
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = HEADER + body.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence and sender: we ask one thing at a time, and the kernel knows who we are.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Writes an attribute.
pub(super) fn put(into: &mut Vec<u8>, kind: u16, nested: bool, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let kind = if nested { kind | NESTED } else { kind };
    into.extend(length.to_ne_bytes());
    into.extend(kind.to_ne_bytes());
    into.extend(value);
    into.resize(aligned(into.len()), 0);
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

/// A number in the machine's own order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Netlink's answer to a request: zero, or an error's number below zero.
pub(super) fn acknowledged(body: &[u8]) -> io::Result<()> {
    let code = u32_at(body, 0).unwrap_or(0).cast_signed();
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}
