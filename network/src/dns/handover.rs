//! Gives the sockets of one process to another one of the same machine, so that an update of the
//! program loses no question: what has arrived and was not read is in the socket, and goes with it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Sockets that change hands: one for datagrams, one for connections.
pub(super) const SOCKETS: usize = 2;

/// The byte that the sockets travel with: a stream carries nothing without any.
const BYTE: [u8; 1] = [b'!'];

/// Sends sockets to the other end.
pub(super) async fn give(
    stream: &UnixStream,
    sockets: [BorrowedFd<'_>; SOCKETS],
) -> io::Result<()> {
    loop {
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            let bytes = [IoSlice::new(&BYTE)];
            sendmsg(stream.as_fd(), &bytes, &mut control, SendFlags::empty())?;
            Ok(())
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

/// Takes sockets from the other end.
pub(super) async fn take(stream: &UnixStream) -> io::Result<[OwnedFd; SOCKETS]> {
    loop {
        stream.readable().await?;
        let received = stream.try_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = BYTE;
            let mut bytes = [IoSliceMut::new(&mut byte)];
            recvmsg(
                stream.as_fd(),
                &mut bytes,
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            let mut sockets = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    sockets.extend(rights);
                }
            }
            sockets
                .try_into()
                .map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))
        });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}
