//! What the keeper rings when the console has grown: an eventfd(2) instead of a report for each line. It is watched for
//! edges and so never read: each ring wakes whoever waits, and that is all that it has to say.
use super::link::Link;
use crate::keeper::protocol::Order;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use tokio::io::{Interest, unix::AsyncFd};

pub(super) struct Bell(AsyncFd<OwnedFd>);

impl Bell {
    /// Gives it to the keeper. An older one refuses and goes on with reports, as it does if this gives `None`.
    pub(super) fn hang(link: &Link) -> Option<Bell> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok()?;
        link.send_with(&Order::Bell, &[bell.as_fd().as_raw_fd()]).ok()?;
        // SAFETY: the AsyncFd owns the only handle here, and nobody closes it before.
        unsafe { AsyncFd::register_with_interest(OwnedFd::from(bell), Interest::READABLE) }.ok().map(Bell)
    }

    /// It was rung since the last time. `false`: it never will be again.
    pub(super) async fn rung(&self) -> bool {
        let Ok(mut ready) = self.0.readable().await else { return false };
        ready.clear_ready();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn each_ring_is_heard_and_none_is_made_up() {
        let ringer = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap();
        let heard = ringer.as_fd().try_clone_to_owned().unwrap();
        // SAFETY: as above.
        let bell = Bell(unsafe { AsyncFd::register_with_interest(heard, Interest::READABLE) }.unwrap());
        for _ in 0..3 {
            ringer.write(1).unwrap();
            assert!(bell.rung().await);
            let again = tokio::time::timeout(Duration::from_millis(5), bell.rung()).await;
            assert!(again.is_err(), "it was rung once");
        }
    }
}
