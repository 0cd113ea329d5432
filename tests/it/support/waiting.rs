//! Waiting for something to become true: poll with a deadline, and say what was waited for when it passes.
use std::{
    thread,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_millis(10);

/// Asks `look` until it answers `Some`; panics with `what` once `within` has passed.
pub async fn eventually<T>(what: &str, within: Duration, look: impl AsyncFnMut() -> Option<T>) -> T {
    in_time(within, look).await.unwrap_or_else(|| panic!("{what}: not within {within:?}"))
}

/// The same for those who have more to say when the time has passed.
pub async fn in_time<T>(within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let found = look().await;
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same where nothing is async; `None` when the time has passed.
pub fn eventually_now<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(PAUSE);
    }
}
