//! A thread for work that comes in thousands of small pieces, none of which is urgent.
//!
//! Waking up costs more than a small piece of work: the kernel changes threads, and nothing of the code is in the caches any
//! more. So this thread sleeps for a while before it asks what there is to do, and does it all in one go (ADR 27).
use std::{convert::Infallible, io, thread, time::Duration};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// A runtime on a thread of its own, which ends when this is dropped.
pub struct Batching {
    handle: Handle,
    _alive: oneshot::Sender<Infallible>,
}

impl Batching {
    /// Out of work, the thread looks for more after `pause`, so nothing on it is done later than that.
    pub fn start(name: &str, pause: Duration) -> io::Result<Batching> {
        let runtime =
            Builder::new_current_thread().enable_all().on_thread_park(move || thread::sleep(pause)).build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || _ = runtime.block_on(ended))?;
        Ok(Batching { handle, _alive: alive })
    }

    /// What is spawned from a future on it stays on it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };
    use tokio::{sync::Barrier, time::timeout};

    #[tokio::test]
    async fn work_stays_on_its_thread_and_ends_with_it() {
        let batching = Batching::start("unhurried", Duration::from_millis(1)).unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let (outer, inner) = batching
            .handle()
            .spawn(async move { (name(), tokio::spawn(async move { name() }).await.unwrap()) })
            .await
            .unwrap();
        assert_eq!((outer.as_deref(), inner.as_deref()), (Some("unhurried"), Some("unhurried")));
        let endless = batching.handle().spawn(std::future::pending::<()>());
        drop(batching);
        assert!(endless.await.unwrap_err().is_cancelled());
    }

    /// All of them woken at once are done after one pause, not one pause each.
    #[tokio::test]
    async fn what_comes_together_is_done_together() {
        let batching = Batching::start("unhurried", Duration::from_millis(200)).unwrap();
        let (gate, done) = (Arc::new(Barrier::new(101)), Arc::new(AtomicUsize::new(0)));
        let all: Vec<_> = (0..100)
            .map(|_| {
                let (gate, done) = (gate.clone(), done.clone());
                batching.handle().spawn(async move {
                    gate.wait().await;
                    done.fetch_add(1, SeqCst);
                })
            })
            .collect();
        gate.wait().await;
        for one in all {
            timeout(Duration::from_secs(10), one).await.expect("one pause for all").unwrap();
        }
        assert_eq!(done.load(SeqCst), 100);
    }
}
