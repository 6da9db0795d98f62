//! Notices when somebody else changed or removed our table. The kernel tells of every change; ours
//! carry a stamp that only grows, so everything else that touches the table is somebody else's.

use std::io;
use std::time::Duration;

use rustix::net::netlink::NETFILTER;
use tokio::sync::watch;
use tokio::time::sleep;

use super::netlink::{self, FILTERING, IPV4, Message, Socket, attribute, messages};
use super::text::STAMP;

/// The group that hears of changes of nftables.
const CHANGES: u32 = 1 << 6;
/// The subsystem of nftables, and those of its messages that are of interest.
const NFTABLES: u16 = 10;
const NEW_ELEMENT: u16 = 12;
const END_OF_CHANGE: u16 = 15;
/// In every message about something in a table, the table's name.
const TABLE: u16 = 1;
/// In messages about elements: the set, the elements; and down to an element's key.
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
const ELEMENT: u16 = 1;
const KEY: u16 = 1;
const VALUE: u16 = 1;

/// How long until listening is tried again after it failed.
const RETRY: Duration = Duration::from_secs(5);

/// Which change of which keeper: the number grows with every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The keeper: unlike those before it.
    pub(super) epoch: u32,
    /// The change.
    pub(super) number: u32,
}

/// Counts changes of a table that carry no new stamp of this epoch. When messages were lost, that
/// counts as one too. Runs for as long as it is polled.
pub(super) async fn watch(table: String, epoch: u32, others: watch::Sender<u64>) {
    let mut reader = Reader::new(table, epoch);
    let mut failing = false;
    loop {
        let error = match listen(&mut reader, &others, &mut failing).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if !std::mem::replace(&mut failing, true) {
            tracing::warn!(%error, "cannot hear of changes of the packet rules; will retry");
        }
        sleep(RETRY).await;
        others.send_modify(|count| *count += 1);
    }
}

/// Ends without an error when nobody wants to know any more.
async fn listen(
    reader: &mut Reader,
    others: &watch::Sender<u64>,
    failing: &mut bool,
) -> io::Result<()> {
    let mut socket = Socket::open(Some(NETFILTER), CHANGES)?;
    *failing = false;
    loop {
        let found = match socket.receive().await {
            Ok(bytes) => reader.read(bytes),
            Err(error) if error.raw_os_error() == Some(lost()) => 1,
            Err(error) => return Err(error),
        };
        if found > 0 {
            others.send_modify(|count| *count += found);
        }
        if others.is_closed() {
            return Ok(());
        }
    }
}

/// The kernel's word for messages that it could not keep for us.
fn lost() -> i32 {
    rustix::io::Errno::NOBUFS.raw_os_error()
}

/// Puts messages together to changes.
pub(super) struct Reader {
    table: String,
    /// Our newest stamp that was seen.
    last: Stamp,
    /// What the change so far did to the table.
    touched: bool,
    stamp: Option<Stamp>,
}

impl Reader {
    pub(super) fn new(table: String, epoch: u32) -> Self {
        Self {
            table,
            last: Stamp { epoch, number: 0 },
            touched: false,
            stamp: None,
        }
    }

    /// How many changes of the table by others ended in these messages.
    pub(super) fn read(&mut self, bytes: &[u8]) -> u64 {
        let mut others = 0;
        for message in messages(bytes).filter(|message| message.kind >> 8 == NFTABLES) {
            if message.kind & 0xff == END_OF_CHANGE {
                others += u64::from(self.end());
            } else {
                self.take(message);
            }
        }
        others
    }

    /// Whether the change that ends here was somebody else's change of the table.
    fn end(&mut self) -> bool {
        let stamp = self.stamp.take();
        if !std::mem::take(&mut self.touched) {
            return false;
        }
        match stamp {
            Some(stamp) if stamp.epoch == self.last.epoch && stamp.number > self.last.number => {
                self.last = stamp;
                false
            }
            // An old stamp comes back when somebody loads a saved copy of the rules.
            Some(_) | None => true,
        }
    }

    fn take(&mut self, message: Message<'_>) {
        let table = attribute(message.attributes(FILTERING.len()), TABLE);
        if message.family() != Some(IPV4) || table.map(text) != Some(self.table.as_bytes()) {
            return;
        }
        self.touched = true;
        if message.kind & 0xff == NEW_ELEMENT {
            self.stamp = stamp(message).or(self.stamp);
        }
    }
}

/// The stamp, if a message about new elements is about that.
fn stamp(message: Message<'_>) -> Option<Stamp> {
    let all = message.attributes(FILTERING.len());
    if text(attribute(all, SET)?) != STAMP.as_bytes() {
        return None;
    }
    let element = attribute(attribute(all, ELEMENTS)?, ELEMENT)?;
    let value = attribute(attribute(element, KEY)?, VALUE)?;
    Some(Stamp {
        epoch: netlink::u32_at(value, 0)?,
        number: netlink::u32_at(value, 4)?,
    })
}

/// Texts end with a zero.
fn text(value: &[u8]) -> &[u8] {
    value.strip_suffix(&[0]).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{
        ELEMENT, ELEMENTS, END_OF_CHANGE, KEY, NEW_ELEMENT, NFTABLES, Reader, SET, STAMP, TABLE,
        VALUE,
    };
    use crate::rules::netlink::{FILTERING, message, put};

    /// A message about something in a table.
    fn about(table: &str, of: u16, more: &[u8]) -> Vec<u8> {
        let mut body = FILTERING.to_vec();
        put(&mut body, TABLE, false, format!("{table}\0").as_bytes());
        body.extend(more);
        message(NFTABLES << 8 | of, 0, &body)
    }

    fn stamped(epoch: u32, number: u32) -> Vec<u8> {
        let key = [epoch.to_ne_bytes(), number.to_ne_bytes()].concat();
        let nest = |kind, inner: &[u8]| {
            let mut outer = Vec::new();
            put(&mut outer, kind, true, inner);
            outer
        };
        let element = nest(ELEMENT, &nest(KEY, &nest(VALUE, &key)));
        let mut more = Vec::new();
        put(&mut more, SET, false, format!("{STAMP}\0").as_bytes());
        put(&mut more, ELEMENTS, true, &element);
        about("skiff-n1", NEW_ELEMENT, &more)
    }

    #[test]
    fn a_change_without_a_new_stamp_is_somebody_elses() {
        let ours = || about("skiff-n1", 0, &[]);
        let cases = [
            ("our first change", [ours(), stamped(7, 1)].concat(), 0),
            ("another table", about("skiff-n2", 0, &[]), 0),
            ("ours without a stamp", ours(), 1),
            ("our next change", [stamped(7, 2), ours()].concat(), 0),
            (
                "a copy of the one before",
                [ours(), stamped(7, 2)].concat(),
                1,
            ),
            ("a stamp of another keeper", stamped(8, 9), 1),
            ("after all that, ours again", stamped(7, 3), 0),
            (
                "a message that was cut off",
                stamped(7, 4)[..30].to_vec(),
                0,
            ),
        ];
        let mut reader = Reader::new("skiff-n1".to_owned(), 7);
        for (case, bytes, expected) in cases {
            let end = message(NFTABLES << 8 | END_OF_CHANGE, 0, &FILTERING);
            assert_eq!(reader.read(&[bytes, end].concat()), expected, "{case}");
        }
    }
}
