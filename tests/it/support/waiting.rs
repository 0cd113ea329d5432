//! Waiting for something to become true: poll with a deadline, and say what was waited for when it passes.
use std::{
    thread,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_millis(10);

/// Asks `look` until it answers `Some`; panics with `what` once `within` has passed.
pub async fn eventually<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
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
