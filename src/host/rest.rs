//! Waiting with one wake-up. A timer of the runtime that is some seconds long takes three, two of them to move it from a
//! coarse wheel to a finer one: too many for what an idle agent does every few seconds, in each of hundreds of containers.
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::{io, os::fd::OwnedFd, time::Duration};
use tokio::io::{Interest, unix::AsyncFd};

/// Resolves after `time`, which goes on while the machine is suspended (CLOCK_BOOTTIME). Costs a descriptor and five system
/// calls; where no descriptor is left, the runtime's timer does it.
pub async fn rest(time: Duration) {
    if let Err(why) = rest_in_kernel(time).await {
        tracing::debug!(%why, "no timer of the kernel");
        tokio::time::sleep(time).await;
    }
}

async fn rest_in_kernel(time: Duration) -> io::Result<()> {
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
    // None at all would disarm it.
    let time = time.max(Duration::from_nanos(1));
    timer.set(Expiration::OneShot(time.into()), TimerSetTimeFlags::empty())?;
    // SAFETY: the AsyncFd owns the only handle to this timer, and nobody closes it before.
    let timer = unsafe { AsyncFd::register_with_interest(OwnedFd::from(timer), Interest::READABLE) }?;
    timer.readable().await?.retain_ready();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::boot_time;

    #[tokio::test]
    async fn a_rest_is_as_long_as_it_should_be_and_may_be_none() {
        for time in [Duration::ZERO, Duration::from_millis(30)] {
            let before = boot_time();
            rest_in_kernel(time).await.unwrap();
            assert!(boot_time().since(before) >= time);
        }
    }
}
