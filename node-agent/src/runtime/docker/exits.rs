//! The ends of containers' processes, as the kernel tells of them. The Engine tells of them too, some
//! twenty milliseconds later: for so long a service would go on sending to somebody who refuses.
//! Where a process cannot be seen from here the Engine's word is all there is.

use std::os::fd::OwnedFd;

use futures_util::{Stream, stream};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;
use tokio_util::task::AbortOnDropHandle;

use crate::runtime::Wake;

/// Ends that wait for the agent to look: of more it looks anyway, since each is a reason to.
const WAITING_MAX: usize = 256;

/// The watch over one process; dropping it ends it.
pub(super) type Watched = AbortOnDropHandle<()>;

/// Tells of ends.
#[derive(Clone, Debug)]
pub(super) struct Exits(broadcast::Sender<Wake>);

impl Default for Exits {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING_MAX))
    }
}

impl Exits {
    /// Watches a container's process and tells of its end by `wake`; nothing if there is no such
    /// process, or it is not that container's: numbers of processes come again, and those of an
    /// Engine in another namespace are not ours.
    pub(super) fn watch(&self, container: &str, pid: i32, wake: Wake) -> Option<Watched> {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Read after it was opened: if its number was another's by then, so is what is read here.
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        if !groups.contains(container) {
            return None;
        }
        #[expect(
            deprecated,
            reason = "its successor is for callers who may write `unsafe`; an owned descriptor needs none"
        )]
        let process = AsyncFd::with_interest(process, Interest::READABLE).ok()?;
        let ends = self.0.clone();
        Some(AbortOnDropHandle::new(tokio::spawn(tell(
            process, ends, wake,
        ))))
    }

    /// The ends from now on.
    pub(super) fn wakes(&self) -> impl Stream<Item = Wake> + use<> {
        stream::unfold(self.0.subscribe(), |mut ends| async move {
            loop {
                match ends.recv().await {
                    Ok(wake) => return Some((wake, ends)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
    }
}

async fn tell(process: AsyncFd<OwnedFd>, ends: broadcast::Sender<Wake>, wake: Wake) {
    // A process that has ended can be waited for, which is to say that it can be read.
    if process.readable().await.is_ok() {
        // Nobody listens while the Engine is away.
        drop(ends.send(wake));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::time::Duration;

    use futures_util::StreamExt as _;

    use super::*;
    use crate::runtime::ContainerId;

    fn process() -> (Child, i32) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        (child, pid)
    }

    fn wake() -> Wake {
        Wake {
            pod_uid: "u".into(),
            ended: Some(ContainerId("c".into())),
        }
    }

    #[tokio::test]
    async fn an_end_is_told_once() {
        let (mut child, pid) = process();
        let exits = Exits::default();
        let mut wakes = Box::pin(exits.wakes());
        // Every process is in a group whose name has this in it.
        let _watched = exits.watch("/", pid, wake()).unwrap();
        let early = tokio::time::timeout(Duration::from_millis(20), wakes.next()).await;
        assert!(early.is_err(), "it runs");
        child.kill().unwrap();
        assert_eq!(wakes.next().await, Some(wake()));
        child.wait().unwrap();
        let more = tokio::time::timeout(Duration::from_millis(20), wakes.next()).await;
        assert!(more.is_err());
    }

    #[tokio::test]
    async fn only_a_containers_own_process_is_watched() {
        let (mut child, pid) = process();
        let exits = Exits::default();
        assert!(exits.watch("0123456789abcdef", pid, wake()).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(exits.watch("/", pid, wake()).is_none(), "it is gone");
        assert!(exits.watch("/", 0, wake()).is_none());
    }

    #[tokio::test]
    async fn what_is_not_watched_any_more_is_not_told() {
        let (mut child, pid) = process();
        let exits = Exits::default();
        let mut wakes = Box::pin(exits.wakes());
        drop(exits.watch("/", pid, wake()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        let told = tokio::time::timeout(Duration::from_millis(50), wakes.next()).await;
        assert!(told.is_err());
    }
}
