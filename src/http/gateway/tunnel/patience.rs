//! How long is waited for what comes next: a deadline that moves with every request.
//!
//! A timer made for each wait takes a lock of the runtime's, and rouses a runtime that was about to sleep for longer, which
//! is a system call a request. Here one that was set too early is left alone; when it has run out, it is set anew for
//! what has become the deadline by then. A busy connection sets it twice a second.
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Ends a wait for the present request or answer of one connection.
pub(super) struct Patience {
    timer: Pin<Box<Sleep>>,
    until: Instant,
}

impl Patience {
    /// Is over at once; every wait says how long it may take.
    pub fn new() -> Patience {
        let now = Instant::now();
        Patience { timer: Box::pin(sleep_until(now)), until: now }
    }

    /// From now on.
    pub fn last_for(&mut self, limit: Duration) {
        self.until = Instant::now() + limit;
        if self.timer.deadline() > self.until {
            self.timer.as_mut().reset(self.until);
        }
    }

    /// Ready once it is over.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= self.until {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.until);
        }
    }

    /// `None`: it took longer.
    pub async fn during<T>(&mut self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        self.last_for(limit);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => self.poll_over(cx).map(|()| None),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    /// Waits in turn, each begun where the one before was answered or given up: how long it may take, and how long the
    /// answer takes.
    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_in_its_own_time_whatever_came_before() {
        let mut patience = Patience::new();
        let waits =
            [(10, Some(1)), (1, None), (30, None), (1, Some(0)), (20, Some(19)), (2, None), (5, Some(4)), (5, None)];
        for (limit, answered) in waits {
            let began = Instant::now();
            let future = async {
                match answered {
                    Some(after) => sleep(SECOND * after).await,
                    None => pending().await,
                }
            };
            let outcome = patience.during(SECOND * limit, future).await;
            assert_eq!(outcome.is_some(), answered.is_some());
            let took = began.elapsed().as_secs_f64().round() as u32;
            assert_eq!(took, answered.unwrap_or(limit), "{limit} {answered:?}");
        }
    }
}
