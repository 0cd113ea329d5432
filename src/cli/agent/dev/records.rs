//! What the set-up of a dev container must not forget, on disk: one writer, in the order of the calls.
use crate::{
    host::{
        failpoint,
        store::{Durability, Store, StoreError},
    },
    policy::dev_provision::Memory,
};
use futures_util::future::{BoxFuture, FutureExt};
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

/// `state/dev.json`; that it is there says that the container is a dev container.
pub const NAME: &str = "dev";

enum Job {
    Save(Box<Memory>, oneshot::Sender<Result<(), String>>),
    Recall(oneshot::Sender<Result<Memory, String>>),
}

/// Handle to the writer. The queue is as long as the machine has saves under way: a handful.
#[derive(Clone)]
pub struct Records {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Records {
    /// Needs a tokio runtime.
    pub fn start(folder: &Path) -> Result<Records, StoreError> {
        let store = Store::open(folder)?;
        let (jobs, queue) = mpsc::unbounded_channel();
        tokio::spawn(work(store, queue));
        Ok(Records { jobs })
    }

    /// Carried out even if the future is dropped.
    pub fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>> {
        self.order(|done| Job::Save(Box::new(memory), done))
    }

    /// Sees every save that was ordered before.
    pub fn recall(&self) -> BoxFuture<'static, Result<Memory, String>> {
        self.order(Job::Recall)
    }

    fn order<T: Send + 'static>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Job,
    ) -> BoxFuture<'static, Result<T, String>> {
        let (done, outcome) = oneshot::channel();
        let sent = self.jobs.send(job(done));
        async move {
            let gone = || "the state writer is gone; the agent's log says why".to_owned();
            sent.map_err(|_| gone())?;
            outcome.await.unwrap_or_else(|_| Err(gone()))
        }
        .boxed()
    }
}

async fn work(store: Store, mut queue: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = queue.recv().await {
        let store = store.clone();
        // fsync may take as long as the disk likes.
        if let Err(e) = tokio::task::spawn_blocking(move || carry_out(&store, job)).await {
            tracing::error!("the state writer broke over a record: {e}");
        }
    }
}

/// Whoever asked may be gone; the job is done all the same.
fn carry_out(store: &Store, job: Job) {
    match job {
        Job::Save(memory, done) => {
            failpoint::reach("agent.before_save");
            let saved = store.save(NAME, &*memory, Durability::Machine);
            failpoint::reach("agent.after_save");
            _ = done.send(saved.map_err(|e| e.to_string()));
        }
        Job::Recall(done) => _ = done.send(store.load(NAME).map(Option::unwrap_or_default).map_err(|e| e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_ordered_is_recalled_even_if_nobody_waited() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::start(folder.path()).unwrap();
        assert_eq!(records.recall().await.unwrap(), Memory::default());
        let memory = Memory { provisioned: true, config: Some(serde_json::json!({"vmid": 1})), ..Memory::default() };
        drop(records.save(memory.clone()));
        assert_eq!(records.recall().await.unwrap(), memory);
        std::fs::write(folder.path().join("dev.json"), "{").unwrap();
        assert!(records.recall().await.unwrap_err().contains("dev.json is damaged"));
    }
}
